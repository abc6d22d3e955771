"""Keys do what was meant, in whatever packets they come."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, post_keys, screen_text, wait_for
from tui import key_queue
from tui.screens.servings import DEFAULT_SORT

THOROUGH = os.environ.get("SERVEDECK_HYPOTHESIS") == "thorough"

KEY_SEQUENCES: tuple[tuple[str, ...], ...] = (
    ("slash", *"llama", "enter"),
    ("slash", *"s29"),
    ("slash", "q"),
    ("space",),
    ("space", "1"),
    ("j", "space", "c"),
    ("escape",),
    ("escape", "escape"),
    ("enter",),
    ("colon", *"ns search", "enter"),
    ("colon", *"help", "enter"),
    ("colon", *"filter", "enter", *"phi"),
    ("colon", "escape"),
    ("N", *"res", "enter"),
    ("c",),
    ("c", "j", "q"),
    ("l",),
    ("l", "p", "w", "q"),
    ("question_mark",),
    ("question_mark", "G", "q"),
    ("0",),
    ("2",),
    ("n", *"abc", "tab", "tab"),
    ("n", *"abc", "ctrl+n", *"qwen/q"),
    ("space", "v", "enter"),
    ("tab", "tab", "space", *"cus", "enter"),
    ("ctrl+o", *"no.yaml", "enter"),
    ("l", "c"),
    ("d",),
    ("C", "c"),
    ("C", "x", "l"),
    ("greater_than_sign", "o"),
)
"""What operators press; each may follow any other, so that it comes to any screen."""


class KeyHarness:
    """One app for several examples; each begins on the whole list."""

    def __init__(self, folder: Path) -> None:
        self.change_service = FakeChangeService(folder)
        self.folder = folder
        view = fakes.fleet()[1]
        self.change_service.objects[view.key] = []
        self.app = make_app(change_service=self.change_service)
        self.exit_count = 0
        self.app.exit = self.record_exit  # type: ignore[method-assign, assignment]

    def record_exit(self, *_arguments: Any, **_options: Any) -> None:
        self.exit_count += 1

    async def reset(self, pilot: Pilot[None]) -> None:
        app = self.app
        while app.screen is not app.servings:
            app.pop_screen()
            await app._key_queue.wait_until_idle()
        for left in self.folder.glob("**/*"):
            if left.is_file():
                left.unlink()
        servings = app.servings
        servings.popover.close()
        servings.set_namespace("")
        servings.clear_filter()
        servings._set_sort(DEFAULT_SORT, False)
        servings.table.reset_cursor()
        servings.update_all()
        servings.table.action_edge(False)
        servings.clear_message()
        self.exit_count = 0
        await app._key_queue.wait_until_idle()
        await pilot.pause()

    def state(self) -> tuple[Any, ...]:
        app = self.app
        focused = app.focused
        where = (type(focused).__name__, getattr(focused, "id", ""), getattr(focused, "path", ""))
        shown = screen_text(app).splitlines()
        stack = [type(one).__name__ for one in app.screen_stack]
        # The message line may have gone silent by now.
        return self.exit_count, stack, where, [*shown[:-2], shown[-1]]

    async def settled_state(self, pilot: Pilot[None]) -> tuple[Any, ...]:
        """The state once it has stayed the same for a while: a pause ends early where other
        processes take the time."""
        state, same = self.state(), 0
        while same < 10:
            await pilot.pause(0.02)
            before, state = state, self.state()
            same = same + 1 if state == before else 0
        return state

    async def press(
        self, pilot: Pilot[None], packets: Sequence[Sequence[str]], *, wait_between: bool = False
    ) -> None:
        """Press the keys; `wait_between` waits for the end of each before the next."""
        await self.reset(pilot)
        for packet in packets:
            post_keys(pilot, *packet)
            if wait_between:
                await pilot.pause()
                await self.app._key_queue.wait_until_idle()
            await pilot.pause(0)
        await pilot.pause()
        await self.app._key_queue.wait_until_idle()
        await pilot.pause()


def split_packets(keys: Sequence[str], at: Sequence[int]) -> list[Sequence[str]]:
    places = sorted({place % (len(keys) + 1) for place in at})
    edges = [0, *places, len(keys)]
    return [keys[a:b] for a, b in itertools.pairwise(edges) if a < b]


EXAMPLES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(KEY_SEQUENCES), min_size=1, max_size=6),
        st.lists(st.integers(0, 60), max_size=4),
    ),
    min_size=4,
    max_size=4,
)


@given(examples=EXAMPLES)
@settings(
    max_examples=12 if THOROUGH else 3,
    # The same in each run: every example is an app that is driven for seconds.
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
def test_keys_split_across_reads_are_parsed_alike(
    examples: list[tuple[list[tuple[str, ...]], list[int]]],
) -> None:
    async def run() -> None:
        # esc cancels what takes longer, and drops the keys before it: on a busy machine that may be
        # anything.
        is_never_slow = patch.object(key_queue, "BUSY_MESSAGE_DELAY", 3600.0)
        with is_never_slow, tempfile.TemporaryDirectory() as folder:
            harness = KeyHarness(Path(folder))
            async with harness.app.run_test(size=(80, 24)) as pilot:
                for parts, places in examples:
                    keys = [key for part in parts for key in part]
                    one_by_one = [[key] for key in keys]
                    await harness.press(pilot, one_by_one, wait_between=True)
                    wanted = await harness.settled_state(pilot)
                    for packets in ([keys], split_packets(keys, places)):
                        await harness.press(pilot, packets)
                        await wait_for(
                            pilot,
                            lambda wanted=wanted: harness.state() == wanted,
                            f"{packets} to end as one key at a time: {wanted}",
                            60,
                        )

    asyncio.run(run())
