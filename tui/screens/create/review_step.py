"""The third step: asking the cluster, and deploying."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.text import Text
from textual.getters import query_one

from servedeck.changes.draft import Draft
from servedeck.cluster.apply import Made, Place
from servedeck.cluster.http.errors import ClusterError, explain
from servedeck.fleet.views import Key
from servedeck.serving.capacity import pod_requests
from servedeck.serving.objects.manifests import SystemVolume, system_volumes
from servedeck.serving.spec.issues import Problem, errors
from servedeck.serving.spec.spec import ServingSpec
from tui.screens.base import SAID_FOR, Overlay
from tui.screens.confirm import Answer, AskScreen
from tui.screens.create import review_text
from tui.screens.create.review_text import VIEWS, Deployment, Result
from tui.workbench import Around, Workbench
from widgets.review_list import Entry, ReviewList
from widgets.styled_line import wrap

LONGEST_SENTENCE = 4
"""Lines that a message takes at most."""


class ReviewingScreen(Overlay[Key | None]):
    """What the third step can do; the wizard adds the first two."""

    review_list = query_one(ReviewList)

    def __init__(self, draft: Draft, bench: Workbench, left: Sequence[str]) -> None:
        super().__init__()
        self.draft = draft
        self.bench = bench
        self.step = 1
        self.reveal = False
        self.around: Around | None = None
        self.result = Result()
        self.deployment = Deployment()
        self.spec: ServingSpec | None = None
        self.problems: list[Problem] = []
        self._readable: ServingSpec | None = None
        """The last state of the draft that could be read."""
        self._left = tuple(left)
        self._view = VIEWS[0]
        self.writing = ""
        """What is being written to the cluster, "Deploying"; "" for nothing."""
        self.ends_after = False
        """The end was asked for while something was being written."""
        self._wish = False
        """Deploy was asked for before the dry run had answered."""

    def say(self, text: str, tone: str = "", seconds: float = SAID_FOR) -> None:
        """Show a sentence, over several lines where it is long."""
        super().say(text, tone, seconds)
        lines = wrap(((" ", ""), (text, tone)), self.size.width - 1, 1)[:LONGEST_SENTENCE]
        self.message_line.styles.height = max(1, len(lines))
        self.message_line.set_lines(*lines)

    def show_message(self) -> None:
        if not self.speaking:
            self.message_line.styles.height = 1
        super().show_message()

    # -- asking ---------------------------------------------------------------------------------

    def ask_cluster(self, *, deploy: bool = False) -> None:
        """Begin a dry run; with `deploy`, go on to deploy where nothing speaks against it."""
        self.check()
        self._wish = deploy
        if self.spec is None or errors(self.problems):
            self._wish = False
            self.result = Result()
            if deploy:
                self.say(self.why_no_deploy(), "warning")
        else:
            self.result = Result(asking=True)
            self.start(self._ask(self.spec), "review")
        self.show_review(fresh=True)

    async def _ask(self, spec: ServingSpec) -> None:
        try:
            if self.around is None:
                self.look_around()
            if self.around is None:
                raise ClusterError("The API server is not reached yet.")
            review = await self.bench.review(spec, self.around, self._own())
        except Exception as error:  # whatever it is: the form must not wait for ever
            self.result = Result(problem=explain(error))
            self._wish = False
        else:
            self.result = Result(review=review)
            self._refit()
        self.show_review(fresh=True)
        self.show_hints()
        if self._wish:
            self._wish = False
            self._deploy_unless_doubtful()

    def _deploy_unless_doubtful(self) -> None:
        """What came up since the key was pressed has not been read yet."""
        review, fit = self.result.review, self.result.fit
        if review is None or not review.can_deploy:
            self.say(self.why_no_deploy(), "warning")
            return
        new = [one for one in review.problems if one not in self.problems]
        if new or (fit is not None and fit.fitting < fit.replicas):
            self.say("Read what the dry run says; ctrl+s again deploys all the same.", "warning")
        else:
            self.start(self._deploy(), "deploy")

    def _refit(self) -> None:
        """Whether the nodes could host it, as they are this moment."""
        review = self.result.review
        if review is None or self.around is None or not review.manifests:
            return
        asked, tolerations = pod_requests(review.manifests[0])
        fit = self.around.fit(asked, review.spec.replicas, tolerations)
        self.result = Result(review=review, fit=fit)

    def refit(self) -> None:
        """The nodes changed."""
        before = self.result
        self._refit()
        if self.step == 3 and self.result != before:
            self.show_review()

    def why_no_deploy(self) -> str:
        """Why it cannot be deployed now; "" where it can, or where that is to be asked."""
        found = errors(self.problems)
        review = self.result.review
        if not found and review is not None:
            found = review.errors
        if not found:
            return ""
        count = "One error stands" if len(found) == 1 else f"{len(found)} errors stand"
        return f"{count} in the way of deploying: {found[0].message}"

    # -- deploying ------------------------------------------------------------------------------

    def do_deploy(self) -> None:
        if self.deployment.running:
            self.say("It is being deployed.")
        elif self.result.asking:
            self._wish = True
            self.say("It is deployed as soon as the dry run says yes.")
        elif self.result.review is None:
            self.ask_cluster(deploy=True)
        elif stray := self._stray():
            self.say(f"{stray} of the attempt before still stands; u removes it first.", "warning")
        else:
            self.start(self._deploy(), "deploy")

    def _own(self) -> list[Place]:
        return [one.place for one in self.deployment.made]

    def _stray(self) -> Place | None:
        """An object of an attempt before that is no part of the serving as it is now."""
        review = self.result.review
        wanted = {Place.of(one) for one in review.manifests} if review else set()
        return next((place for place in self._own() if place not in wanted), None)

    async def _deploy(self) -> None:
        review = self.result.review
        if review is None:
            return
        before = self.deployment.made
        made = list(before)

        def note(one: Made) -> None:
            made.append(one)
            self.deployment = Deployment(running=True, made=tuple(made))
            self.show_review()

        self.deployment = Deployment(running=True, made=before)
        self.writing = "Deploying"
        self.show_review(fresh=True)
        self.show_hints()
        try:
            # Shielded: what was sent is noted, whatever becomes of this screen.
            outcome = await asyncio.shield(
                asyncio.ensure_future(self.bench.deploy(review.manifests, self._own(), note))
            )
        except Exception as error:  # whatever it is: what was made must be said
            self.deployment = Deployment(made=tuple(made), refusal=explain(error))
        else:
            every = tuple(dict.fromkeys((*made, *outcome.made)))
            if outcome.refusal is None:
                self.writing = ""
                key = Key(review.spec.project, review.spec.name)
                await self.deployed(key)
                if self.ends_after:
                    self.app.exit(message=Text(f"{key} was created."))
                return
            failed = str(outcome.failed) if outcome.failed else ""
            self.deployment = Deployment(made=every, refusal=outcome.refusal.message, failed=failed)
        self.writing = ""
        self.ends_after = False  # why it was refused must be read first
        self.show_review(fresh=True)
        self.show_hints()
        self.say("Not deployed; nothing that you typed is lost.", "error", 20)

    async def deployed(self, key: Key) -> None:
        """All objects are made."""

    def do_undo(self) -> None:
        names = ", ".join(str(place) for place in self._own())
        ask = AskScreen(
            "Remove what was created",
            [f"This deletes {names}. What you typed stays in the form."],
            [Answer("y", "Remove"), Answer("n", "Keep")],
        )
        self.app.push_screen(ask, self._undo_answered)

    def _undo_answered(self, answer: str | None) -> None:
        if answer == "y":
            self.start(self._undo(), "deploy")

    async def _undo(self) -> None:
        made = self.deployment.made
        self.writing = "Removing what was created"
        try:
            left = await asyncio.shield(asyncio.ensure_future(self.bench.undo(made)))
        except ClusterError as error:
            self.ends_after = False
            self.say(f"Nothing was removed: {error}", "error", 20)
            return
        finally:
            self.writing = ""
        stays = {place for place, _ in left}
        self.deployment = Deployment(made=tuple(one for one in made if one.place in stays))
        if left:
            place, refusal = left[0]
            self.say(f"{place} could not be removed: {refusal.message}", "error", 20)
        else:
            self.say("Removed what was created; ctrl+s deploys anew.", "ready")
            if self.ends_after:
                await self.servedeck.do_quit()
                return
        self.ends_after = False
        self.ask_cluster()
        self.show_hints()

    # -- showing --------------------------------------------------------------------------------

    def check(self) -> None:
        """Judge the draft as it is now."""
        self.spec, self.problems = self.draft.check()
        self._readable = self.spec or self._readable

    def look_around(self) -> None:
        """Begin to watch nodes, claims and projects."""

    def system(self) -> Sequence[SystemVolume]:
        """The system's volumes for the draft, or for the last one that could be read."""
        readable = self._readable or Draft(self.draft.template.id).check()[0]
        return system_volumes(readable, self.bench.platform) if readable else ()

    def show_review(self, *, fresh: bool = False) -> None:
        """Bring the third step up to date."""
        if not self.is_attached or self.step != 3:
            return
        self.review_list.set_entries(self._entries(), fresh=fresh)

    @property
    def shows_yaml(self) -> bool:
        """Whether the third step shows YAML in place of the review."""
        return self.step == 3 and self._view != VIEWS[0] and self.spec is not None

    def _entries(self) -> list[Entry]:
        if self.shows_yaml and self.spec is not None:
            return review_text.yaml_entries(
                self.spec, self.bench.platform, self._view, reveal=self.reveal
            )
        review = self.result.review
        told = review.problems if review is not None else self.problems
        return [
            *review_text.result_entries(self.result, self.deployment, self.problems, self._left),
            *review_text.section_entries(
                self.draft,
                self.system(),
                told,
                reveal=self.reveal,
                width=self.size.width,
            ),
        ]

    def show_view(self, view: str) -> None:
        """Show the review or one of the two YAML texts."""
        self._view = view
        self.show_review(fresh=True)

    def do_yaml(self) -> None:
        if self.spec is None:
            self.say("Mend what is wrong first; there is no YAML of it yet.", "warning")
            return
        self.show_view(VIEWS[(VIEWS.index(self._view) + 1) % len(VIEWS)])
        if review_text.any_masked(self.draft) and self._view != VIEWS[0] and not self.reveal:
            self.say("Values that look secret are masked; ctrl+g shows them.")
