"""Tasks in Valkey, or Redis from version 7: for several gateways, and for a cluster."""
