"""The tab Logs: the logs of the serving's Pods, merged by time and followed while it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.message import Message
from textual.widgets import Input

from servedeck.cluster.http.errors import describe_error
from servedeck.fleet.views import NamespacedName, PodView
from servedeck.logs.lines import NOTICE_SOURCE, LogLine
from servedeck.serving.text import format_count
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.logs.choice import (
    SINCE_CHOICES,
    LogChoice,
    container_names,
    next_container,
    since_for,
)
from tui.logs.export import LogSaver, copy_lines
from tui.logs.feed import LogFeed
from tui.logs.find import InputKind, LogFind
from tui.logs.heading import cause_lines, state_line, stream_span, title_line
from tui.logs.lines import LineFormatter, TimeMode
from tui.logs.marks import bar_marks
from tui.logs.navigation import LogNavigation
from tui.logs.strip import LogStrip
from tui.logs.target import LogTarget
from tui.panes.base import Pane
from tui.ports.serving_source import SourceChanges
from widgets.log_view import LogView, Mark
from widgets.search_line import SearchLine
from widgets.styled_line import Line, wrap
from widgets.text_view import StatusLine

EMPTY_LINE = LogLine(0, b"", b"", NOTICE_SOURCE)

LINK_MARGIN_SECONDS = 5.0
"""Seconds before the line of a link that are shown at least."""

STATE_SECONDS = 0.1
"""Seconds after which a change of the state of the streams is shown."""

MAX_HEADING_LINES = 8
"""Maximum number of lines above the log."""


class LogsPane(Pane):
    """Follows the chosen containers of one serving."""

    TITLE = "Logs"
    SCOPE = "log"
    BINDINGS: ClassVar[list[BindingType]] = bindings("log")
    heading = query_one("#log-heading", StatusLine)
    histogram = query_one("#log-histogram", StatusLine)
    log_view = query_one(LogView)

    @dataclass
    class PodPickRequested(Message):
        """The Pods whose logs are shown are to be chosen."""

        pods: tuple[PodView, ...]
        chosen: frozenset[str] | None
        on_chosen: Callable[[frozenset[str] | None], None]

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._choice = LogChoice()
        self._feed: LogFeed | None = None
        """None while the tab is hidden."""
        self._error = ""
        self._state_changed = False
        """Whether the state of the streams is other than what is shown."""
        self._folds = False
        """Whether repeated lines are shown once."""
        self._strip = LogStrip(lambda: self.histogram)
        self._formatter = LineFormatter(
            lambda number: self._feed.line(number) if self._feed else EMPTY_LINE,
            lambda: self._feed.sources if self._feed else (),
            lambda: self.app_context.clock(),
        )
        self._navigation = LogNavigation(
            lambda: self._feed,
            lambda: self.log_view,
            self._formatter,
            on_message=self.show_message,
        )
        self._find = LogFind(
            lambda: self._feed.scan if self._feed else None,
            lambda: self.log_view,
            lambda kind: self.query_one(f"#log-{kind.value}", SearchLine),
            clock=lambda: self.app_context.clock(),
            on_change=self._on_found,
        )

    def compose(self) -> ComposeResult:
        yield StatusLine(id="log-heading")
        yield StatusLine(id="log-histogram")
        yield LogView()
        yield SearchLine(id="log-search")
        yield SearchLine("&", "error & !health & .status>=500", id="log-filter")
        yield SearchLine("@", "14:05, 2026-01-31 14:05:30, 14:05 UTC, -5m", id="log-time")

    def on_mount(self) -> None:
        self.histogram.display = False

    # -- start and end ------------------------------------------------------------------------

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._choice, self._navigation.target_ns = LogChoice(), None

    def choose_pod(self, target: LogTarget) -> None:
        """Show the log of a Pod, now or when the tab is shown."""
        choice = LogChoice(frozenset((target.pod,)), target.container or None)
        if target.time_ns is not None:
            age = self.app_context.clock().timestamp() - target.time_ns / 1e9
            choice = replace(choice, since=since_for(age + LINK_MARGIN_SECONDS))
        self._navigation.target_ns = target.time_ns
        self._choose(choice)

    def link_options(self) -> list[str]:
        feed, cursor = self._feed, self.log_view.cursor
        if feed is None or cursor is None:
            return []
        line = feed.line(cursor)
        if line.source == NOTICE_SOURCE:
            return []
        source = feed.sources[line.source]
        words = ["--pod", source.pod, "--container", source.container]
        return [*words, "--time", line.stamp.decode("ascii", "replace")]

    def activate(self) -> None:
        super().activate()
        self.log_view.focus()
        self._open_log()

    def deactivate(self) -> None:
        super().deactivate()
        self._find.close()
        self._close_log()

    def on_resize(self) -> None:
        self.call_after_refresh(self._update_heading)

    def _choose(self, choice: LogChoice) -> None:
        """Show other logs."""
        self._choice = choice
        if self.is_active:
            self._open_log()

    def _open_log(self) -> None:
        """Read what is chosen, from the start."""
        self._close_log()
        self._error = ""
        feed = self._feed = LogFeed(
            self.app_context.log_memory_bytes,
            on_lines=self.log_view.note_appended,
            on_found=self._on_scanned,
            on_state=self._on_state,
            is_held=self.app_context.has_unpainted_input,
        )
        self.log_view.is_held = self.app_context.has_unpainted_input
        self._apply_folding(feed)
        self._formatter.reset_labels()
        self._navigation.start(
            lambda: frozenset(pod.name for pod in self._chosen if pod.reason and pod.restarts)
        )
        self.log_view.show(feed.scan.lines, self._formatter.row, self._bar_marks)
        self.log_view.clear()
        self._find.restart()
        self.start_worker(feed.scan.run(), "scan")
        self._update_all()
        # After the first paint: a log that floods in would hold it up.
        self.call_after_refresh(self._update_streams)

    def _close_log(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            self.workers.cancel_group(self, "scan")
            # A worker of the app: one of the pane would be cancelled when the page closes.
            self.app.run_worker(feed.close(), group="logs", exit_on_error=False)

    def _update_streams(self) -> None:
        """The Pods of the serving may have changed."""
        if (feed := self._feed) is None:
            return
        pods = self.pods
        try:
            feed.update(
                self.app_context.log_service,
                self._choice.log_since,
                pods,
                self._choice.selection(pods, self._server_container),
            )
        except Exception as error:  # any error: the operator must know why there are no lines
            self._error = describe_error(error)
            self._update_heading()
            return
        self._error = ""
        self._update_labels()

    # -- what is shown ------------------------------------------------------------------------

    @property
    def pods(self) -> tuple[PodView, ...]:
        """The Pods of the serving."""
        return self.view.pods if self.view is not None else ()

    @property
    def _chosen(self) -> list[PodView]:
        return self._choice.chosen_pods(self.pods)

    @property
    def _server_container(self) -> str:
        return self.view.server_container if self.view is not None else ""

    @property
    def _container(self) -> str:
        return self._choice.container_name(self.pods, self._server_container)

    def on_changes(self, changes: SourceChanges) -> None:
        is_open = self._feed is not None and self._feed.is_open
        if self.key in changes.keys or (changes.state_changed and not is_open):
            self._update_streams()
            self._update_all()

    def update_ages(self) -> None:
        if self._formatter.time_mode is TimeMode.RELATIVE:
            self.log_view.repaint_lines()

    def _on_state(self) -> None:
        """The state of the streams has changed: eighty of them may do so at once."""
        if not self._state_changed:
            self._state_changed = True
            self.set_timer(STATE_SECONDS, self._show_state)

    def _show_state(self) -> None:
        self._state_changed = False
        self._update_labels()
        self._update_heading()

    def _on_scanned(self) -> None:
        """More was found in the lines."""
        self._find.note_progress()
        self._navigation.note_progress()
        scan = self._feed.scan if self._feed is not None else None
        if scan is not None and scan.lines is not scan.all_lines:
            self.log_view.note_appended()
        self._update_heading()

    def _on_found(self) -> None:
        """Other lines are shown or marked than before."""
        query = self._find.query
        self._formatter.find_hits = query.spans if query is not None else None
        self.log_view.repaint_lines()
        self._update_all()

    def _update_labels(self) -> None:
        """Whose lines they are is said where it is not clear."""
        known = self._feed.sources if self._feed is not None else ()
        sources = [one for one in known if one.number != NOTICE_SOURCE]
        shows_pods = len({one.pod for one in sources}) > 1
        shows_containers = len({one.container for one in sources}) > 1
        formatter = self._formatter
        if (formatter.shows_pods, formatter.shows_containers) != (shows_pods, shows_containers):
            formatter.shows_pods, formatter.shows_containers = shows_pods, shows_containers
            formatter.reset_labels()
            self.log_view.repaint_lines()

    def _bar_marks(self, height: int) -> Sequence[Mark | None]:
        if (feed := self._feed) is None:
            return ()
        return bar_marks(feed.scan, feed.scan.lines, self._formatter.marks, height)

    def on_log_view_viewport_changed(self) -> None:
        view = self.log_view
        hit = view.cursor if self._find.query is not None else None
        if hit != self._formatter.current_hit:
            self._formatter.current_hit = hit
            view.repaint_lines()
        self._update_heading()

    def _update_all(self) -> None:
        self._update_heading()
        self.post_message(self.ActionsChanged())

    def _update_heading(self) -> None:
        if not self.is_attached or not (width := self.heading.inner_width):
            return
        lines: list[Line] = []
        if self._choice.pods is None and not self.pods:
            text = self.view.no_pods_text if self.view is not None else "The serving has no Pods."
            lines.append(((" ", ""), (text, "muted")))
        else:
            lines.append(
                title_line(self._choice, self._chosen, len(self.pods), self._container, width)
            )
        feed = self._feed
        if feed is not None:
            lines += wrap(self._state_line(feed), width, indent=1)
        lines += cause_lines(*self._navigation.cause, width)
        # In a small terminal the log itself has at least half of the space.
        most = max(2, min(MAX_HEADING_LINES, self.size.height // 2))
        self.heading.styles.height = len(lines[:most])
        self.heading.set_lines(*lines[:most])
        if feed is not None:
            self._strip.update(feed, self.log_view.current)

    def _state_line(self, feed: LogFeed) -> Line:
        stream = stream_span(
            feed,
            self._chosen,
            self._container,
            error=self._error,
            following=self.log_view.following,
        )
        found = (self._find.search_span(), self._find.filter_span())
        return state_line(feed, self.log_view, stream, found)

    # -- inputs -------------------------------------------------------------------------------

    def scopes(self) -> tuple[str, ...]:
        return ("search",) if self._find.kind is not None else super().scopes()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._find.typed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._find.submitted(event.value):
            self._leave_input()

    def on_search_line_cleared(self) -> None:
        self._find.given_up()
        self._leave_input()

    def _leave_input(self) -> None:
        self.log_view.focus()
        self._update_all()

    def go_back(self) -> bool:
        if self.log_view.selection_start is not None:
            self.log_view.toggle_selection()
        elif self._find.needle:
            self._find.clear_search()
        elif self._find.filter_text:
            self._find.set_filter("")
        else:
            return False
        return True

    def _open_input(self, kind: InputKind) -> None:
        self._find.open(kind)
        self.post_message(self.ActionsChanged())

    def do_search(self) -> None:
        self._open_input(InputKind.SEARCH)

    def do_filter(self) -> None:
        self._open_input(InputKind.FILTER)

    def do_time(self) -> None:
        self._open_input(InputKind.TIME)

    def do_next_hit(self) -> None:
        self._find.move(1)

    def do_previous_hit(self) -> None:
        self._find.move(-1)

    # -- which logs ---------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        name = action.name
        if name == "previous" and not self._choice.previous:
            containers = [one for pod in self._chosen for one in pod.containers]
            shown = self._container
            if not any(one.has_previous for one in containers if shown in (one.name, "")):
                return (
                    f"{shown} has not been restarted." if shown else "No container was restarted."
                )
        if name == "container" and len(container_names(self._chosen)) < 2:
            return "The Pods have no other container."
        if name == "pods" and len(self.pods) < 2:
            return "The serving has no other Pod."
        if name in ("next_hit", "previous_hit") and not self._find.needle:
            key = self.app_context.key_display_for("log.search")
            return f"Nothing was searched yet; {key} searches."
        if name == "next_mark" and not self._navigation.marks:
            key = self.app_context.key_display_for("log.mark")
            return f"No line is marked; {key} marks one."
        if name in ("earlier", "later") and not self._strip.is_shown:
            key = self.app_context.key_display_for("log.histogram")
            return f"The histogram is not shown; {key} shows it."
        return ""

    def do_previous(self) -> None:
        self._choose(replace(self._choice, previous=not self._choice.previous))

    def do_container(self) -> None:
        name = next_container(self._container, container_names(self._chosen))
        self._choose(replace(self._choice, container=name, previous=False))

    def do_pods(self) -> None:
        self.post_message(self.PodPickRequested(self.pods, self._choice.pods, self._show_pods))

    def _show_pods(self, pods: frozenset[str] | None) -> None:
        """Show the logs of these Pods, or of all."""
        if pods != self._choice.pods:
            self._choose(replace(self._choice, pods=pods, previous=False))

    def do_since(self) -> None:
        names = tuple(name for name, _ in SINCE_CHOICES)
        self.post_message(
            self.ChoiceRequested("Log since", names, self._choice.since, self._show_since)
        )

    def _show_since(self, since: str) -> None:
        """Begin the log at another time."""
        if since != self._choice.since:
            self._choose(replace(self._choice, since=since))

    # -- reading ------------------------------------------------------------------------------

    def do_follow(self) -> None:
        self.log_view.set_following(not self.log_view.following)

    def do_wrap(self) -> None:
        self.log_view.set_wrapping(not self.log_view.wrapping)

    def do_times(self) -> None:
        self._formatter.time_mode = self._formatter.time_mode.next
        self.log_view.repaint_lines()
        self.show_message(f"Times of lines: {self._formatter.time_mode.value}.")

    def do_fields(self) -> None:
        self._formatter.shows_fields = not self._formatter.shows_fields
        self.log_view.repaint_lines()

    def do_fold(self) -> None:
        self._folds = not self._folds
        if (feed := self._feed) is not None:
            self._apply_folding(feed)
            self.log_view.set_lines(feed.scan.lines)
        self.show_message(
            "Repeated lines are shown once." if self._folds else "All lines are shown."
        )

    def _apply_folding(self, feed: LogFeed) -> None:
        feed.scan.fold(is_folded=self._folds)
        self._formatter.repeats = lambda number: (
            folder.repeats(number) if (folder := feed.scan.folder) is not None else 1
        )

    def do_next_error(self) -> None:
        self._navigation.go_to_error(1)

    def do_previous_error(self) -> None:
        self._navigation.go_to_error(-1)

    def do_mark(self) -> None:
        self._navigation.toggle_mark()
        self._update_all()

    def do_next_mark(self) -> None:
        self._navigation.go_to_next_mark()

    def do_histogram(self) -> None:
        self._strip.toggle()
        self.call_after_refresh(self._update_heading)
        self._update_all()

    def do_earlier(self) -> None:
        self._move_in_time(-1)

    def do_later(self) -> None:
        self._move_in_time(1)

    def _move_in_time(self, step: int) -> None:
        """Go to the next bar of the histogram that has lines."""
        if self._feed is not None:
            number = self._strip.neighbor(self._feed, self.log_view.current, step)
            if number is not None:
                self.log_view.go_to(number)

    def do_select(self) -> None:
        self.log_view.toggle_selection()

    # -- taking away --------------------------------------------------------------------------

    async def do_copy(self) -> None:
        """Copy the selected lines, or the one at the cursor."""
        feed, current = self._feed, self.log_view.current
        if feed is None or current is None:
            return
        first, last = self.log_view.selected or (current, current)
        shown = feed.scan.lines
        numbers = shown.numbers(shown.position(first), shown.position(last + 1))
        texts = (self._formatter.text(feed.line(one)) for one in numbers)
        self.show_message(*await copy_lines(texts, len(numbers), self.app_context))

    def do_save(self) -> None:
        """Ask for the file to save the log to."""
        feed = self._feed
        if feed is None:
            return
        buffer = feed.buffer
        saver = LogSaver(buffer, lambda: feed.sources, self.show_message)
        key = self.app_context.key_display_for("log.since")
        self.post_message(
            self.PathRequested(
                f"Save the log of {self.key.name}",
                f"{self.key.name}.log",
                f"{format_count(buffer.end - buffer.first, 'line')} as they were written, each"
                f" with its time; {key} reads older ones first. Only you can read the file.",
                lambda path: self._start_saving(saver, path),
            )
        )

    def _start_saving(self, saver: LogSaver, path: Path) -> None:
        self.start_worker(self._save(saver, path), "save")

    async def _save(self, saver: LogSaver, path: Path) -> None:
        self.show_message(*await saver.save(path))
