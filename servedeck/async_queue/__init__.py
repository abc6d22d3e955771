"""Tasks of the async queue: the records of the gateway's API, and its client."""
