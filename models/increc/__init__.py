"""IncRec: a retrieval channel that learns what the other channels miss (arXiv 2512.06381)."""
