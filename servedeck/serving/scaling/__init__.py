"""What an autoscaler does and why, and what another one would have done. Pure."""
