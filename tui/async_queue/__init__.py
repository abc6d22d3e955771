"""The tab Async Queue in parts: its heading, and what is done to tasks."""
