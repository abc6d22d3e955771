"""The simulated processes of the demo's Pods: inference servers with logs, metrics and an API."""
