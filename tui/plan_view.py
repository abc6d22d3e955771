"""Shows a plan of changes: the result of the dry run, the progress of deploying, and the YAML. Its
keys run the dry run, deploy, and delete what was created."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from textual.message import Message
from textual.worker import WorkerState

from servedeck.changes.deployer import Deployer, DeployOutcome
from servedeck.cluster.http.errors import describe_error
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.text import format_count
from tui import plan_text
from tui.plan_text import REVIEW_VIEWS
from tui.screens.base import MESSAGE_SECONDS
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.workers import Worker, run_exclusive
from widgets.review_list import ReviewEntry, ReviewList


class PlanView(ReviewList):
    """The view of a `Deployer`; its owner calls `update` when the deployer changes."""

    @dataclass
    class Notice(Message):
        """A sentence for the message line."""

        text: str
        style_name: str = ""
        seconds: float = MESSAGE_SECONDS

    @dataclass
    class Deployed(Message):
        """All objects were applied."""

        key: NamespacedName

    @dataclass
    class WriteEnded(Message):
        """Deploying was rejected, or deleting what was created ended."""

        succeeded: bool

    def __init__(
        self,
        deployer: Deployer,
        *,
        build_details: Callable[[bool], Sequence[ReviewEntry]],
        get_platform: Callable[[], PlatformSettings],
        notes: Sequence[str] = (),
        id: str | None = None,
    ) -> None:
        """`build_details` returns the entries below the result of the dry run; its argument is
        whether secret values are shown. `notes` are sentences shown with the result."""
        super().__init__(id=id)
        self._deployer = deployer
        self._build_details = build_details
        self._get_platform = get_platform
        self._notes = tuple(notes)
        self.current_view = REVIEW_VIEWS[0]
        """The plan, or which YAML text is shown."""
        self.reveal = False
        """Whether secret values are shown."""
        self._shown_stage: tuple[object, ...] = ()

    # -- showing --------------------------------------------------------------------------------

    @property
    def shows_yaml(self) -> bool:
        """Whether it shows YAML instead of the plan."""
        return self.current_view != REVIEW_VIEWS[0] and self._deployer.spec is not None

    def update(self, *, reset: bool = False) -> None:
        """Show the current state. With `reset`, or if the dry run or deploying started or ended,
        the top is shown."""
        stage = self._stage()
        reset = reset or stage != self._shown_stage
        self._shown_stage = stage
        self.set_entries(self._build_entries(), reset=reset)

    def _stage(self) -> tuple[object, ...]:
        dry_run, state = self._deployer.dry_run, self._deployer.deploy_state
        has_plan = dry_run.plan is not None
        return (dry_run.in_progress, dry_run.error, has_plan, state.running, state.rejection)

    def _build_entries(self) -> Sequence[ReviewEntry]:
        deployer = self._deployer
        if self.shows_yaml and deployer.spec is not None:
            return plan_text.yaml_entries(
                deployer.spec, self._get_platform(), self.current_view, reveal=self.reveal
            )
        return [
            *plan_text.dry_run_entries(
                deployer.dry_run, deployer.deploy_state, deployer.issues, self._notes
            ),
            *self._build_details(self.reveal),
        ]

    def show_plan(self) -> None:
        """Show the plan instead of YAML."""
        self.current_view = REVIEW_VIEWS[0]
        self.update(reset=True)

    def show_next_view(self) -> None:
        """Show the plan, the objects and the document in turn."""
        spec = self._deployer.spec
        if spec is None:
            self._notify("Fix the errors to preview the YAML.", "warning")
            return
        at = REVIEW_VIEWS.index(self.current_view) + 1
        self.current_view = REVIEW_VIEWS[at % len(REVIEW_VIEWS)]
        self.update(reset=True)
        if self.shows_yaml and not self.reveal and plan_text.mask_secrets(spec) != spec:
            self._notify("Secret values are masked; ctrl+g shows them.")

    def _notify(self, text: str, style_name: str = "", seconds: float = MESSAGE_SECONDS) -> None:
        self.post_message(self.Notice(text, style_name, seconds))

    # -- deploying ------------------------------------------------------------------------------

    def deploy_disabled_reason(self) -> str:
        """Why it cannot be deployed now; "" if it can, or if the dry run decides."""
        found = self._deployer.blocking_errors
        if not found:
            return ""
        return f"Cannot deploy, {format_count(len(found), 'error')}: {found[0].message}"

    def deploy(self) -> None:
        """Deploy, after the dry run if it is still in progress."""
        if self._deployer.is_writing():
            self._notify(f"{self._deployer.pending_write} is in progress.")
            return
        if self._deployer.dry_run.in_progress:
            self._notify("The serving is deployed after the dry run succeeds.")
        self._start_worker(self._deploy, "deploy")

    def cancel_deploy_request(self) -> None:
        """Do not deploy after the dry run; objects that are being written are not affected."""
        if not self._deployer.is_writing():
            self.workers.cancel_group(self, "deploy")

    async def _deploy(self) -> None:
        outcome = await self._deployer.deploy()
        spec = self._deployer.spec
        if outcome is DeployOutcome.DEPLOYED and spec is not None:
            self.post_message(self.Deployed(NamespacedName(spec.namespace, spec.name)))
        elif outcome is DeployOutcome.REJECTED:
            self.post_message(self.WriteEnded(False))
            self._notify("Not deployed; the form is kept.", "error", 20)
        elif outcome is DeployOutcome.BLOCKED:
            if reason := self.deploy_disabled_reason():
                self._notify(reason, "warning")
        elif outcome is DeployOutcome.UNREAD_RESULT:
            self._notify(
                "Read the result of the dry run; press ctrl+s again to deploy anyway.", "warning"
            )
        elif outcome is DeployOutcome.STALE_OBJECT:
            self._notify(
                f"{self._deployer.stale_object} is left from the previous attempt;"
                " press u to delete it first.",
                "warning",
            )

    # -- deleting what was created --------------------------------------------------------------

    def confirm_deletion(self) -> None:
        """Ask whether to delete what the unfinished attempt created."""
        names = ", ".join(str(one.ref) for one in self._deployer.deploy_state.created)
        ask = ConfirmDialog(
            "Delete what was created",
            [f"This deletes {names}. The form is kept."],
            [DialogOption("y", "Delete"), DialogOption("n", "Keep")],
        )

        def on_answer(answer: str | None) -> None:
            if answer == "y":
                self._start_worker(self._delete_created, "delete")

        self.app.push_screen(ask, on_answer)

    async def _delete_created(self) -> None:
        try:
            remaining = await self._deployer.delete_created()
        except Exception as error:  # any error: what is left must be known
            self._notify(f"Nothing was deleted: {describe_error(error)}", "error", 20)
            self.post_message(self.WriteEnded(False))
            return
        if remaining:
            ref, rejection = remaining[0]
            self._notify(f"{ref} could not be deleted: {rejection.message}", "error", 20)
        else:
            self._notify("Deleted what was created; ctrl+s redeploys.", "ready")
        self._deployer.start_dry_run()
        self.post_message(self.WriteEnded(not remaining))

    # -- workers --------------------------------------------------------------------------------

    def _start_worker(self, work: Callable[[], Coroutine[None, None, None]], group: str) -> None:
        run_exclusive(self, work(), group)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and isinstance(event.worker.error, Exception):
            self._notify(describe_error(event.worker.error), "error", 30)
