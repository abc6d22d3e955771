"""The status of a serving and of its Pods, and the reason of a failure."""
