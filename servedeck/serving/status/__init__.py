"""The status of a serving and of its Pods, and the cause of a failure."""
