"""The tab Rollouts: the rollout of the current revision, and all revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.message import Message

from servedeck.detail.detail_service import ObjectWatch
from servedeck.fleet.views import NamespacedName
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.label_selector import format_label_selector
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.panes.base import Pane
from tui.ports.serving_source import SourceChanges
from widgets.revision_rows import (
    REVISION_COLUMNS,
    build_revision_row,
    hidden_revision_columns,
    revision_key,
)
from widgets.rollout_paragraphs import revision_paragraphs, rollout_paragraphs
from widgets.styled_line import Line, fit_line, plain_text
from widgets.table import KeyedTable
from widgets.text_view import Paragraph, TextView, wrap_paragraphs

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject
    from servedeck.detail.rollout import Rollouts
    from servedeck.serving.objects.field_changes import FieldChange
    from servedeck.serving.status.revisions import Revision, RevisionReader

MAX_MARKS = 2
"""Number of revisions that can be marked; another one replaces the one that was marked first."""

MIN_TABLE_LINES = 4
"""Lines that the texts above and below leave to the table."""


class RolloutsPane(Pane):
    """Follows the Deployment and its ReplicaSets."""

    TITLE = "Rollouts"
    SCOPE = "rollouts"
    BINDINGS: ClassVar[list[BindingType]] = bindings("rollouts")
    rollout_text = query_one("#rollout", TextView)
    table = query_one("#revisions", KeyedTable)
    revision_text = query_one("#revision", TextView)

    @dataclass
    class DifferenceRequested(Message):
        """The difference between two revisions was requested."""

        title: str
        changes: tuple[FieldChange, ...]

    @dataclass
    class CanaryRequested(Message):
        """A second revision of the serving was requested, with the Pods of this one."""

        number: int

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._deployments: ObjectWatch | None = None
        self._replicasets: ObjectWatch | None = None
        self._selector = ""
        """Label selector of the watch of the ReplicaSets."""
        self._deployment: LiveObject | None = None
        """As it was last: a deleted one stays."""
        self._rollouts: Rollouts | None = None
        self._reader: RevisionReader | None = None
        self._sources: tuple[object, ...] = ()
        """What `_rollouts` was built from."""
        self._marked: list[str] = []
        """Keys of the marked revisions, in the order of marking."""

    def compose(self) -> ComposeResult:
        yield TextView(id="rollout")
        yield KeyedTable(
            REVISION_COLUMNS, format_age=format_signed_duration, clock=self._now, id="revisions"
        )
        yield TextView(id="revision")

    def on_mount(self) -> None:
        self.rollout_text.can_focus = self.revision_text.can_focus = False

    def _now(self) -> datetime:
        return self.app_context.clock() if self.is_attached else datetime.now(UTC)

    # -- start and end ------------------------------------------------------------------------

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._deployment = self._rollouts = self._reader = None
        self._sources, self._marked = (), []
        if self.is_attached:
            self.table.set_rows([])
            self.table.reset_cursor()

    def activate(self) -> None:
        super().activate()
        self.table.focus()
        self._refresh()
        self.call_after_refresh(self._lay_out)  # without a size yet, it is not always resized

    def deactivate(self) -> None:
        super().deactivate()
        self._deployments = self._replicasets = None
        self._selector = ""

    def on_changes(self, changes: SourceChanges) -> None:
        if self.key in changes.keys:
            self._refresh()

    def _watch_deployment(self) -> None:
        from servedeck.cluster.resources import DEPLOYMENT
        from servedeck.detail.object_watch import ObjectQuery

        query = ObjectQuery(DEPLOYMENT, self.key.namespace, self.key.name)
        self._deployments = self.add_watch(
            self.app_context.detail_service.watch_objects(query, self._refresh)
        )

    def _watch_replicasets(self, deployment: LiveObject) -> None:
        """Watch the ReplicaSets that the Deployment selects; it owns those with its uid only."""
        from servedeck.cluster.resources import REPLICA_SET
        from servedeck.detail.object_watch import ObjectQuery

        spec = deployment.value.get("spec")
        selector = format_label_selector(spec.get("selector") or {}) if spec else ""
        if self._replicasets is not None and selector == self._selector:
            return
        self._selector = selector
        query = ObjectQuery(REPLICA_SET, self.key.namespace, label_selector=selector)
        self._replicasets = self.add_watch(
            self.app_context.detail_service.watch_objects(query, self._refresh)
        )

    # -- what is shown ------------------------------------------------------------------------

    def _refresh(self) -> None:
        """An object or the serving has changed."""
        if not self.is_active:
            return
        if not self.key.is_deployment:
            self._update()
            return
        if self._deployments is None:
            self._watch_deployment()
        found = self._deployments.newest if self._deployments is not None else None
        if found is not None:
            self._deployment = found
            self._watch_replicasets(found)
        self._build()
        self._update()

    def _build(self) -> None:
        """Combine the objects, if one of them has changed."""
        from servedeck.detail.rollout import build_rollouts
        from servedeck.serving.status.revisions import RevisionReader

        replicasets = self._replicasets
        if self._deployment is None or replicasets is None or not replicasets.is_settled:
            return
        view = self.view
        if view is None and self._rollouts is not None:
            return  # it was deleted, and its ReplicaSets with it
        found, missing = replicasets.objects, replicasets.missing_permission
        pods = view.pods if view is not None else ()
        sources = (self._deployment, pods, missing, *found)
        if len(sources) == len(self._sources) and all(map(_is_same, sources, self._sources)):
            return
        self._sources = sources
        self._reader = self._reader or RevisionReader()
        self._rollouts = build_rollouts(
            self._deployment.value,
            [one.value for one in found],
            view,
            missing_permission=missing,
            reader=self._reader,
        )
        keys = {revision_key(one) for one in self._rollouts.revisions}
        self._marked = [key for key in self._marked if key in keys]

    def _update(self) -> None:
        self.table.set_placeholder(((("  ", ""), (self._placeholder(), "muted")),))
        self._update_rows()
        self._lay_out()
        self.post_message(self.ActionsChanged())

    def _lay_out(self) -> None:
        """Use the size that the pane has now."""
        if self.size.width:
            self.table.configure_columns(hidden_columns=hidden_revision_columns(self.size.width))
        self._update_texts()

    def _update_rows(self) -> None:
        self.table.set_rows(
            [
                build_revision_row(one, is_marked=revision_key(one) in self._marked)
                for one in self._revisions
            ]
        )

    def _placeholder(self) -> str:
        if not self.key.is_deployment:
            return f"The revisions of a {self.key.kind} are not shown; those of a Deployment are."
        watch = self._deployments
        if watch is not None and watch.missing_permission:
            return watch.missing_permission
        if watch is not None and watch.is_settled and self._deployment is None:
            return "The Deployment does not exist."
        return "Loading…"

    def _update_texts(self) -> None:
        height, width = self.size.height, max(self.size.width - 2, 1)
        now = self._now()
        rollout = rollout_paragraphs(self._rollouts, now) if self._rollouts is not None else []
        revision = self.selected_revision
        details = revision_paragraphs(revision, now) if revision is not None else []
        # More than fits is not wrapped: a command line may have a megabyte.
        rollout, details = (
            [one.cut(height * width) for one in found] for found in (rollout, details)
        )
        room = max(height - MIN_TABLE_LINES, 0)
        above_lines = wrap_paragraphs(rollout, width)
        above = min(len(above_lines), room * 2 // 3)
        _show(self.rollout_text, above_lines, above, width)
        rows = len(self._revisions) + 1
        below_lines = wrap_paragraphs(details, width)
        below = min(len(below_lines), max(height - above - rows, room // 3), max(room - above, 0))
        _show(self.revision_text, below_lines, below, width)

    def on_resize(self) -> None:
        self.call_after_refresh(self._lay_out)

    def update_ages(self) -> None:
        self.table.update_ages()
        self._update_texts()

    def on_keyed_table_highlighted(self) -> None:
        self._update_texts()
        self.post_message(self.ActionsChanged())

    async def on_keyed_table_cell_clicked(self, message: KeyedTable.CellClicked) -> None:
        message.stop()
        if message.is_double_click:
            await self.action_do("rollouts.compare")

    # -- revisions ----------------------------------------------------------------------------

    @property
    def _revisions(self) -> Sequence[Revision]:
        return self._rollouts.revisions if self._rollouts is not None else ()

    @property
    def selected_revision(self) -> Revision | None:
        """The revision under the cursor."""
        key = self.table.cursor_key
        return next((one for one in self._revisions if revision_key(one) == key), None)

    def _compared_revisions(self) -> tuple[Revision, Revision] | None:
        """The two marked revisions, or the one under the cursor with the one before it: the older
        one first. None if there is none before it."""
        revisions = self._revisions
        marked = [one for one in revisions if revision_key(one) in self._marked]
        if len(marked) == MAX_MARKS:
            return marked[1], marked[0]
        selected = self.selected_revision
        if selected is None or selected is revisions[-1]:
            return None
        return revisions[list(revisions).index(selected) + 1], selected

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if self.selected_revision is None:
            return "There is no revision under the cursor."
        if action.name == "compare" and self._compared_revisions() is None:
            return "There is no revision before it."
        if action.name == "canary":
            return self._canary_disabled_reason()
        return ""

    def _canary_disabled_reason(self) -> str:
        view, revision = self.view, self.selected_revision
        if view is None:
            return "The serving was deleted."
        if view.revision_of:
            return f"It is itself a revision of {view.revision_of}; begin one of that instead."
        if revision is None or not revision.number or not revision.uid:
            return "That revision has no ReplicaSet, so its Pods are not known."
        if view.readonly_reason:
            return view.readonly_reason
        return "" if self.app_context.traffic_service else "Not connected to a cluster."

    def rollback_disabled_reason(self) -> str:
        """Why the serving cannot go back to the revision under the cursor; "" if it can."""
        revision = self.selected_revision
        if self.view is None:
            return "The serving was deleted."
        if revision is None or revision.is_current or not revision.number:
            return "It is the current revision; move to the one to go back to."
        return ""

    def do_mark(self) -> None:
        if (revision := self.selected_revision) is None:
            return
        key = revision_key(revision)
        if key in self._marked:
            self._marked.remove(key)
        else:
            self._marked = [*self._marked, key][-MAX_MARKS:]
        self.table.keep_cursor_row()
        self._update_rows()
        self.post_message(self.ActionsChanged())

    def do_compare(self) -> None:
        from servedeck.serving.objects.template_changes import find_template_changes

        if (compared := self._compared_revisions()) is None:
            return
        old, new = compared
        title = f"From {old.name} to {new.name} of {self.key}"
        changes = find_template_changes(old.template, new.template)
        self.post_message(self.DifferenceRequested(title, tuple(changes)))

    def do_canary(self) -> None:
        if (revision := self.selected_revision) is not None:
            self.post_message(self.CanaryRequested(revision.number))

    async def do_copy(self) -> None:
        if (revision := self.selected_revision) is None:
            return
        lines = [plain_text(one.line) for one in revision_paragraphs(revision, self._now())]
        text = "\n".join(lines)
        self.show_message(
            *await copy_with_message(text, self.app_context.write_to_terminal, revision.name)
        )


def _is_same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, str) and one == other)


def _show(text: TextView, lines: list[Line], height: int, width: int) -> None:
    """Show the first lines; "…" at the end says that there are more. The text does not scroll."""
    shown = lines[:height]
    if 0 < height < len(lines):
        shown[-1] = (*fit_line(shown[-1], width - 1), ("…", "muted"))
    text.display = height > 0
    text.styles.height = height
    text.set_paragraphs([Paragraph(line, no_wrap=True) for line in shown])
