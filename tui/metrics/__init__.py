"""What the tab Metrics is made of."""
