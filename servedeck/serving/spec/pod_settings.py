"""Settings of a serving's Pods that are words: what they may say, and how they are compared.

A node selector is `key=value`, a toleration what `kubectl taint` calls a taint (`key=value:Effect`,
`key:Effect`), a resource claim `name=template/TEMPLATE` or `name=claim/CLAIM`, a time of a probe
`period=10`. In a form the words are separated by spaces or commas, in a document they may be a
list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from servedeck.serving.spec.fields import format_value, parse_text

Words = tuple[str, ...]

POD_SETTINGS = (
    "readiness_times",
    "liveness_times",
    "shared_memory",
    "model_cache_path",
    "fs_group",
    "node_selector",
    "tolerations",
    "runtime_class",
    "image_pull_secrets",
    "service_account",
    "resource_claims",
)
"""Fields of a serving that a document which was written before them leaves as they are."""
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
"""Of a taint (kubernetes core/v1, TaintEffect)."""
_SEPARATOR = re.compile(r"[\s,]+")
_SECONDS_PATTERN = re.compile(r"(\d{1,10})s?", re.ASCII)


def split_words(raw: object) -> Words:
    """The words of a text or of a list. Raises ValueError with one sentence."""
    if isinstance(raw, (list, tuple)):
        return tuple(word for one in raw for word in split_words(one))
    if isinstance(raw, Mapping):
        raise ValueError("This must be words, not a mapping; write it as a list.")
    return tuple(word for word in _SEPARATOR.split(parse_text(raw)) if word)


def is_word(text: str) -> bool:
    """Whether the text is one word of such a field."""
    return split_words(text) == (text,)


# -- node selector ------------------------------------------------------------------------------


def parse_node_selector(raw: object) -> Words:
    """`key=value` in the order of the keys, which has no meaning; also of a mapping, whose values
    are text. Raises ValueError with one sentence."""
    if isinstance(raw, Mapping):
        raw = [f"{_label_text(key)}={_label_text(value)}" for key, value in raw.items()]
    return tuple(sorted(split_words(raw)))


def _label_text(raw: object) -> str:
    """A key or a value of a label. `true` and `1.10` without quotes are another type in YAML, and
    have lost how they were written: `1.1`."""
    if isinstance(raw, (bool, int, float)):
        shown = format_value(raw)
        raise ValueError(
            f"{shown} is no text, as a node's labels are; write it in quotes, '{shown}', or as it "
            "is on the node."
        )
    return parse_text(raw)


# -- tolerations --------------------------------------------------------------------------------


class Toleration(NamedTuple):
    """One toleration. An absent value tolerates all values of the key."""

    key: str
    """"" for every key."""
    value: str | None
    effect: str
    """"" for every effect."""
    seconds: int | None = None
    """How long a Pod stays on a node that gets the taint; None for ever."""

    def __str__(self) -> str:
        head = self.key if self.value is None else f"{self.key}={self.value}"
        if self.seconds is not None:
            return f"{head}:{self.effect}:{self.seconds}s"
        return f"{head}:{self.effect}" if self.effect or not head else head


def read_toleration(word: str) -> Toleration | None:
    """The toleration of a word; None if it is none. Names are not checked."""
    head, *parts = word.split(":")
    if len(parts) > 2:
        return None
    effect = parts[0] if parts else ""
    effect = next((one for one in EFFECTS if one.lower() == effect.lower()), effect)
    seconds = None
    if len(parts) == 2:
        if (match := _SECONDS_PATTERN.fullmatch(parts[1])) is None:
            return None
        seconds = int(match[1])
    key, equals, value = head.partition("=")
    return Toleration("" if key == "*" else key, value if equals else None, effect, seconds)


def parse_tolerations(raw: object) -> Words:
    """Each in its usual form: `*` is every key, and an effect may be in any case."""
    return tuple(
        word if (found := read_toleration(word)) is None else str(found)
        for word in split_words(raw)
    )


# -- resource claims ----------------------------------------------------------------------------


class ResourceClaim(NamedTuple):
    """A claim of a Pod for devices of dynamic resource allocation (kubernetes core/v1,
    PodResourceClaim)."""

    name: str
    kind: str
    """"template" or "claim"."""
    source: str
    """Name of a ResourceClaimTemplate or of a ResourceClaim of the namespace."""

    def __str__(self) -> str:
        return f"{self.name}={self.kind}/{self.source}"


CLAIM_KINDS = {"template": "resourceClaimTemplateName", "claim": "resourceClaimName"}
"""Field of a PodResourceClaim by the kind of its source."""


def read_resource_claim(word: str) -> ResourceClaim | None:
    """The claim of a word; None if it is none. Names are not checked."""
    name, _, source = word.partition("=")
    kind, slash, target = source.partition("/")
    return ResourceClaim(name, kind, target) if slash and kind in CLAIM_KINDS else None


# -- times of probes ----------------------------------------------------------------------------

PROBE_TIMES = {
    "delay": "initialDelaySeconds",
    "period": "periodSeconds",
    "timeout": "timeoutSeconds",
    "failures": "failureThreshold",
}
"""Field of a probe by its word, in the order in which they are written."""
PROBE_DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "readiness_times": {"delay": 0, "period": 5, "timeout": 5, "failures": 3},
    "liveness_times": {"delay": 0, "period": 10, "timeout": 5, "failures": 6},
}
"""Those of a new serving, by the field and the word."""
_TIME_PATTERN = re.compile(r"(\w+)=0*(\d{1,10})s?", re.ASCII)


def parse_probe_times(field: str) -> Callable[[object], Words]:
    """A parser of such a field: what is not the default of a new serving, in a fixed order."""
    defaults = PROBE_DEFAULTS[field]

    def parse(raw: object) -> Words:
        found: dict[str, str] = {}
        others: list[str] = []
        twice: set[str] = set()
        for word in split_words(raw):
            match = _TIME_PATTERN.fullmatch(word)
            if match is None or match[1] not in PROBE_TIMES:
                others.append(word)
            elif match[1] in found:
                others.append(word)
                twice.add(match[1])
            else:
                found[match[1]] = match[2]
        return (
            *(
                f"{name}={found[name]}"
                for name in PROBE_TIMES
                if name in found and (name in twice or int(found[name]) != defaults[name])
            ),
            *others,
        )

    return parse


def probe_times(field: str, words: Iterable[str]) -> dict[str, int]:
    """All times of a probe: those of the words, and the defaults of a new serving."""
    times = dict(PROBE_DEFAULTS[field])
    for word in words:
        if (match := _TIME_PATTERN.fullmatch(word)) is not None and match[1] in times:
            times[match[1]] = int(match[2])
    return times


def is_probe_time(word: str) -> bool:
    """Whether a word is a time of a probe, "period=10"."""
    match = _TIME_PATTERN.fullmatch(word)
    return match is not None and match[1] in PROBE_TIMES
