"""The replicas of the inference server."""
