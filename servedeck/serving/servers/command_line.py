"""The programs that a container's command line runs: shell scripts are read, and programs that only
start another one are removed.

Only the parts of the shell's grammar that start programs are read (POSIX.1-2017, Shell Command
Language): quotes, separators, parameters, arrays, `eval`, `exec`, `set --`, and scripts that the
script itself has written. Both branches of an `if` count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from servedeck.serving.servers.kinds import PROGRAMS
from servedeck.serving.servers.shell_grammar import (
    file_key,
    inline_arrays,
    split_script,
    take_heredocs,
)

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "su", "runuser"})
WRAPPERS = frozenset(
    {
        *("env", "exec", "command", "builtin", "nohup", "time", "timeout", "nice", "ionice"),
        *("setsid", "stdbuf", "sudo", "gosu", "su-exec", "chroot", "unbuffer", "catchsegv"),
        *("tini", "tini-static", "dumb-init", "catatonit", "s6-setuidgid"),
        *("numactl", "taskset", "chrt", "nsys", "ncu", "perf", "strace", "py-spy"),
        *("uv", "uvx", "poetry", "pipenv", "pdm", "hatch", "pixi", "conda", "mamba", "micromamba"),
        *("mpirun", "mpiexec", "srun", "trtllm-llmapi-launch", "ramalama-serve-core"),
        *("opentelemetry-instrument", "ddtrace-run", "newrelic-admin", "doppler", "vault-env"),
    }
)
"""Programs that start the program in their arguments."""
PYTHON_LAUNCHERS = frozenset({"torchrun", "accelerate", "deepspeed", "pypy3", "ipython"})
"""Programs that start a Python script or module, as python does."""
_LAUNCHER_MODULES = frozenset({"torch.distributed.run", "torch.distributed.launch"})
_WRAPPER_SUBCOMMANDS = frozenset({"run", "exec", "profile", "launch", "record"})
_VALUE_OPTIONS = frozenset(
    {
        "--with",
        "--from",
        "--python",
        "--extra",
        "--project",
        "--directory",
        "--group",
        "--package",
        "--env-file",
        "-u",
        "-p",
        "-n",
    }
)
"""Options of wrappers whose value may look like a program."""

_SHELL_NAME = ("sh",)
"""`$0` of a script that has no arguments."""
_MAX_SCRIPT_LENGTH = 20_000
_MAX_TOTAL_LENGTH = 100_000
"""Characters of all scripts of a container together: `eval` can repeat one any number of times."""
_MAX_COMMANDS = 500
_MAX_DEPTH = 6


class Command(NamedTuple):
    """One program with its arguments."""

    words: tuple[str, ...]
    start: int | None
    """Index of the program in the container's command and arguments; None if a script starts it."""


def read_commands(argv: Sequence[str], env: Mapping[str, str]) -> tuple[Command, ...]:
    """The programs that a container's command and arguments run, in order. References to the
    variables in `env` are replaced; those to others stay as they are written."""
    reader = _Reader(env)
    expanded = [expand_variables(word, env) if "$" in word else word for word in argv]
    reader.read(expanded, 0, 0)
    return tuple(reader.commands)


def base_name(word: str) -> str:
    """The name of a program, without its path."""
    return word.rpartition("/")[2]


def is_python(name: str) -> bool:
    return name.startswith("python") or name in PYTHON_LAUNCHERS


class PythonProgram(NamedTuple):
    module: str
    """Module of `-m`, "" for none."""
    script: str
    """Path of the script, "" for none."""
    arguments_at: int
    """Index of the first argument after it."""


def read_python(words: Sequence[str]) -> PythonProgram:
    """What a Python interpreter or launcher runs: `python -u -m module`, `torchrun train.py`."""
    is_launcher = base_name(words[0]) in PYTHON_LAUNCHERS
    index = 1
    while index < len(words):
        word = words[index]
        if word in ("-m", "--module"):
            module = words[index + 1] if index + 1 < len(words) else ""
            if module not in _LAUNCHER_MODULES:
                return PythonProgram(module, "", index + 2)
            is_launcher = True
            index += 1
        elif word == "-c" and not is_launcher:
            break
        elif word in ("-X", "-W") and not is_launcher:
            index += 1
        elif word.endswith(".py") or (not word.startswith("-") and not is_launcher):
            return PythonProgram("", word, index + 1)
        index += 1
    return PythonProgram("", "", len(words))


