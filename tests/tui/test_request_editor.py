"""A test request is edited and submitted."""

from __future__ import annotations

import asyncio
import json

import pytest
from textual import events

from servedeck.async_queue.errors import (
    AsyncQueueError,
    NotPermittedError,
    RefusedError,
    UnreachableError,
)
from servedeck.async_queue.queue_api import Side
from servedeck.async_queue.request_text import MAX_BODY
from servedeck.async_queue.tasks import RequestView, Task
from tests.tui.queue_actions import KEY, ActionDriver, run_actions
from tui.screens.test_request import RequestEditorScreen


async def open_editor(driver: ActionDriver, last: Task | None = None) -> RequestEditorScreen:
    driver.flow.submit_test(last)
    await driver.wait_for_text(f"Test request to {KEY}")
    screen = driver.app.screen
    assert isinstance(screen, RequestEditorScreen)
    return screen


async def paste(driver: ActionDriver, text: str) -> None:
    driver.app.post_message(events.Paste(text))
    await driver.pilot.pause()


async def test_an_example_is_submitted_as_it_is() -> None:
    async with run_actions((80, 30)) as driver:
        await open_editor(driver)
        assert "An example for this serving." in driver.text
        assert "POST /v1/chat/completions" in driver.text
        assert '"model": "meta-llama/Llama-3.1-8B-Instruct"' in driver.text
        await driver.press("ctrl+s")
        await driver.wait_for(lambda: driver.done, "the end")
        [request] = driver.api.submitted
        [id] = driver.queue.tasks
        assert driver.done == [(f"The test request was stored as task {id}.", "ready")]
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.headers == [("Content-Type", "application/json")]
        assert json.loads(request.body)["messages"]
        assert driver.app.screen is driver.app.servings


async def test_the_last_request_is_edited_and_submitted() -> None:
    async with run_actions((120, 40)) as driver:
        task = driver.queue.submit()
        driver.api.heads[task.id, Side.REQUEST] = RequestView(
            path="/v1/completions?a=b",
            headers=[("content-type", "application/json"), ("x-key", "[hidden]"), ("x-a", "1")],
        )
        driver.api.bodies[task.id, Side.REQUEST] = b'{"prompt":"a\\u001b[31mb","n":1}'
        screen = await open_editor(driver, task)
        assert f"The request of task {task.id}. 1 header with a hidden value is left out." in (
            driver.text
        )
        assert screen.headers.text == "content-type: application/json\nx-a: 1"
        assert screen.body.text == '{\n  "prompt": "a\\u001b[31mb",\n  "n": 1\n}'
        # Up to the line of method and path, down over the headers, and into the body again.
        await driver.press("shift+tab", "shift+tab", "end", "2", "enter", "end", "0", "tab")
        await driver.press("down", "down", "end", "backspace", "7", "ctrl+s")
        await driver.wait_for(lambda: driver.done, "the end")
        [request] = driver.api.submitted
        assert request.path == "/v1/completions?a=b2"
        assert request.headers == [("content-type", "application/json0"), ("x-a", "1")]
        assert json.loads(request.body) == {"prompt": "a\x1b[31mb", "n": 7}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\xff\xfe", "Its body is no text (2 B)."),
        (b"a\x1bb", "Its body is not JSON and has control characters."),
    ],
)
async def test_an_example_is_proposed_if_the_last_request_cannot_be_edited(
    body: bytes, text: str
) -> None:
    async with run_actions((120, 40)) as driver:
        task = driver.queue.submit()
        driver.api.bodies[task.id, Side.REQUEST] = body
        screen = await open_editor(driver, task)
        assert f"An example: the request of the task cannot be edited. {text}" in driver.text
        assert "messages" in screen.body.text


async def test_a_large_body_is_not_read() -> None:
    async with run_actions((120, 40)) as driver:
        await open_editor(driver, driver.queue.submit(request_bytes=100 << 20))
        assert "Its body has 100.0 MiB, which is too much to edit." in driver.text
        assert not driver.api.calls


async def test_an_example_is_proposed_without_the_right_to_read_bodies() -> None:
    async with run_actions((120, 40)) as driver:
        driver.api.may_read_bodies = False
        await open_editor(driver, driver.queue.submit())
        assert (
            "An example: the request of the task cannot be read. Reading bodies needs"
            in driver.text
        )


