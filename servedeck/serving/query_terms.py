"""The terms that filters share: text, !text, field:value, field:=value, "text with spaces"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
Predicate = Callable[[T], bool]

# A word is everything up to a space, but a quoted part may contain spaces: ns:"a b" is one word.
WORD_PATTERN = re.compile(r'(?:"[^"]*"|[^\s"])+')
_FIELD_PATTERN = re.compile(r"([a-z]+):(.*)", re.DOTALL)


class QueryError(ValueError):
    """The text is not a valid filter; str() is one sentence with the error and the fix."""


def split_first_word(text: str) -> tuple[str, str]:
    """The first word and the rest. Raises QueryError."""
    match = WORD_PATTERN.match(text)
    if match is None or text[match.end() : match.end() + 1] == '"':
        raise QueryError("A quotation mark is not closed; add one at the end of the text.")
    return match.group(), text[match.end() :]


def parse_term(
    word: str,
    fields: Mapping[str, Callable[[T], Iterable[str]]],
    search_text: Callable[[T], str],
    special_fields: Mapping[str, Callable[[str], Predicate[T]]] = {},
    aliases: Mapping[str, str] = {},
) -> Predicate[T]:
    """The predicate of one word. Raises QueryError.

    `fields` gives the texts that each field searches, `search_text` the text that free text
    searches, in lower case. A field in `special_fields` parses its value, which is in lower case,
    itself. `aliases` are other names of fields.
    """
    inverse = word.startswith("!")
    body = word[1:] if inverse else word
    test = _parse_field(body, fields, special_fields, aliases)
    if test is None:
        text = body.replace('"', "").casefold()

        def test(one: T) -> bool:
            return text in search_text(one)

    return (lambda one: not test(one)) if inverse else test


def _parse_field(
    term: str,
    fields: Mapping[str, Callable[[T], Iterable[str]]],
    special_fields: Mapping[str, Callable[[str], Predicate[T]]],
    aliases: Mapping[str, str],
) -> Predicate[T] | None:
    """The predicate of `field:value`, None if the word has no field."""
    match = _FIELD_PATTERN.fullmatch(term)
    if match is None:
        return None
    name, values = match.group(1), match.group(2).replace('"', "").casefold()
    name = aliases.get(name, name)
    if name not in fields:
        raise QueryError(
            f"There is no field {name}; the fields are {', '.join(fields)}."
            f' To search for the text itself, type "{term}" in quotation marks.'
        )
    if not values:
        return lambda _one: True  # still being typed
    if name in special_fields:
        return special_fields[name](values)
    texts = fields[name]
    if values.startswith("="):
        exact = frozenset(values[1:].split(","))
        return lambda one: any(text.casefold() in exact for text in texts(one))
    parts = [part for part in values.split(",") if part]
    return lambda one: any(part in text.casefold() for text in texts(one) for part in parts)
