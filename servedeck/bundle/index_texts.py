"""Sentences of the index page: limits, warnings, what was redacted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from servedeck.bundle.options import BundleOptions
from servedeck.bundle.redaction import MIN_KNOWN_LENGTH
from servedeck.serving.duration import format_duration
from servedeck.serving.quantity import format_quantity
from servedeck.serving.text import format_count

_MAX_NAMES = 10


def describe_limits(options: BundleOptions) -> str:
    """ "At most 100Mi before compression and 2m; of each log the last 10,000 lines."."""
    size = format_quantity(options.max_bytes, binary=True)
    tail = "as much as fits"
    if options.tail_lines is not None:
        tail = f"the last {format_count(options.tail_lines, 'line')}"
    elif options.tail_bytes is not None:
        tail = f"the last {format_quantity(options.tail_bytes, binary=True)}"
    since = f" of the last {format_duration(options.since)}" if options.since is not None else ""
    return (
        f"At most {size} before compression and {format_duration(options.timeout)};"
        f" of each log {tail}{since}."
    )


def describe_warnings(lost: str, unread_secrets: Sequence[str]) -> Iterator[str]:
    """What a reader must know first. `lost` is why the API server was lost, "" if it was not."""
    if lost:
        yield f"The API server was lost while this bundle was made, so it is not complete: {lost}"
    if unread_secrets:
        yield (
            f"The values of {_names('Secret', unread_secrets)} could not be read, so they were"
            " redacted only where they look secret. Check the logs before you share this bundle."
        )


def describe_redaction(count: int, read_secrets: Sequence[str]) -> Iterator[str]:
    """What was redacted, and what was not. `read_secrets` are those whose values are known."""
    yield f"{format_count(count, 'value')} redacted in all files."
    yield (
        "By name: the values of variables, flags, HTTP headers, annotations, and in logs and"
        " messages of anything, whose name looks secret (token, password, API key, ...)."
    )
    yield (
        "By pattern: tokens of known services, JSON Web Tokens, private keys, passwords in URLs,"
        " bearer and basic credentials."
    )
    if read_secrets:
        yield (
            f"By value: what {_names('Secret', read_secrets)} contained, and its usual encodings,"
            f" from {MIN_KNOWN_LENGTH} characters on. No Secret is in the bundle."
        )
    yield "Not redacted: names of objects, images, models and hosts, IP addresses, prompts."


def _names(noun: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
    return f"{noun if len(names) == 1 else noun + 's'} {shown}"
