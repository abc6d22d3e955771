"""YAML as kubectl reads it: the first document of a file, and scalars whose type the field decides.

kubectl converts YAML to JSON by the Go type of each field (sigs.k8s.io/yaml), so that a token `1e5`
and a context `on` are text without quotes. Only where no type says more, as in an extension of a
cluster, a scalar has the type that it looks like; sources: go-yaml v2 resolve.go (YAML 1.1), and
what kubectl 1.34 gives a plugin.
"""

from __future__ import annotations

import re
from typing import Any, TextIO

import yaml

_TRUE_WORDS = frozenset({"y", "yes", "on", "true"})
_FALSE_WORDS = frozenset({"n", "no", "off", "false"})
_INT_PATTERN = re.compile(r"[-+]?(?:0x[0-9a-fA-F_]+|0b[01_]+|0o?[0-7_]+|[1-9][0-9_]*|0)")
_FLOAT_PATTERN = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


class PlainText(str):
    """A scalar that was written without quotes."""

    __slots__ = ()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Resolves only null and the merge key."""


def _construct_text(loader: Any, node: yaml.ScalarNode) -> str:
    text: str = loader.construct_scalar(node)
    return text if node.style else PlainText(text)


class _Dumper(yaml.SafeDumper):
    """Writes what `load_first_document` has read: plain scalars plain, and others in quotes."""


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {
        first: [
            (tag, regexp)
            for tag, regexp in resolvers
            if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
_Loader.add_constructor("tag:yaml.org,2002:str", _construct_text)
_Dumper.add_representer(
    PlainText, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text))
)
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else '"'
    ),
)


def load_first_document(content: bytes) -> Any:
    """The first document, as kubectl reads no other; None if there is none. Scalars are str,
    `PlainText` without quotes, or None. Raises yaml.YAMLError, ValueError and RecursionError."""
    loader = _Loader(content)
    try:
        return loader.get_data() if loader.check_data() else None
    finally:
        loader.dispose()


def dump_document(document: Any, file: TextIO) -> None:
    """Write what `load_first_document` returned, with scalars that are read as before."""
    yaml.dump(document, file, _Dumper, default_flow_style=False, sort_keys=False)


def to_builtins(value: Any) -> Any:
    """The same with str in place of `PlainText`."""
    if isinstance(value, dict):
        return {to_builtins(key): to_builtins(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_builtins(item) for item in value]
    return str(value) if isinstance(value, PlainText) else value


def parse_bool(text: str) -> bool | None:
    """The value of a word that YAML 1.1 takes for a boolean; None for other text."""
    word = text.lower()
    return True if word in _TRUE_WORDS else False if word in _FALSE_WORDS else None


def resolve_types(value: Any) -> Any:
    """The same with plain scalars as bool, int and float where they look like one, for JSON."""
    if isinstance(value, dict):
        return {_resolve_key(key): resolve_types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve_types(item) for item in value]
    return _resolve_scalar(value) if isinstance(value, PlainText) else value


def _resolve_key(key: object) -> str:
    resolved = _resolve_scalar(key) if isinstance(key, PlainText) else key
    return str(resolved).lower() if isinstance(resolved, bool) else str(key)


def _resolve_scalar(text: PlainText) -> object:
    flag = parse_bool(text)
    if flag is not None:
        return flag
    digits = text.replace("_", "")
    if _INT_PATTERN.fullmatch(text):
        unsigned = digits.lstrip("+-")
        is_octal = len(unsigned) > 1 and unsigned[0] == "0" and unsigned[1].isdecimal()
        number = int(digits, 8) if is_octal else int(digits, 0)
        return number if -(1 << 63) <= number < 1 << 64 else float(number)
    if _FLOAT_PATTERN.fullmatch(digits):
        return float(digits)
    return str(text)
