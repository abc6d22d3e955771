"""The log file: written only when asked for, readable by its owner alone, free of secrets."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

_SECRETS = re.compile(
    r"(?P<scheme>\b(?:Bearer|Basic)\s+)[^\s'\",]+"
    r"|(?P<name>[\w-]*(?:token|password|secret|client-key-data)[\w-]*['\"]?\s*[:=]\s*['\"]?)"
    r"[^\s'\",}]+"
    r"|\beyJ[\w-]{10,}(?:\.[\w-]*)*",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` without tokens, passwords and keys, wherever they came from."""
    return _SECRETS.sub(lambda match: (match["scheme"] or match["name"] or "") + "[hidden]", text)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def silence() -> None:
    """Nothing is logged: what a library wrote to standard error would tear the screen."""
    logging.getLogger().addHandler(logging.NullHandler())
    logging.captureWarnings(True)


def write_to(file: Path) -> None:
    """Log to `file`, appending. Raises OSError."""
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    handler = logging.StreamHandler(os.fdopen(descriptor, "a", encoding="utf-8", buffering=1))
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in ("asyncio", "kubernetes_asyncio", "aiohttp", "urllib3", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
