"""The async gateway: accepts requests with `X-Async: true`, delivers them, keeps the results."""
