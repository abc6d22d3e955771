"""From the list or a serving's page into edit mode: permission, saved draft, result, undo; and the
way out of a blocked rollout."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import ServingView
from servedeck.serving.duration import format_signed_duration
from tui.internals.textual_private import mount_ahead
from tui.operation_flow import OperationFlow
from tui.ports.app_context import Undoable
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption

FORM_NAME = "edit"
"""Name of the installed screen."""
PREPARE_SECONDS = 1.0
"""Seconds that a serving is shown until its form is prepared."""
NO_TEXTS: Mapping[str, str] = MappingProxyType({})
PREPARING = "prepare-edit"
"""Group of the workers that read a serving before its form is opened."""

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from textual.timer import Timer

    from servedeck.changes.draft_store import SavedDraft
    from servedeck.changes.edit.edit import Edit, EditPlan
    from servedeck.changes.edit.save import SaveResult
    from servedeck.changes.edit.undo import UndoPoint
    from servedeck.fleet.views import NamespacedName
    from servedeck.serving.edit.merge import MergeConflict
    from servedeck.serving.objects.import_objects import ImportedServing
    from servedeck.serving.spec.spec import ServingSpec
    from tui.ports.change_service import ChangeService
    from tui.screens.base import ActionScreen
    from tui.screens.edit.edit_screen import EditResult, EditScreen
    from tui.screens.edit.prepared_serving import PreparedServing


class EditFlow:
    """Opens the form of a serving over a screen, and shows its result there."""

    def __init__(
        self,
        screen: ActionScreen[Any],
        operation_flow: OperationFlow,
        *,
        on_saved: Callable[[NamespacedName], None] = lambda key: None,
    ) -> None:
        """`on_saved` is called after a save that restarts Pods."""
        self._screen = screen
        self._operation_flow = operation_flow
        self._on_saved = on_saved
        self._followed: ServingView | None = None
        """The serving whose form is prepared; None for none."""
        self._prepared: PreparedServing | None = None
        """What was read of it; None until it was read."""
        self._timer: Timer | None = None
        self._field, self._texts = "", NO_TEXTS
        """Where the cursor is when the form opens, and what is typed into it then."""

    def disabled_reason(self, view: ServingView | None) -> str:
        """Why a serving cannot be edited, in a sentence; "" if it can, as far as known."""
        # Saving needs the permission of a restart: to patch the Deployment.
        return self._operation_flow.serving_disabled_reason(OperationKind.RESTART, view)

    # -- opening ------------------------------------------------------------------------------

    def start(
        self, view: ServingView, field: str = "", texts: Mapping[str, str] = NO_TEXTS
    ) -> None:
        """Open the form, with a saved draft if the operator chooses it; the cursor is on the field
        with the path `field`, "" for where it was. `texts` are typed into it, by path."""
        self._field, self._texts = field, texts
        prepared = self._prepared
        if prepared is not None and prepared.key == view.key and (read := prepared.take()):
            self._push_form(view, read)
            return
        self._screen.start_worker(self._open(view), "edit", busy_label=f"Reading {view.key}")

    async def start_with(
        self,
        view: ServingView,
        read: ImportedServing,
        wanted: ServingSpec,
        conflicts: Sequence[MergeConflict] = (),
        *,
        find_obstacle: Callable[[], Awaitable[str]] | None = None,
        on_shown: Callable[[], object] = lambda: None,
    ) -> None:
        """Open the form of a serving, as it was just read, with unsaved changes, or with a saved
        draft if the operator chooses that. `conflicts` are what others had changed, too.
        `find_obstacle` is asked before it is saved why it must not be, "" if it may. `on_shown` is
        called when the form has the unsaved changes."""
        from servedeck.changes.proposed_edit import propose_edit

        self._field, self._texts = "", NO_TEXTS
        edit = propose_edit(read.spec, wanted, read.mounts)
        edit.ask_about(conflicts)

        def show() -> None:
            if self._push_form(view, read, edit=edit, find_obstacle=find_obstacle):
                on_shown()

        if (saved := await self._find_saved_draft(view.key)) is None:
            show()
        else:
            self._ask_about_draft(view, read, saved, show)

    async def _open(self, view: ServingView) -> None:
        change_service = self._screen.app_context.change_service
        if change_service is None:
            return
        key = view.key
        # At the same time: the operator waits for all of it.
        _, read, saved = await asyncio.gather(
            self._refresh_permission(change_service, key),
            self._read_serving(change_service, key),
            self._find_saved_draft(key),
        )
        if reason := self.disabled_reason(view):
            self._screen.show_message(reason, "warning")
            return
        if isinstance(read, ClusterError):
            self._screen.show_message(f"{key} cannot be edited: {read}", "error", 20)
            return
        if saved is None:
            self._push_form(view, read)
        else:
            self._ask_about_draft(view, read, saved, lambda: self._push_form(view, read))

    def _ask_about_draft(
        self,
        view: ServingView,
        read: ImportedServing,
        saved: SavedDraft,
        start_over: Callable[[], object],
    ) -> None:
        """Open the form with a saved draft, or discard that and start over."""
        key = view.key
        age = self._screen.app_context.clock().timestamp() - saved.written_at
        dialog = ConfirmDialog(
            f"Unsaved changes of {key}",
            [
                "A draft of an edit of this serving was not saved to the cluster. It was written "
                f"{format_signed_duration(age)} ago."
            ],
            [
                DialogOption("c", "Continue", "with the draft"),
                DialogOption("n", "Start over", "the draft is discarded"),
            ],
        )

        def on_answer(answer: str | None) -> None:
            if answer == "c":
                self._screen.start_worker(self._resume(view, read, saved), "edit")
            elif answer == "n":
                self._screen.start_worker(self._discard(saved, start_over), "edit")

        self._screen.app.push_screen(dialog, on_answer)

    async def _refresh_permission(self, change_service: ChangeService, key: NamespacedName) -> None:
        operation = Operation(OperationKind.RESTART, key.namespace, key.name)
        with suppress(ClusterError):  # then the dry run reports it
            await change_service.refresh_operation_permission(operation)

    async def _read_serving(
        self, change_service: ChangeService, key: NamespacedName
    ) -> ImportedServing | ClusterError:
        """The serving as it is now, or why it cannot be read. The form watches what the cache may
        not have yet."""
        try:
            return await change_service.import_serving(key, from_cache=True)
        except ClusterError as error:
            return error

    async def _find_saved_draft(self, key: NamespacedName) -> SavedDraft | None:
        """The draft of this serving that was saved last and that no form has open."""
        from servedeck.changes.edit_draft import EditDraft

        change_service = self._screen.app_context.change_service
        store = change_service.edit_draft_store(key) if change_service is not None else None
        if store is None:
            return None
        with suppress(OSError):
            found = await asyncio.to_thread(store.list_saved)
            return next((one for one in found if EditDraft.has_changes(one.draft)), None)
        return None

    async def _resume(self, view: ServingView, read: ImportedServing, saved: SavedDraft) -> None:
        from servedeck.changes.edit_draft import EditDraft

        try:
            draft = await asyncio.to_thread(saved.file.acquire)
        except OSError as error:
            self._screen.show_message(f"The draft cannot be read: {error.strerror}.", "error", 20)
            return
        if draft is None:
            message = "That draft is open in another window or was discarded."
            self._screen.show_message(message, "warning")
            return
        edit, _ = EditDraft.resume(read.spec, draft, read.mounts)
        self._push_form(view, read, edit=edit, draft_file=saved.file)

    async def _discard(self, saved: SavedDraft, start_over: Callable[[], object]) -> None:
        with suppress(OSError):
            if await asyncio.to_thread(saved.file.acquire) is not None:
                await asyncio.to_thread(saved.file.delete)
        start_over()

    # -- before it is opened ----------------------------------------------------------------------

    def follow(self, view: ServingView) -> None:
        """The screen shows this serving: its form is prepared, unless another one is shown soon."""
        self._stop_preparing()
        self._followed = view
        self._timer = self._screen.set_timer(PREPARE_SECONDS, self.prepare)

    def stop_following(self) -> None:
        """The screen shows no serving: nothing goes on for it."""
        self._followed = None
        self._stop_preparing()

    def _stop_preparing(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._screen.workers.cancel_group(self._screen, PREPARING)
        if (prepared := self._prepared) is not None:
            self._prepared = None
            self._screen.call_later(prepared.close)

    @property
    def is_prepared(self) -> bool:
        """Whether the form of the serving that the screen shows opens without a request."""
        return self._prepared is not None and self._prepared.take() is not None

    def handle_changes(self) -> None:
        """The list has changed."""
        if self._prepared is not None:
            self._prepared.read_if_changed()

    async def close(self) -> None:
        """The screen ends."""
        if self._prepared is not None:
            await self._prepared.close()

    async def prepare(self) -> None:
        """Mount the form, and read what it shows, before it is opened: that takes most of the time
        of an opening."""
        await asyncio.to_thread(importlib.import_module, "tui.screens.edit.edit_screen")
        form = self._form()
        if form is not None and not form.is_attached:
            await mount_ahead(self._screen.app, form)
        # Since the timer ended, another serving may be shown and prepared, or the form be open.
        is_open = form in self._screen.app.screen_stack
        if (view := self._followed) is not None and self._prepared is None and not is_open:
            self._screen.start_worker(self._prepare_serving(view), PREPARING)

    async def _prepare_serving(self, view: ServingView) -> None:
        from tui.screens.edit.prepared_serving import PreparedServing

        app, key = self._screen.app_context, view.key
        change_service = app.change_service
        if change_service is None or not app.source.fleet.view(key):
            return
        _, read, saved = await asyncio.gather(
            self._refresh_permission(change_service, key),
            self._read_serving(change_service, key),
            self._find_saved_draft(key),
        )
        if isinstance(read, ClusterError) or saved is not None or self.disabled_reason(view):
            return  # `start` says what there is to say
        self._prepared = PreparedServing(
            key,
            read,
            change_service,
            get_deployment=lambda: app.source.fleet.deployment(key),
            watch_objects=lambda query, on_change: app.detail_service.watch_objects(
                query, on_change
            ),
            start_worker=lambda work: self._screen.start_worker(work, PREPARING),
            on_read=lambda now: self._open_ahead(view, now),
        )
        self._prepared.start()

    def _open_ahead(self, view: ServingView, read: ImportedServing) -> None:
        """Open the form of a serving, which is not shown yet."""
        form = self._form()
        if form is not None and form not in self._screen.app.screen_stack:
            form.open(view, read)

    def _form(self) -> EditScreen | None:
        """The form of the program: it is opened again for each serving. None before there is
        anything that can be edited."""
        from tui.screens.edit.edit_screen import EditScreen

        app, change_service = self._screen.app, self._screen.app_context.change_service
        if change_service is None:
            return None
        if not app.is_screen_installed(FORM_NAME):
            app.install_screen(EditScreen(change_service), FORM_NAME)
        return app.get_screen(FORM_NAME, EditScreen)

    def _push_form(self, view: ServingView, read: ImportedServing, **more: Any) -> bool:
        """Show the form; False if there is none, or it is open already."""
        form, app = self._form(), self._screen.app
        if form is None or form in app.screen_stack:
            return False
        self._stop_preparing()  # the form follows the serving itself
        if more or not form.shows(read):
            form.open(view, read, **more)
        form.begin_at(self._field, self._texts)
        app.push_screen(form, lambda result: self._on_closed(view.key, result))
        return True

    def _on_closed(self, key: NamespacedName, result: EditResult | None) -> None:
        if self._followed is not None:
            self.follow(self._followed)
        if result is None or self._screen.app_context.exiting:
            return
        self._show_result(key, result.message, result.style_name, result.undo)
        if result.restarts_pods:
            self._on_saved(key)

    def _show_result(
        self, key: NamespacedName, text: str, style_name: str, undo: UndoPoint | None
    ) -> None:
        app = self._screen.app_context
        if undo is not None:
            app.undoable = Undoable(app.source.context, (), undo)
            text = f"{key}: {text} {app.key_display_for('serving.undo')} undoes it."
        self._screen.show_message(text, style_name, 20)

    # -- undo ---------------------------------------------------------------------------------

    def undo(self) -> None:
        """Open the dialog that puts back what the last saved edit changed."""
        self._screen.start_worker(self._undo(), "edit", busy_label="Reading the serving")

    async def _undo(self) -> None:
        from servedeck.changes.edit.undo import UndoExpiredError
        from servedeck.changes.live_objects import ServingNotFoundError
        from servedeck.fleet.views import NamespacedName

        app = self._screen.app_context
        change_service, point = app.change_service, app.undoable.edit
        if change_service is None or point is None:
            return
        key = NamespacedName(point.after.namespace, point.after.name)
        try:
            edit = await change_service.begin_undo(point)
        except (UndoExpiredError, ServingNotFoundError) as error:
            app.undoable = Undoable()
            self._screen.show_message(str(error), "warning", 20)
            return
        except ClusterError as error:
            self._screen.show_message(f"Nothing is undone yet: {error}", "error", 20)
            return

        def on_conflicts(plan: EditPlan) -> str:
            app.undoable = Undoable()
            return f"Others changed {_labels(plan)} of {key} since; the change is not undone."

        self._open_dialog(key, edit, f"Undo the change of {key}", "Undo", on_conflicts)

    # -- a blocked rollout --------------------------------------------------------------------

    def unblock_disabled_reason(self, view: ServingView | None) -> str:
        """Why no rollout can be unblocked, in a sentence; "" if one can."""
        if view is not None and not view.readonly_reason and not view.is_rollout_blocked:
            return f"The old Pods of {view.key} block no rollout."
        return self.disabled_reason(view)

    def unblock(self, view: ServingView) -> None:
        """Open the dialog that lets an old Pod stop before a new one starts."""
        self._screen.start_worker(self._unblock(view), "edit", busy_label=f"Reading {view.key}")

    async def _unblock(self, view: ServingView) -> None:
        from servedeck.changes.edit.edit import Edit

        change_service = self._screen.app_context.change_service
        if change_service is None:
            return
        key = view.key
        await self._refresh_permission(change_service, key)
        if reason := self.unblock_disabled_reason(view):
            self._screen.show_message(reason, "warning")
            return
        try:
            read = await change_service.import_serving(key)
        except ClusterError as error:
            self._screen.show_message(f"{key} cannot be changed: {error}", "error", 20)
            return
        edit = Edit(read, read.spec.replace(rollout=view.rollout_way_out))

        def on_conflicts(plan: EditPlan) -> str:
            return f"Others changed {_labels(plan)} of {key} meanwhile; nothing was changed."

        self._open_dialog(key, edit, f"Unblock the rollout of {key}", "Unblock", on_conflicts)

    def _open_dialog(
        self,
        key: NamespacedName,
        edit: Edit,
        title: str,
        save_label: str,
        on_conflicts: Callable[[EditPlan], str],
    ) -> None:
        """Open the dialog of an edit without a form. `on_conflicts` returns the message if others
        have changed the same fields."""
        from servedeck.changes.edit.edit import EditPlan
        from servedeck.changes.edit.save import SaveResult
        from tui.screens.edit.edit_dialog import EditDialog

        app = self._screen.app_context
        change_service = app.change_service
        inventory = None
        if change_service is not None:
            inventory = change_service.watch_inventory(key.namespace, lambda: None)
        if change_service is None or inventory is None:
            self._screen.show_message("Not connected to the API server.", "warning")
            return
        dialog = EditDialog(
            key, edit, change_service, inventory, title=title, save_label=save_label
        )

        async def closed(result: SaveResult | EditPlan | None) -> None:
            await inventory.close()
            if isinstance(result, EditPlan):
                self._screen.show_message(on_conflicts(result), "warning", 20)
            elif isinstance(result, SaveResult):
                app.undoable = Undoable()
                self._show_result(key, result.message, "ready", result.undo)
                if result.plan.replaces_pods:
                    self._on_saved(key)
            await dialog.quit_if_requested()

        self._screen.app.push_screen(dialog, closed)


def _labels(plan: EditPlan) -> str:
    return ", ".join(one.label for one in plan.conflicts)
