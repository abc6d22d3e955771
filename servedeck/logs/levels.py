"""The level of a log line, in the formats of model servers and of what runs beside them.

Only the place where a format writes its level is looked at, so a prompt that contains the word
ERROR, or "0 errors", is none. Formats and where each is described:

- vLLM: `vllm/logger.py` ("%(levelname)s %(asctime)s [%(fileinfo)s:%(lineno)d] %(message)s"); the
  name and number of the process before it: `vllm/utils/system_utils.py`, `decorate_logs`; Ray
  writes the same: https://docs.ray.io/en/latest/ray-observability/user-guides/configure-logging.html
- furiosa-llm: Rust tracing, https://docs.rs/tracing-subscriber/latest/tracing_subscriber/fmt/
- uvicorn: https://www.uvicorn.org/concepts/logging/; Python:
  https://docs.python.org/3/library/logging.html#logging.basicConfig
- Triton: https://docs.rs/tritonserver-rs/latest/tritonserver_rs/options/enum.LogFormat.html; klog
  and glog have the same head: https://github.com/google/glog#log-line-prefix; PyTorch writes it in
  brackets: https://github.com/pytorch/pytorch/blob/main/c10/util/Logging.cpp
- NCCL: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-debug
- JSON: numbers of pino, https://github.com/pinojs/pino/blob/main/lib/levels.js; severities,
  https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#LogSeverity
- key=value: https://brandur.org/logfmt
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgspec


class Level(IntEnum):
    """How serious a line says it is."""

    UNKNOWN = 0
    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    CRITICAL = 5
    FATAL = 5


LEVEL_KEYS = frozenset(
    ["level", "severity", "levelname", "lvl", "log.level", "loglevel", "log_level"]
)
"""Keys, in lower case, under which JSON and key=value lines have their level; the first of them in
a line counts."""

_NAMES = {
    Level.DEBUG: "trace debug dbg verbose",
    Level.INFO: "info inf information notice default",
    Level.WARNING: "warning warn wrn",
    Level.ERROR: "error err severe",
    Level.CRITICAL: "critical crit fatal panic dpanic alert emerg emergency",
}
_LEVELS = {name: level for level, names in _NAMES.items() for name in names.split()}
_LETTERS = {"D": Level.DEBUG, "V": Level.DEBUG, "I": Level.INFO, "W": Level.WARNING}
_LETTERS |= {"E": Level.ERROR, "F": Level.CRITICAL, "C": Level.CRITICAL}
_LARGEST_NUMBER = 60

# How much of a line is looked at; JSON is looked at up to a larger bound.
_LONGEST_HEAD = 1024
_LONGEST_JSON = 1 << 16

# The name of a process, which vLLM and Ray put before each of its lines, and which is often bold
# ("[1;36m" is what is left of that where something else took away the escape character).
PROCESS_TAG = re.compile(
    r"(?:\[[\d;]*m)*+(?P<tag>\([A-Za-z][\w.-]*+(?: rank=\d+)?+ pid=\d+(?:, ip=[\d.a-f:]+)?+\))"
    r"(?:\[[\d;]*m)*+ ?"
)
"""What a process of a server writes before each of its lines; `tag` without what surrounds it."""

_LOWER = "trace|debug|info|notice|warning|warn|error|err|critical|fatal|panic|severe"
_UPPER = _LOWER.upper()
_DATE = r"(?:\d{4}[-/]\d\d[-/]\d\d|\d\d/\d\d/\d{4}|\d\d[-/]\d\d)"
_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d+)?+(?:Z|[+-]\d\d:?\d\d)?+"
_STAMP = rf"(?:{_DATE}[T -])?{_TIME}"

# Each alternative begins at the start of a line (after the process tag).
_HEAD = re.compile(
    "|".join(
        [
            # INFO 11-29 01:02:03 [core.py:93] msg; ERROR:root:msg; INFO:     msg; WARNING - msg
            rf"(?P<word>{_UPPER})(?=[ :|\t\[]|\s*$)",
            # error: creating server: Internal - failed to load all models
            r"(?P<lower>[Ee]rror|[Ff]atal|[Ww]arning)(?: \[\w+\])?: ",
            # [INFO] msg; [ERROR ] msg; [WARNING|utils.py:12] msg; [TensorRT-LLM][ERROR] msg
            rf"(?:\[TensorRT-LLM\])?\[(?P<boxed>{_UPPER})\s*[\]|]",
            # 2026-11-29T01:02:03.123456Z  INFO target: msg; 2026-11-29 01:02:03,123 - name - INFO -
            # [2026-11-29 01:02:03 TP0] INFO: msg; 2026-11-29 01:02:03.123 | INFO     | name - msg
            # 2026-11-29T01:02:03,123 [INFO ] name; 2026-11-29 01:02:03,123 [main] INFO  name - msg
            # [11/29/2026-01:02:03] [TRT-LLM] [I] msg; 2026-11-29T01:02:03Z\tinfo\tmsg;
            # [2026-11-29 01:02:03.123][1][warning][config] msg; 2026-11-29T01:02:03Z I 34 a.cc:44]
            rf"\[?{_STAMP}(?:[ ,][A-Z]{{2}}\d+)*+\]?[ \t|:-]*+"
            r"(?:(?:\[[^\]\[]{1,40}\]|[\w.:/-]{1,80} (?=[-|:]))[ \t|:-]*+){0,3}?"
            rf"(?:\[(?P<tboxed>{_UPPER}|{_LOWER}|[IWEFDV])\s*\]"
            rf"|(?P<tword>{_UPPER})(?=[ \]:|\t]|\s*$)|(?P<ttab>{_LOWER})\t"
            r"|(?P<iso>[IWEFDV]) \d+ [\w./-]+:\d+\])",
            # I1129 01:02:03.123456 1 server.cc:592] msg
            r"(?:\[rank\d+\]:)?(?P<glog>[IWEFDV])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^\s:\]]+:\d+\]",
            # [rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] msg; [W socket.cpp:204] msg
            r"(?:\[rank\d+\]: ?)?\[(?P<torch>[IWEFDV])(?:\d{3,4} [\d:.]+)? [\w./-]+:\d+\]",
            # host:4163:4164 [1] misc/cudawrap.cc:179 NCCL WARN msg
            rf"(?:\[?{_STAMP}\]? )?\S+:\d+:\d+ \[\d+\] (?:[\w./-]+:\d+ )?NCCL (?P<nccl>{_UPPER})\b",
            r"(?P<trace>Traceback \(most recent call last\):|Exception in thread )",
            # torch.OutOfMemoryError: CUDA out of memory
            r"(?P<error>(?:[A-Za-z_]\w*\.)*+(?:[A-Z]|nccl)\w*"
            r"(?:Error|Exception(?:Group)?)(?:: |:?$))",
            # /usr/lib/python3.12/subprocess.py:1885: RuntimeWarning: msg
            r"(?P<warning>\S+\.py:\d+: [A-Z]\w*Warning: |[A-Z]\w*Warning: )",
            # What a process writes at its end: libstdc++, glibc, Go, Rust, CPython, a shell.
            r"(?P<abort>terminate called |panic: |fatal error: |Fatal Python error: "
            r"|thread '[^']*' (?:\(\d+\) )?panicked at |Segmentation fault|Bus error|Aborted \(core"
            r"|\*\*\* (?:SIG|Aborted|Process received signal)|Signal \(\d+\) received"
            r"|double free or corruption|(?:free|malloc|realloc)\(\): )",
            r"(?P<json>\{)",
            r"(?P<logfmt>[A-Za-z_][\w.-]*=)",
        ]
    )
)

_KEY = r"(?i:" + "|".join(re.escape(key) for key in sorted(LEVEL_KEYS)) + ")"
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_JSON_LEVEL = re.compile(rf'"{_KEY}"\s*:\s*(?:"(\w+)"|(\d+)\b)')
# Members before the one that has the level, as long as none of them is an array or an object.
_JSON_MEMBERS = rf"\{{\s*(?:{_STRING}\s*+:\s*+(?:{_STRING}|[\w.+-]++)\s*+,\s*+){{0,12}}?"
_JSON_FIRST = re.compile(rf'{_JSON_MEMBERS}"{_KEY}"\s*:\s*(?:"(\w+)"|(\d+)\b)')
_PAIRS = rf"(?:[\w.-]+=(?:{_STRING}|[^\s\"]*+)[ \t]++){{0,12}}?"
_LOGFMT_LEVEL = re.compile(rf'{_PAIRS}{_KEY}="?(\w+)')
# Anywhere in a line that has no level of its own.
_ANYWHERE = re.compile(
    r"(?<!no )CUDA error\b(?! count)|CUDA out of memory|cuda runtime error \("
    r"|[\d:] *Segmentation fault|Segmentation fault \(core dumped"
)

# Lines that are certainly less than warnings: nearly all of a log, at a fraction of the time.
_HARMLESS = re.compile(
    r"(?:\([A-Za-z][\w.-]*+ pid=\d+\) )?"
    r"(?:(?:INFO|DEBUG)[ :]|[ID]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^\s:\]]+:\d+\]"
    rf"|\[?\d{{4}}-\d\d-\d\d[T ]{_TIME}\]?(?:[ \t]++| - [a-z_][\w.]* - )(?:INFO|DEBUG)[ :\t]"
    rf"|{_JSON_MEMBERS}\"{_KEY}\"\s*:\s*\"(?i:info|debug)\""
    rf"|(?=[A-Za-z_]){_PAIRS}{_KEY}=\"?(?i:info|debug)(?=[\"\s]|$))"
)


def level_named(name: str) -> Level:
    """The level that a word or a number of pino or bunyan names; `Level.UNKNOWN` if none."""
    if name.isdecimal() and len(name) == 2 and name[1] == "0" and int(name) <= _LARGEST_NUMBER:
        return Level(max(int(name) // 10 - 1, 1))
    return _LEVELS.get(name.lower(), Level.UNKNOWN)


def level_of(text: str) -> Level:
    """The level of one line, given as `plain_text` has it. A line that goes on with an earlier
    record, such as a frame of a traceback, has `Level.UNKNOWN` if it says nothing itself."""
    start = tag.end() if text[:1] in "([" and (tag := PROCESS_TAG.match(text)) else 0
    found = _HEAD.match(text, start, start + _LONGEST_HEAD)
    if found is None or found.lastgroup is None:
        return _level_anywhere(text, start)
    kind, word = found.lastgroup, found[found.lastgroup]
    match kind:
        case "json":
            return _json_level(text, start)
        case "logfmt":
            logfmt = _LOGFMT_LEVEL.match(text, start, start + _LONGEST_HEAD)
            return level_named(logfmt[1]) if logfmt else _level_anywhere(text, start)
        case "trace" | "error":
            return Level.ERROR
        case "warning":
            return Level.WARNING
        case "abort":
            return Level.CRITICAL
        case "glog" | "torch" | "iso":
            return _LETTERS[word]
        case "tboxed" if len(word) == 1:
            return _LETTERS[word]
        case _:
            return _LEVELS.get(word.lower(), Level.UNKNOWN)


def find_levels(
    block: str | Sequence[str], least: Level = Level.WARNING
) -> list[tuple[int, Level]]:
    """The lines of at least that level, each as (index of the line, level), ascending: those for
    which `level_of` says so. `block` is text as `plain_block` has it, or its lines.

    `least` must be `Level.WARNING` or more. Lines that begin as those of INFO and DEBUG do are
    passed over without a closer look.
    """
    lines = block.split("\n") if isinstance(block, str) else block
    harmless = _HARMLESS.match
    found = []
    end = _LONGEST_HEAD
    for index in [index for index, line in enumerate(lines) if not harmless(line, 0, end)]:
        level = level_of(lines[index])
        if level >= least:
            found.append((index, level))
    return found


def _level_anywhere(text: str, start: int) -> Level:
    head = text[start : start + _LONGEST_HEAD]
    if "CUDA" not in head and "Segm" not in head and "cuda" not in head:
        return Level.UNKNOWN
    found = _ANYWHERE.search(head)
    if found is None:
        return Level.UNKNOWN
    return Level.CRITICAL if "Segm" in found[0] else Level.ERROR


def _json_level(text: str, start: int) -> Level:
    """The level of a JSON object; of one that is cut off or too long, the first in it."""
    if first := _JSON_FIRST.match(text, start, start + _LONGEST_JSON):
        return level_named(first[1] or first[2])
    named = _JSON_LEVEL.search(text, start, start + _LONGEST_JSON)
    if named is None:
        return Level.UNKNOWN
    if len(text) - start <= _LONGEST_JSON:
        try:
            fields: dict[str, Any] = msgspec.json.decode(text[start:])
        except (msgspec.DecodeError, RecursionError):
            return level_named(named[1] or named[2])
        for key, value in fields.items():
            if key.lower() in LEVEL_KEYS and isinstance(value, str | int):
                return level_named(str(value))
        return Level.UNKNOWN
    return level_named(named[1] or named[2])
