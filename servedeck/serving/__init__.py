"""The model of a serving: records, rules and manifests. Pure functions: no I/O, and no clock."""
