"""The Kubernetes objects of a serving: build from a spec, import, and compare."""
