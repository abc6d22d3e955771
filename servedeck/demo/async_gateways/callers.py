"""What the callers of the demo send to its async gateways, so that their queues have something to
show. A gateway treats them as it treats any other request.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import aiohttp

from servedeck.demo.workloads.inference_api import FAILING_MODEL, SLOW_MODEL, UNRELIABLE_MODEL

_CHAT, _COMPLETION = "/v1/chat/completions", "/v1/completions"
_WAVE_SECONDS = 45.0
_WAVE_REQUESTS = 12
_MOST_WAITING = 12
"""Tasks of a queue to which a wave adds no others."""
_SLOW_REQUESTS = 20
"""More than the serving processes at once, so that some are pending for a while."""
_TIMEOUT = aiohttp.ClientTimeout(total=30)

_log = logging.getLogger(__name__)


class SampleRequest(NamedTuple):
    caller: str
    text: str
    model: str = ""
    """The server's own for ""."""
    path: str = _CHAT
    is_stream: bool = False
    priority: str = ""
    is_cancelled: bool = False
    """Whether its caller cancels it."""

    @property
    def headers(self) -> dict[str, str]:
        given = {"X-Async": "true", "Authorization": f"Bearer {self.caller}"}
        return given | ({"Priority": self.priority} if self.priority else {})

    @property
    def body(self) -> dict[str, Any]:
        if self.path == _COMPLETION:
            found: dict[str, Any] = {"prompt": self.text, "max_tokens": 64}
        else:
            system = "Answer in two sentences."
            roles = (("system", system), ("user", self.text))
            found = {"messages": [{"role": role, "content": text} for role, text in roles]}
        model = {"model": self.model} if self.model else {}
        return model | found | ({"stream": True} if self.is_stream else {})


_TEXTS = (
    "Summarise the tickets of this morning.",
    "Translate the release notes into Korean.",
    "고객 문의를 세 문장으로 요약해 주세요.",
    "Which invoices are overdue?",
    "Write a title for each of these paragraphs.",
    "Extract names and dates from the contract.",
    "Is this review positive?",
    "Explain the error in the log.",
)
_CALLERS = ("help-desk", "reports", "search-index", "night-jobs")


class Callers:
    """Of one gateway. Their first requests come to each of the states; with `has_waves`, more come
    now and then, also after the gateway has started again."""

    def __init__(self, name: str, *, has_waves: bool) -> None:
        self._rng = random.Random(name)  # noqa: S311 - which texts, not a secret
        self._has_waves = has_waves
        self._has_begun = False

    async def call(self, url: str) -> None:
        """Until it is cancelled, or nothing more is to come. `url` is that of the gateway's port
        for callers."""
        async with aiohttp.ClientSession(url, timeout=_TIMEOUT) as session:
            if not self._has_begun:
                self._has_begun = True
                await self._send(session, [*_first_requests(), *self._slow_requests()])
            while self._has_waves:
                await self._send(session, await self._next_wave(session))
                await asyncio.sleep(_WAVE_SECONDS)

    def _slow_requests(self) -> Iterator[SampleRequest]:
        for number in range(0 if self._has_waves else _SLOW_REQUESTS):
            text = self._rng.choice(_TEXTS)
            yield SampleRequest(_CALLERS[number % len(_CALLERS)], text, SLOW_MODEL)

    async def _next_wave(self, session: aiohttp.ClientSession) -> list[SampleRequest]:
        try:
            async with session.get("/-/async/queue") as answer:
                waiting = (await answer.json())["backlog"]
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
            return []
        if waiting >= _MOST_WAITING:
            return []
        models = self._rng.choices(("", SLOW_MODEL, UNRELIABLE_MODEL), (16, 1, 3), k=_WAVE_REQUESTS)
        return [
            SampleRequest(
                self._rng.choice(_CALLERS),
                self._rng.choice(_TEXTS),
                model,
                is_stream=self._rng.random() < 0.25,
                priority=self._rng.choice(("", "", "", "u=1")),
            )
            for model in models
        ]

    async def _send(
        self, session: aiohttp.ClientSession, requests: Sequence[SampleRequest]
    ) -> None:
        for one in requests:
            try:
                async with session.post(one.path, json=one.body, headers=one.headers) as answer:
                    accepted = await answer.json() if answer.status == 202 else {}
                if one.is_cancelled and accepted:
                    task = f"/-/async/tasks/{accepted['id']}/cancel"
                    async with session.post(task, headers=one.headers):
                        pass
            except (aiohttp.ClientError, TimeoutError) as error:
                _log.debug("A request of the demo's callers failed: %s", error)


def _first_requests() -> Iterator[SampleRequest]:
    yield SampleRequest("help-desk", "Which plan do I have?")
    yield SampleRequest("reports", _TEXTS[0])
    yield SampleRequest("search-index", _TEXTS[5], path=_COMPLETION)
    yield SampleRequest("help-desk", _TEXTS[2], is_stream=True)
    yield SampleRequest("night-jobs", "This one is answered with 503 each time.", FAILING_MODEL)
    yield SampleRequest(
        "reports", "Its caller has changed their mind.", SLOW_MODEL, is_cancelled=True
    )
    yield SampleRequest("night-jobs", "", path=_COMPLETION)
