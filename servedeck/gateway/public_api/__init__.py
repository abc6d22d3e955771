"""HTTP for callers: submitting, and the status and result of their own tasks."""
