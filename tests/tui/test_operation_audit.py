"""Random keys on the demo cluster write nothing that was not confirmed.

The API server records every request that changes something. A test key counts as a confirmation
only if a dialog showed the same plan when the key was sent and when it was handled, and each
confirmation allows the writes of its own operations on their own targets, once.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings
from servedeck.demo.api.server import ApiServer
from servedeck.demo.cluster import DemoCluster
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.session import ClusterSession
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.objects.template_changes import RESTARTED_AT_ANNOTATION
from tests.tui.helpers import screen_text, wait_for
from tui.app import ServedeckApp
from tui.change_service import ClusterChangeService
from tui.log_service import ClusterLogService
from tui.screens.confirm_dialog import ConfirmDialog
from tui.screens.operation_dialog import OperationDialog

SEQUENCES_PER_CLUSTER = 10
CLUSTERS = int(os.environ.get("SERVEDECK_AUDIT_CLUSTERS", "2"))
"""Each takes about half a minute; 100 of them are 1,000 sequences."""
KEYS_PER_SEQUENCE = 16

OPERATION_KEYS = ("s", "r", "S", "P", "R", "A", "ctrl+d", "u", "N")
CONFIRMING_KEYS = ("y", "enter", "y", "enter", "down", "escape")
DIALOG_KEYS = (*CONFIRMING_KEYS, "n", "1", "0", "up")
"""Keys while a dialog is in front: elsewhere, n opens the form of a new serving."""
MOVING_KEYS = (
    *("j", "k", "down", "up", "g", "G", "tab", "pagedown", "pageup", "left", "right"),
    *("m", "M", "space", "enter", "escape", "1", "2", "3", "4", "5", "6", "0", "]", "["),
    *("slash", "a", "backspace", "w", "o", "d", "l", "p", "ctrl+y", "ctrl+d"),
)
TYPED_NAME = "the name that the dialog asks for"
COMMANDS = ("restart", "delete", "stop", "scale", "undo", "rollback", "pause", "adopt")
REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews")
WORKLOAD_KINDS = ("services", "httproutes", "virtualservices", "ingresses", "scaledobjects")
"""What a deletion may delete besides the Deployment, and an adoption create, as paths name it."""
SEVERAL_WRITES = (OperationKind.DELETE, OperationKind.ADOPT, OperationKind.RELEASE)
"""Operations that send more than one request, each once."""


@dataclass
class Write:
    """A request that changed something."""

    method: str
    path: str
    body: dict[str, Any]

    def is_of(self, operation: Operation) -> bool:
        """Whether the operation makes this request."""
        kind, path = operation.kind, self.path
        collections = [f"/namespaces/{operation.namespace}/{one}" for one in WORKLOAD_KINDS]
        is_related = any(f"{one}/" in f"{path}/" for one in collections)
        if kind is OperationKind.DELETE:
            return self.method == "DELETE" and (path == operation.path or is_related)
        if kind in (OperationKind.ADOPT, OperationKind.RELEASE) and path != operation.path:
            method = "POST" if kind is OperationKind.ADOPT else "DELETE"
            return self.method == method and is_related
        if path != operation.path:
            return False
        if kind is OperationKind.DELETE_POD:
            return self.method == "DELETE"
        return self.method == "PATCH" and self._changes_as(operation)

    def _changes_as(self, operation: Operation) -> bool:
        if operation.kind in (OperationKind.ADOPT, OperationKind.RELEASE):
            value = operation.name if operation.kind is OperationKind.ADOPT else None
            labels = self.body["metadata"].get("labels")
            return bool("spec" not in self.body and labels == {SERVING_LABEL: value})
        spec = self.body["spec"]
        match operation.kind:
            case OperationKind.SCALE:
                return bool(spec == {"replicas": operation.replicas})
            case OperationKind.STOP:
                return bool(spec == {"replicas": 0})
            case OperationKind.START:
                return set(spec) == {"replicas"} and spec["replicas"] > 0
            case OperationKind.PAUSE:
                return bool(spec == {"paused": True})
            case OperationKind.RESUME:
                return bool(spec == {"paused": None})
            case OperationKind.RESTART:
                template = spec["template"]["metadata"]["annotations"]
                return set(spec) == {"template"} and set(template) == {RESTARTED_AT_ANNOTATION}
            case OperationKind.ROLLBACK:
                return set(spec) == {"template"}
            case OperationKind.CORDON:
                return bool(spec == {"unschedulable": True})
            case OperationKind.UNCORDON:
                return bool(spec == {"unschedulable": None})
        raise AssertionError(operation)


@dataclass
class Recorder:
    """What the API server was asked to change, and how many requests it is answering."""

    writes: list[Write] = field(default_factory=list)
    pending: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        route = ApiServer._route

        async def record(server: ApiServer, request: web.BaseRequest) -> web.StreamResponse:
            if "watch" in request.query or "follow" in request.query:
                return await route(server, request)
            self.pending += 1
            try:
                response = await route(server, request)
            finally:
                self.pending -= 1
            body = await request.read()  # as the server has read it
            if request.method in ("GET", "HEAD"):
                return response
            path = request.path[request.path.index("/api") :]
            if (
                request.query.get("dryRun") != "All"
                and path.rpartition("/")[2] not in REVIEWS
                and response.status < 400
            ):
                self.writes.append(Write(request.method, path, json.loads(body or b"{}")))
            return response

        monkeypatch.setattr(ApiServer, "_route", record)


@dataclass
class Shown:
    """What a dialog shows, to be compared with what it shows later."""

    dialog: OperationDialog
    plans: list[object]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Shown)
            and self.dialog is other.dialog
            and len(self.plans) == len(other.plans)
            and all(mine is theirs for mine, theirs in zip(self.plans, other.plans, strict=True))
        )


class Auditor:
    """Presses keys, and knows what they confirm."""

    def __init__(self, app: ServedeckApp, pilot: Pilot[None], recorder: Recorder) -> None:
        self.app, self.pilot, self._recorder = app, pilot, recorder
        self._sent: dict[int, tuple[events.Key, Shown | None]] = {}
        """What was shown when each key was sent, by the id of its event."""
        self.confirmed: list[Operation] = []
        self.log: list[str] = []
        should_handle = app._key_queue.should_handle

        def observe(event: events.Event) -> bool:
            handled = should_handle(event)
            if handled and isinstance(event, events.Key):
                self._note_handled(event)
            return handled

        app._key_queue.should_handle = observe  # type: ignore[method-assign]

    def _shown(self) -> Shown | None:
        dialog = self.app.screen
        if not isinstance(dialog, OperationDialog):
            return None
        return Shown(dialog, [one.plan for one in dialog._operations.targets])

    def _note_handled(self, event: events.Key) -> None:
        _event, when_sent = self._sent.pop(id(event), (event, None))
        now = self._shown()
        if now is None or now != when_sent or not self._confirms(now.dialog, event.key):
            return
        for target in now.dialog._operations.targets:
            if target.plan is not None and target.plan.is_possible:
                self.confirmed.append(target.plan.operation)

    def _confirms(self, dialog: OperationDialog, key: str) -> bool:
        """Whether a key confirms what is on the screen."""
        if list(dialog.query("PlainInput")):
            [first, *_] = dialog._operations.targets
            if dialog._typed_name is None:  # "05" are 5 replicas
                return key == "enter" and dialog.input_line.replicas == first.operation.replicas
            return key == "enter" and dialog.input.value.strip() == dialog._typed_name.name
        return key == "y" or (key == "enter" and "▌ y  " in screen_text(self.app))

    def send(self, key: str) -> None:
        """Send a key as a terminal does, without waiting for its effect."""
        character = key if len(key) == 1 else None
        event = events.Key(_character_to_key(key) if character else key, character)
        self._sent[id(event)] = (event, self._shown())
        self.log.append(key)
        self.app.post_message(event)

    async def settle(self) -> None:
        """Wait until the keys have had their effect."""
        await wait_for(self.pilot, self._is_settled, "the effect of the keys")

    def _is_settled(self) -> bool:
        dialog = self.app.screen
        if isinstance(dialog, OperationDialog) and (
            dialog._operations.is_planning or dialog._operations.is_writing
        ):
            return False
        queue = self.app._key_queue
        return not (self._recorder.pending or queue._queue or queue._find_busy(include_app=False))

    async def press(self, *keys: str) -> None:
        for key in keys:
            self.send(key)
            await self.settle()

    async def return_to_list(self) -> None:
        """Close everything."""
        for _ in range(20):
            closing = isinstance(self.app.screen, ConfirmDialog)
            await self.press("d" if closing else "escape")  # esc keeps the form of a new serving
            if self.app.screen is self.app.servings:
                await self.press("escape", "escape", "escape")
                return
        raise AssertionError(f"esc does not lead to the list:\n{screen_text(self.app)}")

    def assert_confirmed(self) -> None:
        """Every write was confirmed, and no confirmation was used twice."""
        unused = list(self.confirmed)
        sent: Counter[tuple[OperationKind, str, str]] = Counter()
        for write in self._recorder.writes:
            found = next((one for one in unused if write.is_of(one)), None)
            assert found is not None, (
                f"not confirmed: {write}\nconfirmed: {unused}\nkeys: {' '.join(self.log)}"
            )
            if found.kind in SEVERAL_WRITES:
                request = (found.kind, write.method, write.path)
                sent[request] += 1
                times = sum(one.kind is found.kind and write.is_of(one) for one in self.confirmed)
                assert sent[request] <= times, f"{write} twice; keys: {' '.join(self.log)}"
            else:
                unused.remove(found)


@asynccontextmanager
async def audited_app(
    monkeypatch: pytest.MonkeyPatch, *, is_production: bool
) -> AsyncIterator[tuple[Auditor, Recorder]]:
    recorder = Recorder()
    recorder.install(monkeypatch)
    async with DemoCluster(live=False) as demo:
        session = ClusterSession(
            ConnectionOptions(kubeconfig=(demo.kubeconfig,), all_namespaces=True), Settings()
        )
        app = ServedeckApp(
            session,
            ClusterLogService(lambda: session.connection),
            ClusterDetailService(lambda: session.connection),
            change_service=ClusterChangeService(
                lambda: session.connection, lambda: session.settings
            ),
            is_production_context=lambda _name: is_production,
            clock=demo.clock.now,
        )
        try:
            async with app.run_test(size=(100, 30)) as pilot:
                auditor = Auditor(app, pilot, recorder)
                await wait_for(pilot, lambda: len(session.fleet.views()) > 10, "the list")
                await auditor.settle()
                yield auditor, recorder
        finally:
            await session.close()


def random_keys(chance: random.Random, auditor: Auditor) -> Sequence[str]:
    """The next keys: one, or several that are sent in one packet."""
    step = chance.random()
    if step < 0.3:
        return (chance.choice(OPERATION_KEYS),)
    if step < 0.55:
        in_dialog = isinstance(auditor.app.screen, OperationDialog)
        return (chance.choice(DIALOG_KEYS if in_dialog else CONFIRMING_KEYS),)
    if step < 0.6:
        return (":", *chance.choice(COMMANDS), "enter")
    if step < 0.65:
        return (TYPED_NAME,)
    if step < 0.7:  # a confirmation that is typed ahead
        return (chance.choice(OPERATION_KEYS), *chance.choice((("y",), ("down", "enter"))))
    if step < 0.78:
        pool = (*OPERATION_KEYS, *CONFIRMING_KEYS, *MOVING_KEYS)
        return [chance.choice(pool) for _ in range(chance.randint(2, 5))]
    return (chance.choice(MOVING_KEYS),)


@pytest.mark.parametrize("number", range(CLUSTERS))
async def test_random_keys_write_nothing_that_was_not_confirmed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    chance = random.Random(number)
    async with audited_app(monkeypatch, is_production=number % 2 == 1) as (auditor, recorder):
        await auditor.press("r", "y")
        assert len(recorder.writes) == 1, f"{auditor.confirmed}\n{screen_text(auditor.app)}"
        auditor.assert_confirmed()
        for _ in range(SEQUENCES_PER_CLUSTER):
            for _ in range(KEYS_PER_SEQUENCE):
                keys = random_keys(chance, auditor)
                if keys == (TYPED_NAME,):
                    typed = getattr(auditor.app.screen, "_typed_name", None)
                    keys = (*typed.name, "enter") if typed is not None else ("j",)
                for key in keys:
                    auditor.send(key)
                if chance.random() < 0.8:
                    await auditor.settle()
            await auditor.settle()
            await auditor.return_to_list()
            auditor.assert_confirmed()
