"""The live views: one for each serving, joined from the records of the reflectors."""
