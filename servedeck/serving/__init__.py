"""What a serving is: records, rules and manifests. Pure: no I/O, and no clock of its own."""
