"""A subset of PromQL: its expressions as text and as objects, and their values over samples."""
