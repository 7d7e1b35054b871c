"""HCCP: a pre-ranker that learns from unexposed items (arXiv 2502.10284)."""
