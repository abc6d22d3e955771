"""Parse environment variables: KEY=VALUE, pasted lines and env files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from servedeck.serving.spec.names import validate_env_name
from servedeck.serving.text import MASK

_EXPORT_PATTERN = re.compile(r"export[ \t]+")
_ESCAPE_SEQUENCES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}

_SECRET_WORDS = {
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "apikey",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "bearer",
    "cookie",
}
_SECRET_KEY_PREFIXES = {
    "api",
    "access",
    "private",
    "secret",
    "encryption",
    "signing",
    "license",
    "account",
    "master",
    "admin",
    "service",
    "storage",
    "shared",
    "session",
    "ssh",
    "jwt",
}
_NON_SECRET_SUFFIXES = {
    "file",
    "path",
    "dir",
    "url",
    "uri",
    "name",
    "id",
    "ids",
    "type",
    "mode",
    "ttl",
    "enabled",
    "max",
    "count",
    "length",
    "limit",
    "size",
    "usage",
}
_TOKENS = (
    r"hf_[A-Za-z0-9]{10,2000}|sk-[A-Za-z0-9_-]{16,2000}|gh[pousr]_[A-Za-z0-9]{20,2000}"
    r"|github_pat_\w{20,2000}|glpat-[\w-]{16,2000}|xox[abeprs]-[\w-]{10,2000}"
    r"|xapp-[\w-]{10,2000}|A[KS]IA[0-9A-Z]{16}|nvapi-[\w-]{16,2000}|AIza[\w-]{35}"
    r"|ya29\.[\w-]{16,2000}|gsk_[A-Za-z0-9]{20,2000}|r8_[A-Za-z0-9]{20,2000}"
    r"|npm_[A-Za-z0-9]{30,2000}|pypi-[\w-]{16,2000}|dckr_pat_[\w-]{16,2000}"
    r"|hvs\.[\w-]{16,2000}|glsa_\w{20,2000}|eyJ[\w-]{8,2000}+\.[\w-]{8,16000}+\.[\w-]*"
)
"""Tokens of known services by their prefix, and JSON Web Tokens. The lengths are limited, so that a
long line of a log is searched in linear time."""

PRIVATE_KEY_BEGIN = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
"""The first line of a private key (RFC 7468; of OpenPGP, RFC 4880 6.2)."""

SECRET_TOKEN_PATTERN = re.compile(_TOKENS)
"""A token within a text. What is before it must be checked with `begins_word`: as a part of this
pattern, that takes four times as long."""

_WORD_BEGIN = re.compile(r"(?:^|[^A-Za-z0-9]|\\[nrt]|%[0-9A-Fa-f][0-9A-Fa-f])\Z")
_SECRET_VALUE_PATTERN = re.compile(
    # Certificates, parameters and comments may stand before a key.
    rf"{_TOKENS}|(?:.*\n[ \t]*)?{PRIVATE_KEY_BEGIN}.*"
    r"|[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@.*",
    re.DOTALL,
)
_WORD_END_PATTERN = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")


_SEPARATOR_PATTERN = re.compile(r"""(?:[\s'",;]|\\\r?\n)+""")


@dataclass(frozen=True, slots=True)
class Assignment:
    line: int
    """1-based line on which the assignment starts."""
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class InvalidLine:
    line: int
    text: str
    """The original line, so that it can be fixed and no input is lost."""
    message: str


@dataclass(frozen=True, slots=True)
class ParsedEnv:
    assignments: tuple[Assignment, ...]
    invalid_lines: tuple[InvalidLine, ...]


def parse_env(text: str) -> ParsedEnv:
    """Parse an env file or pasted lines.

    Blank lines and lines that start with # are skipped; a leading `export` is removed. A value is
    plain (ends at a # after whitespace), 'single quoted' (literal) or "double quoted" (with the
    escapes \\n, \\r, \\t, \\", \\\\, \\$); quoted values may span several lines. Nothing is
    expanded. A duplicate name is kept: the validation of the serving reports it.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    found: list[Assignment] = []
    bad: list[InvalidLine] = []
    at = 0
    while at < len(lines):
        start = at
        line = lines[at].strip(" \t\r\f\v")
        at += 1
        if not line or line.startswith("#"):
            continue
        body = _EXPORT_PATTERN.sub("", line, count=1) if _EXPORT_PATTERN.match(line) else line
        name, equals, rest = body.partition("=")
        name, rest = name.strip(), rest.lstrip(" \t")
        message = ""
        value = ""
        if not equals:
            message = f"{_shorten_quote(line)} has no '='; enter NAME=VALUE."
        elif message := validate_env_name(name):
            pass
        elif rest[:1] in ("'", '"'):
            # The closing quote may be on a later line; the first line is kept from its quote on.
            raw = lines[start]
            block = raw[raw.index("=") + 1 :].lstrip(" \t")
            ended = _parse_quoted(block)
            while ended is None and at < len(lines):
                block += "\n" + lines[at]
                at += 1
                ended = _parse_quoted(block)
            stray = ended is not None and _has_trailing_text(ended[1])
            if ended is None or (stray and at > start + 1):
                at = start + 1  # only this line is invalid; parse the following lines
                message = f"The quotation mark {rest[0]} is not closed; close it or remove it."
            else:
                value = ended[0]
                if stray:
                    message = "Text follows the closing quotation mark; quote the whole value."
        else:
            value = _strip_comment(rest)
        if message:
            bad.append(InvalidLine(start + 1, "\n".join(lines[start:at]), message))
            continue
        found.append(Assignment(start + 1, name, value))
    return ParsedEnv(tuple(found), tuple(bad))


def looks_secret(name: str, value: str = "") -> bool:
    """Whether a variable's value should be masked, by its name (HF_TOKEN, AWS_SECRET_ACCESS_KEY) or
    by the shape of its value (a token of a known service, a private key, a URL with a password).
    MAX_TOKENS, TOKENIZER, PUBLIC_KEY and TOKEN_FILE are not secrets."""
    if value and _SECRET_VALUE_PATTERN.fullmatch(value.strip()):
        return True
    if not name:
        return False
    words = [word.lower() for word in _WORD_END_PATTERN.split(name) if word]
    if not words or words[-1] in _NON_SECRET_SUFFIXES:
        return False
    if any(word in _SECRET_WORDS for word in words) or (words[-1] == "pass" and len(words) > 1):
        return True
    return any(
        word in ("key", "keys") and before in _SECRET_KEY_PREFIXES
        for before, word in pairwise(words)
    )


def begins_word(text: str, at: int) -> bool:
    """Whether a word begins there: also after an escaped newline, or character of a URL."""
    return _WORD_BEGIN.search(text, max(0, at - 3), at) is not None


def contains_secret(text: str) -> bool:
    """Whether a command line or another text contains something that looks secret: a token of a
    known service anywhere in it, or a value after --api-key, TOKEN= and similar that is not
    masked."""
    words = [word for word in _SEPARATOR_PATTERN.split(text) if word]
    for word, following in pairwise([*words, ""]):
        name, equals, value = word.partition("=")
        value = value if equals else following
        name = name.lstrip("-").replace("-", "_")
        if looks_secret("", word) or looks_secret("", value):
            return True
        if (equals or word.startswith("-")) and value not in ("", MASK) and looks_secret(name):
            return True
    return False


def _parse_quoted(block: str) -> tuple[str, str] | None:
    """Value of a text that starts with a quote, and the remaining text; None if the quote is not
    closed."""
    quote = block[0]
    if quote == "'":
        end = block.find("'", 1)
        return None if end < 0 else (block[1:end], block[end + 1 :])
    out: list[str] = []
    at = 1
    while at < len(block):
        character = block[at]
        if character == '"':
            return "".join(out), block[at + 1 :]
        if character == "\\" and at + 1 < len(block):
            following = block[at + 1]
            out.append(_ESCAPE_SEQUENCES.get(following, "\\" + following))
            at += 2
            continue
        out.append(character)
        at += 1
    return None


def _has_trailing_text(tail: str) -> bool:
    """Whether anything except a comment follows a closing quote."""
    return bool(tail.strip()) and not tail.lstrip(" \t").startswith("#")


def _strip_comment(rest: str) -> str:
    comment = re.search(r"(?:^|[ \t])#", rest)
    return (rest[: comment.start()] if comment else rest).rstrip(" \t\r")


def _shorten_quote(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
