"""The desired serving: the spec, its fields, their validation and the YAML document."""
