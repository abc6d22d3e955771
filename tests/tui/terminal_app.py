"""Programs that tests run in a terminal: the app on servings made by hand.

python -m tests.tui.terminal_app fleet|many|changes|hostile|fault|blocked|form
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from textual import events

import tui.app
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.objects.field_changes import AdmissionChange
from servedeck.serving.spec.issues import warning
from styles.themes import DARK
from tests.tui import fakes
from tests.tui.fake_change_service import PVCS, FakeChangeService
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.idle_plugin import wait_until_idle
from tests.tui.terminal import CHANGE_REQUEST, IDLE_REPLY, IDLE_REQUEST
from tui.app import ServedeckApp
from tui.internals.input import PASTE_END, PASTE_START

HOSTILE_TEXT = (
    "AA[red]BB[/foo]CC\x1b]52;c;UE9D\x07DD\x1b[31mEE\x1b[5;5HFF\x9b31mGG\x07\x85HH"
    "\u202eII\u200bJJ🚀\U0001f468\u200d\U0001f469\u200d\U0001f467서빙\r\nKK\x00LL\ud800MM"
)
"""Markup, escapes of 7 and 8 bits, controls, direction marks, emoji, a lone surrogate."""


def make_hostile(value: Any) -> Any:
    """The same value with every text in it made hostile, and long."""
    if type(value) is str:
        return HOSTILE_TEXT + "x" * 10_000
    if isinstance(value, NamespacedName):
        return value
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(make_hostile(each) for each in value)
    if hasattr(value, "__dataclass_fields__"):
        return replace(
            value, **{f.name: make_hostile(getattr(value, f.name)) for f in fields(value) if f.init}
        )
    return value


def hostile_serving(view: ServingView, number: int) -> ServingView:
    changed = replace(
        make_hostile(view),
        key=NamespacedName(HOSTILE_TEXT, f"{HOSTILE_TEXT}{number}"),
        labels={HOSTILE_TEXT: HOSTILE_TEXT},
    )
    pods = tuple(
        replace(
            pod,
            containers=tuple(
                replace(each, state=old.state)
                for each, old in zip(pod.containers, was.containers, strict=True)
            ),
        )
        for pod, was in zip(changed.pods, view.pods, strict=True)
    )
    return replace(changed, pods=pods)


class HostileLines(dict[tuple[str, str, str, bool], list[str]]):
    """The lines of every log."""

    def get(self, *_arguments: Any) -> list[str]:
        return [HOSTILE_TEXT, f"ERROR {HOSTILE_TEXT}", HOSTILE_TEXT + "y" * 10_000] * 5


class HostileLogService(fakes.FakeLogService):
    """Every log is hostile too."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = HostileLines()

    async def read_last_lines(self, *_args: Any, **_options: Any) -> list[str]:
        return [HOSTILE_TEXT, HOSTILE_TEXT + "y" * 10_000] * 5

    async def list_namespaces(self) -> list[str]:
        return [HOSTILE_TEXT]


def hostile_change_service(folder: Path) -> FakeChangeService:
    """A cluster whose nodes, claims, namespaces, admission and rejections are all hostile."""
    change_service = FakeChangeService(folder)
    around = change_service.inventory
    around.nodes = [replace(one, name=HOSTILE_TEXT + one.name) for one in around.nodes or ()]
    around.known_namespaces = [HOSTILE_TEXT, "team-a"]
    around.unavailable_reasons = (HOSTILE_TEXT,)
    around.known_pvcs = {
        "team-a": {HOSTILE_TEXT: replace(PVCS[0], name=HOSTILE_TEXT, used_by=(HOSTILE_TEXT,))}
    }
    change_service.dry_run_issues = [warning("", HOSTILE_TEXT), warning("memory", HOSTILE_TEXT)]
    change_service.admission_changes = (
        AdmissionChange(f".spec.{HOSTILE_TEXT}", HOSTILE_TEXT, HOSTILE_TEXT),
    )
    change_service.rejections = {"Service": HOSTILE_TEXT}
    return change_service


class IdleReportingApp(ServedeckApp):
    """Says in its output, and so after all that it drew, when it has dealt with all keys."""

    CSS_PATH = [Path(tui.app.__file__).parent / one for one in ServedeckApp.CSS_PATH]
    on_change_request: Callable[[], None] | None = None

    async def on_event(self, event: events.Event) -> None:
        pasted = f"{PASTE_START}{event.text}{PASTE_END}" if isinstance(event, events.Paste) else ""
        if pasted == IDLE_REQUEST:
            self.run_worker(self._report_idle(), exit_on_error=False)
        elif pasted == CHANGE_REQUEST and self.on_change_request:
            self.on_change_request()
        else:
            await super().on_event(event)

    async def _report_idle(self) -> None:
        await wait_until_idle()
        if self._driver is not None:
            self._driver.write(IDLE_REPLY.decode())


def main(kind: str) -> None:
    source = fakes.FakeSource()
    cluster = fakes.crash_log_service()
    views = fakes.fleet()
    if kind == "hostile":
        cluster = HostileLogService()
        views = [hostile_serving(view, number) for number, view in enumerate(views)]
        source.context, source.contexts = HOSTILE_TEXT, (HOSTILE_TEXT, HOSTILE_TEXT + "2")
    if kind in ("many", "changes"):
        views += [
            fakes.serving(f"srv-{number:03}", f"ns-{number % 20}", created=fakes.ago(days=9))
            for number in range(500)
        ]
    source.add_views(*views)
    makes = {"hostile": hostile_change_service, "form": FakeChangeService}.get(kind)
    change_service = makes(Path(os.environ["DRAFTS"])) if makes is not None else None
    app = IdleReportingApp(
        source,
        cluster,
        FakeDetailService(),
        clock=lambda: fakes.NOW,
        theme=DARK.name,
        change_service=change_service,
    )

    def change() -> None:
        view = source.fleet.view(NamespacedName("ns-0", "srv-000"))
        assert view is not None
        source.add_views(replace(view, ready=1 - view.ready))

    def fault() -> None:
        held = "hf_of_a_local_variable"
        raise LookupError(f"Bearer abcdefghij and \x1b]52;c;UE9D\x07 ({len(held)})")

    def block() -> None:
        os.write(1, b"blocked")
        while True:
            time.sleep(3600)

    async def begin() -> None:
        if kind == "fault":
            app.set_timer(0.2, fault)
        if kind == "blocked":
            app.set_timer(0.2, block)
        if kind == "changes":
            app.on_change_request = change
        if kind == "hostile":
            source.set_state(
                phase=fakes.FakePhase.RETRYING,
                message=HOSTILE_TEXT,
                stale_for=9.0,
                last_update_at=fakes.NOW,
            )

    source.start = begin  # type: ignore[method-assign]
    app.run()
    sys.exit(app.return_code)


if __name__ == "__main__":
    main(sys.argv[1])
