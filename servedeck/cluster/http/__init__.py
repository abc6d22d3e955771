"""Requests to the API server, and their errors as sentences."""
