"""How a command fails."""

from __future__ import annotations

USAGE_ERROR = 2
"""Exit code for wrong usage."""


class CommandError(Exception):
    """The command failed; str() is one sentence."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
