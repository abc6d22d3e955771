"""The dialog before an edit is saved: the plan, and the confirmation."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from servedeck.changes import edit_labels
from servedeck.changes.edit.admitted import find_admitted_values
from servedeck.changes.edit.edit import Edit, EditPlan, ServingReplacedError
from servedeck.changes.edit.save import SaveResult, SaveState, resolve_unknown
from servedeck.changes.live_objects import ServingNotFoundError
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.cluster.write_log import WriteLog
from servedeck.fleet.views import NamespacedName
from servedeck.serving.edit.merge import MergeConflict
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.spec.mapping.json_values import as_int, as_mapping
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.ports.change_service import ChangeService, Inventory
from tui.ports.serving_source import SourceChanges
from tui.screens.edit import edit_text
from tui.screens.edit.related_objects import find_related_changes
from tui.screens.edit.serving_follower import has_metadata, listed_autoscaler, listed_version
from tui.screens.plan_dialog import WAITING, PlanDialog
from tui.serving_loads import ServingLoads
from widgets.styled_line import Line
from widgets.text_view import StatusLine

_log = logging.getLogger(__name__)

NOTHING_SAVED = "Nothing was saved."
RETRY_SECONDS = 2.0
"""Seconds until a plan that the API server did not answer is made again."""


class EditDialog(PlanDialog[SaveResult | EditPlan | None]):
    """Plans an edit, and saves it once it is confirmed. Its result is that of saving; a plan with
    conflicts that must be decided first; or None if nothing was saved."""

    SCOPE = "save"
    BINDINGS: ClassVar[list[BindingType]] = bindings("save")

    def __init__(
        self,
        key: NamespacedName,
        edit: Edit,
        change_service: ChangeService,
        inventory: Inventory,
        *,
        title: str = "",
        save_label: str = "Save Changes",
        find_obstacle: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """`title` is that of an edit that was made without a form. `find_obstacle` is asked before
        anything is sent why it must not be, in a sentence, "" if it may."""
        super().__init__()
        self._key = key
        self._has_form = not title
        self._title = title or f"Save changes of {key}"
        self._save_label = save_label
        self.edit = edit
        """What is planned; after a save that failed, with what was not written."""
        self.admitted: Collection[MergeConflict] = ()
        """What admission makes of the values that are saved, or were."""
        self._change_service = change_service
        self._inventory = inventory
        self._find_obstacle = find_obstacle
        self.plan: EditPlan | None = None
        """None while it is made."""
        self._taken_over: tuple[tuple[str, str], ...] = ()
        """Labels of fields that other managers have set, and that become servedeck's, each with the
        manager."""
        self._takes_over = False
        self._version_at_start = ""
        """The resourceVersion in the list when the plan was begun."""
        self._autoscaler_at_start = ""
        """The autoscaler of the serving in the list then."""
        self._latest_read: ImportedServing | None = None
        """The serving as the form has read it since the plan was begun."""
        self._error = ""
        self._result: SaveResult | None = None
        """Of the last attempt."""
        self._is_writing = False
        self._write_log = WriteLog()
        self._quits = False
        """Whether quitting was requested while it was saved."""
        self._loads = ServingLoads(
            lambda: self.app_context.metrics_service, self.start_worker, self._update
        )

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (self._title, "title")))
        yield title
        yield from self.compose_plan()

    def on_mount(self) -> None:
        super().on_mount()
        self._start_planning()

    # -- the plan -----------------------------------------------------------------------------

    def _start_planning(self) -> None:
        self.plan, self._error = None, ""
        self._choice, self._is_plan_shown = None, False
        self._update()
        self.start_worker(self._make_plan(), "plan")

    async def _make_plan(self) -> None:
        self._latest_read = None
        fleet = self.app_context.source.fleet
        self._version_at_start = listed_version(fleet, self._key)
        self._autoscaler_at_start = listed_autoscaler(fleet, self._key)
        plan_edit = self._change_service.plan_edit
        self._taken_over, self._takes_over = (), False
        try:
            plan = await plan_edit(self.edit, self._inventory)
            if edit_text.needs_takeover(plan):
                labels = edit_labels.conflict_labels(plan, edit_text.find_conflicts(plan))
                plan = await plan_edit(self.edit, self._inventory, takes_over=True, earlier=plan)
                self._taken_over, self._takes_over = labels, True
            self._show_plan(plan)
            self._plan_again_if_outdated()  # it may have changed while the plan was made
        except ClusterError as error:
            self._error = str(error)
            is_gone = isinstance(error, (ServingNotFoundError, ServingReplacedError))
            if is_gone:
                self._notice = ""  # there is no plan that was made again
            self._update()
            if not is_gone:
                self.set_timer(RETRY_SECONDS, self._retry)
        except Exception as error:  # any error: else the dialog would wait for ever
            _log.exception("the plan of an edit failed")
            self._error = describe_error(error)
            self._update()

    def _retry(self) -> None:
        """Plan again: the API server may answer by now. The error is shown until then."""
        if self.is_attached and self._error and not self._is_writing:
            self.start_worker(self._make_plan(), "plan")

    def _show_plan(self, plan: EditPlan) -> None:
        self.plan, self._error = plan, ""
        # A key that was meant for an earlier plan confirms nothing.
        self._choice, self._is_plan_shown = None, False
        if plan.conflicts:
            self.dismiss(plan)
            return
        if self._result is not None and self._result.state is SaveState.UNKNOWN:
            self._result, self._notice = resolve_unknown(self._result, plan), ""
            if self._result.state is SaveState.SAVED:
                self.dismiss(self._result)
                return
        self._update()
        self.call_after_refresh(self._note_painted, plan)

    @property
    def is_plan_shown(self) -> bool:
        """Whether there is a plan that can be read."""
        return self.plan is not None and self._is_plan_shown

    def _note_painted(self, plan: EditPlan) -> None:
        if plan is self.plan:
            self.note_plan_shown()
            self._update()

    def on_changes(self, changes: SourceChanges) -> None:
        """The plan is made again if the serving is not as it was planned."""
        if self._is_writing or (self._key not in changes.keys and not changes.state_changed):
            return
        if self._error and changes.state_changed:
            self._start_planning()  # the connection may be back
        else:
            self._plan_again_if_outdated()

    def handle_read(self, read: ImportedServing) -> None:
        """The form under it has read the serving again, because somebody changed it."""
        self._latest_read = read
        if not self._is_writing:
            self._plan_again_if_outdated()

    def _plan_again_if_outdated(self) -> None:
        is_open = self in self.app.screen_stack
        if is_open and self.plan is not None and self._is_outdated(self.plan):
            self._notice = "The serving was changed meanwhile; the plan was made again."
            self._start_planning()

    def _is_outdated(self, plan: EditPlan) -> bool:
        if self._is_autoscaler_outdated(plan):
            return True
        read = self._latest_read
        if read is not None and any(find_related_changes(plan.current, read)):
            return True
        if listed_version(self.app_context.source.fleet, self._key) == self._version_at_start:
            return False
        now = self.app_context.source.fleet.deployment(self._key)
        planned = as_mapping(plan.current.objects.deployment, "metadata")
        return (
            now is None
            or now.metadata.uid != planned.get("uid")
            or now.metadata.generation > (as_int(planned.get("generation")) or 0)
            or not has_metadata(now, plan.current)
            or self._is_lost_write_decided(now.metadata.resource_version)
        )

    def _is_autoscaler_outdated(self, plan: EditPlan) -> bool:
        """Whether the serving has another autoscaler than planned. The plan knows it only if it
        changes the replicas, and may know it before the list does."""
        now = listed_autoscaler(self.app_context.source.fleet, self._key)
        at_start = self._autoscaler_at_start
        if now == at_start or all(one.field != "replicas" for one in plan.fields):
            return False
        return bool(at_start) or plan.replicas_owner is None

    def _is_lost_write_decided(self, version: str) -> bool:
        """Whether a write whose answer was lost was executed, or cannot be any more."""
        lost = self._result.lost if self._result is not None else None
        return lost is not None and lost.ref.kind == "Deployment" and version != lost.version

    # -- what is shown ------------------------------------------------------------------------

    @property
    def saves(self) -> bool:
        """Whether the cursor is on Save Changes: not at first if Pods restart or may all end, or
        an object is deleted."""
        if self._choice is not None:
            return self._choice
        plan = self.plan
        if plan is None or self._takes_over or self._notice or self._result is not None:
            return False
        is_harmless = not (plan.replaces_pods or plan.stops_serving or plan.allows_zero)
        return is_harmless and not plan.deleted_objects

    @property
    def _cursor(self) -> bool | None:
        """Whether what the cursor is on saves; None on the other rollout."""
        is_on_rollout = self._is_on_third and self._choice is not None and bool(self._way_out)
        return None if is_on_rollout else self.saves

    def _update(self) -> None:
        if not self.is_attached:
            return
        self.text_view.set_paragraphs(
            edit_text.build_paragraphs(
                self.plan,
                self._error,
                self._result,
                self._taken_over,
                notice=self._notice,
                is_writing=self._is_writing,
                has_form=self._has_form,
                load=self._load,
            )
        )
        self.update_controls()

    def update_controls(self) -> None:
        chosen = [
            (f"y  {self._save_label}", self.saves),
            ("n  Back to the form" if self._has_form else "n  Back", self._cursor is False),
        ]
        if self._way_out:
            text = f"r  Use rollout={self._way_out}: an old Pod stops first"
            chosen.append((text, self._cursor is None))
        self.query_one("#options", StatusLine).styles.height = len(chosen)
        self.set_options(*chosen)
        self.update_message()
        self.update_footer()

    @property
    def _load(self) -> str:
        """The load of the serving at the moment, in a sentence; "" if no Pod ends, or it is not
        known."""
        plan = self.plan
        if plan is None or self._is_writing or not (plan.can_save and plan.ends_pods):
            return ""
        return self._loads.of_serving(self._key)

    def default_message(self) -> Line:
        reason = self.confirm_disabled_reason()
        return ((" ", ""), (reason, "muted")) if reason else ()

    def confirm_disabled_reason(self) -> str:
        if self._is_writing:
            return "It is being saved."
        if self._error:
            return "There is no plan, so nothing can be saved."
        if not self.is_plan_shown:
            return WAITING
        assert self.plan is not None
        if self.plan.is_unchanged:
            return "Nothing changes any more."
        if errors := self.plan.errors:
            return f"It cannot be saved: {errors[0].message}"
        return ""

    # -- actions ------------------------------------------------------------------------------

    @property
    def is_writing(self) -> bool:
        return self._is_writing

    @property
    def _way_out(self) -> str:
        """Value of the field rollout with which the planned rollout does not wait; "" if it does
        not wait, or none helps."""
        forecast = self.plan.forecast if self.plan is not None and self.plan.can_save else None
        return forecast.way_out if forecast is not None and forecast.can_replace else ""

    def disabled_reason(self, action: Action) -> str:
        if action.name == "replace":
            if self._is_writing or not self.is_plan_shown:
                return self.confirm_disabled_reason()
            return "" if self._way_out else "No new Pod is known to wait for an old one."
        return self.confirm_disabled_reason() if action.name == "confirm" and self.saves else ""

    def do_replace(self) -> None:
        wanted = self.edit.wanted.replace(rollout=self._way_out)
        self.edit = replace(self.edit, wanted=wanted)
        self._start_planning()

    def do_confirm(self) -> None:
        if self._cursor is False:
            self.do_close()
            return
        if not self.is_for_plan():
            return
        if self._cursor is None:
            self.do_replace()
            return
        assert self.plan is not None
        self._is_writing, self._notice = True, ""
        edit = self.plan.edit
        self.admitted = find_admitted_values(edit.base.spec, edit.wanted, self.plan.admitted)
        self._update()
        # Keys are not queued meanwhile: esc would cancel what the API server may already execute.
        self.start_worker(self._save(self.plan), "save")

    async def _save(self, plan: EditPlan) -> None:
        earlier, result = self._result, None
        is_lost = earlier is not None and earlier.state is SaveState.UNKNOWN
        unsent: SaveResult | None = None
        self._write_log = WriteLog("Save it again for the rest.")
        self._write_log.begin()
        try:
            if self._find_obstacle is not None and (problem := await self._find_obstacle()):
                result = SaveResult(SaveState.NOT_SAVED, plan, f"{problem} {NOTHING_SAVED}")
            else:
                result = await self._change_service.save_edit(
                    plan, self._inventory, takes_over=self._takes_over
                )
        except ClusterError as error:  # it is raised before anything is sent
            self._error = describe_error(error)
            unsent = SaveResult(SaveState.NOT_SAVED, plan, NOTHING_SAVED)
        except Exception as error:  # any error: it must be known what was done
            self._error = describe_error(error)
        else:
            self.edit = result.plan.edit
        self._is_writing = False
        self._choice = None
        # A plan made again tells what became of an earlier save whose answer was lost.
        is_replanned = result is not None and result.state is SaveState.REPLANNED
        self._result = earlier if is_lost and (result is None or is_replanned) else result or unsent
        if result is not None and result.state is SaveState.SAVED:
            self.dismiss(result)
            return
        self._quits = False  # what was not saved must be read first
        if result is None:
            self._update()
            self.set_timer(RETRY_SECONDS, self._retry)
        elif result.state is SaveState.REPLANNED and not self._takes_over:
            self._show_plan(result.plan)
        else:
            self._start_planning()

    def do_move(self, key: str) -> None:
        if not self.scroll_pages(key) and self.is_for_plan():
            self.move_choice(key, self._cursor, (True, False, None)[: 3 if self._way_out else 2])

    def do_close(self) -> None:
        if self._is_writing:
            self.show_message("It is being saved; wait for the result.", "warning")
        else:
            self.dismiss(None)

    async def exit_blocker(self) -> str:
        if not self._is_writing:
            return ""
        self._quits = True
        key = self.app_context.key_display_for("app.quit")
        return f"It is being saved: it is finished first; press {key} again to quit at once."

    async def quit_if_requested(self) -> None:
        """Quit after the save for which it waited. The dialog and its form are closed."""
        if self._quits:
            await self.app_context.do_quit()

    def exit_notice(self) -> str:
        if not self._is_writing:
            return ""
        return self._write_log.notice(
            f"The change of {self._key}",
            f"Whether the change of {self._key} was saved is not known: the answer is missing.",
        )
