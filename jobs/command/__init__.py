"""The command line that every job shares."""
