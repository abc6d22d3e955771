"""What every screen can use of the app that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from servedeck.changes.operations.operation import OperationKind
from servedeck.cluster.resources import DEPLOYMENT

if TYPE_CHECKING:
    from pathlib import Path

    from textual.worker import Worker

    from servedeck.changes.edit.undo import UndoPoint
    from servedeck.changes.operations.operation import OperationResult
    from servedeck.cluster.apply import ObjectRef
    from servedeck.cluster.command_options import CommandOptions
    from servedeck.detail.detail_service import DetailService
    from servedeck.fleet.history import ServingHistory
    from servedeck.fleet.views import NamespacedName
    from servedeck.forwarding.forwards import PortForwards
    from servedeck.serving.async_limits import AsyncQueueSettings
    from servedeck.serving.spec.mapping.json_values import JsonObject
    from tui.ports.async_queue_service import AsyncQueueService, LimitValues
    from tui.ports.bundle_service import BundleService
    from tui.ports.change_service import ChangeService
    from tui.ports.log_service import LogService
    from tui.ports.metrics_service import MetricsService
    from tui.ports.serving_source import ServingSource
    from tui.ports.traffic_service import TrafficService
    from tui.sent_requests import SentRequests
    from tui.unpainted_input import InputPhase
    from widgets.status_paragraphs import CrashedContainer, LogTail


class LimitsUndo(NamedTuple):
    """What puts back a change of the limits of an async queue."""

    key: NamespacedName
    changes: LimitValues
    """The values of before."""
    seen: AsyncQueueSettings
    """The limits as the change left them."""


class Undoable(NamedTuple):
    """What was done last and can be undone: operations that were done together, or an edit."""

    context: str = ""
    """The context in which they were done."""
    results: tuple[OperationResult, ...] = ()
    edit: UndoPoint | None = None
    """A saved edit, in place of operations."""
    limits: LimitsUndo | None = None
    """A change of the limits of an async queue, in place of operations."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it can be undone."""
        if self.edit is not None or self.limits is not None:
            return False
        return all(one.undo is None for one in self.results)

    def after(self, context: str, done: Sequence[OperationResult]) -> Undoable:
        """What can be undone after these operations, which were done together: they, or if none of
        them has an undo (a restart), still what could be undone before. An object that was as that
        left it and was only restarted since still counts as such: a restart changes nothing that is
        put back. What was deleted is not put back."""
        latest = Undoable(context, tuple(done))
        if not latest.is_empty or self.is_empty or context != self.context:
            return latest
        restarted = {
            one.operation.path: one.generation
            for one in done
            if one.operation.kind is OperationKind.RESTART and one.generation is not None
        }
        deleted = {one.operation.path for one in done if one.operation.kind is OperationKind.DELETE}

        def generation_now(path: str, left: int) -> int:
            return left + 1 if restarted.get(path) == left + 1 else left

        edit = self.edit
        if edit is not None:
            path = DEPLOYMENT.object_path(edit.after.namespace, edit.after.name)
            edit = replace(edit, generation=generation_now(path, edit.generation))
            edit = None if path in deleted else edit
        limits = self.limits
        if limits is not None:
            path = DEPLOYMENT.object_path(limits.key.namespace, limits.key.name)
            limits = None if path in deleted else limits
        results = tuple(
            one
            if one.generation is None
            else replace(one, generation=generation_now(one.operation.path, one.generation))
            for one in self.results
            if one.operation.path not in deleted
        )
        kept = Undoable(context, results, edit, limits)
        return latest if kept.is_empty else kept


class KeptEdit(NamedTuple):
    """An object in the operator's editor that is not saved."""

    base: JsonObject
    """The object as it was read."""
    file: Path
    """The text as it was left, in a directory of its own that the operator alone can read."""


class AppContext(Protocol):
    """The interface of the app for its screens."""

    source: ServingSource
    log_service: LogService
    detail_service: DetailService
    bundle_service: BundleService | None
    """None without a cluster."""
    metrics_service: MetricsService | None
    """None without a cluster."""
    async_queue_service: AsyncQueueService | None
    """None without a cluster."""
    traffic_service: TrafficService | None
    """None without a cluster."""
    port_forwards: PortForwards | None
    """None without a cluster."""
    history: ServingHistory
    """What was seen of the servings while servedeck runs."""
    readonly: bool
    is_utf8: bool
    """Whether the terminal shows more than ASCII."""
    kubeconfig: tuple[Path, ...] | None
    """Kubeconfig files; None for those of the environment."""
    keymap: dict[str, str]
    """The operator's keymap: an action's id -> its keys."""
    favorites: tuple[str, ...]
    """Namespaces of the keys 1 to 9, in their order; empty for those with most servings."""
    wide: bool
    columns: tuple[str, ...]
    """Keys of the only columns to show; empty for all."""
    column_widths: dict[str, int]
    """Widths in cells of columns of the serving list, by key."""
    saved_filters: dict[str, str]
    """Filters of the serving list, by their names."""
    log_memory_bytes: int
    """Memory of a log's newest lines."""
    command_history: list[str]
    """Commands that were run in containers, the newest last."""
    undoable: Undoable
    """What was done last and can be undone."""
    kept_edits: dict[tuple[str, ObjectRef], KeptEdit]
    """Edits of objects that were not saved, by context and object."""
    sent_requests: SentRequests
    """Those that were sent at once and are not answered yet."""
    input_read_at: float
    """When the key or click that is handled now was read, in seconds of `time.monotonic`."""
    exiting: bool
    """True as soon as the exit was requested."""

    @property
    def change_service(self) -> ChangeService | None:
        """None without a cluster."""

    @property
    def command_options(self) -> CommandOptions:
        """What names the cluster in a command that is shown or copied."""

    @property
    def is_production(self) -> bool:
        """Whether the settings call the context a production context."""

    def clock(self) -> datetime:
        """The time now."""

    def key_display_for(self, action_id: str) -> str:
        """The key of an action as it is shown, with the operator's keymap applied."""

    async def show_namespace(self, name: str) -> None:
        """Show one namespace, or all with ""."""

    def pick_namespace(self) -> None:
        """Let the operator choose one."""

    def pick_context(self) -> None:
        """Let the operator choose a context."""

    async def read_log_tail(self, crash: CrashedContainer, lines: int) -> LogTail:
        """The last lines of a crashed container, or the reason why there are none."""

    @property
    def input_phase(self) -> InputPhase:
        """What has become of the input that was read last."""

    def has_unpainted_input(self) -> bool:
        """Whether the effect of a key is still to be painted: work that can wait does."""

    def note_removed(self) -> None:
        """A screen or a tab was closed: its memory can be freed."""

    def write_to_terminal(self, sequence: str) -> None:
        """Send a control sequence directly to the terminal."""

    def hold_keys(self, worker: Worker[None], label: str) -> None:
        """Queue keys until the worker ends; `label` describes what it does."""

    def show_message(self, text: str, style_name: str = "") -> None:
        """Show a sentence on the message line of the screen that is in front."""

    async def do_quit(self) -> None:
        """Quit, unless a screen reports a reason to wait."""

    def do_help(self) -> None:
        """Show what the keys of the current screen do."""
