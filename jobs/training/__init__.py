"""What the training jobs share."""
