"""Creating a serving in three steps: basic information, detailed settings, review and deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.timer import Timer

from servedeck.changes.draft import Draft
from servedeck.changes.draft_store import Slot
from servedeck.fleet.views import Key
from servedeck.serving.spec.issues import errors
from tui.actions import BY_ID, Action, bound
from tui.screens.confirm import Answer, AskScreen
from tui.screens.create import field_options, steps
from tui.screens.create.draft_autosave import PAUSE, Keeper
from tui.screens.create.form_view import FormView
from tui.screens.create.import_export import FilingScreen
from tui.screens.create.option_picker import ChooseScreen
from tui.screens.create.review_text import VIEWS, Result
from tui.screens.create.undo_history import History
from tui.workbench import Workbench
from widgets.form_parts import FormButton
from widgets.review_list import ReviewList
from widgets.styled_line import Line, Span, spread, wrap
from widgets.text_view import Bar

AROUND_PACE = 0.25
"""Seconds between two looks at what the cluster says of nodes, claims and projects."""

UNDER_WAY = "It is being deployed; wait for the answer."


class CreateScreen(FilingScreen):
    """The form. Its result is the key of the serving that was deployed, None for none."""

    SCOPE = "create"
    HELPS = False
    """It has a key of its own for the help: the other one is text here."""
    # Before the widget that has the focus: what is typed right after a key that moves the focus
    # then goes where it moved to, however fast it comes.
    BINDINGS: ClassVar[list[BindingType]] = [
        *(replace(one, priority=True) for one in bound("create", "form")),
        # The command line changes contexts, and letters are text here.
        *(one for one in bound("review", "app") if one.id not in ("app.command", "app.help")),
    ]

    steps_bar = query_one("#steps", Bar)
    help_bar = query_one("#fieldhelp", Bar)

    def __init__(
        self,
        draft: Draft,
        bench: Workbench,
        left: Sequence[str] = (),
        said: str = "",
        *,
        slot: Slot | None = None,
    ) -> None:
        """`left` are sentences about what a clone cannot carry over; `said` is shown at first;
        `slot` is where the draft lies that was typed before."""
        super().__init__(draft, bench, left)
        self._said_first = said
        self._opened = draft.dump() if slot is None else None
        self._keeper = Keeper(draft, lambda: bench.shelf, slot)
        self.history = History(draft)
        self._save: Timer | None = None
        self._around_of = ""
        self._around_changed = False

    def compose_body(self) -> ComposeResult:
        yield Bar(id="steps")
        yield FormView(self.draft)
        yield ReviewList(id="review")
        yield Bar(id="fieldhelp")

    def on_mount(self) -> None:
        super().on_mount()
        self.review_list.display = False
        self.check()
        self.look_around()
        self.set_interval(AROUND_PACE, self._look_again)
        self.form.set_around(self.around, self.system())
        self.call_later(self.show_step, self.draft.step, self.draft.field)
        if self._said_first:
            self.say(self._said_first, seconds=20)

    def keep_typed(self) -> None:
        self._keeper.write()

    async def on_unmount(self) -> None:
        self._keeper.close()
        if self.around is not None:
            around, self.around = self.around, None
            await around.close()

    def fit(self, size: Size) -> None:
        super().fit(size)
        self.help_bar.styles.height = 2 if size.height >= 16 else 1
        self.help_bar.display = size.height >= 10
        self.show_help(self._focused_path())
        self.show_review()

    # -- what surrounds it ----------------------------------------------------------------------

    def look_around(self) -> None:
        """Watch nodes, claims and projects, as soon as there is a connection."""
        project = self.draft.texts["project"]
        self.around = self.bench.around(project, self._note_around)
        self._around_of = project
        self._around_changed = True

    def _note_around(self) -> None:
        self._around_changed = True

    def _look_again(self) -> None:
        if self.around is None:
            self.look_around()
        if self.step == 1 and not self.draft.texts["project"] and self.bench.namespace:
            self.form.choose("project", self.bench.namespace)  # it was opened before the connection
        if self._around_changed:
            self._around_changed = False
            self.form.set_around(self.around, self.system())
            self.refit()

    async def _follow_project(self) -> None:
        """Where claims may only be read project by project, those of another are watched now."""
        project = self.draft.texts["project"]
        around = self.around
        if around is None or project == self._around_of or around.claims(project) is not None:
            return
        self.look_around()
        await around.close()

    # -- steps ----------------------------------------------------------------------------------

    async def show_step(self, step: int, focus: str = "") -> None:
        """Go to a step, to one of its fields."""
        self.step = self.draft.step = step
        self.draft.field = focus
        self.keep()
        reviews = step == 3
        self.form.display = not reviews
        self.review_list.display = reviews
        self.form.drop_blank()
        if reviews:
            self.review_list.focus()
            self.ask_cluster()
        else:
            self.check()
            self.form.set_around(self.around, self.system())
            await self.form.show_step(step, focus)
            self.form.set_problems(self.problems)
        self._show_steps()
        self.show_help(self._focused_path())
        self.show_hints()

    async def do_next(self) -> None:
        if self.step == 3:
            self.say("This is the last step; ctrl+s deploys.")
            return
        self.check()
        self.form.set_problems(self.problems)
        self.form.leave_all()
        self.form.drop_blank()
        self.check()
        wrong = [one for one in errors(self.problems) if steps.step_of(one.field) == self.step]
        if not wrong:
            if self.step == 1:
                await self._follow_project()
            await self.show_step(self.step + 1)
            return
        await self.form.rebuild(*(one.field for one in wrong))
        self.form.set_problems(self.problems)
        field = "One field" if len(wrong) == 1 else f"{len(wrong)} fields"
        self.say(f"{field} of this step must be mended before you go on.", "warning")

    async def do_previous(self) -> None:
        if self.step > 1:
            await self.show_step(self.step - 1)
        else:
            self.say("This is the first step; esc leaves the form.")

    async def do_go_on(self) -> None:
        if await self.form.go_on():
            await self.do_next()

    def do_assign(self) -> None:
        self.form.move(1)

    async def edit(self, path: str) -> None:
        """Go from the review to a field."""
        self.form.left.add(path)
        await self.show_step(steps.step_of(path), path)

    async def do_edit(self) -> None:
        if path := self.review_list.path:
            await self.edit(path)
        else:
            self.say("Choose a line with the arrows, or a section by its digit.")

    async def do_section(self, digit: str) -> None:
        sections = steps.sections(self.draft)
        if int(digit) <= len(sections):
            path = sections[int(digit) - 1].paths[0]
            path = f"add.{path}" if path in self.draft.rows and not self.draft.rows[path] else path
            await self.edit(path)
        else:
            self.say(f"The review has {len(sections)} sections.", "warning")

    async def on_review_list_chosen(self, message: ReviewList.Chosen) -> None:
        await self.edit(message.path)

    # -- what it shows --------------------------------------------------------------------------

    def show_review(self, *, fresh: bool = False) -> None:
        super().show_review(fresh=fresh)
        self._show_steps()

    def show_view(self, view: str) -> None:
        super().show_view(view)
        self.show_help("")
        self.show_hints()

    def _show_steps(self) -> None:
        spans: list[Span] = [(" Create a serving ", "title"), (" ", "")]
        wide = self.size.width >= 100
        for number, name in enumerate(steps.STEPS, 1):
            here = number == self.step
            tone = "strong" if here else "muted"
            spans += [(f" {number} ", "key" if here else "muted")]
            spans.append((name if here or wide else name.split(" ", 1)[0], tone))
            spans.append((" › " if number < len(steps.STEPS) else "", "muted"))
        review = self.result.review
        wrong = len(review.errors if review is not None else errors(self.problems))
        count = f"{wrong} to mend" if wrong else "✓ complete"
        right: Line = ((count, "warning" if wrong else "ready"), (" ", ""))
        self.steps_bar.set_lines(spread(tuple(spans), right, max(self.size.width, 1)))

    def _focused_path(self) -> str:
        return getattr(self.focused, "path", "") if self.step != 3 else ""

    def show_help(self, path: str) -> None:
        """Say in the line at the bottom what the field is for."""
        if self.shows_yaml:
            text = "Nothing is created without ctrl+s. y shows objects, file and review in turn."
        elif self.step == 3:
            text = (
                "Nothing is created without ctrl+s. Enter on a line, or a section's digit, edits."
            )
        elif isinstance(self.focused, FormButton):
            text = self.focused.help
        else:
            text = steps.help_of(path, self.draft)
            if self.form.show_hint(path, text):
                text = ""  # it stands beside the field
        self.help_bar.set_lines(*wrap(((" ", ""), (text, "muted")), self.size.width - 1, 1))

    def on_form_view_focused(self, message: FormView.Focused) -> None:
        self.history.leave()
        if self.step != 3 and message.path != self.draft.field:
            self.draft.field = message.path
            self.keep()
        self.show_help(message.path)
        self.show_hints()

    def on_form_view_row_added(self, message: FormView.RowAdded) -> None:
        self.history.note(message.path)

    def on_form_view_changed(self, message: FormView.Changed) -> None:
        self.keep(message.path)
        if self.step == 3:
            return  # what was typed last is told late; it was taken before the step was left
        self.check()
        self.form.set_problems(self.problems)
        if message.path in ("memory", "settings.tensor_parallel_size", "template"):
            self.form.set_around(self.around, self.system())
        self.result = Result()
        self._show_steps()

    def on_form_view_said(self, message: FormView.Said) -> None:
        self.say(message.text, message.tone, 20)

    # -- choosing -------------------------------------------------------------------------------

    def on_form_view_choice_wanted(self, message: FormView.ChoiceWanted) -> None:
        path = message.path
        if isinstance(self.app.screen, ChooseScreen):
            self.app.screen.type(message.typed)  # a second letter, typed before the list came
            return
        offered = field_options.choices(path, self.draft, self.around)

        async def chosen(key: str | None) -> None:
            if key is not None:
                self.form.choose(path, key)
            elif path.endswith(".claim"):
                await self.form.remove_if_blank(path)

        field = steps.fields(self.draft).get(path, steps.CLAIM)
        free = field_options.is_free(path, self.draft)
        screen = ChooseScreen(
            field.label, offered, self.form.text(path), typed=message.typed, free=free
        )
        self.app.push_screen(screen, chosen)

    # -- what the keys do -----------------------------------------------------------------------

    def why_not(self, action: Action) -> str:
        match action.name:
            case "deploy":
                if self.step != 3:
                    return "Step 3 deploys; ctrl+n goes on."
                return self.why_no_deploy() if not self.deployment.running else UNDER_WAY
            case "undo":
                return "" if self.deployment.made else "Nothing was created that could be removed."
            case "leave" | "previous" | "load" | "edit" | "section" if self.deployment.running:
                return UNDER_WAY
            case "edit" if self.shows_yaml:
                return "The YAML is only shown; y goes on to the review, whose lines can be edited."
        return ""

    def scopes(self) -> tuple[str, ...]:
        return ("create", "review") if self.step == 3 else ("create", "form")

    def hinted(self, action: Action) -> bool:
        """Only what can be done in this step, and in this view of it."""
        if action.id == "create.deploy":
            return self.step == 3
        if action.id == "create.next":
            return self.step != 3
        if action.id in ("review.edit", "review.section"):
            return not self.shows_yaml
        return super().hinted(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the fields are not ours in the review, nor those of the review in the fields."""
        if action != "do":
            return True
        wanted = BY_ID[str(parameters[0])]
        if wanted.id == "form.assign":
            return self.step != 3 and self._focused_path().endswith(".name")
        return wanted.scope in (*self.scopes(), "app")

    async def action_do(self, action_id: str, *arguments: str) -> None:
        if self.step != 3:
            await self.form.settle()
        await super().action_do(action_id, *arguments)

    def do_move(self, key: str) -> None:
        self.form.move(1 if key in ("down", "tab") else -1)

    def do_part(self, key: str) -> None:
        self.form.move_section(1 if key == "pagedown" else -1)

    async def do_remove(self) -> None:
        gone = await self.form.remove_row()
        back = self.servedeck.key_of("form.revert")
        if gone:
            self.say(f"Removed {gone}; {back} brings it back.")
        else:
            self.say("Only volumes and variables can be removed.")

    async def do_revert(self) -> None:
        again = self.servedeck.key_of("form.redo")
        await self._restored(
            self.history.undo(), f"Taken back; {again} does it again.", "Nothing to take back."
        )

    async def do_redo(self) -> None:
        await self._restored(self.history.redo(), "Done again.", "Nothing was taken back.")

    async def _restored(self, path: str | None, said: str, nothing: str) -> None:
        """The draft is as it was before or after a change at `path`; None where there was none."""
        if path is None:
            self.say(nothing)
            return
        self.keep(path)
        head = path.rsplit(".", 1)[0] if path.rsplit(".", 1)[-1].isdigit() else path
        self.check()
        self.form.set_around(self.around, self.system())
        await self.form.show_step(steps.step_of(path) if path else 1, path, f"add.{head}")
        self.step = self.draft.step = self.form.step
        self.form.set_problems(self.problems)
        self.result = Result()
        self._show_steps()
        self.show_hints()
        self.say(said)

    async def do_source(self) -> None:
        self.say(await self.form.change_source() or "Only a variable's value has a source.")

    def do_reveal(self) -> None:
        self.reveal = not self.reveal
        self.form.set_reveal(self.reveal)
        self.show_review()
        self.say("Secret values are shown." if self.reveal else "Secret values are masked.")

    def do_help(self) -> None:
        self.servedeck.do_help()

    def do_ask(self) -> None:
        self.ask_cluster()

    # -- keeping and leaving --------------------------------------------------------------------

    def keep(self, path: str = "") -> None:
        """The draft was changed at `path`: write it to disk a moment after the last key."""
        self.history.note(path, typed=bool(path) and not field_options.is_choice(path, self.draft))
        if self._save is not None:
            self._save.stop()
        self._save = self.set_timer(PAUSE, self._keep_soon)

    def _keep_soon(self) -> None:
        # Beside whatever else is written: it must end neither a save nor the leaving.
        self.run_worker(self._keep_now(), group="keep", exit_on_error=False)

    async def _keep_now(self) -> None:
        if problem := await self._keeper.save():
            self.say(problem, "warning")

    async def _keep_at_once(self) -> str:
        """Write it before the form is left; returns why it could not be. What the caller says of
        that is not replaced by what a save that was still to come would say."""
        if self._save is not None:
            self._save.stop()
            self._save = None
        self.workers.cancel_group(self, "keep")
        return await self._keeper.save(needed=True)

    def help_key(self) -> str:
        return self.servedeck.key_of("create.help")

    async def why_stay(self) -> str:
        if self.writing:
            self.ends_after = True
            again = self.servedeck.key_of("app.quit")
            return f"{self.writing}: it is finished first; {again} again leaves at once."
        if self.step != 3:
            await self.form.settle()
        if problem := await self._keep_at_once():
            again, saves = map(self.servedeck.key_of, ("app.quit", "create.save"))
            return f"{problem} {saves} saves it as YAML; {again} again leaves without it."
        return ""

    def left_behind(self) -> str:
        if self.writing:
            made = ", ".join(str(one.place) for one in self.deployment.made)
            known = f"created were {made}" if made else "nothing was confirmed"
            return f"{self.writing} was not finished: {known}. The form is kept; n offers it again."
        return "The form is kept; n in servedeck offers it again." if self._keeper.keeps else ""

    def do_leave(self) -> None:
        if self.shows_yaml:
            self.show_view(VIEWS[0])
            self.show_hints()
            return
        if self.draft.dump() == self._opened and not self.deployment.made:
            self.dismiss(None)  # nothing was typed that could be lost
            return
        made = ", ".join(str(one.place) for one in self.deployment.made)
        lines = ["What you typed is kept until you deploy or discard it."]
        if made:
            lines.insert(0, f"{made} of the unfinished attempt stays in the cluster.")
        ask = AskScreen(
            "Leave the form?",
            lines,
            [
                Answer("k", "Keep editing"),
                Answer("l", "Leave for later", "n on the list offers the draft again"),
                Answer("d", "Discard", "forget what was typed"),
            ],
        )
        self.app.push_screen(ask, self._leave_answered)

    def _leave_answered(self, answer: str | None) -> None:
        if answer == "l":
            self.start(self._leave(), "leave", holds="Keeping the draft")
        elif answer == "d":
            self.start(self._discard(), "leave", holds="Removing the draft")

    async def _leave(self) -> None:
        if problem := await self._keep_at_once():
            self.say(f"{problem} Keep editing, or save it as YAML.", "error", 20)
        else:
            self._keeper.close()  # before the list can ask what was left
            self.dismiss(None)

    async def _discard(self) -> None:
        await self._keeper.clear()
        self.dismiss(None)

    async def deployed(self, key: Key) -> None:
        await self._keeper.clear()
        self.dismiss(key)
