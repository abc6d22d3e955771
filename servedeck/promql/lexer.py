"""The tokens of PromQL.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/ and, for what it leaves open,
promql/parser/lex.go of Prometheus.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from servedeck.promql.errors import PromqlError

_TOKEN = re.compile(
    r"""(?:\s+|\#[^\n]*)*(?:
    (?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+(?![a-zA-Z0-9_.]))
    |(?P<number>0[xX][0-9a-fA-F]+(?![a-zA-Z0-9_.])
        |(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![a-zA-Z0-9_.]))
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'|`[^`]*`)
    |(?P<symbol>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){}\[\],@:])
    |(?P<end>\Z)
    )""",
    re.VERBOSE | re.ASCII,
)
_DURATION = re.compile(
    r"(?:(?P<y>\d+)y)?(?:(?P<w>\d+)w)?(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?"
    r"(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?",
    re.ASCII,
)
_MILLISECONDS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_MAX_MILLISECONDS = 2**63 // 10**6
"""About 292 years, as in Prometheus, which counts nanoseconds in 64 bits."""
_ESCAPE = re.compile(
    rb"\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})"
    rb"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<one>.))",
    re.DOTALL,
)
_CHARACTERS = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b"\\": b"\\",
}  # fmt: skip


class Token(NamedTuple):
    kind: str
    """duration, number, name, string, symbol or end."""
    text: str
    position: int
    """Of its first character, counted from 0."""


def split_tokens(text: str) -> list[Token]:
    """The tokens of an expression, the last one is the end. Comments and spaces are left out.
    Raises PromqlError."""
    tokens: list[Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None:
            raise PromqlError(_describe_wrong_text(text, at))
        kind = match.lastgroup or ""
        tokens.append(Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return tokens


def _describe_wrong_text(text: str, start: int) -> str:
    space = re.compile(r"(?:\s+|#[^\n]*)*", re.ASCII).match(text, start)
    at = space.end() if space else start
    what = f"{text[at]!r} is not expected"
    if text[at] in "\"'`":
        what = "A string has no end"
    elif text[at].isdigit():
        what = "A number or a duration is not valid"
    return f"{what} at character {at + 1}."


def parse_number(text: str) -> float:
    return float(int(text, 16)) if text[:2] in ("0x", "0X") else float(text)


def parse_duration(token: Token) -> float:
    """Seconds, of "1h30m" or "500ms". Raises PromqlError for units in another order, and for 0."""
    match = _DURATION.fullmatch(token.text)
    where = f"at character {token.position + 1}"
    if match is None:
        raise PromqlError(f"The units of a duration are not in the order y w d h m s ms {where}.")
    total = sum(
        int(number) * _MILLISECONDS[unit] for unit, number in match.groupdict("0").items()
    )  # fmt: skip
    if not 0 < total < _MAX_MILLISECONDS:
        raise PromqlError(f"A duration is 0 or too long {where}.")
    return total / 1000


def unquote(token: Token) -> str:
    """The text of a string. Bytes that are not UTF-8 become U+FFFD. Raises PromqlError for an
    escape that is none."""
    text, mark = token.text[1:-1], token.text[0]
    if mark == "`" or "\\" not in text:
        return text

    def replace(match: re.Match[bytes]) -> bytes:
        if (code := match["hex"]) is not None:
            return bytes([int(code, 16)])
        if (code := match["octal"]) is not None:
            return bytes([int(code, 8)])
        if (code := match["short"] or match["long"]) is not None:
            number = int(code, 16)
            if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
                return chr(number).encode()
        elif (one := match["one"]) in _CHARACTERS or one == mark.encode():
            return _CHARACTERS.get(one, one)
        raise PromqlError(f"A string at character {token.position + 1} has an unknown escape.")

    raw = text.encode("utf-8", "surrogatepass")
    return _ESCAPE.sub(replace, raw).decode("utf-8", "replace")
