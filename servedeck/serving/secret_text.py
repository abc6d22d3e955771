"""Masks what looks secret in free text: log lines, messages of Events, files in a ConfigMap.

What counts as secret is decided by `servedeck.serving.spec.env_file`: the name before a value, or
the shape of a value. Of what is left after a mask, more rather than less is masked: to the end of
the word, to the end of the quotation, of a header to the end of the line.
"""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase

from servedeck.serving.spec.env_file import (
    PRIVATE_KEY_BEGIN,
    SECRET_TOKEN_PATTERN,
    begins_word,
    looks_secret,
)
from servedeck.serving.text import MASK

_PRIVATE_KEY_END = r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_PRIVATE_KEY = re.compile(rf"{PRIVATE_KEY_BEGIN}.*?(?:{_PRIVATE_KEY_END}|\Z)", re.DOTALL)
_KEY_BEGIN = re.compile(PRIVATE_KEY_BEGIN)
_KEY_END = re.compile(_PRIVATE_KEY_END)
_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{60,76}={0,2}")
"""A line of a PEM file (RFC 7468, 64 characters; OpenPGP, up to 76)."""

_MAX_KEY_LINES = 400
"""Lines after which a private key without an end is taken for a mention of one. A key of 16,384
bits has 200."""
_KEY_HEADER_LINES = 4
"""Lines after the begin of a key that may be headers: Proc-Type, DEK-Info, Version."""
_KEY_WORD = re.compile(r"[A-Za-z0-9+/=]{16,}")

_URL_PASSWORD = re.compile(
    r"(?P<before>[A-Za-z][A-Za-z0-9+.-]{0,30}://[^/\s:@'\"<>]{0,200}:)[^/\s'\"<>]+(?=@)"
)
_URL_TOKEN = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/\s:@'\"<>]{20,}(?=@)")
"""A token in place of a user, https://TOKEN@host; names of users are shorter."""

_CREDENTIALS = re.compile(r"(?i:\b(?:bearer|basic)[ \t]+)(?P<value>[A-Za-z0-9._~+/=-]{8,})")
_MAX_WORD = 24
"""Characters of a word of a sentence that may follow "Bearer" or "Basic"."""

_KEYWORDS = (
    "token",
    "secret",
    "pass",
    "pwd",
    "credential",
    "auth",
    "bearer",
    "cookie",
    "key",
    "signature",
)
"""Parts of names that may be secret. A pattern of names would be quadratic in the length of a line,
and takes five times as long."""
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_NAME_REST = re.compile(r"[\w.-]{0,64}")
_MAX_NAME = 64
_NAME_CHARACTERS = frozenset("_.-")

_SEPARATOR = re.compile(
    r"""\\*["'][ \t]{0,8}(?:=>?|:)[ \t]{0,8}"""  # "name": value, 'name' => value
    r"""|[ \t]{0,8}=>?[ \t]{0,8}"""  # name=value
    r"""|:(?=\\*["'])|:[ \t]{1,8}"""  # name:"value", name: value; not image:tag
)
_FLAG_SEPARATOR = re.compile(r"""\\*["']?,?[ \t]{1,8}(?!-)|\\*["'],[ \t]{0,8}(?!-)""")
"""Between a flag and its value: `--flag value`, `'--flag', 'value'`."""
_VALUE = re.compile(
    r"""\[[^\]\n]{0,1024}\]"""
    r"""|(?P<escaped>\\+["'])[^\n]*?(?P=escaped)"""
    r"""|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'"""
    r"""|\\*["'][^\n]*"""  # a quotation without an end
    r"""|[^\s]+"""
)
_HEADER_VALUE = re.compile(r"""\\*["']?[^"'\n]+""")
_HEADERS = ("authorization", "cookie")
"""Headers whose value has several words; also proxy-authorization and set-cookie."""
_SIGNATURES = ("signature",)
"""Names in the URL of a signed request: X-Amz-Signature, X-Goog-Signature."""

_HARMLESS = frozenset(
    {"", "true", "false", "null", "none", "nil", "yes", "no", "<none>", "undefined", "[]", "{}"}
)
_REFERENCE = re.compile(r"\$\(\w+\)|\$\{\w+\}|\$[A-Z_][A-Z0-9_]*")
_PLACEHOLDER = re.compile(r"<[^<>\s]{1,40}>|\[[A-Z]{2,10}\]")
"""A special token of a model (`<|im_end|>`, `[PAD]`), or a text such as `<your-token>`."""
_NUMBER = re.compile(r"[0-9]{1,7}(?:\.[0-9]+)?")
_EDGES = "\"'\\,;()[]{} \t"


def mask_text(text: str, *, names: bool = True) -> tuple[str, int]:
    """The text with MASK instead of what looks secret, and how many times.

    Masked are private keys, tokens of known services, JSON Web Tokens, passwords in URLs and
    credentials after "Bearer" and "Basic"; with `names`, also the value after a name or a flag that
    looks secret (`password=x`, `"apiKey": "x"`, `--api-key x`, `Authorization: x`).
    """
    count = 0

    def mask(found: re.Match[str]) -> str:
        nonlocal count
        before = found.groupdict().get("before") or ""
        count += 1
        return f"{before}{MASK}"

    def mask_credentials(found: re.Match[str]) -> str:
        nonlocal count
        value = found["value"]
        if _is_word(value):
            return found[0]
        count += 1
        return found[0][: -len(value)] + MASK

    if "-----BEGIN" in text:
        text = _PRIVATE_KEY.sub(mask, text)
    if names:
        text, named = _mask_named(text)
        count += named
    text, tokens = _mask_tokens(text)
    count += tokens
    if "@" in text and "://" in text:
        text = _URL_TOKEN.sub(mask, _URL_PASSWORD.sub(mask, text))
    return _CREDENTIALS.sub(mask_credentials, text), count


