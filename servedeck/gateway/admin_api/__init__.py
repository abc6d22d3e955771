"""HTTP for operators and Prometheus, on a port of its own."""
