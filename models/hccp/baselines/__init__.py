"""The objectives that HCCP is compared with; production never imports them."""
