"""Copies and files of the screen of a task."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from servedeck.async_queue.queue_api import QueueApi, Side
from servedeck.fleet.views import NamespacedName
from tui.clipboard import copy_with_message
from tui.logs.target import LogTarget
from tui.screens.base import ActionScreen
from tui.screens.connect import request_url
from tui.screens.file_dialog import FileDialog
from tui.task_view.export import copy_body, copy_curl, file_name
from tui.task_view.reader import TaskReader
from tui.task_view.saving import save_body
from tui.task_view.summary import clean


class TaskExports(ActionScreen[LogTarget]):
    """A screen that copies parts of a task and saves its bodies."""

    def __init__(self, key: NamespacedName, api: QueueApi) -> None:
        super().__init__()
        self.key = key
        self.api = api
        self._is_saving = False
        self._is_leaving = False
        """Whether esc was pressed once although a body is being saved."""

    @property
    @abstractmethod
    def reader(self) -> TaskReader:
        """What is known of the task."""

    @property
    @abstractmethod
    def _shown_side(self) -> Side | None:
        """The body that is shown."""

    @abstractmethod
    def _text_under_cursor(self) -> str:
        """What the cursor is on, in one line."""

    @property
    def _saved_side(self) -> Side:
        return self._shown_side or Side.RESPONSE

    def _save_disabled_reason(self) -> str:
        side = self._saved_side
        state = self.reader.bodies[side]
        if state.is_withheld:
            return state.problem
        if side is Side.RESPONSE and self.reader.has_no_response:
            return "There is no response to save."
        return "" if state.body is not None else state.problem or "The body is not read yet."

    def do_save(self) -> None:
        reader, side = self.reader, self._saved_side
        task_id = reader.task.id

        def on_path(path: Path | None) -> None:
            if path is not None:
                self.start_worker(self._save(task_id, side, path), "save")

        self.app.push_screen(
            FileDialog(
                f"Save the body of the {side.value}", file_name(reader, side), for_writing=True
            ),
            on_path,
        )

    async def _save(self, id: str, side: Side, path: Path) -> None:
        self._is_saving, self._is_leaving = True, False
        try:
            self.show_message(*await save_body(self.api, id, side, path, self.show_message))
        finally:
            self._is_saving = False

    def _request_url(self) -> str:
        view = self.app_context.source.fleet.view(self.key)
        return request_url(view.endpoint) if view is not None else ""

    def _curl_disabled_reason(self) -> str:
        if self.reader.request is None:
            return self.reader.problem or "The request is not read yet."
        return "" if self._request_url() else "No route and no Service lead to the serving."

    async def do_curl(self) -> None:
        if (request := self.reader.request) is not None:
            self.show_message(
                *await copy_curl(self.reader, request, self._request_url(), self.app_context)
            )

    async def do_copy(self) -> None:
        if (side := self._shown_side) is not None:
            self.show_message(*await copy_body(self.reader.bodies[side], self.app_context))
            return
        text = self._text_under_cursor()
        self.show_message(*await copy_with_message(text, self.app_context.write_to_terminal, text))

    async def do_copy_id(self) -> None:
        id = self.reader.task.id
        self.show_message(
            *await copy_with_message(id, self.app_context.write_to_terminal, clean(id))
        )
