"""The tables' contracts."""
