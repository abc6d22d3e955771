"""Access to Kubernetes: connection, credentials, reflectors, logs and access checks."""
