"""From what an operator entered to objects in the cluster: draft, plan and deployment."""
