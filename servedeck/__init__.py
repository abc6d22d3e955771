"""servedeck: the model servings of a Kubernetes cluster, in a terminal."""

__version__ = "0.1.0"
