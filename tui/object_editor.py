"""Editing an object in the operator's editor, as `kubectl edit` does."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from servedeck.cluster.http.errors import ClusterError
from tui.internals.foreground_process import run_in_foreground
from tui.operation_flow import OperationFlow
from tui.ports.app_context import KeptEdit

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


class _EditorEnd(NamedTuple):
    """How the editor left the file."""

    text: str
    code: int
    """Exit code, negative for a signal."""
    was_written: bool
    """Whether the file was written, also with the same text."""


class ObjectEditor:
    """Opens an object in the editor over a screen. What was changed there is planned and confirmed
    like any other operation; a mistake opens the editor again, with the reason on top. A changed
    text is kept until it is saved, or all of it is removed."""

    def __init__(self, screen: ActionScreen[Any], operation_flow: OperationFlow) -> None:
        self._screen = screen
        self._operation_flow = operation_flow

    def start(self, ref: ObjectRef) -> None:
        """Edit an object."""
        self._screen.start_worker(self._edit(ref), "editor", busy_label=f"Editing {ref}")

    def forget(self, ref: ObjectRef) -> None:
        """The edit was saved."""
        if (edit := self._kept.pop(self._key(ref), None)) is not None:
            self._screen.start_worker(_remove(edit.file.parent), "editor files")

    @property
    def _kept(self) -> dict[tuple[str, ObjectRef], KeptEdit]:
        return self._screen.app_context.kept_edits

    def _key(self, ref: ObjectRef) -> tuple[str, ObjectRef]:
        return self._screen.app_context.source.context, ref

    async def _edit(self, ref: ObjectRef) -> None:
        service = self._screen.app_context.change_service
        editor = find_editor()
        if service is None:
            return
        if not editor:
            text = "There is no editor: set EDITOR, for example to vi."
            self._screen.show_message(text, "warning", 20)
            return
        edit, key = self._kept.get(self._key(ref)), self._key(ref)
        try:
            if edit is None:
                base = await service.read_object(ref)
                directory = await asyncio.to_thread(tempfile.mkdtemp, prefix="servedeck-edit-")
                edit = KeptEdit(base, Path(directory) / f"{ref.kind.lower()}.yaml")
            await self._edit_file(service, ref, editor, edit)
        except ClusterError as error:
            self._screen.show_message(f"{ref} cannot be edited: {error}", "error", 20)
        except OSError as error:
            why = f"{shlex.join(editor)} cannot be used: {error.strerror or error}"
            self._screen.show_message(f"{why}; set EDITOR to another one.", "error", 20)
        except asyncio.CancelledError:
            # The app ends, and its editor may still be writing the file.
            if edit is not None:
                self._kept.setdefault(key, edit)
            raise
        finally:
            if edit is not None and key not in self._kept:
                await _remove(edit.file.parent)

    async def _edit_file(
        self, service: ChangeService, ref: ObjectRef, editor: Sequence[str], edit: KeptEdit
    ) -> None:
        """Open the editor until the text is left as it is, or can be saved."""
        from servedeck.serving.objects.object_document import (
            ObjectDocumentError,
            editable_part,
            read_document,
            with_comments,
            write_document,
        )

        key = self._key(ref)
        may_be_planned = key in self._kept
        if may_be_planned:
            kept = await asyncio.to_thread(edit.file.read_text, "utf-8", "replace")
            text = with_comments(kept, _comments(ref, [KEPT_COMMENT]))
        else:
            text = write_document(editable_part(edit.base), _comments(ref, []))
        reason = ""
        while True:
            end = await self._run_editor(editor, edit.file, text)
            if not end.text.strip():
                self._drop(ref)
                return
            if end.text != text or (end.code and await _has_other_files(edit.file)):
                self._kept[key] = edit
            if end.code:
                self._end_unsaved(ref, f"{editor[0]} {_describe_code(end.code)}.", "warning")
                return
            if end.text == text and not (may_be_planned and end.was_written):
                self._end_unsaved(ref, reason)
                return
            may_be_planned = False
            try:
                wanted = read_document(end.text, edit.base)
                operation, problems, base, rebased = await self._plan(service, edit.base, wanted)
            except (ObjectDocumentError, ClusterError) as error:
                reason = str(error)
                text = with_comments(end.text, _comments(ref, [reason]))
                continue
            if operation is not None:
                self._operation_flow.open([operation], on_left=lambda: self._end_unsaved(ref, ""))
                return
            if not problems:
                self._drop(ref, is_same=True)
                return
            reason = problems[0]
            if rebased is None:
                text = with_comments(end.text, _comments(ref, problems))
            else:  # others have changed the object: their changes are in the text, too
                edit = self._kept[key] = edit._replace(base=base)
                text = write_document(rebased, _comments(ref, problems))

    async def _plan(
        self, service: ChangeService, base: JsonObject, wanted: JsonObject
    ) -> tuple[ObjectEdit | None, list[str], JsonObject, JsonObject | None]:
        """The operation that saves the edit; or why it cannot be saved, nothing if it changes
        nothing. Then the object that it is an edit of, and the edit with what others have changed
        meanwhile; None if they changed nothing of it."""
        from servedeck.changes.operations.object_edit import (
            ObjectEdit,
            describe_conflict,
            find_conflicts,
            rebase,
        )
        from servedeck.cluster.apply import ObjectRef

        operation = ObjectEdit.make(base, wanted)
        plan = await service.plan_operation(operation)
        if plan.is_possible:
            return operation, [], base, None
        if plan.unchanged:
            return None, [], base, None
        current = await service.read_object(ObjectRef.from_manifest(base))
        conflicts = find_conflicts(operation, current)
        if not conflicts:
            return None, [plan.blocked], base, None
        problems = [
            *(describe_conflict(one) for one in conflicts),
            "The text has your values; correct them where theirs are right.",
        ]
        return None, problems, current, rebase(operation, current)

    async def _run_editor(self, editor: Sequence[str], file: Path, text: str) -> _EditorEnd:
        """How the editor left the file, which is written with the text before. Raises OSError."""
        before = await asyncio.to_thread(_write_private, file, text)
        app = cast("TerminalApp", self._screen.app)
        code = await run_in_foreground(app, [*editor, str(file)])
        typed, after = await asyncio.to_thread(_read_written, file)
        return _EditorEnd(typed, code, after != before)

    def _drop(self, ref: ObjectRef, *, is_same: bool = False) -> None:
        """All of the text was removed, or it is the object as it is."""
        dropped = self._kept.pop(self._key(ref), None) is not None
        is_told = dropped and not is_same
        text = "The unsaved changes were dropped." if is_told else "Nothing was changed."
        self._screen.show_message(f"{ref}: {text}")

    def _end_unsaved(self, ref: ObjectRef, reason: str, style_name: str = "") -> None:
        """The editor was left without a change to save."""
        edit = self._kept.get(self._key(ref))
        text = "Nothing was changed."
        if edit is not None:
            key = self._screen.app_context.key_display_for("serving.edit_object")
            text = (
                f"Your changes are kept, not saved: {key} opens them again, and an empty text "
                f"drops them. They are in {edit.file}."
            )
        words = [one for one in (f"{ref}:", reason, text) if one]
        self._screen.show_message(" ".join(words), style_name, 20)


KEPT_COMMENT = (
    "These are your changes that were not saved. Save the text to see what they do; remove all of "
    "it to drop them."
)


async def _remove(directory: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _has_other_files(file: Path) -> bool:
    """Whether the editor left something beside the file: vim's swap file."""
    return len(await asyncio.to_thread(os.listdir, file.parent)) > 1


def _describe_code(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"


def _comments(ref: ObjectRef, problems: Sequence[str]) -> list[str]:
    """The lines on top of the text."""
    return [
        *problems,
        f"{ref}: save and close the editor to see what the change does. Nothing is sent before you "
        "confirm it. A text that is left as it is changes nothing.",
    ]


def _write_private(file: Path, text: str) -> tuple[int, int]:
    """Write a file that its owner alone can read: the object may contain secrets. Returns what
    changes when it is written again."""
    file.touch(0o600)
    file.write_text(text, "utf-8")
    return _written_as(file)


def _read_written(file: Path) -> tuple[str, tuple[int, int]]:
    return file.read_text("utf-8", "replace"), _written_as(file)


def _written_as(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_ino
