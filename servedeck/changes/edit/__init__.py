"""Editing an existing serving: what changed since it was read, the plan, saving it once, undo."""