# -- reading ----------------------------------------------------------------------------------


class _Reader:
    def __init__(self, env: Mapping[str, str]) -> None:
        self.commands: list[Command] = []
        self._variables = {name: value for name, value in env.items() if value}
        self._files: dict[str, str] = {}
        """Scripts that the container's own script has written, by their path."""
        self._remaining = _MAX_TOTAL_LENGTH

    def read(self, words: Sequence[str], start: int | None, depth: int) -> None:
        """Add what these words run. `start` is their index in the container's command line."""
        while words and depth <= _MAX_DEPTH and len(self.commands) < _MAX_COMMANDS:
            if self._read_file(words, depth):
                return
            name = base_name(words[0])
            if name in SHELLS and self._read_shell(words, start, depth):
                return
            skipped = _wrapped_program(words) if name in WRAPPERS else None
            if skipped is None:
                self.commands.append(Command(tuple(words), start))
                return
            words = words[skipped:]
            start = None if start is None else start + skipped
            depth += 1

    def _read_shell(self, words: Sequence[str], start: int | None, depth: int) -> bool:
        """A shell with its script (`sh -c`) or the file with it; False for an interactive one."""
        index = 1
        while index < len(words):
            word = words[index]
            if word == "-":
                pass
            elif word[:1] in "-+" and not word.startswith("--") and word[1:].isalpha():
                if "c" in word[1:] and word[0] == "-":
                    script = words[index + 1] if index + 1 < len(words) else ""
                    if script in ("-", "--"):
                        index += 1
                        script = words[index + 1] if index + 1 < len(words) else ""
                    self._read_script(script, words[index + 2 :], depth + 1)
                    return True
                if word[-1] in "oO":
                    index += 1
            elif word[:1] != "-":
                if base_name(words[0]) in ("su", "runuser"):
                    index += 1
                    continue
                if self._read_file(words[index:], depth):
                    return True
                at = None if start is None else start + index
                self.commands.append(Command(tuple(words[index:]), at))
                return True
            index += 1
        return False

    def _read_file(self, words: Sequence[str], depth: int) -> bool:
        """A script that has been written before; False if the program is none."""
        script = self._files.get(file_key(words[0]))
        if script is None:
            return False
        self._read_script(script, words, depth + 1)
        return True

    def _read_script(self, script: str, positional: Sequence[str], depth: int) -> None:
        script = take_heredocs(script[:_MAX_SCRIPT_LENGTH], self._files)
        script = inline_arrays(script, _MAX_SCRIPT_LENGTH)
        self._remaining -= len(script)
        if depth > _MAX_DEPTH or self._remaining < 0:
            return
        for pieces in split_script(script):
            if len(self.commands) >= _MAX_COMMANDS:
                return
            words = self._expand(pieces, positional)
            while words and words[0] in _RESERVED_WORDS:
                words = words[1:]
            while words and (found := _ASSIGNMENT_PATTERN.match(words[0])):
                self._assign(found[1], words[0][found.end() :])
                words = words[1:]
            if not words or words[0] in _SKIPPED_WORDS:
                continue
            if words[0] in ("export", "declare", "local", "readonly", "typeset"):
                for word in words[1:]:
                    if found := _ASSIGNMENT_PATTERN.match(word):
                        self._assign(found[1], word[found.end() :])
            elif words[0] == "eval":
                self._read_script(" ".join(words[1:]), positional, depth + 1)
            elif words[0] == "set" and "--" in words:
                positional = [*(positional[:1] or _SHELL_NAME), *words[words.index("--") + 1 :]]
            elif words[0] in ("source", ".") and len(words) > 1:
                if self._read_file(words[1:], depth):
                    continue
                if base_name(words[-1]) != "activate":
                    self.commands.append(Command(tuple(words[1:]), None))
            else:
                self.read(words, None, depth)

    def _assign(self, name: str, value: str) -> None:
        if not _SUBSTITUTION_PATTERN.search(value):
            self._variables[name] = value

    def _expand(self, command: Sequence[Sequence[str]], positional: Sequence[str]) -> list[str]:
        found: list[str] = []
        is_prefix = True  # in assignments before the program no value is split
        for word in command:
            fields = self._expand_word(word, positional)
            is_prefix = is_prefix and _ASSIGNMENT_PATTERN.match(word[0]) is not None
            found += [" ".join(fields)] if is_prefix and fields else fields
        return found

    def _expand_word(self, pieces: Sequence[str], positional: Sequence[str]) -> list[str]:
        """A word is one string, but `$NAME` outside quotes is split, and "$@" is several."""
        text, fields, is_quoted = "", [], False
        for piece in pieces:
            if piece[0] == "'":
                text += piece[1:-1] if len(piece) > 1 else ""
                is_quoted = True
            elif piece[0] == '"':
                inner = piece[1:-1]
                if inner in ("$@", "${@}") and len(pieces) == 1:
                    return list(positional[1:])
                text += expand_variables(
                    _QUOTED_ESCAPE_PATTERN.sub(r"\1", inner.replace("\\\n", "")),
                    self._variables,
                    positional,
                )
                is_quoted = True
            elif piece[0] == "\\":
                text += piece[1:]
            elif "$" in piece:
                value = expand_variables(piece, self._variables, positional)
                parts = value.split() if value != piece else [value]
                if len(parts) > 1:
                    fields += [text + parts[0], *parts[1:-1]]
                    text = parts[-1]
                elif parts:
                    text += parts[0]
                else:
                    is_quoted = is_quoted or bool(text)
            else:
                text += piece
        return [*fields, text] if text or is_quoted else fields


