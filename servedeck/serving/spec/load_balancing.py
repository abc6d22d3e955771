"""The fields of load balancing: their values and rules."""

from __future__ import annotations

import re
from collections.abc import Iterable

from servedeck.serving.spec.fields import parse_text
from servedeck.serving.spec.issues import Issue, error
from servedeck.serving.spec.templates.base import SpecLike

OFF = "off"
"""What the proxy does by itself."""
ROUND_ROBIN = "round-robin"
LEAST_REQUESTS = "least-requests"
RANDOM = "random"
HEADER = "header"
"""Requests with the same value of a header go to the same Pod: session affinity."""
PREFIX_AWARE = "prefix-aware"
"""The endpoint picker of an InferencePool chooses the Pod, by what its prefix cache holds."""
CUSTOM = "custom"
"""Something else that is set in the objects: read, never chosen."""

CHOICES = (OFF, ROUND_ROBIN, LEAST_REQUESTS, RANDOM, HEADER, PREFIX_AWARE)
LOAD_BALANCING_FIELDS = ("load_balancing", "load_balancing_header")

_CHOICES_TEXT = f"{', '.join(CHOICES[:-1])} or {CHOICES[-1]}"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
"""RFC 9110, section 5.6.2: what the name of a header may have."""
_MAX_HEADER_LENGTH = 256
"""HTTPHeaderName of the Gateway API."""


def parse_load_balancing(raw: object) -> str:
    """One of the values above; "" is "off", and so is YAML's false. Raises ValueError with one
    sentence."""
    if raw is False:
        return OFF
    text = parse_text(raw).strip().lower() if raw is not True else "on"
    if not text:
        return OFF
    if text in (*CHOICES, CUSTOM):
        return text
    raise ValueError(f"{text[:40]!r} is no load balancing; choose {_CHOICES_TEXT}.")


def validate_new(spec: SpecLike) -> Iterable[Issue]:
    """What a new serving cannot have, because only its objects say it."""
    if spec.load_balancing == CUSTOM:
        yield error(
            "load_balancing",
            "A new serving cannot have the load balancing 'custom', which servedeck does not know; "
            f"choose {_CHOICES_TEXT}.",
        )


def validate_prefix_aware(spec: SpecLike) -> Iterable[Issue]:
    if spec.load_balancing == PREFIX_AWARE and spec.revision_of:
        yield error(
            "load_balancing",
            f"A revision of {spec.revision_of} has no route of its own, and only an HTTPRoute can "
            "send to an InferencePool; choose another load balancing.",
        )


def validate_header(spec: SpecLike) -> Iterable[Issue]:
    name = spec.load_balancing_header
    if spec.load_balancing != HEADER:
        return
    if not name:
        yield error(
            "load_balancing_header",
            "The header of the session affinity is missing; enter a name such as X-Session-Id.",
        )
    elif not _TOKEN.fullmatch(name) or len(name) > _MAX_HEADER_LENGTH:
        yield error(
            "load_balancing_header",
            "HTTP does not allow this name of a header; use letters, digits and hyphens, such as "
            "X-Session-Id.",
        )
