"""The tab YAML: one object of the serving as it is in the cluster, updated while it is read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.message import Message
from textual.widgets import Input

from servedeck.cluster.resources import RESOURCES_BY_KIND, SECRET
from servedeck.detail.detail_service import ObjectWatch
from servedeck.detail.object_text import (
    ObjectText,
    SavedText,
    TextOptions,
    build_object_text,
    format_masked,
)
from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import format_count
from servedeck.serving.yaml_text import YamlText
from tui import yaml_heading
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.panes.base import Pane
from tui.ports.serving_source import SourceChanges
from tui.text_search import MAX_LINES_AT_ONCE, TextSearch
from tui.yaml_export import build_export, copy_export, describe_export, save_export
from widgets.code_view import CodeView
from widgets.search_line import SearchLine
from widgets.styled_line import Line, Span
from widgets.text_search import display_text, measure_width
from widgets.text_view import StatusLine

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject

SMALL_OBJECT_BYTES = 24_000
"""JSON of at most this size is made a text at once, in about 10 ms; more is left to a thread."""

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
        self._object_kind, self._object_name = key.kind, key.name
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
        self._search = TextSearch(
            lambda: self.code_view,
            lambda: self.search_line,
            start_worker=self.start_worker,
            on_change=self._on_hits,
        )

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
        self._forget_object(key.kind, key.name)

    @property
    def live_object(self) -> LiveObject | None:
        """The object that is shown; None before it is read."""
        return self._live

    def choose_object(self, kind: str, name: str) -> str:
        """Show another object, now or when the tab is shown; the workload if `kind` is "".
        Returns why that is not possible, in one sentence; "" if it is."""
        if kind == SECRET.kind or (kind and kind not in RESOURCES_BY_KIND):
            return f"The YAML of objects of kind {kind} is not shown here."
        kind, name = (kind, name) if kind else (self.key.kind, self.key.name)
        if (kind, name) != (self._object_kind, self._object_name):
            self._forget_object(kind, name)
            if self.is_active:
                self.close_watches()
                self._open_watch()
        return ""

    def _forget_object(self, kind: str, name: str) -> None:
        """Nothing is known of the object that is to be shown."""
        self._object_kind, self._object_name = kind, name
        shown, self._live, self._shown = self._shown, None, None
        self._options = self._options._replace(reveals_secrets=False)
        self._changed_at = self._deleted_at = self._replaced_at = None
        self._is_deleted = False
        self._problem = ""
        if self.is_attached:
            self._search.clear()
            self.code_view.set_lines((), width=0)
            if shown is not None and not self._is_building:  # a thread may compare with it
                self._free(shown)

    # -- start and end ------------------------------------------------------------------------

    def activate(self) -> None:
        super().activate()
        self.code_view.focus()
        self._open_watch()

    def deactivate(self) -> None:
        super().deactivate()
        self._watch = None
        self._search.close()
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
            if before is None or not _is_same_version(before, found):
                self._live = found
                # What changed before this watch saw the object, it tells itself.
                self._changed_at = now if self._seen_by is watch else None
                self._request_text()
            self._seen_by = watch
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
        if self._search.needle:
            self._search.find(anchor, moves=False)
        if old is not None:
            self._free(old)
        self._update_heading()
        self.post_message(self.ActionsChanged())

    def _free(self, old: ObjectText) -> None:
        """Free the memory of a large text, which is shown no longer, in a thread: at once it would
        stop the screen for 50 ms."""
        if len(old.text.lines) > MAX_LINES_AT_ONCE:
            freeing = asyncio.to_thread(old.text.clear)
            self.run_worker(freeing, group="free", exit_on_error=False)

    def _hit_anchor(self, old: YamlText, new: YamlText) -> tuple[int, int]:
        """Where the current hit is in the new text."""
        view = self.code_view
        if view.current_hit is None:
            return new.find_line(old, view.top), 0
        hit = view.hits[view.current_hit]
        return new.find_line(old, hit.line), hit.start

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
        view = self.code_view
        count = len(view.lines)
        last = min(count, view.top + max(view.size.height, 1))
        age: float | None = None
        if self._changed_at is not None and not self._is_deleted:
            age = (self.app_context.clock() - self._changed_at).total_seconds()
        return yaml_heading.title_line(
            self._object_kind,
            self._object_name,
            width,
            age=age,
            visible=(view.top + 1, last, count),
        )

    def _state_line(self) -> Line:
        """Whether the object is there and may be read, what was found in it, and what is masked."""
        parts: list[Span] = []
        watch, shown = self._watch, self._shown
        if watch is None:
            parts.append(("Not connected to the API server yet.", "pending"))
        elif watch.missing_permission:
            parts.append((watch.missing_permission, "warning"))
        elif self._problem:
            parts.append((self._problem, "error"))
        elif self._is_deleted:
            parts.append((yaml_heading.deleted_text(self._deleted_at), "pending"))
        elif self._live is None and watch.is_settled:
            parts.append((f"There is no {self._object_kind} {self._object_name}.", "muted"))
        elif shown is None:
            parts.append(("Loading…", "muted"))
        elif self._replaced_at is not None:
            parts.append((yaml_heading.replaced_text(self._replaced_at), "pending"))
        if shown is not None and self._search.needle:
            parts.append(self._search.count_span())
        if shown is not None and shown.masked_count:
            if shown.options.reveals_secrets:
                parts.append(
                    (f"{format_count(shown.masked_count, 'secret value')} shown", "warning")
                )
            else:
                parts.append((format_masked(shown.masked_count), "muted"))
        return yaml_heading.state_line(parts)

    # -- search -------------------------------------------------------------------------------

    def scopes(self) -> tuple[str, ...]:
        return ("search",) if self._search.is_typing else super().scopes()

    def do_search(self) -> None:
        self._search.open()
        self.post_message(self.ActionsChanged())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._search.set_needle(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._search.close()
        self._leave_search()

    def on_search_line_cleared(self) -> None:
        self._search.give_up()
        self._leave_search()

    def go_back(self) -> bool:
        if not self._search.needle:
            return False
        self.on_search_line_cleared()
        return True

    def _leave_search(self) -> None:
        self.code_view.focus()
        self._on_hits()

    def _on_hits(self) -> None:
        self._update_heading()
        self.post_message(self.ActionsChanged())

    def do_next_hit(self) -> None:
        self._search.move(1)

    def do_previous_hit(self) -> None:
        self._search.move(-1)

    # -- other actions ------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        shown = self._shown
        if action.name in ("next_hit", "previous_hit"):
            if not self._search.needle:
                key = self.app_context.key_display_for("yaml.search")
                return f"Nothing was searched yet; {key} searches."
            return "" if self.code_view.hits else f"{self._search.needle} was not found."
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
        if (saved := await self._build_export()) is not None:
            self.show_message(*await copy_export(saved, self.title, self.app_context))

    async def do_save(self) -> None:
        """Save what `do_copy` copies."""
        saved = await self._build_export()
        if saved is None:
            return
        title = self.title
        described = describe_export(saved, self.app_context.key_display_for("yaml.reveal"))
        message = self.PathRequested(
            f"Save the YAML of {title}",
            f"{self._object_kind.lower()}-{self._object_name}.yaml",
            f"{described}. Only you can read the file.",
            lambda path: self._start_saving(saved, title, path),
        )
        self.post_message(message)

    def _start_saving(self, saved: SavedText, title: str, path: Path) -> None:
        self.start_worker(self._save(saved, title, path), "save")

    async def _save(self, saved: SavedText, title: str, path: Path) -> None:
        self.show_message(*await save_export(saved, title, path, self.app_context))

    async def _build_export(self) -> SavedText | None:
        shown = self._shown
        if shown is None:
            return None
        return await build_export(shown, in_thread=len(shown.live.json_text) > SMALL_OBJECT_BYTES)


def _is_same_version(one: LiveObject, other: LiveObject) -> bool:
    """Whether nothing has changed. The JSON differs between a list and a watch."""
    a, b = one.metadata, other.metadata
    if a.uid != b.uid or a.resource_version != b.resource_version:
        return False
    return bool(a.resource_version) or one.json_text == other.json_text


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
