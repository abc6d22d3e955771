"""Turning the async queue of a serving on and off: its gateway, and the rules of its routes."""
