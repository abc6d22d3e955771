"""Objects in the operator's editor: mistakes come back, and nothing is sent unasked."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from servedeck.changes.operations.object_edit import ObjectEdit
from servedeck.changes.operations.operation import OperationPlan
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.cluster.resources import DEPLOYMENT
from tests.changes.operations.factories import deployment
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, wait_for, wait_for_text
from tests.tui.sessions import SERVEDECK, TerminalSession
from tui import object_editor
from tui.object_editor import find_editor
from tui.screens.operation_dialog import OperationDialog
from tui.screens.serving import ServingScreen

LLAMA = ObjectRef(DEPLOYMENT.api_version, DEPLOYMENT.kind, "team-a", "llama-70b-chat")

Editing = Callable[[str], str]
"""What the operator makes of the text."""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"KUBE_EDITOR": "code --wait", "EDITOR": "vi"}, ["code", "--wait"]),
        ({"VISUAL": "nano", "EDITOR": "vi"}, ["nano"]),
        ({"EDITOR": "'/opt/my editor/e' -n"}, ["/opt/my editor/e", "-n"]),
        ({"VISUAL": '"not closed', "EDITOR": "vi"}, ["vi"]),
        ({"VISUAL": " ", "EDITOR": "vi"}, ["vi"]),
    ],
)
def test_the_editor_is_that_of_the_environment(
    environ: dict[str, str], expected: list[str]
) -> None:
    assert find_editor(environ) == expected


# -- the page -----------------------------------------------------------------------------------


class Editor:
    """Takes the place of the terminal's editor: each time it opens, the next of `edits`."""

    def __init__(self, *edits: Editing, code: int = 0) -> None:
        self.edits = list(edits)
        self.texts: list[str] = []
        """What it was opened with."""
        self.modes: list[int] = []
        self.code = code

    async def run(self, _app: Any, command: Sequence[str]) -> int:
        file = Path(command[-1])
        self.texts.append(file.read_text())
        self.modes.append(file.stat().st_mode & 0o777)
        self.file = file
        edit = self.edits.pop(0)
        typed = edit(self.texts[-1])
        if edit is not unwritten:
            file.write_text(typed)
        return self.code


def replace(old: str, new: str) -> Editing:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def unchanged(text: str) -> str:
    """Saves the text as it is."""
    return text


def unwritten(text: str) -> str:
    """Leaves the editor without saving."""
    return text


@pytest.fixture
def service(tmp_path: Path) -> FakeChangeService:
    found = FakeChangeService(tmp_path)
    live = deployment(2, metadata={"name": LLAMA.name, "namespace": LLAMA.namespace})
    found.live_objects[LLAMA] = live
    return found


@pytest.fixture
def edit_with(
    monkeypatch: pytest.MonkeyPatch, service: FakeChangeService, tmp_path: Path
) -> Callable[..., tuple[Any, Editor]]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def make(*edits: Editing, code: int = 0) -> tuple[Any, Editor]:
        editor = Editor(*edits, code=code)
        monkeypatch.setenv("EDITOR", "vi")
        monkeypatch.setattr(object_editor, "run_in_foreground", editor.run)
        return make_app(change_service=service), editor

    return make


async def open_page(pilot: Any, app: Any) -> None:
    await pilot.press("j", "enter")
    await wait_for(
        pilot,
        lambda: isinstance(app.screen, ServingScreen) and app.screen.active_pane is not None,
        "the page",
    )


async def test_a_change_opens_the_dialog_and_sends_nothing(
    edit_with: Any, service: FakeChangeService
) -> None:
    app, editor = edit_with(replace("replicas: 2", "replicas: 3"))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "Change Deployment team-a/llama-70b-chat")
        [operation] = {one for one in service.planned_operations if isinstance(one, ObjectEdit)}
        assert operation.wanted["spec"]["replicas"] == 3
        assert "uid" not in operation.wanted["metadata"]
        assert service.run_operations == []
        assert editor.modes == [0o600]


async def test_a_confirmed_change_is_sent_once(edit_with: Any, service: FakeChangeService) -> None:
    app, editor = edit_with(replace("replicas: 2", "replicas: 3"), unchanged)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "It changes.")
        await pilot.press("y")
        await wait_for_text(pilot, "Deployment team-a/llama-70b-chat is changed.")
        assert len(service.run_operations) == 1
        await wait_for(pilot, lambda: not app.kept_edits, "the edit to be forgotten")
        await wait_for(pilot, lambda: not editor.file.parent.exists(), "the file to be removed")


async def test_an_unchanged_text_changes_nothing(
    edit_with: Any, service: FakeChangeService
) -> None:
    app, _ = edit_with(unchanged)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "Deployment team-a/llama-70b-chat: Nothing was changed.")
        assert service.planned_operations == []


