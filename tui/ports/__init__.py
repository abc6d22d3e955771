"""What the screens need of the app, the servings and the cluster, as protocols."""
