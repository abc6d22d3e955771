"""Validation of names and labels. Source: kubernetes apimachinery pkg/util/validation."""

from __future__ import annotations

import re
from collections.abc import Callable

_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_LABEL_1123 = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_1123 = rf"{_LABEL_1123}(\.{_LABEL_1123})*"

_QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    f"validation is '{_QUALIFIED}')"
)
_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',"
    f"  or '12345', regex used for validation is '{_LABEL_VALUE}')"
)
_LABEL_1123_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "
    f"used for validation is '{_LABEL_1123}')"
)
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    f"for validation is '{_SUBDOMAIN_1123}')"
)

NameRule = Callable[[str], list[str]]


def _make_rule(pattern: str, message: str, longest: int) -> NameRule:
    matches = re.compile(pattern).fullmatch

    def check(text: str) -> list[str]:
        errors = [f"must be no more than {longest} bytes"] if len(text) > longest else []
        return errors if matches(text) else [*errors, message]

    return check


dns_1123_label = _make_rule(_LABEL_1123, _LABEL_1123_MESSAGE, 63)
dns_1123_subdomain = _make_rule(_SUBDOMAIN_1123, _SUBDOMAIN_MESSAGE, 253)
label_value = _make_rule(_LABEL_VALUE, _VALUE_MESSAGE, 63)
_qualified_part = _make_rule(_QUALIFIED, _QUALIFIED_MESSAGE, 63)


def qualified_name(text: str) -> list[str]:
    """Errors of the key of a label or an annotation, `[prefix/]name`."""
    prefix, slash, name = text.rpartition("/")
    errors = []
    if slash:
        if not prefix:
            errors.append("prefix part must be non-empty")
        elif "/" in prefix:
            return [
                f"a qualified name {_QUALIFIED_MESSAGE} with an optional DNS subdomain prefix and "
                "'/' (e.g. 'example.com/MyName')"
            ]
        else:
            errors += [f"prefix part {message}" for message in dns_1123_subdomain(prefix)]
    if not name:
        errors.append("name part must be non-empty")
    errors += [f"name part {message}" for message in _qualified_part(name)]
    return errors


def env_var_name(text: str) -> list[str]:
    """Errors of the name of an environment variable (IsRelaxedEnvVarName)."""
    if all(" " <= char <= "~" and char != "=" for char in text):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other "
        "than '='"
    ]
