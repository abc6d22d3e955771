"""Records of more than one line: tracebacks, crash reports, printed JSON.

`is_continuation` looks at one line alone; the filter and the index of errors use it.
`RecordTracker` also looks at the lines before it, so it knows that lines with the same head (vLLM
repeats it before each line of a message) or the message of an exception belong together. It is for
lines that are read in order, one tracker for each source, as the command reads them. Both leave a
bare "Traceback (most recent call last):" apart from an ordinary line before it, so that taking away
that line does not take away the traceback.

How each is printed: Python, https://docs.python.org/3/library/traceback.html; Java,
`Throwable.printStackTrace`; Go, `runtime.Stack`; Rust, `std::backtrace`; C++ in PyTorch,
`c10/util/Backtrace.cpp`; the tables of Triton, `src/common/table_printer.cc`; vLLM repeats the head
of a message before each of its lines: `vllm/logging_utils/formatter.py`.
"""

from __future__ import annotations

import re

from servedeck.logs.levels import PROCESS_TAG, Level, level_of

_LONGEST_HEAD = 1024
_MOST_MESSAGE_LINES = 20

# The head that vLLM writes before each line of a message: level, time and place in the source.
_HEAD = re.compile(
    r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[?[\w./-]++:\d+\] ?"
)

_PROGRESS = re.compile(r"\s*(?:.{0,200}?: *)?\d{1,3}%(?:\||\s+Completed\s+\||\s+[\d.]+\w*/)")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):|Exception Group Traceback ")
_LINK = re.compile(
    r"During handling of the above exception|The above exception was the direct cause"
)
_EXCEPTION = re.compile(
    r"(?:[A-Za-z_]\w*\.)*+(?:[A-Z]|nccl)\w*"
    r"(?:Error|Exception(?:Group)?|KeyboardInterrupt|SystemExit|StopIteration|Timeout)(?:: |:?$)"
)
_CONTINUATION = re.compile(
    "|".join(
        [
            r"During handling of the above exception",
            r"The above exception was the direct cause",
            r"Caused by: ",
            # Go
            r"goroutine \d+ \[",
            r"created by [\w./]+",
            r"\[signal SIG\w+: ",
            # Rust
            r"stack backtrace:$",
            r"note: (?:run with `RUST_BACKTRACE|Some details are omitted)",
            # C++
            r"frame #\d+: ",
            r"Exception raised from \w+ at ",
            r"#\d+ +0x[\da-f]+ ",
            # a table
            r"\+[-=+]+\+?$",
            r"\| .* \|$",
            # the end of printed JSON
            r"[\]}]+[,;]?$",
        ]
    )
)
# A frame of a Go traceback: net/http.(*conn).serve(0xc0001, {0x1, 0x2})
_GO_FRAME = re.compile(
    r"[\w/-]++\.[\w./-]*+(?:\(\*?\w++\)[\w.]++)?\((?:0x[\da-f]++|[{}, ?]|\.\.\.)*+\)$"
)


def is_progress(text: str) -> bool:
    """Whether the line is the state of a progress bar as tqdm writes it."""
    return "%" in text[:_LONGEST_HEAD] and _PROGRESS.match(text, 0, _LONGEST_HEAD) is not None


def is_continuation(text: str) -> bool:
    """Whether the line goes on with the record that an earlier line of the same source began: an
    empty or indented line, a frame, the exception at the end of a traceback, a line of a table or
    of printed JSON. A process tag and vLLM's head before it are passed over."""
    _, rest = _split(text)
    return _continues(rest)


class RecordTracker:
    """Tells, for the lines of one source in their order, which of them begin a record."""

    def __init__(self) -> None:
        self._began = False
        self._head = ""
        self._serious = False  # a line of the record is an error
        self._traceback = False  # the record has a traceback
        self._message_lines = 0  # plain lines since its last frame or exception
        self._linked = False  # the line before says that another traceback follows

    def starts_record(self, text: str) -> bool:
        """Whether this line, the next of the source, begins a record. The first does."""
        head, rest = _split(text)
        level = level_of(text)
        starts = self._starts(head, rest, level)
        if starts:
            self._serious = self._traceback = False
        self._serious = self._serious or level >= Level.ERROR
        self._traceback = self._traceback or _TRACEBACK.match(rest) is not None
        plain = not starts and not _continues(rest)
        self._message_lines = self._message_lines + 1 if plain else 0
        self._linked = _LINK.match(rest) is not None or (self._linked and not rest.strip())
        self._began = True
        self._head = head
        return starts

    def _starts(self, head: str, rest: str, level: Level) -> bool:
        if not self._began:
            return True
        if _continues(rest):
            return False
        same_head = head != "" and head == self._head
        if _TRACEBACK.match(rest):
            # A program logs an error and then its traceback: that is one record.
            return not (self._linked or same_head or (self._serious and not self._traceback))
        if same_head:
            return not self._serious
        # The message of an exception may have lines of its own, which look like nothing else.
        return (
            not self._traceback
            or level != Level.UNKNOWN
            or self._message_lines >= _MOST_MESSAGE_LINES
            or is_progress(rest)
        )


def _split(text: str) -> tuple[str, str]:
    """The line's process tag with vLLM's head, "" if it has no such head; and what follows them."""
    tag = PROCESS_TAG.match(text, 0, _LONGEST_HEAD) if text[:1] in ("(", "[") else None
    start = tag.end() if tag else 0
    head = _HEAD.match(text, start, start + _LONGEST_HEAD)
    if head is None:
        return "", text[start:]
    return text[: head.end()], text[head.end() :]


def _continues(rest: str) -> bool:
    if not rest or rest[0] in " \t":
        return not is_progress(rest)
    return (
        _CONTINUATION.match(rest, 0, _LONGEST_HEAD) is not None
        or _EXCEPTION.match(rest, 0, _LONGEST_HEAD) is not None
        or (rest[-1] == ")" and _GO_FRAME.match(rest, 0, _LONGEST_HEAD) is not None)
    )