async def test_what_is_wrong_is_said_under_its_field() -> None:
    async with run_actions((80, 30)) as driver:
        screen = await open_editor(driver)
        await driver.press("{", "shift+tab", "end", "enter", "x", "shift+tab", "ctrl+u", "x")
        await driver.press("ctrl+s")
        await driver.wait_for_text(
            "x is no method of asynchronous requests",
            "Line 2 is no header; write it as in Name: value.",
            "It is no valid JSON, line 1, column 2",
        )
        assert screen.line_input.input.has_focus
        assert not driver.api.submitted
        await driver.press("backspace")
        await driver.type("POST /x")
        await driver.press("tab", "down", "backspace")
        await driver.wait_for(
            lambda: "is no method" not in driver.text and "is no header" not in driver.text,
            "the errors to go",
        )
        assert "It is no valid JSON" in driver.text
        await driver.press("tab", "delete", "ctrl+s")
        await driver.wait_for(lambda: not screen.is_attached or driver.done, "the end")
        assert [one.path for one in driver.api.submitted] == ["/x"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RefusedError("The queue is full."), "Nothing was stored: The queue is full."),
        (
            UnreachableError("No Pod is up."),
            "No Pod is up. It may have been stored: look at the list before you send it again.",
        ),
        (NotPermittedError("No right."), "Nothing was stored: No right."),
    ],
)
async def test_what_was_typed_survives_an_error(error: AsyncQueueError, text: str) -> None:
    async with run_actions((80, 30)) as driver:
        screen = await open_editor(driver)
        await driver.press("shift+tab", "shift+tab", "end", "2")
        driver.api.failure = error
        await driver.press("ctrl+s")
        await driver.wait_for_text(text)
        assert screen.line_input.text == "POST /v1/chat/completions2"
        driver.api.failure = None
        await driver.press("ctrl+s")
        await driver.wait_for(lambda: driver.done, "the end")
        assert [one.path for one in driver.api.submitted] == ["/v1/chat/completions2"]


async def test_it_is_sent_once_and_waited_for() -> None:
    async with run_actions((80, 30)) as driver:
        screen = await open_editor(driver)
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        driver.api.before_answer = lambda: gate
        await driver.press("ctrl+s", "ctrl+s")
        await driver.wait_for_text("The request was sent; waiting for the gateway.")
        await driver.press("escape")
        await driver.wait_for_text("The request was sent and cannot be canceled.")
        assert "is not known" in screen.exit_notice()
        gate.set_result(None)
        await driver.wait_for(lambda: driver.done, "the end")
        assert len(driver.api.submitted) == 1


async def test_what_was_typed_is_discarded_only_if_esc_is_pressed_twice() -> None:
    async with run_actions((80, 30)) as driver:
        screen = await open_editor(driver)
        await driver.press("x", "escape")
        await driver.wait_for_text("press esc again to discard it.")
        await driver.press("y", "escape")
        await driver.wait_for_text("press esc again to discard it.")
        assert driver.app.screen is screen
        await driver.press("escape")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        await open_editor(driver)
        await driver.press("escape")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert not driver.api.calls


async def test_pasted_escapes_are_removed_and_too_much_text_is_refused() -> None:
    async with run_actions((80, 30)) as driver:
        screen = await open_editor(driver)
        await driver.press("f7", "delete")
        assert screen.body.text == ""
        await paste(driver, '{"a":\n "\x1b[31mb\u202e"}')
        await driver.wait_for(lambda: screen.body.text, "the text")
        assert screen.body.text == '{"a":\n "b"}'
        await paste(driver, "x" * (MAX_BODY + 1))
        await driver.wait_for_text("At most 32,768 characters are allowed; the input was ignored.")
        assert screen.body.text == '{"a":\n "b"}'


async def test_it_works_on_a_tiny_terminal() -> None:
    async with run_actions((20, 10)) as driver:
        driver.flow.submit_test(None)
        await driver.wait_for_text("Test request", '"model":')
        await driver.press("shift+tab", "shift+tab", "end", "2", "ctrl+s")
        await driver.wait_for(lambda: driver.done, "the end")
        assert [one.path for one in driver.api.submitted] == ["/v1/chat/completions2"]


async def test_a_hidden_value_in_the_path_is_to_be_written() -> None:
    async with run_actions((120, 40)) as driver:
        task = driver.queue.submit()
        head = RequestView(path="/v1/completions?key=[hidden]")
        driver.api.heads[task.id, Side.REQUEST] = head
        await open_editor(driver, task)
        await driver.wait_for_text("Write the value that is [hidden] in its path.")
