"""servedeck: every model serving of a Kubernetes cluster as it is this second."""

__version__ = "0.1.0"
