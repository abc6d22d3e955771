"""The shell's grammar as far as it starts programs: simple commands, arrays and here-documents
(POSIX.1-2017, Shell Command Language; Bash Reference Manual, Arrays)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN_PATTERN = re.compile(
    r"""(?P<blank>(?:[ \t\r]|\\\n)+)
    |(?P<comment>(?<![^\s;&|()])\#[^\n]*)
    |(?P<redirect>[0-9]*(?:&>>?|>>|>&|>\||<<<|<>|[<>]&?)[ \t]*)
    |(?P<end>[\n;|()]|&&?)
    |(?P<piece>
        '[^']*'
        |"(?:\\.|[^"\\])*"
        |\\.
        |\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)
        |\$\{[^{}]*\}
        |\$(?:[A-Za-z_]\w*|[0-9@*\#?$!-])
        |`[^`]*`
        |[^\s;&|()<>'"\\$`\#]+
        |.
    )""",
    re.VERBOSE | re.DOTALL,
)


def split_script(script: str) -> Iterator[list[list[str]]]:
    """The simple commands of a script: words, each a list of pieces with their quotes. Targets of
    redirections and comments are dropped."""
    command: list[list[str]] = []
    word: list[str] = []
    is_target = False

    def end_word() -> None:
        nonlocal word, is_target
        if word:
            if not is_target:
                command.append(word)
            word, is_target = [], False

    for token in _TOKEN_PATTERN.finditer(script):
        kind = token.lastgroup
        if kind == "piece":
            word.append(token[0])
            continue
        if kind == "redirect":
            if "".join(word).isdigit():
                word = []
            end_word()
            is_target = True
            continue
        end_word()
        if kind == "end":
            is_target = False
            if command:
                yield command
                command = []
    end_word()
    if command:
        yield command


# -- arrays -----------------------------------------------------------------------------------

_ARRAY_PATTERN = re.compile(
    r"""(?P<start>(?<![^\s;&|])(?:(?:local|declare|readonly|typeset)[ ]+(?:-\w+[ ]+)?)?
        (?P<name>[A-Za-z_]\w*)(?P<added>\+?)=\()
    |"?\$\{(?P<used>[A-Za-z_]\w*)\[[@*]\]\}"?
    |'[^']*'
    |\\.""",
    re.VERBOSE | re.DOTALL,
)
_ELEMENT_PATTERN = re.compile(
    r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|\$\{[^{}]*\}|(?P<comment>(?<!\S)\#[^\n]*)|(?P<end>[()])|.""",
    re.DOTALL,
)


def inline_arrays(script: str, limit: int) -> str:
    """The script with `"${NAME[@]}"` replaced by the elements of `NAME=(…)` and `NAME+=(…)` before
    it, whose assignments are left out. `limit` is for the characters of an array, which may be
    used in itself, and of the result."""
    if "=(" not in script:
        return script
    arrays: dict[str, str] = {}
    kept: list[str] = []
    index = length = 0
    while length < limit and (found := _ARRAY_PATTERN.search(script, index)):
        kept.append(script[index : found.start()])
        index = found.end()
        if found["start"]:
            elements, index = _read_elements(script, index)
            elements = _replace_uses(elements, arrays)
            before = arrays.get(found["name"], "") if found["added"] else ""
            arrays[found["name"]] = f"{before} {elements}".strip()[:limit]
        else:
            kept.append(_replace_uses(found[0], arrays))
        length += sum(map(len, kept[-2:]))
    kept.append(script[index:])
    return "".join(kept)[:limit]


def _replace_uses(text: str, arrays: dict[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        return arrays.get(match["used"] or "", match[0])

    return _ARRAY_PATTERN.sub(replace, text)


def _read_elements(script: str, start: int) -> tuple[str, int]:
    """The elements of an array from `start`, on one line, and the index after its parenthesis."""
    kept: list[str] = []
    depth = 1
    for token in _ELEMENT_PATTERN.finditer(script, start):
        if token["end"]:
            depth += 1 if token[0] == "(" else -1
            if not depth:
                return " ".join("".join(kept).split("\n")), token.end()
        kept.append("" if token["comment"] else token[0])
    return "", len(script)


# -- here-documents ---------------------------------------------------------------------------

_HEREDOC_PATTERN = re.compile(r"""(?<!<)<<-?[ \t]*(['"]?)(\w+)['"]?""")
_WRITTEN_FILE_PATTERN = re.compile(
    r"""(?:(?:^|[^<>&0-9])1?>>?[ \t]*|\btee[ \t]+(?:-a[ \t]+)?)["']?([^\s"';&|<>]+)"""
)


def take_heredocs(script: str, files: dict[str, str]) -> str:
    """The script without the text between `<<EOF` and EOF, which is input of a program. What is
    written into a file so (`cat <<EOF > run.sh`) goes to `files`, by its path."""
    if "<<" not in script:
        return script
    lines = script.split("\n")
    ends: dict[str, list[int]] = {}
    for index in range(len(lines) - 1, -1, -1):
        ends.setdefault(lines[index].strip(), []).append(index)
    kept: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        if found := _HEREDOC_PATTERN.search(line):
            after = ends.get(found[2], [])
            while after and after[-1] < index:
                after.pop()
            if after:
                line = line[: found.start()] + line[found.end() :]
                text = "\n".join(lines[index : after[-1]])
                if target := _WRITTEN_FILE_PATTERN.search(line):
                    # Without quotes at its word, a backslash protects what the file expands.
                    files[file_key(target[1])] = text if found[1] else text.replace("\\$", "$")
                index = after[-1] + 1
        kept.append(line)
    return "\n".join(kept)


def file_key(path: str) -> str:
    return path.removeprefix("./")
