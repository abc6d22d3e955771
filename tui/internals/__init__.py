"""Replacements of Textual internals, and the threads that protect the terminal.

All of it depends on internal parts of Textual that may change; each has a test.
"""
