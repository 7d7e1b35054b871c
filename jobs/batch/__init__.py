"""The jobs of a day, in order, and which of them are up to date."""
