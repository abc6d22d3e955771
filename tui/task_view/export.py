"""Copies of a task's parts: the curl command of its request, and its bodies."""

from __future__ import annotations

import re

from servedeck.async_queue.body_text import BodyKind
from servedeck.async_queue.curl import HIDDEN, task_curl
from servedeck.async_queue.queue_api import Side
from servedeck.async_queue.tasks import RequestView
from tui.clipboard import CopyError, copy_text
from tui.ports.app_context import AppContext
from tui.task_view.reader import BodyState, TaskReader
from tui.yaml_export import Outcome

_SUFFIXES = {BodyKind.JSON: "json", BodyKind.BINARY: "bin"}


def file_name(reader: TaskReader, side: Side) -> str:
    """Proposed name of the file for a body."""
    id = re.sub(r"[^A-Za-z0-9_-]", "", reader.task.id)[:64]
    text = reader.bodies[side].text
    kind = text.kind if text is not None else BodyKind.JSON
    return f"{side.value}-{id}.{_SUFFIXES.get(kind, 'txt')}"


async def copy_curl(reader: TaskReader, request: RequestView, url: str, app: AppContext) -> Outcome:
    """Copy the curl command that sends the request to the endpoint `url` again."""
    body = reader.bodies[Side.REQUEST].body
    detail = reader.detail
    line = task_curl(
        url,
        request,
        body.data if body is not None and not body.is_cut else None,
        has_credentials=detail is not None and detail.has_credentials,
        file=file_name(reader, Side.REQUEST),
    )
    try:
        how = await copy_text(line.text, app.write_to_terminal)
    except CopyError as error:
        return Outcome(str(error), "warning")
    hidden = ""
    if HIDDEN in request.path or any(value == HIDDEN for _, value in request.headers):
        hidden = " Values that are hidden are not in it."
    if not line.file:
        return Outcome(f"Copied {how}: the curl command.{hidden}", "ready")
    save_key = app.key_display_for("task.save")
    return Outcome(
        f"Copied {how}: the curl command. It reads the body from {line.file}; {save_key} in the"
        f" section Request saves that.{hidden}",
        "ready",
    )


async def copy_body(state: BodyState, app: AppContext) -> Outcome:
    """Copy a body as far as it is known."""
    body, text = state.body, state.text
    save_key = app.key_display_for("task.save")
    if body is None or text is None:
        return Outcome(state.problem or "The body is not read yet.", "warning")
    if text.kind is BodyKind.BINARY:
        return Outcome(f"The body is binary; {save_key} saves it.", "warning")
    try:
        how = await copy_text(body.data.decode("utf-8", "replace"), app.write_to_terminal)
    except CopyError as error:
        return Outcome(f"{error} {save_key} saves it.", "warning")
    part = " as far as it is shown" if body.is_cut else ""
    return Outcome(f"Copied {how}: the body{part}.", "ready")
