"""What runs in the demo's Pods: inference servers that load models, log, count and answer."""
