"""Replacements of Textual internals, and the threads that protect the terminal.

Nothing outside this package uses a private part of Textual: those that are read or called are in
`textual_private`, those that are overridden in `app_hooks` and `driver`. Each has a test that fails
where a release of Textual changes it, so pyproject.toml allows one minor version of Textual.
"""
