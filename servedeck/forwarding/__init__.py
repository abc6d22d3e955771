"""Port-forwards to servings, which follow a Ready Pod."""
