"""Sending a share of the requests of a serving's endpoint to another serving."""
