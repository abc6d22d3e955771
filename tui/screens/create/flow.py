"""From the list into the create form and back: new, clone, the draft that was left, progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.rollout_progress import complete
from servedeck.fleet.views import Key
from servedeck.serving.objects.unmanaged_fields import Leftover
from servedeck.serving.text import clip, one_line, sanitise
from servedeck.serving.units import age, counted
from tui.screens.confirm import Answer, AskScreen

if TYPE_CHECKING:
    from servedeck.changes.draft import Draft
    from servedeck.changes.draft_store import Left, Slot
    from tui.screens.servings import ServingsScreen

LONGEST_NAME = 63
LINGERS = 20.0
"""Seconds that the progress of a complete serving stays to be read."""

PATIENCE = 3.0
"""Seconds that the key waits for the answer about our rights."""

MOST_DRAFTS = 9
"""Drafts that are offered, the latest: each has a digit."""

MOST_LEFTOVERS = 200
"""Sentences about what a clone leaves behind."""


class Creating:
    """What the serving list does about new servings."""

    def __init__(self, screen: ServingsScreen) -> None:
        self._screen = screen
        self._asked = ("", "")
        self._wanted: Key | None = None
        """The new serving, until the list has it."""
        self._finishing: Key | None = None
        """The complete serving whose progress is about to be hidden."""

    # -- whether it can be done -----------------------------------------------------------------

    @property
    def project(self) -> str:
        """The project that a new serving is proposed for."""
        screen = self._screen
        if shown := screen.namespace or screen.servedeck.source.namespace:
            return shown
        if (view := screen.selected) is not None:
            return view.key.namespace
        bench = screen.servedeck.workbench
        return bench.namespace if bench is not None else ""

    def why_not(self) -> str:
        """Why nothing can be created, in a sentence; "" where it can."""
        app = self._screen.servedeck
        bench = app.workbench
        if app.readonly:
            return "servedeck runs with --readonly and creates nothing; start it without."
        if bench is None:
            return "There is no cluster to create a serving in."
        asked = (app.source.context, self.project)
        if bench.ready and self.project and asked != self._asked:
            self._asked = asked
            self._screen.start(self._learn(self.project), "rights")
        return bench.why_not(self.project)

    async def _learn(self, project: str) -> None:
        bench = self._screen.servedeck.workbench
        if bench is not None:
            with suppress(ClusterError):  # then the dry run says it
                await bench.learn_rights(project)
        self._screen.show_hints()

    # -- into the form --------------------------------------------------------------------------

    async def _refused(self) -> bool:
        """Ask for our rights, and say it where they do not suffice."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._learn(self.project)
        except TimeoutError:
            return False  # the dry run will say it
        if reason := self.why_not():
            self._screen.say(reason, "warning")
        return bool(reason)

    async def new(self) -> None:
        """Open the form, with a draft that was left where the operator wants one."""
        from servedeck.changes.draft import Draft  # the first frame does not wait for it

        if await self._refused():
            return
        left, problem = await self._left_drafts()
        if not left:
            self.open(Draft(project=self.project), said=problem)
            return
        now = time.time()
        told = [_told(one, now) for one in left]
        if len(left) == 1:
            title, lines = "A draft was left", [f"The form of {told[0][0]} was not finished."]
            answers = [Answer("c", "Continue", f"with what was typed {told[0][1]} ago")]
        else:
            title, lines = f"{len(left)} drafts were left", ["These forms were not finished."]
            answers = [
                Answer(str(number), clip(name, 18), f"typed {ago} ago")
                for number, (name, ago) in enumerate(told, 1)
            ]
        if problem:
            lines.append(problem)
        answers += [
            Answer("n", "Start anew", "what was left stays"),
            Answer("d", "Discard", "forget what was left, and start anew"),
        ]

        def answered(answer: str | None) -> None:
            if answer == "n":
                self.open(Draft(project=self.project))
            elif answer == "d":
                self._screen.start(self._discard(left), "draft", holds="Removing drafts")
            elif answer:
                chosen = left[0 if answer == "c" else int(answer) - 1]
                self._screen.start(self._go_on(chosen), "draft", holds="Reading the draft")

        self._screen.app.push_screen(AskScreen(title, lines, answers), answered)

    async def _left_drafts(self) -> tuple[list[Left], str]:
        bench = self._screen.servedeck.workbench
        shelf = bench.shelf if bench is not None else None
        if shelf is None:
            return [], ""
        try:
            dropped = await asyncio.to_thread(shelf.drop_old, time.time())
            left = await asyncio.to_thread(shelf.left)
        except OSError as error:
            return [], f"The drafts that were left cannot be read: {error.strerror}."
        said = f"{counted(dropped, 'draft')} older than 30 days removed." if dropped else ""
        return left[:MOST_DRAFTS], said

    async def _go_on(self, left: Left) -> None:
        """Open the form with a draft that was left, unless another has done so meanwhile."""
        try:
            draft = await asyncio.to_thread(left.slot.take)
        except OSError as error:
            self._screen.say(f"The draft cannot be read: {error.strerror}.", "error", 20)
            return
        if draft is None:
            self._screen.say("That draft was opened or given up elsewhere meanwhile.", "warning")
        else:
            self.open(draft, slot=left.slot)

    async def _discard(self, left: Sequence[Left]) -> None:
        """Forget drafts, but for those that another form has opened meanwhile."""
        from servedeck.changes.draft import Draft

        said = ""
        for one in left:
            try:
                if await asyncio.to_thread(one.slot.take) is not None:
                    await asyncio.to_thread(one.slot.clear)
            except OSError as error:
                said = f"A draft cannot be removed: {error.strerror}."
        self.open(Draft(project=self.project), said=said)

    def open(
        self,
        draft: Draft,
        left: Sequence[str] = (),
        said: str = "",
        *,
        slot: Slot | None = None,
    ) -> None:
        """Show the form."""
        from tui.screens.create.wizard import CreateScreen  # not needed by those who only look

        bench = self._screen.servedeck.workbench
        if bench is not None:
            form = CreateScreen(draft, bench, left, said, slot=slot)
            self._screen.app.push_screen(form, self._closed)

    async def clone(self, key: Key) -> None:
        """Open the form with what another serving's objects say."""
        from servedeck.changes.draft import Draft  # the first frame does not wait for it

        bench = self._screen.servedeck.workbench
        if bench is None or await self._refused():
            return
        try:
            read = await bench.read(key)
        except ClusterError as error:
            self._screen.say(f"{key} cannot be cloned: {error}", "error", 20)
            return
        draft = Draft.of(read.spec)
        draft.texts["name"] = f"{key.name[: LONGEST_NAME - 5].rstrip('-.')}-copy"
        left = [_not_carried(one) for one in read.leftovers[:MOST_LEFTOVERS]]
        if not left:
            self.open(draft, said=f"A copy of {key}; it is another serving once deployed.")
            return
        lines = [f"The form cannot hold all of {key}. These are not carried over:", *left]

        def answered(answer: str | None) -> None:
            if answer == "c":
                self.open(draft, left)

        ask = AskScreen(
            f"Clone {key}",
            lines,
            [Answer("c", "Go on", "without them; the review lists them"), Answer("x", "Leave")],
        )
        self._screen.app.push_screen(ask, answered)

    # -- back on the list -----------------------------------------------------------------------

    def _closed(self, key: Key | None) -> None:
        if key is not None and not self._screen.servedeck.leaving:
            self.follow(key)
            self._screen.say(f"{key} was created.", "ready")

    def follow(self, key: Key) -> None:
        """Show the progress of a new serving, with the cursor on it as soon as it is there."""
        self._wanted = key
        screen = self._screen
        if screen.namespace not in ("", key.namespace):
            screen.set_namespace(key.namespace)
        screen.ladder.follow(key)
        self.show()

    def show(self) -> None:
        """Bring cursor and progress up to date; called with every change of the list."""
        screen = self._screen
        key = screen.ladder.key
        if key is None:
            return
        view = screen.servedeck.source.fleet.view(key)
        if view is not None and self._wanted == key:
            self._wanted = None
            if not screen.table.select(key):
                screen.clear_filter()
                screen.table.select(key)
        if view is None and self._wanted is None:
            screen.ladder.follow(None)  # deleted
            return
        screen.ladder.show(view)
        if view is not None and complete(view) and self._finishing != key:
            self._finishing = key
            screen.set_timer(LINGERS, lambda: self._finish(key))

    def _finish(self, key: Key) -> None:
        """Hide the strip where the serving is still complete."""
        self._finishing = None
        strip = self._screen.ladder
        view = self._screen.servedeck.source.fleet.view(key)
        if strip.key == key and view is not None and complete(view):
            strip.follow(None)

    def dismiss(self) -> bool:
        """Hide the progress; False where none was shown."""
        strip = self._screen.ladder
        shown = strip.key is not None
        strip.follow(None)
        return shown


def _told(left: Left, now: float) -> tuple[str, str]:
    """What a draft is called, and how long ago it was typed."""
    name = one_line(sanitise(left.draft.texts["name"])) or "a serving without a name"
    return name, age(max(now - left.written, 0))


def _not_carried(one: Leftover) -> str:
    value: Any = one.value
    shown = one_line(sanitise(str(value)))
    shown = shown if len(shown) <= 120 else shown[:119] + "…"
    where = f" {one.path}" if one.path else ""
    return one_line(sanitise(f"{one.object}{where}: {shown}"))
