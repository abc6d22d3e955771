"""Turns what an operator entered into objects of the cluster: draft, plan and deployer."""
