"""A study's cells, their comparison and their page."""
