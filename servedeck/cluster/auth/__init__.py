"""Kubeconfig files and the credentials that they name."""
