"""How a landed row becomes a row of the logs."""
