"""The live picture: one view for each serving, joined from what the reflectors bring."""
