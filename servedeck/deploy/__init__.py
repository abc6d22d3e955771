"""From what an operator typed to objects in the cluster: draft, review and deployment."""
