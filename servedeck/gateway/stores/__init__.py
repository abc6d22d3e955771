"""Where the tasks are kept: Valkey for a cluster, SQLite for the demo and a single node."""
