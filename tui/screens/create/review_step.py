"""The third step: the dry run, and deploying."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.text import Text
from textual.getters import query_one

from servedeck.changes.draft import Draft
from servedeck.cluster.apply import AppliedObject, ObjectRef
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.fleet.views import NamespacedName
from servedeck.serving.capacity import scheduling_requirements
from servedeck.serving.objects.manifests import SystemVolume, system_volumes
from servedeck.serving.spec.issues import Issue, errors
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import format_count
from tui.ports.change_service import ChangeService, Inventory
from tui.screens.base import MESSAGE_SECONDS, Overlay
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.create import review_text
from tui.screens.create.review_text import REVIEW_VIEWS, DeployState, DryRunResult
from widgets.review_list import ReviewEntry, ReviewList
from widgets.styled_line import wrap

MAX_MESSAGE_LINES = 4
"""Maximum number of lines of a message."""


class ReviewScreen(Overlay[NamespacedName | None]):
    """What the third step can do; the wizard adds the first two."""

    review_list = query_one(ReviewList)

    def __init__(
        self, draft: Draft, change_service: ChangeService, not_copied: Sequence[str]
    ) -> None:
        super().__init__()
        self.draft = draft
        self.change_service = change_service
        self.step = 1
        self.reveal = False
        self.inventory: Inventory | None = None
        self.dry_run_result = DryRunResult()
        self.deploy_state = DeployState()
        self.spec: ServingSpec | None = None
        self.issues: list[Issue] = []
        self._last_valid_spec: ServingSpec | None = None
        """The last version of the draft that could be parsed."""
        self._not_copied = tuple(not_copied)
        self._current_view = REVIEW_VIEWS[0]
        self.pending_write = ""
        """What is being written to the cluster, "Deploying"; "" for nothing."""
        self.exit_after_write = False
        """Whether quitting was requested during a write."""
        self._deploy_requested = False
        """Whether deploying was requested before the dry run finished."""

    def show_message(
        self, text: str, style_name: str = "", seconds: float = MESSAGE_SECONDS
    ) -> None:
        """Show a sentence, on several lines if it is long."""
        super().show_message(text, style_name, seconds)
        lines = wrap(((" ", ""), (text, style_name)), self.size.width - 1, 1)[:MAX_MESSAGE_LINES]
        self.message_line.styles.height = max(1, len(lines))
        self.message_line.set_lines(*lines)

    def update_message(self) -> None:
        if not self.has_message:
            self.message_line.styles.height = 1
        super().update_message()

    # -- asking ---------------------------------------------------------------------------------

    def start_dry_run(self, *, deploy: bool = False) -> None:
        """Start a dry run; with `deploy`, deploy afterwards if it succeeds without warnings."""
        self.validate_draft()
        self._deploy_requested = deploy
        if self.spec is None or errors(self.issues):
            self._deploy_requested = False
            self.dry_run_result = DryRunResult()
            if deploy:
                self.show_message(self.deploy_disabled_reason(), "warning")
        else:
            self.dry_run_result = DryRunResult(in_progress=True)
            self.start_worker(self._run_dry_run(self.spec), "review")
        self.update_review(reset=True)

    async def _run_dry_run(self, spec: ServingSpec) -> None:
        try:
            if self.inventory is None:
                self.watch_inventory()
            if self.inventory is None:
                raise ClusterError("Not connected to the API server yet.")
            review = await self.change_service.make_plan(spec, self.inventory, self._created_refs())
        except Exception as error:  # any error: the form must not wait forever
            self.dry_run_result = DryRunResult(error=describe_error(error))
            self._deploy_requested = False
        else:
            self.dry_run_result = DryRunResult(plan=review)
            self._check_scheduling()
        self.update_review(reset=True)
        self.update_footer()
        if self._deploy_requested:
            self._deploy_requested = False
            self._deploy_if_no_new_issues()

    def _deploy_if_no_new_issues(self) -> None:
        """Warnings that appeared after the key was pressed have not been read yet."""
        review, fit = self.dry_run_result.plan, self.dry_run_result.scheduling
        if review is None or not review.can_deploy:
            self.show_message(self.deploy_disabled_reason(), "warning")
            return
        new = [one for one in review.issues if one not in self.issues]
        if new or (fit is not None and fit.schedulable_replicas < fit.replicas):
            self.show_message(
                "Read the result of the dry run; ctrl+s again deploys anyway.", "warning"
            )
        else:
            self.start_worker(self._deploy(), "deploy")

    def _check_scheduling(self) -> None:
        """Whether the nodes could host it now."""
        review = self.dry_run_result.plan
        if review is None or self.inventory is None or not review.manifests:
            return
        asked, tolerations = scheduling_requirements(review.manifests[0])
        fit = self.inventory.check_scheduling(asked, review.spec.replicas, tolerations)
        self.dry_run_result = DryRunResult(plan=review, scheduling=fit)

    def update_scheduling(self) -> None:
        """The nodes changed."""
        before = self.dry_run_result
        self._check_scheduling()
        if self.step == 3 and self.dry_run_result != before:
            self.update_review()

    def deploy_disabled_reason(self) -> str:
        """Why it cannot be deployed now; "" if it can, or if the dry run has to tell."""
        found = errors(self.issues)
        review = self.dry_run_result.plan
        if not found and review is not None:
            found = review.errors
        if not found:
            return ""
        return f"Cannot deploy, {format_count(len(found), 'error')}: {found[0].message}"

    # -- deploying ------------------------------------------------------------------------------

    def do_deploy(self) -> None:
        if self.deploy_state.running:
            self.show_message("Deployment is in progress.")
        elif self.dry_run_result.in_progress:
            self._deploy_requested = True
            self.show_message("It deploys after the dry run succeeds.")
        elif self.dry_run_result.plan is None:
            self.start_dry_run(deploy=True)
        elif stray := self._stale_object():
            self.show_message(
                f"{stray} is left from the previous attempt; u removes it first.", "warning"
            )
        else:
            self.start_worker(self._deploy(), "deploy")

    def _created_refs(self) -> list[ObjectRef]:
        return [one.ref for one in self.deploy_state.created]

    def _stale_object(self) -> ObjectRef | None:
        """An object of a previous attempt that is not part of the current serving."""
        review = self.dry_run_result.plan
        wanted = {ObjectRef.from_manifest(one) for one in review.manifests} if review else set()
        return next((place for place in self._created_refs() if place not in wanted), None)

    async def _deploy(self) -> None:
        review = self.dry_run_result.plan
        if review is None:
            return
        before = self.deploy_state.created
        made = list(before)

        def on_created(one: AppliedObject) -> None:
            made.append(one)
            self.deploy_state = DeployState(running=True, created=tuple(made))
            self.update_review()

        self.deploy_state = DeployState(running=True, created=before)
        self.pending_write = "Deploying"
        self.update_review(reset=True)
        self.update_footer()
        try:
            # Shielded: what was applied is recorded even if this screen closes.
            outcome = await asyncio.shield(
                asyncio.ensure_future(
                    self.change_service.deploy(review.manifests, self._created_refs(), on_created)
                )
            )
        except Exception as error:  # any error: what was created must be shown
            self.deploy_state = DeployState(created=tuple(made), refusal=describe_error(error))
        else:
            every = tuple(dict.fromkeys((*made, *outcome.applied)))
            if outcome.refusal is None:
                self.pending_write = ""
                key = NamespacedName(review.spec.namespace, review.spec.name)
                await self.handle_deployed(key)
                if self.exit_after_write:
                    self.app.exit(message=Text(f"{key} was created."))
                return
            failed = str(outcome.failed_ref) if outcome.failed_ref else ""
            self.deploy_state = DeployState(
                created=every, refusal=outcome.refusal.message, failed_object=failed
            )
        self.pending_write = ""
        self.exit_after_write = False  # the refusal must be read first
        self.update_review(reset=True)
        self.update_footer()
        self.show_message("Not deployed; the form is kept.", "error", 20)

    async def handle_deployed(self, key: NamespacedName) -> None:
        """All objects were created."""

    def do_remove_created(self) -> None:
        names = ", ".join(str(place) for place in self._created_refs())
        ask = ConfirmDialog(
            "Remove what was created",
            [f"This deletes {names}. The form is kept."],
            [DialogOption("y", "Remove"), DialogOption("n", "Keep")],
        )
        self.app.push_screen(ask, self._on_rollback_answer)

    def _on_rollback_answer(self, answer: str | None) -> None:
        if answer == "y":
            self.start_worker(self._rollback(), "deploy")

    async def _rollback(self) -> None:
        made = self.deploy_state.created
        self.pending_write = "Removing what was created"
        try:
            left = await asyncio.shield(
                asyncio.ensure_future(self.change_service.rollback_created(made))
            )
        except ClusterError as error:
            self.exit_after_write = False
            self.show_message(f"Nothing was removed: {error}", "error", 20)
            return
        finally:
            self.pending_write = ""
        stays = {place for place, _ in left}
        self.deploy_state = DeployState(created=tuple(one for one in made if one.ref in stays))
        if left:
            place, refusal = left[0]
            self.show_message(f"{place} could not be removed: {refusal.message}", "error", 20)
        else:
            self.show_message("Removed what was created; ctrl+s redeploys.", "ready")
            if self.exit_after_write:
                await self.app_context.do_quit()
                return
        self.exit_after_write = False
        self.start_dry_run()
        self.update_footer()

    # -- showing --------------------------------------------------------------------------------

    def validate_draft(self) -> None:
        """Validate the draft as it is now."""
        self.spec, self.issues = self.draft.validate()
        self._last_valid_spec = self.spec or self._last_valid_spec

    def watch_inventory(self) -> None:
        """Start to watch nodes, PVCs and namespaces."""

    def get_system_volumes(self) -> Sequence[SystemVolume]:
        """The system's volumes for the draft, or for its last version that could be parsed."""
        readable = self._last_valid_spec or Draft(self.draft.template.id).validate()[0]
        return system_volumes(readable, self.change_service.platform) if readable else ()

    def update_review(self, *, reset: bool = False) -> None:
        """Update the third step."""
        if not self.is_attached or self.step != 3:
            return
        self.review_list.set_entries(self._build_entries(), reset=reset)

    @property
    def shows_yaml(self) -> bool:
        """Whether the third step shows YAML instead of the review."""
        return self.step == 3 and self._current_view != REVIEW_VIEWS[0] and self.spec is not None

    def _build_entries(self) -> list[ReviewEntry]:
        if self.shows_yaml and self.spec is not None:
            return review_text.yaml_entries(
                self.spec, self.change_service.platform, self._current_view, reveal=self.reveal
            )
        review = self.dry_run_result.plan
        told = review.issues if review is not None else self.issues
        return [
            *review_text.dry_run_entries(
                self.dry_run_result, self.deploy_state, self.issues, self._not_copied
            ),
            *review_text.section_entries(
                self.draft,
                self.get_system_volumes(),
                told,
                reveal=self.reveal,
                width=self.size.width,
            ),
        ]

    def show_view(self, view: str) -> None:
        """Show the review or one of the two YAML texts."""
        self._current_view = view
        self.update_review(reset=True)

    def do_yaml(self) -> None:
        if self.spec is None:
            self.show_message("Fix the errors to preview the YAML.", "warning")
            return
        self.show_view(
            REVIEW_VIEWS[(REVIEW_VIEWS.index(self._current_view) + 1) % len(REVIEW_VIEWS)]
        )
        if (
            review_text.has_masked_values(self.draft)
            and self._current_view != REVIEW_VIEWS[0]
            and not self.reveal
        ):
            self.show_message("Secret values are masked; ctrl+g shows them.")
