"""Compares a date with the days before it."""
