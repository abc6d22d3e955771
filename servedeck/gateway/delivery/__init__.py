"""Making the stored requests to the inference server."""
