"""The division of an endpoint's requests."""
