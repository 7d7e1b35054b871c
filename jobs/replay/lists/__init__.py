"""Real lists of a session log."""
