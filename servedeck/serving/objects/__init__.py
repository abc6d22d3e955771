"""The Kubernetes objects of a serving: built from a spec, read back, and compared."""
