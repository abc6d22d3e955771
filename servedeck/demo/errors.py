"""Errors of starting or keeping a demo cluster, as one sentence for the user."""

from __future__ import annotations


class DemoError(RuntimeError):
    """The demo could not start; `str()` is one sentence that says why."""

    exit_code = 1


class OptionError(DemoError):
    """An option has an invalid value."""

    exit_code = 2
