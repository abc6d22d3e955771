"""The warnings that the API server and its admission webhooks add to a response."""

from __future__ import annotations

import re
from collections.abc import Mapping

from servedeck.cluster.http.errors import clean_message

# RFC 7234, section 5.5; the API server sends code 299 and the agent "-" (kubernetes apimachinery
# pkg/util/net/http.go, NewWarningHeader).
_WARNING_PATTERN = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')
_ESCAPE_PATTERN = re.compile(r"\\(.)")


def read_warnings(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The texts of the Warning headers, sanitized, without repetitions."""
    get_all = getattr(headers, "getall", None)
    values = get_all("Warning", ()) if get_all is not None else [headers.get("Warning", "")]
    found = (text for value in values for text in _WARNING_PATTERN.findall(value))
    return tuple(dict.fromkeys(clean_message(_ESCAPE_PATTERN.sub(r"\1", one)) for one in found))
