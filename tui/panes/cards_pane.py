"""A pane of cards: their lines, and the value under the cursor, which may be masked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from textual.getters import query_one

from servedeck.cluster.http.errors import ClusterError
from servedeck.detail.cards import Card, CardRow
from servedeck.fleet.views import NamespacedName
from tui.clipboard import copy_with_message
from tui.internals.textual_private import free_drawn_lines
from tui.panes.base import Pane
from widgets.card_lines import ItemKey, card_lines
from widgets.card_view import CardLine, CardView


class CardsPane(Pane):
    """Shows cards in a `CardView`. Values that are secret are masked until they are asked for, and
    forgotten when the tab is left. A subclass has `update_cards` and `selected_row`, and binds its
    actions `copy` and `reveal`."""

    MAX_VALUE_LINES: ClassVar[int] = 1
    """Lines of a value; a longer one is cut."""

    cards = query_one(CardView)

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._card_lines: dict[str, tuple[tuple[object, ...], list[CardLine]]] = {}
        """Lines of each card, with what they were built from: an update of the ages, once a second,
        builds only what shows an age."""
        self._revealed: set[ItemKey] = set()
        self._secret_values: dict[ItemKey, str] = {}
        """Values read from Secrets; forgotten when the tab is left."""

    def reset(self) -> None:
        super().reset()
        self.cards.clear()

    def deactivate(self) -> None:
        self._mask_values()
        super().deactivate()
        self.workers.cancel_group(self, "secret")
        self._card_lines.clear()

    def _mask_values(self) -> None:
        """Forget the values that were shown, also as drawn text."""
        if not self._revealed and not self._secret_values:
            return
        self._revealed.clear()
        self._secret_values.clear()
        self._card_lines.clear()
        self.cards.clear()
        self.update_cards()
        free_drawn_lines()

    # -- what is shown ------------------------------------------------------------------------

    def update_cards(self) -> None:
        """Show everything again that has changed."""

    def card_builder(self, card: Card, now: datetime) -> Callable[[int], list[CardLine]]:
        """What builds the lines of a card in so many cells."""
        shows_age = any(row.time is not None for row in card.rows)

        def build(width: int) -> list[CardLine]:
            source = (
                card.rows,
                width,
                frozenset(self._revealed),
                tuple(self._secret_values.items()),
                now if shows_age else None,
            )
            known = self._card_lines.get(card.key)
            if known is not None and known[0] == source:
                return known[1]
            lines = card_lines(
                card,
                width,
                now,
                revealed=self._revealed,
                secret_values=self._secret_values,
                max_value_lines=self.MAX_VALUE_LINES,
            )
            self._card_lines[card.key] = (source, lines)
            return lines

        return build

    # -- the value under the cursor -----------------------------------------------------------

    @property
    def selected_row(self) -> tuple[ItemKey, CardRow] | None:
        """The value under the cursor; None where there is none."""
        return None

    def reveal_disabled_reason(self) -> str:
        """Why nothing can be unmasked, in a sentence; "" if it can."""
        selected = self.selected_row
        if selected is None or not (selected[1].secret or selected[1].looks_secret):
            return "The value under the cursor is not masked."
        return ""

    async def do_copy(self) -> None:
        text = self.copyable_text()
        if text is None:
            return
        is_secret = (selected := self.selected_row) is not None and (
            selected[1].secret is not None or selected[1].looks_secret
        )
        # A message stays for a while after the tab was left.
        shown = "" if is_secret else text
        self.show_message(*await copy_with_message(text, self.app_context.write_to_terminal, shown))

    def copyable_text(self) -> str | None:
        """The value under the cursor, if it is not masked; None if there is nothing to copy."""
        selected = self.selected_row
        if selected is None or self._is_masked(*selected):
            return None
        return self.shown_text(*selected) or None

    def _is_masked(self, key: ItemKey, row: CardRow) -> bool:
        if row.secret is not None:
            return key not in self._secret_values
        return row.looks_secret and key not in self._revealed

    def shown_text(self, key: ItemKey, row: CardRow) -> str:
        """The whole value as it may be shown."""
        if self._is_masked(key, row):
            reveal = self.app_context.key_display_for(f"{self.SCOPE}.reveal")
            return f"The value is masked; {reveal} shows it. {row.note}".strip()
        if row.secret is not None:
            return self._secret_values[key]
        if row.time is not None:
            return f"{row.time:%Y-%m-%dT%H:%M:%SZ}"
        return row.whole_value or row.value or row.note

    def do_reveal(self) -> None:
        """Show the masked value under the cursor, or mask it again."""
        selected = self.selected_row
        if selected is None:
            return
        key, row = selected
        if row.secret is None:
            self._revealed ^= {key}
            self.update_cards()
        elif key in self._secret_values:
            del self._secret_values[key]
            self.update_cards()
        else:
            self.start_worker(self._read_secret(key, row), "secret")

    async def _read_secret(self, key: ItemKey, row: CardRow) -> None:
        if row.secret is None:
            return
        serving = self.key
        try:
            value = await self.app_context.detail_service.read_secret_value(
                serving.namespace, row.secret.name, row.secret.key
            )
        except ClusterError as error:
            self.show_message(str(error), "error")
            return
        if self.is_active and serving == self.key:
            self._secret_values[key] = value
            self.update_cards()
