"""Changing fields of an existing serving: assignments, differences, merging, forecasts."""
