"""The store of a gateway of one process: a SQLite file."""
