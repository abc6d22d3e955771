"""What other settings of auto scaling would have done with the load of the last hours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.getters import query_one
from textual.widgets import Input

from servedeck.fleet.views import NamespacedName
from servedeck.metrics.period import PERIODS, Period
from servedeck.metrics.scaling_history import ScalingHistory
from servedeck.serving.scaling.proposal import (
    ProposalError,
    ProposalField,
    ScalingProposal,
    field_label,
    parse_proposal,
)
from servedeck.serving.scaling.replay import Replay, replay
from servedeck.serving.scaling.replay_settings import Assumption, finite
from servedeck.serving.scaling.scaling_metrics import ScaledBy, metric_label
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.metrics.scaling_feed import NOT_CONNECTED, ScalingFeed
from tui.screens.base import Overlay
from tui.screens.what_if_text import assumption_text, recorded_text, replay_text, warning_text
from widgets.labeled_input import LabeledInput
from widgets.scaling_charts import ScalingCharts, message_charts, scaling_charts
from widgets.styled_line import Line, Span, align_left_right, fit_line, line_width, wrap
from widgets.text_view import StatusLine

_TWO_COLUMNS = 76
"""Cells from which on two fields are beside each other."""
_SHORT_LABELS = 36
"""Cells of a field below which its label is short."""
_LOW = 12
"""Rows of a terminal below which the title makes room."""


class WhatIfScreen(Overlay[ScalingProposal | None]):
    """Replays settings as they are typed; its result is what is to be used, None for nothing."""

    SCOPE = "what_if"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("what_if")
    figures = query_one("#what-if-figures", StatusLine)
    charts = query_one(ScalingCharts)

    def __init__(
        self, key: NamespacedName, proposal: ScalingProposal, *, can_use: bool = False
    ) -> None:
        """`proposal` is what the fields show at first. With `can_use`, the caller takes the result
        into its form."""
        super().__init__()
        self._key = key
        self._base = proposal
        self._proposal: ScalingProposal | None = proposal
        """As typed; None while a field is wrong."""
        self._can_use = can_use
        self._period: Period = PERIODS[0]
        self._assumption: Assumption | None = None
        """As chosen; None for the usual one."""
        self._replayed: Replay | None = None
        self._feed: ScalingFeed | None = None

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        with Container(id="what-if-fields"):
            for field in ProposalField:
                label, short = (
                    field_label(field, self._base.by, is_short=is_short)
                    for is_short in (False, True)
                )
                yield LabeledInput(label, short, id=field.value)
        yield StatusLine(id="what-if-figures")
        yield ScalingCharts(is_utf8=self.app_context.is_utf8)

    def on_mount(self) -> None:
        super().on_mount()
        for field, text in self._base.texts().items():
            self._field(field).show_text(text)
        self._field(ProposalField.TARGET).input.focus()
        service = self.app_context.metrics_service
        if service is not None:
            clock = self.app_context.clock
            self._feed = ScalingFeed(service, self._key, self._update_history, clock)
            self._follow()
        self._show()

    async def on_unmount(self) -> None:
        await super().on_unmount()
        if self._feed is not None:
            await self._feed.close()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.query_one("#title", StatusLine).display = size.height >= _LOW
        is_narrow = size.width < _TWO_COLUMNS
        self.set_class(is_narrow, "-narrow")
        width = size.width if is_narrow else size.width // 2
        is_short = width < _SHORT_LABELS
        for field in ProposalField:
            self._field(field).show_label(11 if is_short else 27, is_short=is_short)
        self.call_after_refresh(self._show)

    def _field(self, field: ProposalField) -> LabeledInput:
        return self.query_one(f"#{field.value}", LabeledInput)

    # -- reading and replaying ----------------------------------------------------------------

    def _follow(self) -> None:
        if self._feed is not None:
            self.start_worker(self._feed.follow(self._base.by, self._period), "what-if-history")

    def _update_history(self) -> None:
        if self.is_attached:
            self._start_replay()

    @property
    def _history(self) -> ScalingHistory | None:
        """Of the chosen period; None while it is read."""
        feed = self._feed
        return feed.history if feed is not None and feed.period is self._period else None

    @property
    def _shown_assumption(self) -> Assumption:
        """The one that was chosen, as far as enough is known for it."""
        history = self._history
        if self._base.by is not ScaledBy.RESPONSE_TIME or not (history and history.replicas):
            return Assumption.UNCHANGED
        return self._assumption or Assumption.LOAD_PER_REPLICA

    def _start_replay(self) -> None:
        """Replay what is typed; what is still computed is dropped."""
        history, proposal = self._history, self._proposal
        if history is None or proposal is None or not history.values:
            self.workers.cancel_group(self, "what-if-replay")
            self._replayed = None
            self._show()
            return
        self.start_worker(self._replay(history, proposal), "what-if-replay")

    async def _replay(self, history: ScalingHistory, proposal: ScalingProposal) -> None:
        self._replayed = await asyncio.to_thread(
            replay,
            history.record(),
            proposal.settings(),
            start_replicas=self._start_replicas(history, proposal),
            assumption=self._shown_assumption,
        )
        self._show()

    def _start_replicas(self, history: ScalingHistory, proposal: ScalingProposal) -> int:
        """As many as there were at first, or are now."""
        known = next((one for one in map(finite, history.replicas) if one is not None), None)
        if known is not None:
            return round(known)
        view = self.app_context.source.fleet.view(self._key)
        return view.ready if view is not None else max(proposal.min_replicas, 1)

    # -- showing ------------------------------------------------------------------------------

    def _show(self) -> None:
        if not self.is_attached or not self.size.width:
            return
        self.query_one("#title", StatusLine).set_lines(self._title_line(self.size.width))
        self._show_figures(self._figure_lines(self.size.width - 1))
        history, proposal = self._history, self._proposal
        if history is None:
            now = self.app_context.clock().timestamp()
            start = now - self._period.seconds
            self.charts.show(*message_charts(self._base.by, start, self._waiting_text))
            return
        known = proposal or self._base
        replayed = self._replayed if proposal is not None else None
        self.charts.show(*scaling_charts(history, known.target, known.max_replicas, replayed))

    @property
    def _waiting_text(self) -> str:
        if self._feed is None:
            return NOT_CONNECTED
        return self._feed.waiting_text

    def _show_figures(self, lines: Sequence[Line]) -> None:
        most = max(1, self.app.size.height // 4)
        is_cramped = self._proposal is None and self.app.size.height < _LOW
        self.charts.display = not is_cramped
        shown = list(lines[:most])
        if len(lines) > most:
            shown[-1] = fit_line((*shown[-1], (" …", "muted")), self.size.width)
        self.figures.display = bool(shown)
        if shown:
            self.figures.styles.height = len(shown)
            self.figures.set_lines(*shown)

    def _figure_lines(self, width: int) -> list[Line]:
        """What the replay and the recorded time are like, and what is assumed."""
        history, proposal, replayed = self._history, self._proposal, self._replayed
        found: list[tuple[Span, ...]] = []
        if proposal is None:
            if self.app.size.height < _LOW:
                return []  # the sentence under the field says it
            found.append((("Correct the marked field to replay it.", "warning"),))
        elif history is None or not history.values:
            text = self._waiting_text if history is None else history.reason
            has_problem = self._feed is None or bool(self._feed.problem)
            found.append(((text, "warning" if has_problem else "muted"),))
        elif replayed is not None:
            found.append((("What if  ", "strong"), (replay_text(replayed), "")))
            if text := recorded_text(history, proposal):
                found.append((("As it was  ", "muted"), (text, "")))
            if text := warning_text(proposal):
                found.append((("! ", "warning"), (text, "warning")))
            text = assumption_text(proposal, self._shown_assumption, history)
            found.append(((text, "muted"),))
        lines: list[Line] = []
        for spans in found:
            lines += wrap(((" ", ""), *spans), width, 3)
        return lines

    def _title_line(self, width: int) -> Line:
        periods: list[Span] = []
        for one in PERIODS:
            is_shown = one is self._period
            name = f"[{one.name}]" if is_shown else f" {one.name} "
            periods.append((name, "strong" if is_shown else "muted"))
        right: Line = (*periods, (" ", ""))
        head = f"What if: {self._key} by {metric_label(self._base.by)}"
        if len(head) + line_width(right) + 2 > width:
            head = f"What if: {self._key.name}"
        source = self._feed.source_text if self._feed is not None else ""
        if source and width >= len(head) + line_width(right) + len(source) + 6:
            right = ((f"{source}  ", "muted"), *right)
        return align_left_right(((" ", ""), (head, "title")), right, width)

    # -- actions ------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        texts = {field: self._field(field).text for field in ProposalField}
        wrong: dict[ProposalField, str] = {}
        try:
            self._proposal = parse_proposal(texts, self._base)
        except ProposalError as error:
            self._proposal, wrong = None, error.sentences
        for field in ProposalField:
            self._field(field).show_error(wrong.get(field, ""))
        self.update_footer()
        self._start_replay()

    def disabled_reason(self, action: Action) -> str:
        if action.id == "what_if.use":
            if not self._can_use:
                return "These values are not part of a form that is edited."
            if self._proposal is None:
                return "A field is wrong; the sentence under it says why."
        if action.id == "what_if.assumption":
            if self._base.by is not ScaledBy.RESPONSE_TIME:
                return "The number of waiting requests is divided by the replicas in any case."
            history = self._history
            if history is not None and not history.replicas:
                return "How many replicas there were is not known, so the load of each is not."
        return ""

    def in_footer(self, action: Action) -> bool:
        return super().in_footer(action) and (action.id != "what_if.use" or self._can_use)

    def do_close(self) -> None:
        self.dismiss(None)

    def do_use(self) -> None:
        self.dismiss(self._proposal)

    def do_move(self, key: str) -> None:
        fields = [self._field(one).input for one in ProposalField]
        at = next((number for number, one in enumerate(fields) if one.has_focus), 0)
        step = -1 if key in ("up", "shift+tab") else 1
        fields[(at + step) % len(fields)].focus()

    def on_input_submitted(self) -> None:
        self.do_move("enter")

    def do_period(self, key: str) -> None:
        at = PERIODS.index(self._period) + (1 if key == "pagedown" else -1)
        if not 0 <= at < len(PERIODS):
            return
        self._period, self._replayed = PERIODS[at], None
        self._follow()
        self._start_replay()

    def do_assumption(self) -> None:
        is_load = self._shown_assumption is Assumption.LOAD_PER_REPLICA
        self._assumption = Assumption.UNCHANGED if is_load else Assumption.LOAD_PER_REPLICA
        self._start_replay()
