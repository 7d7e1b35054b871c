"""What a user left in the tables of a root, and how it is taken out."""
