"""The Prometheus of the demo cluster. It stores nothing: what it has scraped is computed from the
instances that run and have run, for the times that a query needs."""
