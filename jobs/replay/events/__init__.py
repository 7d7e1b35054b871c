"""A simulated funnel over an event log."""
