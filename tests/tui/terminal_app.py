"""Programs that tests run in a terminal: the app on servings made by hand.

python -m tests.tui.terminal_app fleet|many|changes|evil|fault|blocked|form
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
from servedeck.fleet.views import Key, ServingView
from servedeck.serving.objects.diff import Difference
from servedeck.serving.spec.issues import warning
from styles.themes import DARK
from tests.tui import fakes
from tests.tui.bench import CLAIMS, FakeBench
from tests.tui.idle import until_idle
from tests.tui.terminal import ASK_IDLE, CHANGE, IDLE
from tui.app import ServedeckApp
from tui.internals.input import END, START

EVIL = (
    "AA[red]BB[/foo]CC\x1b]52;c;UE9D\x07DD\x1b[31mEE\x1b[5;5HFF\x9b31mGG\x07\x85HH"
    "\u202eII\u200bJJ🚀\U0001f468\u200d\U0001f469\u200d\U0001f467서빙\r\nKK\x00LL\ud800MM"
)
"""Markup, escapes of 7 and 8 bits, controls, direction marks, emoji, a lone surrogate."""


def evil(value: Any) -> Any:
    """The same value with every text in it made hostile, and long."""
    if type(value) is str:
        return EVIL + "x" * 10_000
    if isinstance(value, Key):
        return value
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(evil(each) for each in value)
    if hasattr(value, "__dataclass_fields__"):
        return replace(
            value, **{f.name: evil(getattr(value, f.name)) for f in fields(value) if f.init}
        )
    return value


def evil_serving(view: ServingView, number: int) -> ServingView:
    changed = replace(evil(view), key=Key(EVIL, f"{EVIL}{number}"), labels={EVIL: EVIL})
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


class EvilCluster(fakes.FakeCluster):
    """Every log is hostile too."""

    async def last_lines(self, *_args: Any, **_options: Any) -> list[str]:
        return [EVIL, EVIL + "y" * 10_000] * 5

    async def namespaces(self) -> list[str]:
        return [EVIL]


def evil_bench(folder: Path) -> FakeBench:
    """A cluster whose nodes, claims, projects, admission and refusals are all hostile."""
    bench = FakeBench(folder)
    around = bench.surroundings
    around.nodes = [replace(one, name=EVIL + one.name) for one in around.nodes or ()]
    around.names = [EVIL, "team-a"]
    around.missing = (EVIL,)
    around.known_claims = {"team-a": {EVIL: replace(CLAIMS[0], name=EVIL, used_by=(EVIL,))}}
    bench.found = [warning("", EVIL), warning("memory", EVIL)]
    bench.admission = (Difference(f".spec.{EVIL}", EVIL, EVIL),)
    bench.refuse = {"Service": EVIL}
    return bench


class Answering(ServedeckApp):
    """Says in its output, and so after all that it drew, when it has dealt with all keys."""

    CSS_PATH = [Path(tui.app.__file__).parent / one for one in ServedeckApp.CSS_PATH]
    change: Callable[[], None] | None = None

    async def on_event(self, event: events.Event) -> None:
        pasted = f"{START}{event.text}{END}" if isinstance(event, events.Paste) else ""
        if pasted == ASK_IDLE:
            self.run_worker(self._say_idle(), exit_on_error=False)
        elif pasted == CHANGE and self.change:
            self.change()
        else:
            await super().on_event(event)

    async def _say_idle(self) -> None:
        await until_idle()
        if self._driver is not None:
            self._driver.write(IDLE.decode())


def main(kind: str) -> None:
    source = fakes.FakeSource()
    cluster = fakes.cluster()
    views = fakes.fleet()
    if kind == "evil":
        cluster = EvilCluster()
        views = [evil_serving(view, number) for number, view in enumerate(views)]
        source.context, source.contexts = EVIL, (EVIL, EVIL + "2")
    if kind in ("many", "changes"):
        views += [
            fakes.serving(f"srv-{number:03}", f"ns-{number % 20}", created=fakes.ago(days=9))
            for number in range(500)
        ]
    source.put(*views)
    makes = {"evil": evil_bench, "form": FakeBench}.get(kind)
    bench = makes(Path(os.environ["DRAFTS"])) if makes is not None else None
    app = Answering(source, cluster, clock=lambda: fakes.NOW, theme=DARK.name, workbench=bench)

    def change() -> None:
        view = source.fleet.view(Key("ns-0", "srv-000"))
        assert view is not None
        source.put(replace(view, ready=1 - view.ready))

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
            app.change = change
        if kind == "evil":
            source.set_state(
                phase=fakes.Phase.RETRYING, sentence=EVIL, stale_for=9.0, since=fakes.NOW
            )

    source.start = begin  # type: ignore[method-assign]
    app.run()
    sys.exit(app.return_code)


if __name__ == "__main__":
    main(sys.argv[1])
