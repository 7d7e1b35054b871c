"""What happened to one request, one user or one item, told from the tables' own rows."""
