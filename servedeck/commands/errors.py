"""How a command fails."""

from __future__ import annotations

USAGE_ERROR = 2
"""Exit code for a command line that cannot be meant."""


class CommandError(Exception):
    """The command cannot go on; str() is one sentence."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
