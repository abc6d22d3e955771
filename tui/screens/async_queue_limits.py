"""The form with the limits of an async queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.widgets import Input

from servedeck.changes.async_queue.plan import AsyncQueueResult
from servedeck.changes.async_queue.state import CurrentLimits
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limit_checks import check_limits
from servedeck.serving.async_limits import (
    DEFAULTS,
    LIMITS,
    AsyncQueueSettings,
    Limit,
    format_limit,
    value_of,
)
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.ports.async_queue_service import LimitValues
from tui.screens.base import Overlay
from widgets.labeled_input import LabeledInput
from widgets.text_view import StatusLine

_LOW, _NOTED = 12, 14
"""Rows of a terminal from which the title, and from which the note on the field is shown."""
_NARROW, _HINTED = 44, 64
"""Cells from which labels are whole, and from which what they mean is beside the fields."""
_LABEL_WIDTH, _SHORT_LABEL_WIDTH, _INPUT_WIDTH = 22, 13, 14


class LimitsForm(Overlay[LimitValues | AsyncQueueResult | None]):
    """Asks for the limits of a queue that is to be turned on: its result are those that differ from
    what is there, by name, None if nothing is to change."""

    SCOPE = "queue_limits"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("queue_limits")

    def __init__(
        self,
        key: NamespacedName,
        current: CurrentLimits | None,
        chosen: LimitValues = (),
        *,
        focused: str = "",
    ) -> None:
        """`current` is what is there, None for a queue that is off; `chosen` was typed before.
        `focused` is the name of the limit with the cursor."""
        super().__init__()
        self._key = key
        self._current = current
        self._chosen = dict(chosen)
        self._focused = focused if focused in LIMITS else next(iter(LIMITS))
        self._shown: dict[str, str] = {}
        """The present values, as they would be typed."""
        self._problems: Mapping[str, str] = {}
        """By name; of fields that are wrong."""
        self._is_leaving = False
        """Whether esc was pressed once with something typed."""

    @property
    def _base(self) -> AsyncQueueSettings:
        return DEFAULTS if self._current is None else self._current.settings

    @property
    def save_label(self) -> str:
        return "use"

    # -- widgets ------------------------------------------------------------------------------

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (f"Limits of the async queue of {self._key}", "title")))
        yield title
        with Container(id="limit-fields"):
            for limit in LIMITS.values():
                yield LabeledInput(limit.label, limit.short_label, limit.meaning, id=limit.name)
        yield StatusLine(id="limits-notice")
        yield StatusLine(id="limit-note")

    def on_mount(self) -> None:
        super().on_mount()
        for name, limit in LIMITS.items():
            self.field(name).input.placeholder = f"default {limit.format(limit.default)}"
            self._shown[name] = shown = format_limit(name, value_of(self._base, name))
            wanted = self._chosen.get(name)
            self.field(name).show_text(shown if wanted is None else format_limit(name, wanted))
        if self._current is not None:
            self.show_notice(" ".join(self._current.problems))
        self.field(self._focused).input.focus()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.query_one("#title", StatusLine).display = size.height >= _LOW
        self.query_one("#limit-note", StatusLine).display = size.height >= _NOTED
        is_short = size.width < _NARROW
        width = _SHORT_LABEL_WIDTH if is_short else _LABEL_WIDTH
        for name in LIMITS:
            self.field(name).show_label(width, is_short=is_short)
            self.field(name).show_hint(_INPUT_WIDTH if size.width >= _HINTED else 0)
        self._show_note()

    def field(self, name: str) -> LabeledInput:
        """The field of a limit."""
        return self.query_one(f"#{name}", LabeledInput)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        super().on_descendant_focus(event)
        self._focused = next(
            (name for name in LIMITS if self.field(name).input is event.widget), self._focused
        )
        self._show_note()

    def _show_note(self) -> None:
        """What can be typed into the field with the cursor."""
        limit = LIMITS[self._focused]
        parts = [limit.range_text, f"default {limit.format(limit.default)}"]
        if limit.example:
            parts.insert(1, f"as in {limit.example}")
        if self._current is not None:
            parts.append(f"now {self._shown.get(limit.name, '')}")
        text = f"{limit.label}: {limit.meaning}. {'; '.join(parts)}."
        note = self.query_one("#limit-note", StatusLine)
        note.set_text(((" ", ""), (text, "muted")), max_lines=2, indent=1)
        note.display = self.app.size.height >= _NOTED

    def show_notice(self, text: str) -> None:
        """Why it is not done yet; "" for nothing. It stays until the next plan."""
        line = ((" ! ", "warning"), (text, "warning")) if text else ()
        self.query_one("#limits-notice", StatusLine).set_text(line, max_lines=3, indent=3)

    # -- what is typed ------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._is_leaving = False
        self._read()

    def _read(self) -> LimitValues:
        """What was typed and differs from what is there; notes and shows what is wrong."""
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for name, limit in LIMITS.items():
            try:
                values[name] = self._value(limit)
            except ValueError as error:
                problems[name] = f"{error}."
        changes = {name: one for name, one in values.items() if one != value_of(self._base, name)}
        remarks: dict[str, str] = {}
        if not problems:
            wanted = replace(self._base, **changes)
            has_objects = self._current is not None and self._current.has_objects
            for one in check_limits(wanted, changes, has_objects=has_objects):
                found = problems if one.is_error else remarks
                found.setdefault(one.field, one.message)
        self._problems = problems
        for name in LIMITS:
            style_name = "error" if name in problems else "muted"
            self.field(name).show_error(problems.get(name, remarks.get(name, "")), style_name)
        self.update_footer()
        return tuple(changes.items())

    def _value(self, limit: Limit) -> float:
        """Of a field; what was not touched may be a value that could not be typed."""
        text = self.field(limit.name).text.strip()
        if text == self._shown[limit.name]:
            return value_of(self._base, limit.name)
        return limit.parse(text) if text else limit.default

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name == "save" and self._problems:
            return next(iter(self._problems.values()))
        return ""

    def label_for(self, action: Action) -> str:
        return self.save_label if action.name == "save" else action.label

    async def action_do(self, action_id: str, *arguments: str) -> None:
        if action_id == "queue_limits.save" and self._problems:
            # The sentence is at the field already.
            self.field(next(iter(self._problems))).input.focus()
            return
        await super().action_do(action_id, *arguments)

    def do_move(self, key: str) -> None:
        names = list(LIMITS)
        step = {"pagedown": 4, "pageup": -4, "up": -1, "shift+tab": -1}.get(key, 1)
        at = names.index(self._focused) + step
        if key in ("pagedown", "pageup"):
            at = min(max(at, 0), len(names) - 1)
        self.field(names[at % len(names)]).input.focus()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        await self.action_do("queue_limits.save")

    def do_default(self) -> None:
        """Put the default into the field with the cursor."""
        limit = LIMITS[self._focused]
        self.field(limit.name).show_text(limit.format(limit.default))

    def do_save(self) -> None:
        changes = self._read()
        if not self._problems:
            self.use(changes)

    def use(self, changes: LimitValues) -> None:
        """Take what was typed, which is right."""
        self.dismiss(changes)

    @property
    def _has_typed(self) -> bool:
        """Whether something was typed that would be lost."""
        before = {name: format_limit(name, one) for name, one in self._chosen.items()}
        return any(
            self.field(name).text.strip() != before.get(name, self._shown[name]) for name in LIMITS
        )

    def do_close(self) -> None:
        if self._has_typed and not self._is_leaving:
            self._is_leaving = True
            self.show_message(
                "Press esc again to discard what you typed; nothing is changed.", "warning"
            )
        else:
            self.dismiss(None)
