"""Rules that two or more jobs share: columns in, columns out, no reading or writing."""
