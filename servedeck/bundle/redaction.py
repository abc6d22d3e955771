"""Redacts what goes into a bundle: objects, messages, log lines.

Besides what looks secret (`servedeck.serving.secret_text`, and `secret_values` for objects), it
masks known values wherever they appear: those of the Secrets that the Pods name, and those that an
object has under a name that looks secret, which a program may log without the name.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import html
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from servedeck.serving.objects.secret_values import mask_secret_values
from servedeck.serving.secret_text import LineMasker, mask_text
from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.text import MASK, sanitize

MIN_KNOWN_LENGTH = 6
"""Characters of a known value that is masked wherever it appears; a shorter one is a part of
ordinary words and numbers."""

_MIN_BEGUN_LENGTH = 4
"""Characters of the begin of a known value that are masked at the end of a cut line."""
_CUT_LINE = re.compile(r"(?s)(.*)( \u2026 \[\d+ more bytes\])")
"""A long line, as `servedeck.logs.line_splitter` cuts it."""
_MAX_ENCODED_LENGTH = 16 << 10
"""Characters of a value that is also sought in its encodings; no log line has a longer one."""
_MIN_BASE64_LENGTH = 7
_ORDINARY_WORDS = frozenset(
    {"enabled", "disabled", "required", "optional", "default", "internal", "external", "anonymous"}
)
"""Values under a name that looks secret (`AUTH=disabled`) that are none."""
_REFERENCE = re.compile(r"\$\(\w+\)")
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_PUBLIC_KEYS = frozenset({"ca.crt", "tls.crt", "namespace", "service-ca.crt"})
"""Keys of Secrets that hold certificates and names, which are public (kubernetes
pkg/apis/core/types.go, ServiceAccountRootCAKey, TLSCertKey, ServiceAccountNamespaceKey)."""


class Redactor:
    """Masks known values and what looks secret, and counts what it has masked."""

    def __init__(self, public: Iterable[str] = ()) -> None:
        """`public` are names that are no secret even if a Secret contains them: of the serving, its
        namespace, Pods, containers."""
        self.count = 0
        self._count_lock = threading.Lock()
        self._public = frozenset(public)
        self._known: set[str] = set()
        self._forms: tuple[str, ...] | None = None

    def add_count(self, count: int) -> None:
        """Count masked values: logs are redacted in several threads."""
        with self._count_lock:
            self.count += count

    # -- known values ---------------------------------------------------------------------------

    def add_secret(self, secret: Mapping[str, Any]) -> None:
        """Remember the values of a Secret as the API server returns it."""
        for key, encoded in as_mapping(secret, "data").items():
            if key in _PUBLIC_KEYS or not isinstance(encoded, str):
                continue
            try:
                raw = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                continue
            try:
                self.add_value(raw.decode())
            except UnicodeDecodeError:
                self._add_forms(_base64_forms(raw))

    def add_value(self, value: str) -> None:
        """Remember a value, what it consists of (lines, `NAME=value`, the leaves of a JSON text),
        and its usual encodings."""
        for one in {value, value.strip(), *_parts(value)}:
            if len(one) >= MIN_KNOWN_LENGTH and one not in self._public:
                self._add_forms({one, sanitize(one)})
                if len(one) <= _MAX_ENCODED_LENGTH:
                    self._add_forms(_encoded_forms(one))

    def learn_from(self, obj: Mapping[str, Any]) -> None:
        """Remember the values of an object that look secret by their name, so that they are masked
        where they appear without it; also of the object in an annotation (of `kubectl apply`).
        Raises RecursionError like `object`."""
        for value in _masked_values(obj, mask_secret_values(obj)[0]):
            if value.lstrip()[:1] in ("{", "["):
                with contextlib.suppress(ValueError, RecursionError):
                    inner = json.loads(value)
                    if isinstance(inner, dict):
                        self.learn_from(inner)
            elif value.lower() not in _ORDINARY_WORDS and not _REFERENCE.fullmatch(value):
                self.add_value(value)

    def _add_forms(self, forms: Iterable[str]) -> None:
        self._known.update(form for form in forms if len(form.strip()) >= MIN_KNOWN_LENGTH)
        self._known -= self._public
        self._forms = None

    def _sorted_forms(self) -> tuple[str, ...]:
        if self._forms is None:
            # The longest first: one value may be a part of another one.
            self._forms = tuple(sorted(self._known, key=lambda one: (-len(one), one)))
        return self._forms

    def mask_known(self, text: str) -> str:
        """The text without the known values."""
        for form in self._sorted_forms():
            if form in text:
                self.add_count(text.count(form))
                text = text.replace(form, MASK)
        return text

    def mask_begun(self, text: str) -> str:
        """The text without a known value that its end cuts off."""
        for form in self._sorted_forms():
            for length in range(min(len(form), len(text)) - 1, _MIN_BEGUN_LENGTH - 1, -1):
                if text.endswith(form[:length]):
                    return text[:-length] + MASK
        return text

    # -- redaction ------------------------------------------------------------------------------

    def text(self, text: str, *, names: bool = True) -> str:
        """The text, of one or several lines. Without `names`, what follows a name that looks secret
        stays: for texts made here, in which it is masked already."""
        text, count = mask_text(self.mask_known(text), names=names)
        self.add_count(count)
        return text

    def object(self, obj: Mapping[str, Any]) -> tuple[JsonObject, int]:
        """A Kubernetes object, and how many of its values are masked. Raises RecursionError if it
        is nested hundreds of levels deep."""
        before = self.count
        masked, count = mask_secret_values(obj)
        self.add_count(count)
        redacted: JsonObject = self._walk(masked, "", names=True)
        return redacted, self.count - before

    def data(self, value: Any) -> Any:
        """Decoded JSON that was made here, as in `text` without `names`."""
        return self._walk(value, "", names=False)

    def _walk(self, value: Any, key: str, *, names: bool) -> Any:
        if isinstance(value, str):
            if names and value and not value.startswith(MASK) and looks_secret(key):
                self.add_count(1)
                return MASK
            return self.text(value, names=names)
        if isinstance(value, dict):
            return {
                self.mask_known(name): self._walk(one, name, names=names)
                for name, one in value.items()
            }
        if isinstance(value, list):
            return [self._walk(one, "", names=names) for one in value]
        return value


class LogRedactor:
    """Redacts the lines of one log in their order."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._masker = LineMasker()

    def lines(self, lines: Iterable[str]) -> list[str]:
        """The lines, sanitized before."""
        lines = [self._mask_cut(line) if line.endswith(" more bytes]") else line for line in lines]
        # Known values are sought in all lines at once: each is one search in a long text.
        text = self._redactor.mask_known("\n".join(lines))
        before = self._masker.count
        masked = [self._masker.mask(line) for line in text.split("\n")]
        self._redactor.add_count(self._masker.count - before)
        return masked

    def _mask_cut(self, line: str) -> str:
        """A line that was cut, perhaps within a value."""
        found = _CUT_LINE.fullmatch(line)
        return line if found is None else self._redactor.mask_begun(found[1]) + found[2]


