"""Cards: titled groups of labeled values, which the page shows and `describe` prints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class SecretRef(NamedTuple):
    """One key of a Secret in the serving's namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class CardRow:
    """One value of a card."""

    key: str
    """Identifies the row in its card."""
    label: str
    value: str = ""
    """The whole value, sanitized; it may have several lines. "" if there is none."""
    note: str = ""
    """What is said about the value: "system default"."""
    whole_value: str = ""
    """More than `value`, for who asks to see it whole; "" if that is all."""
    style_name: str = ""
    time: datetime | None = None
    """The value is this time; its age is computed on display."""
    secret: SecretRef | None = None
    """The value is in this Secret, and is read only on request."""
    looks_secret: bool = False
    """The value is masked until it is asked for."""
    is_sentence: bool = False
    """The value is wrapped instead of cut."""


@dataclass(frozen=True, slots=True)
class Card:
    """A group of values."""

    key: str
    title: str
    rows: tuple[CardRow, ...]
    empty_text: str = ""
    """What the card says if it has no rows."""
