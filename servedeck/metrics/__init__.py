"""What the metrics of a serving say: queries to Prometheus, and the Pods' own /metrics."""
