"""The filter of Events, in the grammar of the list's filter (`servedeck.fleet.query`).

back-off          the text occurs in the object, type, reason, message or source
!text             it does not
type:warning      the text occurs in one field: type, kind, object, reason, message, source
kind:=pod         the field is exactly this
!kind:pod         it is not
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from servedeck.serving.query_terms import Predicate, parse_term, split_first_word
from servedeck.serving.status.event_history import EventEntry

FIELDS: Mapping[str, Callable[[EventEntry], Iterable[str]]] = {
    "type": lambda entry: (entry.type,),
    "kind": lambda entry: (entry.kind, entry.short_kind),
    "object": lambda entry: (entry.name,),
    "reason": lambda entry: (entry.reason,),
    "message": lambda entry: (entry.message,),
    "source": lambda entry: (entry.source,),
}
"""Fields that a term can use, with the texts that each searches."""

_ALIASES = {"name": "object"}


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A parsed filter."""

    text: str
    predicates: tuple[Predicate[EventEntry], ...] = ()

    def matches(self, entry: EventEntry) -> bool:
        """Whether every term matches."""
        return all(test(entry) for test in self.predicates)


def parse_event_query(text: str) -> EventQuery:
    """Parse a filter. An empty text matches everything. Raises QueryError."""
    tests: list[Predicate[EventEntry]] = []
    rest = text.strip()
    while rest:
        word, rest = split_first_word(rest)
        tests.append(parse_term(word, FIELDS, _search_text, aliases=_ALIASES))
        rest = rest.lstrip()
    return EventQuery(text, tuple(tests))


def _search_text(entry: EventEntry) -> str:
    return entry.search_text