# -- parts and encodings of a value ---------------------------------------------------------------


def _parts(value: str) -> Iterator[str]:
    """Parts of a value that a program may log alone."""
    if value.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            yield from _leaves(json.loads(value))
    yield from _URL_PASSWORD.findall(value)
    lines = value.splitlines()
    for line in lines:
        if len(lines) > 1:
            yield line.strip()
        name, separator, rest = line.partition("=")
        if not separator:
            name, separator, rest = line.partition(": ")
        part = rest.strip().strip("\"'")
        if separator and looks_secret(name.strip().removeprefix("export "), part):
            yield part


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield from value.splitlines()
    elif isinstance(value, dict):
        for one in value.values():
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)


def _encoded_forms(value: str) -> Iterator[str]:
    """The value in JSON, in a URL, in HTML, in a Python literal, and in base64."""
    for ascii_only in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield json.dumps(escaped, ensure_ascii=ascii_only)[1:-1]
    yield repr(value)[1:-1]
    yield html.escape(value)
    data = value.encode("utf-8", "surrogatepass")
    for safe in ("", "/"):
        yield quote(data, safe=safe)
        yield quote_plus(data, safe=safe)
    yield from _base64_forms(data)


def _base64_forms(data: bytes) -> Iterator[str]:
    """Base64 of the data alone, and what is the same of it wherever it is in a longer text, such as
    `user:password` of basic authentication; in the standard and the URL-safe alphabet."""
    found = [base64.b64encode(data).decode()]
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode()
        # A character stands for six bits: the first ones and the last one depend on the neighbors.
        start = (offset * 8 + 5) // 6
        found.append(encoded[start : (offset + len(data)) * 8 // 6])
    for one in found:
        if len(one) >= _MIN_BASE64_LENGTH:
            yield one
            yield one.translate(str.maketrans("+/", "-_"))


def _masked_values(value: Any, masked: Any) -> Iterator[str]:
    """The texts of `value` that are MASK in `masked`, which has the same shape."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _masked_values(one, masked.get(key) if isinstance(masked, dict) else None)
    elif isinstance(value, list):
        if isinstance(masked, list) and len(masked) == len(value):
            for one, other in zip(value, masked, strict=True):
                yield from _masked_values(one, other)
    elif isinstance(value, str) and isinstance(masked, str) and value != masked:
        if masked == MASK:
            yield value
        else:
            kept = map(re.escape, masked.split(MASK))
            if found := re.fullmatch("(.+?)".join(kept), value, re.DOTALL):
                yield from found.groups()
