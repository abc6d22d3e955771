"""Requests that a key sends at once, without a dialog that waits for the answer: they go on
wherever the operator goes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import NamedTuple

Work = Callable[[], Coroutine[None, None, None]]


class SentRequest(NamedTuple):
    """What is said of a request that is not answered yet."""

    doing: str
    """What it does, in words that go on: "The task is being retried"."""
    exit_notice: str
    """What the operator must know if the program exits before the answer, in a sentence."""


class SentRequests:
    """Those that are not answered yet, by a name each: none is sent again meanwhile."""

    def __init__(self, run: Callable[[Coroutine[None, None, None], str], object]) -> None:
        """`run` runs a coroutine until the program exits, whatever screens are closed."""
        self._run = run
        self._sent: dict[str, SentRequest] = {}

    def refusal(self, name: str) -> str:
        """Why it is not sent now, in a sentence; "" if it can be."""
        sent = self._sent.get(name)
        return f"{sent.doing}; the gateway has not answered yet." if sent is not None else ""

    def send(self, name: str, request: SentRequest, work: Work) -> None:
        """`work` sends it and shows the answer; only if there is no `refusal`."""
        self._sent[name] = request
        self._run(self._wait(name, work), name)

    async def _wait(self, name: str, work: Work) -> None:
        try:
            await work()
        finally:
            del self._sent[name]

    def exit_notices(self) -> list[str]:
        """What the operator must know when the program exits now."""
        return [one.exit_notice for one in self._sent.values()]
