"""Command lines of inference servers: format and parse flags."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

SHELLS = ("sh", "bash", "dash", "ash", "zsh")


@dataclass(slots=True)
class Argument:
    """One argument of a command line: a flag with its value, or a single word."""

    words: list[str]
    """As written: one word, or a flag and its value."""
    field: str = ""
    """The field that the flag sets, "" for none."""
    value: str = ""
    """The field's value, as text."""


class ParsedFlags(NamedTuple):
    values: dict[str, str]
    """By field name; the last one wins, as with argparse."""
    remaining: tuple[str, ...]
    """Everything else, in order."""


def split_arguments(args: Sequence[str], fields_by_flag: Mapping[str, str]) -> list[Argument]:
    """The arguments in order, those in `fields_by_flag` (flag -> field name) with their field.

    Both `--flag value` and `--flag=value` are parsed, with _ for - as vLLM's parser allows. A flag
    without a value sets no field.
    """
    found: list[Argument] = []
    at = 0
    while at < len(args):
        arg = args[at]
        if arg == "--":
            return [*found, *(Argument([word]) for word in args[at:])]
        flag, equals, value = arg.partition("=")
        name = fields_by_flag.get(normalize_flag(flag)) if arg.startswith("-") else None
        if name is not None and equals:
            found.append(Argument([arg], name, value))
        elif name is not None and at + 1 < len(args) and not is_flag(args[at + 1]):
            at += 1
            found.append(Argument([arg, args[at]], name, args[at]))
        else:
            found.append(Argument([arg]))
        at += 1
    return found


def parse_flags(args: Sequence[str], fields_by_flag: Mapping[str, str]) -> ParsedFlags:
    """Extract the flags in `fields_by_flag` (flag -> field name) and their values from `args`, as
    `split_arguments` finds them."""
    arguments = split_arguments(args, fields_by_flag)
    values = {one.field: one.value for one in arguments if one.field}
    return ParsedFlags(
        values, tuple(word for one in arguments if not one.field for word in one.words)
    )


def set_flag_value(argument: Argument, value: str) -> None:
    """Change the value of a flag, written as it was."""
    flag, equals, _ = argument.words[0].partition("=")
    if not equals and not is_flag(value):
        argument.words = [flag, value]
    else:
        argument.words = [f"{flag}={value}"]
    argument.value = value


def replace_words(arguments: list[Argument], wanted: Sequence[str]) -> list[Argument]:
    """The arguments with the words that set no field replaced by `wanted`; those that stay keep
    their position among the others. After `--` no word is a flag, so it and what follows come
    last."""
    free = [index for index, one in enumerate(arguments) if not one.field]
    current = [word for index in free for word in arguments[index].words]
    owner = [index for index in free for _ in arguments[index].words]
    inserted: dict[int, list[str]] = {}
    stays: set[int] = set()
    end = len(arguments)
    for step, a, a_end, b, b_end in SequenceMatcher(
        None, current, list(wanted), autojunk=False
    ).get_opcodes():
        if step == "equal":
            stays.update(owner[a:a_end])
        else:
            inserted.setdefault(owner[a] if a < len(owner) else end, []).extend(wanted[b:b_end])
    found: list[Argument] = []
    for index, one in enumerate(arguments):
        found += [Argument([word]) for word in inserted.get(index, ())]
        if one.field or index in stays:
            found.append(one)
    found += [Argument([word]) for word in inserted.get(end, ())]
    if "--" not in wanted:
        return found
    last = [Argument([word]) for word in wanted[list(wanted).index("--") :]]
    before = len(wanted) - len(last)
    kept: list[Argument] = []
    for one in found:
        if one.field:
            kept.append(one)
        elif before:
            kept.append(one)
            before -= 1
    return kept + last


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


def program_name(argv: Sequence[str]) -> str:
    """Name of the program, without its path; "" for none."""
    return argv[0].rsplit("/", 1)[-1] if argv else ""


def is_shell_script(command: Sequence[str], args: Sequence[str]) -> bool:
    """Whether the arguments are a shell's script, so that they are no arguments of a server. A
    command with the script in it (`sh -c 'exec vllm serve "$@"' --`) passes its arguments on."""
    if not command:
        return program_name(args) in SHELLS
    if program_name(command) not in SHELLS:
        return False
    script = next((i for i, word in enumerate(command[1:], 2) if _is_script_option(word)), None)
    return script is None or script >= len(command) or not args


def _is_script_option(word: str) -> bool:
    """-c, -ec, -lc"""
    return word.startswith("-") and not word.startswith("--") and word.endswith("c")


def is_flag(arg: str) -> bool:
    """-q and --quantization, but not -1, which is a value."""
    return len(arg) > 1 and arg[0] == "-" and not arg[1:].replace(".", "", 1).isdigit()


# -- the words of a command line, for reading only --------------------------------------------

_MAX_SCRIPT_LENGTH = 20_000
_VARIABLE_REFERENCE_PATTERN = re.compile(r"\$\((\w+)\)|\$\{(\w+)\}|\$(\w+)")
_SCRIPT_SEPARATOR_PATTERN = re.compile(r"(;|&&|\|\||\n)")


def command_words(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[str]:
    """The words of a container's command and arguments, with shell scripts split into words and
    references to the container's variables expanded."""
    values = {name: value for name, value in env.items() if value}

    def substitute(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2] or match[3], match[0])

    for argument in argv:
        text = (
            _VARIABLE_REFERENCE_PATTERN.sub(substitute, argument)
            if "$" in argument and values
            else argument
        )
        if " " in text or "\n" in text:
            yield from _split_script(text[:_MAX_SCRIPT_LENGTH])
        else:
            yield text


def _split_script(script: str) -> list[str]:
    script = _SCRIPT_SEPARATOR_PATTERN.sub(
        lambda match: " ; " if match[1] in "\n;" else f" {match[1]} ", script.replace("\\\n", " ")
    )
    try:
        return shlex.split(script)
    except ValueError:
        return script.split()
