"""The lines of a card: its title, and its values beside their labels."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from datetime import datetime

from rich.cells import cell_len, set_cell_size

from servedeck.detail.cards import Card, CardRow
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.text import MASK, one_line
from widgets.card_view import CardLine
from widgets.styled_line import Line, Span, fit_text, line_width, plain_text, sanitized, wrap

MAX_LABEL_WIDTH = 26
MAX_VALUE_LINES = 3
"""Lines of one value; a longer one is cut."""
MAX_SENTENCE_LINES = 6
"""Of one that is a sentence with what to do."""

ItemKey = tuple[str, str]
"""Key of the card, and of the row."""


def card_lines(
    card: Card,
    width: int,
    now: datetime,
    *,
    revealed: Collection[ItemKey] = (),
    secret_values: Mapping[ItemKey, str] = {},
    max_value_lines: int = 1,
) -> list[CardLine]:
    """The card in `width` cells, with an empty line after it. `revealed` are the rows whose masked
    values are shown; `secret_values` are the values that were read from Secrets."""
    lines = [CardLine(_cut(((sanitized(card.title), "title"),), width))]
    if not card.rows:
        empty: Line = ((card.empty_text or "None.", "muted"),)
        lines += [CardLine((("  ", ""), *line)) for line in wrap(empty, width - 2)]
    label_width = min(
        max((cell_len(sanitized(row.label)) for row in card.rows), default=0),
        MAX_LABEL_WIDTH,
        max(width // 2, 1),
    )
    for row in card.rows:
        key = (card.key, row.key)
        value = value_line(row, now, key in revealed, secret_values.get(key))
        most = max_value_lines
        if row.is_sentence:
            most = MAX_SENTENCE_LINES
        elif row.key in _SENTENCE_ROWS:
            most = MAX_VALUE_LINES
        lines += labeled_lines(
            row.label,
            value,
            key,
            label_width,
            width,
            most,
        )
    return [*lines, CardLine()]


_SENTENCE_ROWS = frozenset(
    {"reason", "rollout_message", "recovery", "since", "capacity", "permission"}
)
"""Rows whose value is a sentence, which is wrapped instead of cut."""


def labeled_lines(
    label: str, value: Line, key: Hashable, label_width: int, width: int, max_lines: int = 1
) -> list[CardLine]:
    """A label, and its value in at most `max_lines` lines; the rest is cut."""
    room = max(width - label_width - 3, 1)
    if max_lines == 1 or line_width(value) <= room:
        wrapped = [_cut(value, room)]
    else:
        wrapped = wrap(value, room)
        if len(wrapped) > max_lines:
            rest: Line = tuple(
                span
                for line in wrapped[max_lines - 1 :]
                # `wrap` keeps the blank at the end of a line where it fits.
                for span in (line if plain_text(line).endswith(" ") else (*line, (" ", "")))
            )
            wrapped = [*wrapped[: max_lines - 1], _cut(rest, room)]
    head = fit_text(sanitized(label), label_width)
    return [
        CardLine(
            ((f"  {head if not at else ' ' * label_width} ", "muted"), *line),
            key,
        )
        for at, line in enumerate(wrapped)
    ]


def _cut(line: Line, width: int) -> Line:
    """`line` in at most `width` cells, ending in "…" if it was cut."""
    if line_width(line) <= width:
        return line
    spans: list[Span] = []
    room = width - 1
    for text, style_name in line:
        taken = cell_len(text)
        if taken >= room:
            return (*spans, (f"{set_cell_size(text, room)}…", style_name))
        spans.append((text, style_name))
        room -= taken
    return tuple(spans)


def value_line(
    row: CardRow, now: datetime, is_revealed: bool = False, secret_value: str | None = None
) -> Line:
    """The value of a row on one line."""
    spans: list[Span] = []
    if row.time is not None:
        spans.append((time_text(row.time, now), row.style_name))
    elif row.secret is not None and secret_value is not None:
        spans.append((sanitized(one_line(secret_value)), ""))
    elif row.secret is not None or (row.looks_secret and not is_revealed):
        spans.append((MASK, "muted"))
    elif row.value:
        spans.append((sanitized(one_line(row.value)), row.style_name))
    elif not row.note:
        spans.append(("–", "muted"))
    if row.note:
        spans += [("  " if spans else "", ""), (sanitized(one_line(row.note)), "muted")]
    return tuple(spans)


def time_text(time: datetime, now: datetime) -> str:
    """A time in the local time zone, and how long ago it was."""
    age = format_signed_duration((now - time).total_seconds())
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S} ({age} ago)"
