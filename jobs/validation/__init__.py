"""How landed rows become rows of the logs: read and cast, refused or kept, one of each key."""
