"""The async gateways of the demo cluster: behind the Pods of each is a real one."""
