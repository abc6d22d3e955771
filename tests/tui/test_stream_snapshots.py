"""Snapshots of the dialogs of port-forwards and of commands in containers. `pytest
--snapshot-update` updates them; look at each that changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.fleet.views import ServingView
from servedeck.forwarding.forwards import PortForwards
from servedeck.forwarding.port_forward import PortForward
from servedeck.forwarding.relay import Traffic
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, wait_for_text
from tests.tui.test_snapshots import MEDIUM, SMALL, Compare, size_id
from tui.app import ServedeckApp

SIZES = pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)


class FixedForwards(PortForwards):
    """Port-forwards that listen nowhere."""

    def __init__(self, source: fakes.FakeSource) -> None:
        super().__init__(lambda: None, source.fleet.view, clock=lambda: fakes.NOW)
        self.source = source

    def add(self, view: ServingView, port: int, traffic: Traffic, error: str = "") -> None:
        forward = PortForward(
            view.key,
            8000,
            self._connect,
            lambda: self.source.fleet.view(view.key),
            clock=lambda: fakes.NOW - timedelta(minutes=7),
        )
        forward.address, forward.local_port, forward.traffic = "127.0.0.1", port, traffic
        forward.update()
        if error:
            forward.last_error, forward.failed_connections = error, 1
            forward.last_error_at = fakes.NOW - timedelta(seconds=40)
        self._forwards.append(forward)


def make_stream_app(change_service: FakeChangeService, *, forwards: bool) -> ServedeckApp:
    chat = fakes.serving("llama-8b", pods=(fakes.pod("llama-8b-6b8f9-9qk2x"),))
    chat = replace(chat, endpoint=replace(chat.endpoint, pod_port=8000))
    other = fakes.serving("qwen", "team-b")
    source = fakes.FakeSource().add_views(chat, other)
    known = FixedForwards(source)
    if forwards:
        known.add(chat, 8000, Traffic(128, 2, 70_000, 3_900_000))
        error = "No Pod of team-b/qwen is Ready (Error: OOMKilled); waited 15 s."
        known.add(other, 8001, Traffic(1), error)
    return make_app(source, change_service=change_service, port_forwards=known)


def press(*parts: tuple[str, ...]) -> Callable[[Pilot[Any]], Any]:
    """Press keys, then wait for texts, in turn."""

    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "NAME")
        for keys, *texts in parts:
            await pilot.press(*keys.split())
            await wait_for_text(pilot, *texts)

    return run


@pytest.fixture(autouse=True)
def free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tui.screens.port_forward.suggest_local_port", lambda _address, remote: remote + 2
    )


@SIZES
def test_the_dialog_of_a_port_forward(
    snap_compare: Compare, change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    app = make_stream_app(change_service, forwards=False)
    command = "port-forward -n team-a deployment/llama-8b 8002:8000"
    run = press(("F", "8002:8000", f"kubectl --context prod-seoul {command}"))
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_the_list_of_port_forwards(
    snap_compare: Compare, change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    app = make_stream_app(change_service, forwards=True)
    run = press(("f", "LOCAL ADDRESS", "127.0.0.1:8001"))
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_the_mark_of_a_port_forward_on_the_page(
    snap_compare: Compare, change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    app = make_stream_app(change_service, forwards=True)
    run = press(("enter", "forward 127.0.0.1:8000", "llama-8b-6b8f9-9qk2x"))
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_the_prompt_of_a_command(
    snap_compare: Compare, change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    app = make_stream_app(change_service, forwards=False)
    app._is_production_context = lambda _name: True
    run = press(
        ("enter", "llama-8b-6b8f9-9qk2x"),
        ("x", "Run a command in"),
        ("e n v | s o r t", "sh -c 'env|sort'"),
    )
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_the_output_of_a_command(
    snap_compare: Compare,
    change_service: FakeChangeService,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
) -> None:
    monkeypatch.setattr("tui.screens.command_output.monotonic", lambda: 100.0)
    change_service.command_lines = ["Filesystem      Size  Used Avail Use% Mounted on"]
    change_service.command_lines += ["overlay         1.8T  1.8T     0 100% /"]
    change_service.command_exit_code = 1
    run = press(
        ("enter", "llama-8b-6b8f9-9qk2x"),
        ("x", "Run a command in"),
        ("d f enter", "exit code 1", "100% /"),
    )
    app = make_stream_app(change_service, forwards=False)
    assert snap_compare(app, terminal_size=size, run_before=run)
