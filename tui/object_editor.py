"""Editing an object in the operator's editor, as `kubectl edit` does."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from servedeck.cluster.http.errors import ClusterError
from tui.internals.foreground_process import run_in_foreground
from tui.operation_flow import OperationFlow

if TYPE_CHECKING:
    from servedeck.changes.operations.object_edit import ObjectEdit
    from servedeck.cluster.apply import ObjectRef
    from servedeck.serving.spec.mapping.json_values import JsonObject
    from tui.internals.app_hooks import TerminalApp
    from tui.ports.change_service import ChangeService
    from tui.screens.base import ActionScreen

EDITOR_VARIABLES = ("KUBE_EDITOR", "VISUAL", "EDITOR")
"""Environment variables that name the editor; the first one is that of kubectl."""
DEFAULT_EDITORS = ("vi", "nano")


def find_editor(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Command line of the editor; [] if there is none."""
    for name in EDITOR_VARIABLES:
        try:
            words = shlex.split(environ.get(name, ""))
        except ValueError:  # a quotation mark is not closed
            continue
        if words:
            return words
    return next(([one] for one in DEFAULT_EDITORS if shutil.which(one)), [])


class ObjectEditor:
    """Opens an object in the editor over a screen. What was changed there is planned and confirmed
    like any other operation; a mistake opens the editor again, with the reason on top."""

    def __init__(self, screen: ActionScreen[Any], operation_flow: OperationFlow) -> None:
        self._screen = screen
        self._operation_flow = operation_flow
        self._unsaved: dict[ObjectRef, tuple[JsonObject, JsonObject]] = {}
        """Objects as they were read and as they were edited, until they are saved."""

    def start(self, ref: ObjectRef) -> None:
        """Edit an object."""
        self._screen.start_worker(self._edit(ref), "editor", busy_label=f"Editing {ref}")

    async def _edit(self, ref: ObjectRef) -> None:
        service = self._screen.app_context.change_service
        editor = find_editor()
        if service is None:
            return
        if not editor:
            text = "There is no editor: set EDITOR, for example to vi."
            self._screen.show_message(text, "warning", 20)
            return
        directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="servedeck-edit-"))
        try:
            await self._edit_file(service, ref, editor, directory / f"{ref.kind.lower()}.yaml")
        except ClusterError as error:
            self._screen.show_message(f"{ref} cannot be edited: {error}", "error", 20)
        except OSError as error:
            why = f"{shlex.join(editor)} cannot be used: {error.strerror or error}"
            self._screen.show_message(f"{why}; set EDITOR to another one.", "error", 20)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _edit_file(
        self, service: ChangeService, ref: ObjectRef, editor: Sequence[str], file: Path
    ) -> None:
        """Open the editor until the text is unchanged, or can be saved."""
        from servedeck.serving.objects.object_document import (
            ObjectDocumentError,
            editable_part,
            read_document,
            with_comments,
            write_document,
        )

        problems: list[str] = []
        base = await service.read_object(ref)
        wanted = editable_part(base)
        if ref in self._unsaved:
            problems = ["These are your changes that were not saved."]
            base, wanted = self._unsaved[ref]
        text = write_document(wanted, _comments(ref, problems))
        while True:
            typed = await self._run_editor(editor, file, text)
            if typed == text or not typed.strip():
                self._end_without_change(ref)
                return
            try:
                wanted = read_document(typed, base)
            except ObjectDocumentError as error:
                text = with_comments(typed, _comments(ref, [str(error)]))
                continue
            self._unsaved[ref] = base, wanted
            try:
                operation, problems = await self._plan(service, ref, base, wanted)
            except ClusterError as error:
                text = with_comments(typed, _comments(ref, [str(error)]))
                continue
            if operation is not None:
                self._operation_flow.open([operation])
                return
            if not problems:
                self._end_without_change(ref)
                return
            if self._unsaved[ref][0] is base:
                text = with_comments(typed, _comments(ref, problems))
            else:  # others have changed the object: their changes are in the text, too
                base, wanted = self._unsaved[ref]
                text = write_document(wanted, _comments(ref, problems))

    async def _plan(
        self, service: ChangeService, ref: ObjectRef, base: JsonObject, wanted: JsonObject
    ) -> tuple[ObjectEdit | None, list[str]]:
        """The operation that saves the edit; or why it cannot be saved, nothing if it changes
        nothing."""
        from servedeck.changes.operations.object_edit import (
            ObjectEdit,
            describe_conflict,
            find_conflicts,
            rebase,
        )

        operation = ObjectEdit.make(base, wanted)
        plan = await service.plan_operation(operation)
        if plan.is_possible:
            return operation, []
        if plan.unchanged:
            return None, []
        current = await service.read_object(ref)
        conflicts = find_conflicts(operation, current)
        if not conflicts:
            return None, [plan.blocked]
        self._unsaved[ref] = current, rebase(operation, current)
        return None, [
            *(describe_conflict(one) for one in conflicts),
            "The text has your values; correct them where theirs are right.",
        ]

    async def _run_editor(self, editor: Sequence[str], file: Path, text: str) -> str:
        """The text after the editor has ended; unchanged if it failed. Raises OSError."""
        await asyncio.to_thread(_write_private, file, text)
        app = cast("TerminalApp", self._screen.app)
        code = await run_in_foreground(app, [*editor, str(file)])
        if code:
            return text
        return await asyncio.to_thread(file.read_text, "utf-8", "replace")

    def _end_without_change(self, ref: ObjectRef) -> None:
        """The text was left as it was: an edit that was not saved is dropped."""
        dropped = self._unsaved.pop(ref, None) is not None
        text = "The unsaved changes were dropped." if dropped else "Nothing was changed."
        self._screen.show_message(f"{ref}: {text}")

    def forget(self, ref: ObjectRef) -> None:
        """The edit was saved."""
        self._unsaved.pop(ref, None)


def _comments(ref: ObjectRef, problems: Sequence[str]) -> list[str]:
    """The lines on top of the text."""
    return [
        *problems,
        f"{ref}: save and close the editor to see what the change does. Nothing is sent before you "
        "confirm it. A text that is left as it is changes nothing.",
    ]


def _write_private(file: Path, text: str) -> None:
    """Write a file that its owner alone can read: the object may contain secrets."""
    file.touch(0o600)
    file.write_text(text, "utf-8")
