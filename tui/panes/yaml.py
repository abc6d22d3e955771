"""The tab YAML: one object of the serving as it is in the cluster, updated while it is read."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.message import Message
from textual.widgets import Input

from servedeck.atomic_file import write_text
from servedeck.cluster.resources import DEPLOYMENT, RESOURCES_BY_KIND, SECRET
from servedeck.detail.object_text import (
    ObjectText,
    SavedText,
    TextOptions,
    build_object_text,
    build_saved_text,
    format_masked,
)
from servedeck.fleet.views import NamespacedName
from servedeck.serving.duration import format_duration
from servedeck.serving.text import format_count, truncate
from servedeck.serving.yaml_text import YamlText
from tui.actions import Action, bindings
from tui.clipboard import CopyError, copy_text
from tui.panes.base import Pane
from tui.ports.detail_service import ObjectWatch
from tui.ports.serving_source import SourceChanges
from widgets.code_view import CodeView
from widgets.search_line import SearchLine
from widgets.styled_line import Line, Span, line_width
from widgets.text_search import MAX_HITS, Hit, display_text, find_hits, measure_width
from widgets.text_view import StatusLine

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject

SMALL_OBJECT_BYTES = 24_000
"""JSON of at most this size is made a text at once, in about 10 ms; more is left to a thread."""

MAX_NEEDLE_WIDTH = 24
"""Cells of the searched text in the heading."""

NESTED_TOO_DEEPLY = "The object is nested too deeply to be shown."


class _Shown(NamedTuple):
    """A text that a thread has prepared."""

    text: ObjectText
    width: int
    changed: frozenset[int]


class YamlPane(Pane):
    """Watches one object by its name and shows it; the picker of the page chooses another."""

    TITLE = "YAML"
    SCOPE = "yaml"
    BINDINGS: ClassVar[list[BindingType]] = bindings("yaml")
    heading = query_one("#yaml-heading", StatusLine)
    code_view = query_one(CodeView)
    search_line = query_one(SearchLine)

    @dataclass
    class ObjectPickRequested(Message):
        """Another object of the serving is to be chosen."""

        selected_title: str

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._object_kind, self._object_name = DEPLOYMENT.kind, key.name
        self._watch: ObjectWatch | None = None
        self._seen_by: ObjectWatch | None = None
        """The watch that has read the object."""
        self._live: LiveObject | None = None
        """The object as it was read last; a deleted one stays."""
        self._shown: ObjectText | None = None
        self._options = TextOptions()
        self._changed_at: datetime | None = None
        self._deleted_at: datetime | None = None
        self._replaced_at: datetime | None = None
        self._is_deleted = False
        self._problem = ""
        self._is_building = False
        self._needle = ""
        self._is_searching = False
        """Whether keys go to the input of the search."""
        self._search_start = (0, 0)
        """First visible line and cell when the search was opened."""

    def compose(self) -> ComposeResult:
        yield StatusLine(id="yaml-heading")
        yield CodeView()
        yield SearchLine()

    # -- which object -------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """Kind and name of the object, as kubectl writes them."""
        return f"{self._object_kind}/{self._object_name}"

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._forget_object(DEPLOYMENT.kind, key.name)

    def choose_object(self, kind: str, name: str) -> None:
        """Show another object, now or when the tab is shown; "" for the Deployment."""
        if kind == SECRET.kind or (kind and kind not in RESOURCES_BY_KIND):
            self.show_message(f"The YAML of a {kind} is not shown here.", "warning")
            return
        kind, name = (kind, name) if kind else (DEPLOYMENT.kind, self.key.name)
        if (kind, name) == (self._object_kind, self._object_name):
            return
        self._forget_object(kind, name)
        if self.is_active:
            self.close_watches()
            self._open_watch()

    def _forget_object(self, kind: str, name: str) -> None:
        """Nothing is known of the object that is to be shown."""
        self._object_kind, self._object_name = kind, name
        self._live = self._shown = None
        self._options = self._options._replace(reveals_secrets=False)
        self._changed_at = self._deleted_at = self._replaced_at = None
        self._is_deleted = False
        self._problem = ""
        if self.is_attached:
            self._clear_search()
            self.code_view.set_lines((), width=0)

    # -- start and end ------------------------------------------------------------------------

    def activate(self) -> None:
        super().activate()
        self.code_view.focus()
        self._open_watch()

    def deactivate(self) -> None:
        super().deactivate()
        self._watch = None
        self._hide_search()
        if self._options.reveals_secrets:
            self._options = self._options._replace(reveals_secrets=False)
            self._shown = None
            self.code_view.set_lines((), width=0)

    def _open_watch(self) -> None:
        from servedeck.detail.object_watch import ObjectQuery

        resource = RESOURCES_BY_KIND[self._object_kind]
        namespace = self.key.namespace if resource.namespaced else ""
        self._watch = self.add_watch(
            self.app_context.detail_service.watch_objects(
                ObjectQuery(resource, namespace, self._object_name), self._on_objects
            )
        )
        if self._live is not None and self._shown is None:
            self._request_text()
        self._on_objects()
        self.post_message(self.ActionsChanged())

    def on_changes(self, changes: SourceChanges) -> None:
        if self._watch is None and changes.state_changed:
            self._open_watch()

    def on_resize(self) -> None:
        self.call_after_refresh(self._update_heading)

    # -- the object changes -------------------------------------------------------------------

    def _on_objects(self) -> None:
        """The watch has read something."""
        watch, before = self._watch, self._live
        if watch is None or not self.is_active:
            self._update_heading()
            return
        found = watch.newest
        now = self.app_context.clock()
        if found is None:
            is_gone = watch.is_settled and not watch.missing_permission
            if is_gone and before is not None and not self._is_deleted:
                self._is_deleted = True
                # Before this watch saw it, it may have been deleted at any time.
                self._deleted_at = now if self._seen_by is watch else None
        else:
            self._is_deleted, self._deleted_at = False, None
            if before is not None and before.metadata.uid != found.metadata.uid:
                self._replaced_at = now
            self._seen_by = watch
            if before is None or found.json_text != before.json_text:
                self._live = found
                self._changed_at = now if before is not None else None
                self._request_text()
        self._update_heading()

    def _request_text(self) -> None:
        """Show the object as it is now: a small one at once, a large one as soon as a thread has
        made its text."""
        live = self._live
        if live is None or self._is_building:
            return  # the thread's text is followed by that of the newest version
        if len(live.json_text) <= SMALL_OBJECT_BYTES:
            self._show(_build(live, self._options, self._shown, self._unfold_hint()))
        else:
            self._is_building = True
            self.start_worker(self._build_in_thread(), "text")

    async def _build_in_thread(self) -> None:
        try:
            while (live := self._live) is not None and not self._is_shown(live):
                uid, options, before = live.metadata.uid, self._options, self._shown
                shown = await asyncio.to_thread(_build, live, options, before, self._unfold_hint())
                if self._live is None or self._live.metadata.uid != uid:
                    continue  # another object is to be shown
                self._show(shown)
                if shown is None:
                    return
        finally:
            self._is_building = False

    def _is_shown(self, live: LiveObject) -> bool:
        return (
            self._shown is not None
            and self._shown.live is live
            and self._shown.options == self._options
        )

    def _unfold_hint(self) -> str:
        return f" ({self.app_context.key_display_for('yaml.managed_fields')} unfolds)"

    def _show(self, shown: _Shown | None) -> None:
        """Show a new text; the first visible line stays the first one."""
        view = self.code_view
        if shown is None:
            self._problem = NESTED_TOO_DEEPLY
            self._update_heading()
            return
        self._problem = ""
        old = self._shown
        old_text = old.text if old is not None else YamlText()
        new_text = shown.text.text
        changed = shown.changed
        if old is not None and old.live is shown.text.live:  # folded or masked differently
            changed = frozenset(
                at
                for index in view.changed
                if (at := new_text.index_of(old_text.lines[index].path)) is not None
            )
        anchor = self._hit_anchor(old_text, new_text)
        self._shown = shown.text
        if self._changed_at is None:
            self._changed_at = shown.text.changed_at
        view.set_lines(
            new_text.lines,
            width=shown.width,
            top=new_text.find_line(old_text, view.top),
            left=view.scroll_offset.x,
            changed=changed,
        )
        if self._needle:
            self._find(anchor, moves=False)
        self._update_heading()
        self.post_message(self.ActionsChanged())

    # -- what is shown ------------------------------------------------------------------------

    def update_ages(self) -> None:
        self._update_heading()

    def on_code_view_viewport_changed(self) -> None:
        self._update_heading()

    def _update_heading(self) -> None:
        if not self.is_attached or not (width := self.heading.inner_width):
            return
        self.heading.set_lines(self._title_line(width), self._state_line())

    def _title_line(self, width: int) -> Line:
        """The object, when it changed, and the visible lines. A long name loses its beginning: its
        end distinguishes Pods."""
        rest: list[Span] = []
        if self._changed_at is not None and not self._is_deleted:
            seconds = max(0.0, (self.app_context.clock() - self._changed_at).total_seconds())
            rest.append((f"  changed {format_duration(seconds)} ago", "muted"))
        if count := len(self.code_view.lines):
            bottom = min(count, self.code_view.top + max(self.code_view.size.height, 1))
            lines = f"  lines {self.code_view.top + 1:,}-{bottom:,} of {count:,}"
            rest.append((lines, "muted"))
        room = max(width - 1 - line_width(tuple(rest)), len(self._object_kind) + 10)
        name = self.title
        if len(name) > room:
            kept = room - len(self._object_kind) - 2
            name = f"{self._object_kind}/…{self._object_name[-kept:]}"
        return ((" ", ""), (name, "strong"), *rest)

    def _state_line(self) -> Line:
        """Whether the object is there and may be read, what was found in it, and what is masked."""
        parts: list[Span] = []
        watch = self._watch
        if watch is None:
            parts.append(("Not connected to the API server yet.", "pending"))
        elif watch.missing_permission:
            parts.append((watch.missing_permission, "warning"))
        elif self._problem:
            parts.append((self._problem, "error"))
        elif self._is_deleted:
            when = f" at {_clock_text(self._deleted_at)}" if self._deleted_at is not None else ""
            parts.append((f"deleted{when}; the last state is shown", "pending"))
        elif self._live is None and watch.is_settled:
            parts.append((f"There is no {self._object_kind} {self._object_name}.", "muted"))
        elif self._shown is None:
            parts.append(("Loading…", "muted"))
        elif self._replaced_at is not None:
            when = _clock_text(self._replaced_at)
            parts.append((f"replaced at {when} by a new object of this name", "pending"))
        if self._needle and self._shown is not None:
            parts.append(self._hits_span())
        if self._shown is not None and (masked := self._shown.masked_count):
            if self._shown.options.reveals_secrets:
                parts.append((f"{format_count(masked, 'secret value')} shown", "warning"))
            else:
                parts.append((format_masked(masked), "muted"))
        line: list[Span] = [(" ", "")]
        for part in parts:
            line += [("  ", ""), part] if len(line) > 1 else [part]
        return tuple(line)

    def _hits_span(self) -> Span:
        view = self.code_view
        needle = truncate(self._needle, MAX_NEEDLE_WIDTH)
        if not view.hits:
            return f"/{needle}  not found", "warning"
        count = f"{len(view.hits):,}{'+' if len(view.hits) == MAX_HITS else ''}"
        at = f"{view.current_hit + 1:,} of " if view.current_hit is not None else ""
        return f"/{needle}  {at}{count}", "accent"

    # -- search -------------------------------------------------------------------------------

    def scopes(self) -> tuple[str, ...]:
        return ("search",) if self._is_searching else super().scopes()

    def do_search(self) -> None:
        view = self.code_view
        self._search_start = (view.top, view.scroll_offset.x)
        self.search_line.open()
        self._is_searching = True
        self.post_message(self.ActionsChanged())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._needle = event.value
        self._find((self._search_start[0], 0), moves=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close_search()

    def on_search_line_cleared(self) -> None:
        self._needle = ""
        self.code_view.set_hits(())
        top, left = self._search_start
        self.code_view.scroll_to(x=left, y=top, animate=False, force=True)
        self._close_search()
        self._update_heading()

    def _close_search(self) -> None:
        self._hide_search()
        self.code_view.focus()
        self.post_message(self.ActionsChanged())

    def _hide_search(self) -> None:
        self._is_searching = False
        self.search_line.close()

    def _clear_search(self) -> None:
        self._needle = ""
        self.search_line.clear()
        self._hide_search()

    def _find(self, anchor: tuple[int, int], *, moves: bool) -> None:
        """Search the text; the current hit is the first one from `anchor` (line, character) on."""
        shown, needle = self._shown, self._needle
        if shown is None or not needle:
            self._set_hits([], anchor, moves=False)
        elif len(shown.live.json_text) <= SMALL_OBJECT_BYTES:
            self._set_hits(_find_in(shown.text, needle), anchor, moves=moves)
        else:
            self.start_worker(self._find_in_thread(shown, needle, anchor, moves=moves), "search")

    async def _find_in_thread(
        self, shown: ObjectText, needle: str, anchor: tuple[int, int], *, moves: bool
    ) -> None:
        hits = await asyncio.to_thread(_find_in, shown.text, needle)
        if shown is self._shown and needle == self._needle:
            self._set_hits(hits, anchor, moves=moves)

    def _set_hits(self, hits: list[Hit], anchor: tuple[int, int], *, moves: bool) -> None:
        current = bisect_left(hits, anchor) % len(hits) if hits else None
        self.code_view.set_hits(hits, current)
        if current is not None and moves:
            self.code_view.show_hit(current)
        self._update_heading()
        self.post_message(self.ActionsChanged())

    def _hit_anchor(self, old: YamlText, new: YamlText) -> tuple[int, int]:
        """Where the current hit is in the new text."""
        view = self.code_view
        if view.current_hit is None:
            return new.find_line(old, view.top), 0
        hit = view.hits[view.current_hit]
        return new.find_line(old, hit.line), hit.start

    def do_next_hit(self) -> None:
        self._move_to_hit(1)

    def do_previous_hit(self) -> None:
        self._move_to_hit(-1)

    def _move_to_hit(self, step: int) -> None:
        view = self.code_view
        at = view.current_hit if view.current_hit is not None else -1
        view.show_hit((at + step) % len(view.hits))
        self._update_heading()

    # -- other actions ------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        shown = self._shown
        if action.name in ("next_hit", "previous_hit"):
            if not self._needle:
                key = self.app_context.key_display_for("yaml.search")
                return f"Nothing was searched yet; {key} searches."
            return "" if self.code_view.hits else f"{self._needle} was not found."
        if action.name in ("search", "copy", "save") and shown is None:
            return "No object is shown."
        if action.name == "managed_fields":
            can_fold = shown is not None and (self._options.unfolds or shown.folded_count > 0)
            return "" if can_fold else "The object has no managed fields."
        if action.name == "reveal" and (shown is None or not shown.masked_count):
            return "No value is masked."
        return ""

    def do_objects(self) -> None:
        self.post_message(self.ObjectPickRequested(self.title))

    def do_managed_fields(self) -> None:
        self._options = self._options._replace(unfolds=not self._options.unfolds)
        self._request_text()

    def do_reveal(self) -> None:
        reveals = not self._options.reveals_secrets
        self._options = self._options._replace(reveals_secrets=reveals)
        self._request_text()
        self.show_message("Secret values are shown." if reveals else "Secret values are masked.")

    async def do_copy(self) -> None:
        """Copy the whole YAML with what is shown of it."""
        saved = await self._build_saved()
        if saved is None:
            return
        try:
            how = await copy_text(saved.text, self.app_context.write_to_terminal)
        except CopyError as error:
            key = self.app_context.key_display_for("yaml.save")
            self.show_message(f"{error} {key} saves it to a file.", "warning")
        else:
            self.show_message(f"Copied {how}: {self.title}, {self._describe(saved)}.", "ready")

    async def do_save(self) -> None:
        """Save what `do_copy` copies to a file that its owner alone can read."""
        saved = await self._build_saved()
        if saved is None:
            return
        title = self.title
        hint = f"{self._describe(saved).capitalize()}. Only you can read the file."
        message = self.PathRequested(
            f"Save the YAML of {title}",
            f"{self._object_kind.lower()}-{self._object_name}.yaml",
            hint,
            lambda path: self._start_saving(path, title, saved),
        )
        self.post_message(message)

    async def _build_saved(self) -> SavedText | None:
        """What is copied and saved of the object that is shown."""
        shown = self._shown
        if shown is None:
            return None
        try:
            if len(shown.live.json_text) <= SMALL_OBJECT_BYTES:
                return build_saved_text(shown.live, shown.options)
            return await asyncio.to_thread(build_saved_text, shown.live, shown.options)
        except RecursionError:
            self.show_message(NESTED_TOO_DEEPLY, "error")
            return None

    def _describe(self, saved: SavedText) -> str:
        """How long it is, and what is not in it."""
        parts = [format_count(saved.line_count, "line")]
        if saved.omits_managed_fields:
            parts.append("without managed fields")
        if saved.masked_count:
            key = self.app_context.key_display_for("yaml.reveal")
            parts.append(f"{format_masked(saved.masked_count)} ({key} shows them)")
        return ", ".join(parts)

    def _start_saving(self, path: Path, title: str, saved: SavedText) -> None:
        self.start_worker(self._save(path, title, saved), "save")

    async def _save(self, path: Path, title: str, saved: SavedText) -> None:
        try:
            await asyncio.to_thread(write_text, path, saved.text, private=True)
        except OSError as error:
            self.show_message(f"{path} was not saved: {error.strerror}.", "error")
        else:
            self.show_message(f"Saved {title} as {path}: {self._describe(saved)}.", "ready")


def _build(
    live: LiveObject, options: TextOptions, before: ObjectText | None, unfold_hint: str
) -> _Shown | None:
    """The text of an object, and what has changed since the one that is shown; None if it cannot be
    shown. May run in a thread."""
    try:
        text = build_object_text(live, options, unfold_hint)
    except RecursionError:
        return None
    width = measure_width(display_text(line.text) for line in text.text.lines)
    changed: frozenset[int] = frozenset()
    if before is not None and before.live is not live and before.options == options:
        changed = text.text.changed_since(before.text)
    return _Shown(text, width, changed)


def _find_in(text: YamlText, needle: str) -> list[Hit]:
    return find_hits((display_text(line.text) for line in text.lines), needle)


def _clock_text(time: datetime) -> str:
    return time.astimezone().strftime("%H:%M:%S")
