"""Which series a selector selects."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from servedeck.promql.errors import PromqlError
from servedeck.promql.expressions import Matcher
from servedeck.promql.samples import Labels

MAX_VALUE_LENGTH = 1024
"""Characters of a label value that a regular expression is matched with: a longer one matches
none, so that the time of a match is bounded."""

Condition = Callable[[str, Labels], bool]
"""Whether a series of this name with these labels is selected."""


def compile_matchers(matchers: Sequence[Matcher]) -> Condition:
    """The condition of matchers. The label `__name__` is the name; a label that is absent is ""
    (https://prometheus.io/docs/prometheus/latest/querying/basics/#instant-vector-selectors).

    Raises PromqlError for a regular expression that is none, or that may take too long.
    """
    checks = [(one.label, _compile_matcher(one)) for one in matchers]

    def matches(name: str, labels: Labels) -> bool:
        if not checks:
            return True
        values = dict(labels)
        values["__name__"] = name
        return all(check(values.get(label, "")) for label, check in checks)

    return matches


def _compile_matcher(matcher: Matcher) -> Callable[[str], bool]:
    wanted = matcher.value
    match matcher.operator:
        case "=":
            return lambda value: value == wanted
        case "!=":
            return lambda value: value != wanted
        case "=~":
            return _compile_regex(wanted)
        case "!~":
            matches = _compile_regex(wanted)
            return lambda value: not matches(value)


@lru_cache(maxsize=256)
def _compile_regex(text: str) -> Callable[[str], bool]:
    pattern = compile_pattern(text)
    return lambda value: len(value) <= MAX_VALUE_LENGTH and pattern.fullmatch(value) is not None


def compile_pattern(text: str) -> re.Pattern[str]:
    """A regular expression of RE2 for whole values of at most MAX_VALUE_LENGTH characters. Raises
    PromqlError for one that is none, or that may take too long."""
    check_regex(text)
    try:
        # DOTALL as in Prometheus (FastRegexMatcher, model/labels/regexp.go)
        return re.compile(text, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise PromqlError(f"A regular expression is not valid: {error}.") from error


_PART = re.compile(
    r"\\(?P<escape>.)|(?P<set>\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\])|(?P<open>\((?:\?(?:P<\w+>|:))?)"
    r"|(?P<close>\))|(?P<repeat>(?:[*+?]|\{\d*,?\d*\})[?+]?)|(?P<or>\|)|.",
    re.DOTALL,
)
_MAX_WAYS = 1 << 22
"""A match takes about 0.1 s at most, for a value that is made to take long."""


class _Group:
    """What is between parentheses, or all: in how many ways it may match a text, at most."""

    def __init__(self) -> None:
        self._alternatives = 0
        self._sequence = 1
        self._last = 1

    @property
    def ways(self) -> int:
        return self._alternatives + self._sequence * self._last

    def append(self, ways: int) -> None:
        self._sequence *= self._last
        self._last = ways

    def end_alternative(self) -> None:
        self._alternatives, self._sequence, self._last = self.ways, 1, 1

    def repeat(self, low: int, high: int) -> None:
        """Repeat what is last."""
        is_one, count = self._last == 1, min(high, MAX_VALUE_LENGTH)
        self._last = count - min(low, count) + 1 if is_one else self._last ** min(count, 32)


def check_regex(text: str) -> None:
    """Raises PromqlError for a regular expression that RE2 does not have (references, assertions),
    or that Python's `re`, which tries one way after another, may need too long for."""
    groups = [_Group()]
    for part in _PART.finditer(text):
        match part.lastgroup:
            case "open":
                _check_group(text, part.start())
                groups.append(_Group())
            case "close" if len(groups) > 1:
                ways = groups.pop().ways
                groups[-1].append(ways)
            case "or":
                groups[-1].end_alternative()
            case "repeat":
                groups[-1].repeat(*_repeat_limits(part["repeat"]))
            case "escape" if part["escape"] in "123456789Z":
                raise PromqlError(f"A regular expression has \\{part['escape']}, unknown to RE2.")
            case _:
                groups[-1].append(1)
        if groups[-1].ways > _MAX_WAYS:
            raise PromqlError(
                "A regular expression may match in too many ways: repeat fewer of its parts."
            )


def _repeat_limits(repeat: str) -> tuple[int, int]:
    """How often the part before is repeated, at least and at most."""
    if repeat[0] == "?":
        return 0, 1
    if repeat[0] in "*+":
        return 0, MAX_VALUE_LENGTH
    low, comma, high = repeat[1 : repeat.index("}")].partition(",")
    least = min(int(low[:5] or 0), MAX_VALUE_LENGTH)
    return least, int(high[:5] or MAX_VALUE_LENGTH) if comma else least


def _check_group(text: str, at: int) -> None:
    """Raises PromqlError if the group is not one of RE2's."""
    start = text[at : at + 4]
    if start[:2] != "(?" or start[:3] == "(?:" or re.match(r"\(\?P<[A-Za-z]", text[at : at + 5]):
        return
    raise PromqlError(f"A regular expression has {start[:3]}, which is not supported.")
