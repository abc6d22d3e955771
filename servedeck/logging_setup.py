"""The log file: written only if requested, readable by its owner only, without secrets."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import sys
from pathlib import Path
from typing import TextIO

MAX_ENTRY_LENGTH = 200_000
"""Maximum number of characters of one entry; a longer one contains a whole document."""
_REDACTED = "[hidden]"

# Names of secrets with the text after them: a quoted text to its end (or the end of the line), the
# same within a quoted text, or one word. Every quantifier is bounded or possessive, or consumes its
# match, so the search is linear in the text.
_SENSITIVE_NAMES = (
    r"(?:token|passw(?:or)?d|passphrase|secret|credential|authorization|apikey|[_-]key)[\w-]{0,40}"
)
_SECRET_PATTERN = re.compile(
    r"-----BEGIN [A-Z0-9 ]{1,40}-----(?s:.)*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)"
    r"|\bLS0tLS1CRUdJTi[\w+/=]*"  # the same in base64, as in kubeconfigs
    r"|(?<=://)(?P<user>[^\s/'\"]{1,1024}@)?(?P<host>[^\s/?#'\"<>]{1,255})"
    r"(?:/(?![^\s'\"<>])|(?P<path>[/?#][^\s'\"<>]*))?"
    rf"|(?P<name>(?<!-)--[\w-]{{0,40}}?{_SENSITIVE_NAMES}['\"]?\s{{0,8}}[,:=]?\s{{0,8}}"
    rf"|{_SENSITIVE_NAMES}\\{{0,4}}['\"]?\s{{0,8}}[:=]{{1,2}}>?\s{{0,8}})"
    r"(?:(?P<open>[bru]{0,2}(?P<quote>['\"]))"
    r"(?:\\.|(?!(?P=quote))[^\\\n])*+(?P<close>(?P=quote))?"
    r"|(?P<escaped>\\{1,4}['\"])[^'\"\\\n]*"
    r"|(?P<kind>(?:Bearer|Basic)\s{1,8})?\S+)"
    r"|(?P<scheme>\b(?:Bearer|Basic)\s{1,8})[^\s'\",]+"
    r"|\beyJ[\w-]{10,}(?:\.[\w-]*)*"
    r"|\b(?:sk-|hf_|gh[opsu]_|glpat-|nvapi-)[\w-]{10,}",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` without tokens, passwords and keys from any source, and without paths of URLs, which
    may contain a token; truncated if it is very long."""
    if len(text) > MAX_ENTRY_LENGTH:
        text = f"{text[:MAX_ENTRY_LENGTH]}… ({len(text) - MAX_ENTRY_LENGTH} characters more)"
    return _SECRET_PATTERN.sub(_redact_match, text)


def _redact_match(match: re.Match[str]) -> str:
    if host := match["host"]:
        user = f"{_REDACTED}@" if match["user"] else ""
        path = f"/{_REDACTED}" if match["path"] else ""
        return f"{user}{host}{path or match[0][len(match['user'] or '') + len(host) :]}"
    kept = ("name", "open", "escaped", "kind", "scheme")
    before = "".join(match[group] or "" for group in kept)
    return f"{before}{_REDACTED}{match['close'] or ''}"


QUIET_LOGGERS = ("asyncio", "kubernetes_asyncio", "aiohttp", "urllib3", "httpx", "httpcore")
"""Loggers of libraries that say too much below a warning."""


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _SafeStreamHandler(logging.StreamHandler[TextIO]):
    """Drops entries that cannot be written because the disk is full: logging would print them
    unmasked, with a traceback, over the screen."""

    def handleError(self, record: logging.LogRecord) -> None: ...  # noqa: N802


def disable_logging() -> None:
    """Disable logging: output of a library on standard error would corrupt the screen."""
    logging.getLogger().addHandler(logging.NullHandler())
    logging.captureWarnings(True)


def log_to_file(path: Path) -> None:
    """Log to the file `path`, appending; only its owner can read it then. Raises OSError, also for
    a symbolic link: in a directory of others it may lead to any file."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)
    _log_to(os.fdopen(descriptor, "a", encoding="utf-8", buffering=1))


def log_to_stderr() -> None:
    """Log to standard error: for a component that runs in the cluster."""
    _log_to(sys.stderr)


def _log_to(stream: TextIO) -> None:
    handler = _SafeStreamHandler(stream)
    handler.setFormatter(_RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
