"""What the screens ask of the app, the servings and the cluster, as protocols."""
