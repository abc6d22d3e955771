"""The HTTP side of the demo cluster: the Kubernetes API as clients see it."""
