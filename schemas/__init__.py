"""What every table holds: its place, columns, key and vocabulary. Imports nothing else of ours."""
