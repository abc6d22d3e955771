"""From the list into the create form: new, clone, a saved draft."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.duration import format_duration
from servedeck.serving.text import format_count, one_line, sanitize, truncate
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption

if TYPE_CHECKING:
    from pathlib import Path

    from servedeck.changes.draft import Draft
    from servedeck.changes.draft_store import DraftFile, SavedDraft
    from servedeck.changes.traffic_split.revisions import RevisionStart
    from servedeck.serving.objects.unmanaged_fields import UnmanagedField
    from tui.screens.base import ActionScreen

MAX_NAME_LENGTH = 63
PERMISSION_TIMEOUT = 3.0
"""Timeout in seconds of the permission check."""

MAX_DRAFTS = 9
"""Number of drafts that are offered, the latest first: each has a digit."""

MAX_UNMANAGED_FIELDS = 200
"""Maximum number of sentences about fields that a clone does not copy."""
MAX_VALUE_LENGTH = 120


class CreateFlow:
    """Creates and clones servings from the list."""

    def __init__(
        self,
        screen: ActionScreen[None],
        *,
        shown_namespace: Callable[[], str],
        on_created: Callable[[NamespacedName], None],
        namespace_note: Callable[[], str] = lambda: "",
    ) -> None:
        """`screen` shows messages and dialogs; `shown_namespace` is the default namespace of a new
        serving, "" for the change service's own; `namespace_note` says where that comes from, where
        the screen does not show it."""
        self._screen = screen
        self._shown_namespace = shown_namespace
        self._namespace_note = namespace_note
        self._on_created = on_created
        self._permissions_requested_for = ("", "")

    # -- whether it can be done -----------------------------------------------------------------

    @property
    def namespace(self) -> str:
        """The default namespace of a new serving."""
        change_service = self._screen.app_context.change_service
        return self._shown_namespace() or (
            change_service.namespace if change_service is not None else ""
        )

    def disabled_reason(self) -> str:
        """Why nothing can be created, in a sentence; "" if it can."""
        app = self._screen.app_context
        change_service = app.change_service
        if app.readonly:
            return (
                "servedeck runs with --readonly; restart it without that option to create servings."
            )
        if change_service is None:
            return "Not connected to a cluster."
        asked = (app.source.context, self.namespace)
        if (
            change_service.is_connected
            and self.namespace
            and asked != self._permissions_requested_for
        ):
            self._permissions_requested_for = asked
            self._screen.start_worker(self._refresh_permissions(self.namespace), "rights")
        return change_service.disabled_reason(self.namespace)

    async def _refresh_permissions(self, namespace: str) -> None:
        change_service = self._screen.app_context.change_service
        if change_service is not None:
            with suppress(ClusterError):  # then the dry run reports it
                await change_service.refresh_permissions(namespace)
        self._screen.update_footer()

    # -- into the form --------------------------------------------------------------------------

    async def _permission_denied(self) -> bool:
        """Check the permissions, and show a message if they are not sufficient."""
        try:
            async with asyncio.timeout(PERMISSION_TIMEOUT):
                await self._refresh_permissions(self.namespace)
        except TimeoutError:
            return False  # the dry run will report it
        if reason := self.disabled_reason():
            self._screen.show_message(reason, "warning")
        return bool(reason)

    async def start_new(self) -> None:
        """Open the form, with a saved draft if the operator chooses one."""
        if await self._permission_denied():
            return
        left, problem = await self._load_saved_drafts()
        note = self._namespace_note()
        if not left:
            self.open_form(self._new_draft(), message=f"{problem} {note}".strip())
            return
        now = time.time()
        described = [_describe_saved_draft(one, now) for one in left]
        if len(left) == 1:
            title, lines = "Saved draft", [f"The form of {described[0][0]} was not finished."]
            answers = [DialogOption("c", "Continue", f"edited {described[0][1]} ago")]
        else:
            title, lines = f"{len(left)} saved drafts", ["These forms were not finished."]
            answers = [
                DialogOption(str(number), truncate(name, 18), f"edited {ago} ago")
                for number, (name, ago) in enumerate(described, 1)
            ]
        if problem:
            lines.append(problem)
        answers += [
            DialogOption("n", "Start over", "the drafts are kept"),
            DialogOption("d", "Discard", "delete the drafts and start over"),
        ]

        def on_answer(answer: str | None) -> None:
            if answer == "n":
                self.open_form(self._new_draft(), message=note)
            elif answer == "d":
                self._screen.start_worker(
                    self._discard_drafts(left), "draft", busy_label="Deleting drafts"
                )
            elif answer:
                chosen = left[0 if answer == "c" else int(answer) - 1]
                self._screen.start_worker(
                    self._resume_draft(chosen), "draft", busy_label="Reading the draft"
                )

        self._screen.app.push_screen(ConfirmDialog(title, lines, answers), on_answer)

    def _new_draft(self) -> Draft:
        """The draft of a new serving, with the platform's defaults."""
        from servedeck.changes.draft import Draft  # the first frame does not wait for it

        draft = Draft(namespace=self.namespace)
        self.propose_defaults(draft)
        return draft

    def propose_defaults(self, draft: Draft) -> None:
        """Fill the empty fields of a new serving with the platform's defaults."""
        change_service = self._screen.app_context.change_service
        if change_service is not None:
            draft.propose(change_service.platform.defaults)

    async def _load_saved_drafts(self) -> tuple[list[SavedDraft], str]:
        change_service = self._screen.app_context.change_service
        store = change_service.draft_store if change_service is not None else None
        if store is None:
            return [], ""
        try:
            dropped = await asyncio.to_thread(store.delete_expired, time.time())
            left = await asyncio.to_thread(store.list_saved)
            damaged = await asyncio.to_thread(store.list_damaged)
        except OSError as error:
            return [], f"The saved drafts cannot be read: {error.strerror}."
        messages = []
        if damaged:
            messages.append(describe_damaged_drafts(damaged))
        if dropped:
            messages.append(f"{format_count(dropped, 'draft')} older than 30 days deleted.")
        return left[:MAX_DRAFTS], " ".join(messages)

    async def _resume_draft(self, saved_draft: SavedDraft) -> None:
        """Open the form with a saved draft, unless another window has opened it meanwhile."""
        try:
            draft = await asyncio.to_thread(saved_draft.file.acquire)
        except OSError as error:
            self._screen.show_message(f"The draft cannot be read: {error.strerror}.", "error", 20)
            return
        if draft is None:
            self._screen.show_message(
                "That draft is open in another window or was discarded.", "warning"
            )
        else:
            self.open_form(draft, draft_file=saved_draft.file)

    async def _discard_drafts(self, saved_drafts: Sequence[SavedDraft]) -> None:
        """Delete drafts, except those that another window has opened meanwhile."""
        message = ""
        for one in saved_drafts:
            try:
                if await asyncio.to_thread(one.file.acquire) is not None:
                    await asyncio.to_thread(one.file.delete)
            except OSError as error:
                message = f"A draft cannot be deleted: {error.strerror}."
        note = self._namespace_note()
        self.open_form(self._new_draft(), message=f"{message} {note}".strip())

    def open_form(
        self,
        draft: Draft,
        not_copied: Sequence[str] = (),
        message: str = "",
        *,
        draft_file: DraftFile | None = None,
    ) -> None:
        """Show the form."""
        from tui.screens.create.wizard import CreateScreen  # not needed for watching

        change_service = self._screen.app_context.change_service
        if change_service is not None:
            form = CreateScreen(draft, change_service, not_copied, message, draft_file=draft_file)
            self._screen.app.push_screen(form, self._on_form_closed)

    async def clone(self, key: NamespacedName) -> None:
        """Open the form with the settings of another serving."""
        # The first frame does not wait for them.
        from servedeck.changes.draft import Draft
        from servedeck.serving.spec import load_balancing

        change_service = self._screen.app_context.change_service
        if change_service is None or await self._permission_denied():
            return
        try:
            read = await change_service.import_serving(key)
        except ClusterError as error:
            self._screen.show_message(f"{key} cannot be cloned: {error}", "error", 20)
            return
        spec, left = read.spec, []
        if spec.load_balancing == load_balancing.PREFIX_AWARE:
            spec = spec.replace(load_balancing=load_balancing.OFF)
            left.append(
                f"Load Balancing {load_balancing.PREFIX_AWARE}: the InferencePool has the Pods of "
                f"{key}; give the copy a pool of its own, and choose it then"
            )
        draft = Draft.from_spec(spec)
        draft.texts.pop("revision_of", None)  # the copy gets an endpoint of its own
        draft.texts["name"] = f"{key.name[: MAX_NAME_LENGTH - 5].rstrip('-.')}-copy"
        message = f"A copy of {key}; deploying it creates a new serving."
        left += _describe_fields(read.unmanaged_fields)
        self._open_copy(f"Clone {key}", key, draft, left, message)

    async def create_revision(
        self, key: NamespacedName, read: Callable[[], Awaitable[RevisionStart]]
    ) -> None:
        """Open the form of a second revision of a serving, which `read` reads."""
        from servedeck.changes.draft import Draft

        if await self._permission_denied():
            return
        try:
            start = await read()
        except ClusterError as error:
            self._screen.show_message(str(error), "error", 20)
            return
        draft = Draft.from_spec(start.spec)
        draft.revision_base = start.base
        message = f"A revision of {key}, without an endpoint: it gets requests by a traffic split."
        self._open_copy(
            f"New revision of {key}",
            key,
            draft,
            _describe_fields(start.unmanaged_fields),
            message,
        )

    def _open_copy(
        self, title: str, key: NamespacedName, draft: Draft, left: Sequence[str], message: str
    ) -> None:
        """Open the form with a draft of a serving, after saying what of it is not in the draft."""
        if not left:
            self.open_form(draft, message=message)
            return
        lines = [f"The form has no fields for all of {key}. These are not copied:", *left]

        def on_answer(answer: str | None) -> None:
            if answer == "c":
                self.open_form(draft, left, message)

        ask = ConfirmDialog(
            title,
            lines,
            [
                DialogOption("c", "Continue", "without them; the review lists them"),
                DialogOption("x", "Cancel"),
            ],
        )
        self._screen.app.push_screen(ask, on_answer)

    def _on_form_closed(self, key: NamespacedName | None) -> None:
        if key is not None and not self._screen.app_context.exiting:
            self._on_created(key)
            self._screen.show_message(f"{key} was created.", "ready")


def _describe_fields(fields: Sequence[UnmanagedField]) -> list[str]:
    return [one.describe(MAX_VALUE_LENGTH) for one in fields[:MAX_UNMANAGED_FIELDS]]


def describe_damaged_drafts(paths: Sequence[Path]) -> str:
    """Files of drafts that cannot be read, and what to do about them."""
    directory, name = one_line(str(paths[0].parent)), one_line(paths[0].name)
    if len(paths) == 1:
        return f"A saved draft is damaged and cannot be offered; delete {directory}/{name}."
    return (
        f"{len(paths)} saved drafts are damaged and cannot be offered; delete {name} and "
        f"{format_count(len(paths) - 1, 'other')} in {directory}."
    )


def _describe_saved_draft(saved_draft: SavedDraft, now: float) -> tuple[str, str]:
    """The name of a draft, and how long ago it was typed."""
    name = one_line(sanitize(saved_draft.draft.texts["name"])) or "a serving without a name"
    return name, format_duration(max(now - saved_draft.written_at, 0))
