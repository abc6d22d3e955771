"""What an operator asks for: the spec, its fields, their validation and the YAML document."""
