"""Command lines of inference servers: format and parse flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

SHELLS = ("sh", "bash", "dash", "ash", "zsh")


class ParsedFlags(NamedTuple):
    values: dict[str, str]
    """By field name; the last one wins, as with argparse."""
    remaining: tuple[str, ...]
    """Everything else, in order."""


def parse_flags(args: Sequence[str], fields_by_flag: Mapping[str, str]) -> ParsedFlags:
    """Extract the flags in `fields_by_flag` (flag -> field name) and their values from `args`.

    Both `--flag value` and `--flag=value` are parsed, with _ for - as vLLM's parser allows. A flag
    without a value remains.
    """
    values: dict[str, str] = {}
    rest: list[str] = []
    at = 0
    while at < len(args):
        arg = args[at]
        if arg == "--":
            rest.extend(args[at:])
            break
        flag, equals, value = arg.partition("=")
        name = fields_by_flag.get(normalize_flag(flag)) if arg.startswith("-") else None
        if name is not None and equals:
            values[name] = value
        elif name is not None and at + 1 < len(args) and not _is_flag(args[at + 1]):
            at += 1
            values[name] = args[at]
        else:
            rest.append(arg)
        at += 1
    return ParsedFlags(values, tuple(rest))


def flag_value(args: Sequence[str], *flags: str) -> str | None:
    """Value of the last of `flags` in `args`, None if there is none."""
    return parse_flags(args, dict.fromkeys(flags, "value")).values.get("value")


def find_flag(args: Sequence[str], *flags: str) -> str:
    """First of `flags` in `args`, as written there, "" for none."""
    for arg in args:
        if arg == "--":
            break
        if arg.startswith("-") and normalize_flag(arg.partition("=")[0]) in flags:
            return arg.partition("=")[0]
    return ""


def normalize_flag(flag: str) -> str:
    """Converts --tensor_parallel_size to --tensor-parallel-size."""
    return flag.replace("_", "-") if flag.startswith("--") else flag


def is_shell_command(argv: Sequence[str]) -> bool:
    """Whether a shell runs the command, whose words cannot be determined."""
    return bool(argv) and argv[0].rsplit("/", 1)[-1] in SHELLS


def _is_flag(arg: str) -> bool:
    """-q and --quantization, but not -1, which is a value."""
    return len(arg) > 1 and arg[0] == "-" and not arg[1:].replace(".", "", 1).isdigit()
