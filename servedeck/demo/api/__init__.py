"""The demo cluster's API server: the Kubernetes API over HTTP."""
