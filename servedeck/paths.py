"""Paths of the user who runs the program."""

from __future__ import annotations

from pathlib import Path


def has_home_directory() -> bool:
    """Whether HOME or the user database names a home directory. A container that runs with an
    arbitrary uid may have neither."""
    try:
        return Path.home().is_absolute()
    except RuntimeError:
        return False


def expand_home(path: Path) -> Path:
    """`path` with its "~" or "~name" replaced; as in shells, an unknown one stays."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path