async def test_what_an_editor_wrote_that_failed_is_kept_and_not_planned(
    edit_with: Any, service: FakeChangeService
) -> None:
    app, editor = edit_with(replace("replicas: 2", "replicas: 3"), unwritten, code=1)
    async with app.run_test(size=(200, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "vi ended with exit code 1. Your changes are kept, not saved")
        assert service.planned_operations == []
        [edit] = app.kept_edits.values()
        assert "replicas: 3" in edit.file.read_text()
        assert (edit.file.stat().st_mode & 0o777, edit.file.parent.stat().st_mode & 0o777) == (
            0o600,
            0o700,
        )
        await pilot.press("E")
        await wait_for(pilot, lambda: len(editor.texts) == 2, "the editor")
        assert "replicas: 3" in editor.texts[1]


async def test_an_editor_that_failed_without_a_change_leaves_nothing(
    edit_with: Any, service: FakeChangeService
) -> None:
    app, editor = edit_with(unchanged, code=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "vi ended with exit code 1. Nothing was changed.")
        await wait_for(pilot, lambda: not editor.file.parent.exists(), "the file to be removed")
        assert app.kept_edits == {}


async def test_the_swap_file_of_an_editor_that_was_ended_is_kept(edit_with: Any) -> None:
    def leave_swap_file(text: str) -> str:
        (editor.file.parent / ".deployment.yaml.swp").write_text("typed")
        return text

    app, editor = edit_with(leave_swap_file, code=-1)
    async with app.run_test(size=(200, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "vi was ended by signal 1. Your changes are kept, not saved")
        assert (editor.file.parent / ".deployment.yaml.swp").exists()


async def test_a_text_with_a_mistake_is_kept_with_its_reason_when_the_editor_is_left(
    edit_with: Any,
) -> None:
    app, editor = edit_with(replace("replicas: 2", "replicas: [2"), unchanged, unwritten)
    async with app.run_test(size=(200, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "Your changes are kept, not saved: E opens them again")
        await pilot.press("E")
        await wait_for(pilot, lambda: len(editor.texts) == 3, "the editor")
        assert "replicas: [2" in editor.texts[2]


async def test_a_rejected_text_is_kept_when_the_editor_is_left(
    edit_with: Any, service: FakeChangeService
) -> None:
    app, _ = edit_with(replace("replicas: 2", "replicas: 4"), unchanged)

    async def reject(operation: Any) -> OperationPlan:
        return OperationPlan(operation, blocked="Four replicas are too many.")

    service.plan_operation = reject  # type: ignore[method-assign]
    async with app.run_test(size=(200, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "Four replicas are too many. Your changes are kept, not saved")


async def test_a_text_is_kept_while_the_api_server_does_not_answer_and_planned_when_it_does(
    edit_with: Any, service: FakeChangeService
) -> None:
    app, editor = edit_with(replace("replicas: 2", "replicas: 4"), unchanged, unchanged)
    plan_operation, read_object = service.plan_operation, service.read_object

    async def lose(_: Any) -> Any:
        raise ConnectionLostError("The API server does not answer.")

    service.plan_operation = lose  # type: ignore[method-assign]
    async with app.run_test(size=(200, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "does not answer. Your changes are kept, not saved")
        # What is kept needs no API server to be opened.
        service.plan_operation = plan_operation  # type: ignore[method-assign]
        service.read_object = lose  # type: ignore[method-assign]
        await pilot.press("E")
        await wait_for_text(pilot, "Change Deployment")
        assert editor.texts[2].startswith("# These are your changes that were not saved.")
        service.read_object = read_object  # type: ignore[method-assign]


async def test_looking_at_a_kept_text_keeps_it_and_an_empty_one_drops_it(edit_with: Any) -> None:
    app, editor = edit_with(
        replace("replicas: 2", "replicas: [2"), unchanged, unwritten, lambda _: "", unchanged
    )
    async with app.run_test(size=(200, 40)) as pilot:
        await open_page(pilot, app)
        for count in (2, 3):
            await pilot.press("E")
            await wait_for(pilot, lambda count=count: len(editor.texts) == count, "the editor")
            await wait_for_text(pilot, "Your changes are kept, not saved")
        await pilot.press("E")
        await wait_for_text(pilot, "The unsaved changes were dropped.")
        await wait_for(pilot, lambda: not editor.file.parent.exists(), "the file to be removed")
        await pilot.press("E")
        await wait_for_text(pilot, "Nothing was changed.")
        assert "replicas: 2" in editor.texts[-1]


async def test_a_kept_text_is_there_after_the_page_was_left(edit_with: Any) -> None:
    app, editor = edit_with(replace("replicas: 2", "replicas: [2"), unchanged, unwritten)
    async with app.run_test(size=(200, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "Your changes are kept")
        await pilot.press("escape")
        await wait_for(pilot, lambda: not isinstance(app.screen, ServingScreen), "the list")
        await pilot.press("enter")
        await wait_for(
            pilot,
            lambda: isinstance(app.screen, ServingScreen) and app.screen.active_pane is not None,
            "the page",
        )
        await pilot.press("E")
        await wait_for(pilot, lambda: len(editor.texts) == 3, "the editor")
        assert "replicas: [2" in editor.texts[2]


async def test_a_mistake_comes_back_with_the_reason_on_top_and_the_text_as_typed(
    edit_with: Any,
) -> None:
    app, editor = edit_with(
        replace("replicas: 2", "replicas: [2"), replace("replicas: [2", "replicas: 4")
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "Change Deployment")
        assert editor.texts[1].startswith("# This is not YAML: line ")
        assert "replicas: [2" in editor.texts[1]


async def test_what_the_api_server_rejects_comes_back_too(
    edit_with: Any, service: FakeChangeService
) -> None:
    app, editor = edit_with(
        replace("replicas: 2", "replicas: 4"), replace("replicas: 4", "replicas: 5")
    )
    plan_operation = service.plan_operation

    async def reject_four(operation: Any) -> OperationPlan:
        if operation.wanted["spec"]["replicas"] == 4:
            return OperationPlan(operation, blocked="Four replicas are too many.")
        return await plan_operation(operation)

    service.plan_operation = reject_four  # type: ignore[method-assign]
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "Change Deployment")
        assert editor.texts[1].startswith("# Four replicas are too many.\n")


async def test_a_conflict_comes_back_with_the_values_of_both(
    edit_with: Any, service: FakeChangeService
) -> None:
    """The text has the operator's value, and what others changed elsewhere."""

    def edit_while_others_do(text: str) -> str:
        service.live_objects[LLAMA]["spec"] |= {"replicas": 9, "minReadySeconds": 7}
        return text.replace("replicas: 2", "replicas: 4")

    app, editor = edit_with(edit_while_others_do, replace("replicas: 4", "replicas: 9"))
    plan_operation = service.plan_operation

    async def plan_with_conflict(operation: Any) -> OperationPlan:
        if operation.base["spec"]["replicas"] == 2:
            return OperationPlan(operation, blocked="Others changed it.")
        return await plan_operation(operation)

    service.plan_operation = plan_with_conflict  # type: ignore[method-assign]
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "Change Deployment")
        assert editor.texts[1].startswith(
            "# Others changed spec.replicas 2 → 9; you changed spec.replicas 2 → 4.\n"
        )
        assert "minReadySeconds: 7" in editor.texts[1]


async def test_a_change_that_was_not_confirmed_is_offered_again(edit_with: Any) -> None:
    app, editor = edit_with(replace("replicas: 2", "replicas: 3"), unchanged)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        for count in (1, 2):
            await pilot.press("E")
            await wait_for(pilot, lambda: isinstance(app.screen, OperationDialog), "the dialog")
            assert len(editor.texts) == count
            await pilot.press("escape")
            await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")
            await wait_for_text(pilot, "Your changes are kept, not saved: E opens them again")
        assert "replicas: 3" in editor.texts[1]


async def test_an_editor_that_cannot_be_started_is_named(
    edit_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = edit_with()

    async def fail(*_arguments: Any) -> int:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(object_editor, "run_in_foreground", fail)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("E")
        await wait_for_text(pilot, "vi cannot be used: No such file or directory; set EDITOR")


# -- a real editor in a terminal ----------------------------------------------------------------


def script(*lines: str) -> str:
    """An editor as a Python script, whose file is `file`."""
    code = "\n".join(("import sys, pathlib", "file = pathlib.Path(sys.argv[1])", *lines))
    return shlex.join([sys.executable, "-c", code])


@contextmanager
def open_serving(editor: str, directory: Path) -> Iterator[TerminalSession]:
    """The page of a serving of the demo, in a terminal; the edited files are in the directory."""
    env = {"EDITOR": editor, "VISUAL": "", "KUBE_EDITOR": "", "TMPDIR": str(directory)}
    command = [*SERVEDECK, "--demo", "open", "search/bge-m3"]
    session = TerminalSession(command, (100, 30), env)
    try:
        session.wait_text("Basic Information")
        yield session
        session.press("\x03")
        assert session.exit_code() == 0
    finally:
        session.close()


def test_the_terminal_is_the_editors_until_it_ends(tmp_path: Path) -> None:
    editor = script(
        "print('the editor is here')",
        "file.write_text(file.read_text().replace('replicas: 2', input()))",
    )
    with open_serving(editor, tmp_path) as session:
        session.press("E")
        session.wait_text("the editor is here")
        session.press("replicas: 3\n")
        session.wait_text("Change Deployment search/bge-m3")
        session.wait_text("spec.replicas")
        session.press("n")
        session.wait_text("Basic Information")


def test_ctrl_c_and_ctrl_z_are_the_editors(tmp_path: Path) -> None:
    editor = script(
        "import select, signal",
        "signal.signal(signal.SIGINT, lambda *_: print('interrupted'))",
        "signal.signal(signal.SIGCONT, lambda *_: print('continued'))",
        "print('the editor is here')",
        "line = ''",
        # Python handles a signal that arrives just before input() blocks only after the next line.
        "while line != 'end':",
        "    if select.select([sys.stdin], [], [], 0.1)[0]: line = input()",
    )
    with open_serving(editor, tmp_path) as session:
        session.press("E")
        session.wait_text("the editor is here")
        session.press("\x03")
        session.wait_text("interrupted")
        session.press("\x1a")
        session.wait_text("continued")
        session.press("end\n")
        session.wait_text("Nothing was changed.")
