"""A simulated world with known truth: who likes what, what a funnel made of it, what people did."""
