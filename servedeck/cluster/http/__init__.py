"""Requests to the API server, and what went wrong with one in a sentence."""
