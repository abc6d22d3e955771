"""The kubelets of the demo's nodes: they turn Pods into running containers, or say why not."""
