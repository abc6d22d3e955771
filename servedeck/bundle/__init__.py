"""The incident bundle: one archive with everything about a serving, secrets redacted."""
