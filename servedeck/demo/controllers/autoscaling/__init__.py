"""The HorizontalPodAutoscaler controller of Kubernetes, and KEDA."""
