"""The controller: sets the conditions of Pods by the temperature policies of their Deployments."""
