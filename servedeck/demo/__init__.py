"""The embedded demo cluster: a Kubernetes API on loopback with controllers and workloads."""
