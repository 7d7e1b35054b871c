"""What the evaluating jobs share."""
