"""The one doorway to every table."""
