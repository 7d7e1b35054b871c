"""Metrics, intervals and baselines without training."""