def _mask_tokens(text: str) -> tuple[str, int]:
    found = SECRET_TOKEN_PATTERN.search(text)
    pieces: list[str] = []
    end = 0
    while found is not None:
        at = found.start() + 1
        if begins_word(text, found.start()):
            pieces += [text[end : found.start()], MASK]
            at = end = found.end()
        found = SECRET_TOKEN_PATTERN.search(text, at)
    return "".join((*pieces, text[end:])), len(pieces) // 2


def _is_word(text: str) -> bool:
    is_plain = text.islower() or text.isupper() or text.istitle()
    return text.isalpha() and is_plain and len(text) <= _MAX_WORD


def _mask_named(text: str) -> tuple[str, int]:
    pieces: list[str] = []
    end = count = 0
    for at in _keyword_positions(text):
        rest = _NAME_REST.match(text, at)
        if at < end or rest is None:
            continue
        name = _name_before(text, at) + rest[0].rstrip(".")
        found = _value_after(text, rest.end(), name)
        if found is None or not _is_secret_name(name):
            continue
        start, stop = found
        value = text[start:stop]
        if _is_harmless(value) or ("token" in name.lower() and _is_number(value)):
            continue
        opening, closing = _quotes(value)
        pieces += [text[end:start], opening, MASK, closing]
        end = stop
        count += 1
    if not count:
        return text, 0
    return "".join((*pieces, text[end:])), count


def _keyword_positions(text: str) -> list[int]:
    """Where names begin that may be secret, or parts of them."""
    # Of other characters, lower case may be longer.
    text = text.lower() if text.isascii() else text.translate(_LOWER)
    positions = []
    for keyword in _KEYWORDS:
        at = text.find(keyword)
        while at >= 0:
            positions.append(at)
            at = text.find(keyword, at + len(keyword))
    return sorted(positions)


def _name_before(text: str, end: int) -> str:
    start = end
    while start > max(0, end - _MAX_NAME) and (
        text[start - 1].isalnum() or text[start - 1] in _NAME_CHARACTERS
    ):
        start -= 1
    return text[start:end]


def _value_after(text: str, at: int, name: str) -> tuple[int, int] | None:
    """Where the value of a name is that ends at `at`; None if there is none."""
    separator = _SEPARATOR.match(text, at)
    if separator is None and name.startswith("-"):
        separator = _FLAG_SEPARATOR.match(text, at)
    if separator is None:
        return None
    is_header = name.lower().endswith(_HEADERS)
    value = (_HEADER_VALUE if is_header else _VALUE).match(text, separator.end())
    return (value.start(), value.end()) if value is not None else None


def _is_secret_name(name: str) -> bool:
    return looks_secret(name) or name.lower().endswith(_SIGNATURES)


def _is_harmless(value: str) -> bool:
    """Whether the value says that there is none, is masked already, or refers to a variable."""
    inner = value.strip(_EDGES)
    if inner.lower() in _HARMLESS or inner.startswith(MASK):
        return True
    written = value.strip("\"', \t")
    return (
        not inner.strip("*•.")
        or _PLACEHOLDER.fullmatch(written) is not None
        or _REFERENCE.fullmatch(written) is not None
    )


def _is_number(value: str) -> bool:
    """Whether a value after a name with "token" is a number of tokens (`#new-token: 7`)."""
    return _NUMBER.fullmatch(value.strip(_EDGES)) is not None


def _quotes(value: str) -> tuple[str, str]:
    """What stays around a masked value: its quotes or brackets."""
    opening = value[: len(value) - len(value.lstrip("\\"))]
    quote = value[len(opening) : len(opening) + 1]
    if quote == "[" and value.endswith("]"):
        return "[", "]"
    if quote and quote in "\"'":
        ends = value.endswith(opening + quote) and len(value) > len(opening + quote)
        return opening + quote, opening + quote if ends else ""
    return "", ""


class LineMasker:
    """Masks the lines of one log in their order: a private key may span several of them."""

    def __init__(self) -> None:
        self.count = 0
        self._key_lines = 0
        """Number of the current line of a private key; 0 outside of one."""

    def mask(self, line: str) -> str:
        """The line, which may begin with its timestamp."""
        head, text = _split_timestamp(line)
        if self._key_lines:
            is_end = _KEY_END.search(text) is not None
            if is_end or self._continues_key(text):
                self._key_lines = 0 if is_end else self._key_lines + 1
                return f"{head}{self._masked()}"
            self._key_lines = 0
        if "-----BEGIN" in text:
            begins = list(_KEY_BEGIN.finditer(text))
            if begins and _KEY_END.search(text, begins[-1].end()) is None:
                self._key_lines = 1
        elif _KEY_LINE.fullmatch(text.strip()):
            # The begin of the key may be before the first line that was read.
            return f"{head}{self._masked()}"
        masked, count = mask_text(text)
        self.count += count
        return head + masked

    def _continues_key(self, text: str) -> bool:
        if self._key_lines > _MAX_KEY_LINES:
            return False
        return self._key_lines <= _KEY_HEADER_LINES or _KEY_WORD.search(text) is not None

    def _masked(self) -> str:
        self.count += 1
        return MASK


def _split_timestamp(line: str) -> tuple[str, str]:
    """The timestamp of the kubelet with its blank, "" without one, and the rest."""
    head, blank, rest = line.partition(" ")
    if blank and head[10:11] == "T" and head[4:5] == "-" and head[:4].isdigit():
        return head + blank, rest
    return "", line