def _wrapped_program(words: Sequence[str]) -> int | None:
    """Index of the program that a wrapper starts; None if there is none."""
    first: int | None = None
    index = 1
    while index < len(words):
        word = words[index]
        if word in _VALUE_OPTIONS:
            index += 2
            continue
        name = base_name(word)
        if name in PROGRAMS or name in SHELLS or name in WRAPPERS or is_python(name):
            return index
        is_option = word.startswith("-") or "=" in word or not word
        is_value = is_option or word[:1].isdigit() or word in _WRAPPER_SUBCOMMANDS
        if first is None and not is_value:
            first = index
        index += 1
    return first


# -- the shell's grammar ----------------------------------------------------------------------

_RESERVED_WORDS = frozenset(
    {"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "!", "{", "}", "time"}
)
_SKIPPED_WORDS = frozenset({"for", "case", "esac", "select", "function", "trap", "[", "[["})
_ASSIGNMENT_PATTERN = re.compile(r"([A-Za-z_]\w*)\+?=")
_SUBSTITUTION_PATTERN = re.compile(r"\$\(|`")
_QUOTED_ESCAPE_PATTERN = re.compile(r'\\(["\\`])')
_DIGITS = tuple("0123456789")
_VARIABLE_PATTERN = re.compile(
    r"\$\((\w+)\)|\$\{(\w+|@)(?::?[-=]([^{}]*))?\}|\$([A-Za-z_]\w*|[0-9@*])"
)


def expand_variables(
    text: str, variables: Mapping[str, str], positional: Sequence[str] | None = None
) -> str:
    """`text` with `$(NAME)`, `$NAME`, `${NAME}` and `${NAME:-default}` replaced by the values; a
    reference to an unknown variable stays. In a script, `$0`, `$1` and `$@` are its arguments."""

    def substitute(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[4]
        if name in ("@", "*"):
            return match[0] if positional is None else " ".join(positional[1:])
        if name in _DIGITS:
            known = positional or ()
            return known[int(name)] if int(name) < len(known) else match[0]
        value = variables.get(name)
        return value if value is not None else match[3] if match[3] is not None else match[0]

    return _VARIABLE_PATTERN.sub(substitute, text)[:_MAX_SCRIPT_LENGTH]
