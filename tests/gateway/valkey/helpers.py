"""Tasks for the tests of Valkey's store."""

from __future__ import annotations

from typing import Any

import msgspec

from servedeck.async_queue.tasks import Attempt, TaskState
from servedeck.gateway.identity import Identity
from servedeck.gateway.messages import RequestHead, ResponseHead
from servedeck.gateway.stores.store import Claimed, Content, End, NewTask
from servedeck.gateway.stores.valkey.store import ValkeyStore
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import WAIT_SECONDS

SERVING = "team-a/chat"
POD = "http://10.0.0.1:8000"
HOUR = 3600.0

_identity = Identity(b"x" * 32)


def make_store(server: ValkeyServer, serving: str = SERVING, **settings: Any) -> ValkeyStore:
    """With a timeout that no slow machine reaches."""
    url = settings.pop("url", server.url)
    return ValkeyStore(serving, url, **{"timeout": WAIT_SECONDS} | settings)


def new_task(body: bytes = b"{}", **changes: Any) -> NewTask:
    owner = changes.get("owner", "anna")
    head = RequestHead(
        path="/v1/chat/completions",
        headers=[("content-type", "application/json")],
        model="llama",
        is_stream=changes.pop("is_stream", False),
    )
    values: dict[str, Any] = {
        "id": _identity.new_id(owner),
        "owner": owner,
        "lifetime": HOUR,
        "max_attempts": 3,
        "head": msgspec.json.encode(head),
        "body": Content(body, size=len(body)),
    }
    return NewTask(**values | changes)


async def submit(store: ValkeyStore, **changes: Any) -> str:
    return (await store.submit(new_task(**changes), 1_000_000)).id


async def claim(store: ValkeyStore, limit: int = 1, **changes: Any) -> list[Claimed]:
    values: dict[str, Any] = {"concurrency": 0, "pod_concurrency": 1_000_000, "lease": HOUR}
    return await store.claim("worker", [POD], limit=limit, **values | changes)


def record_of(claimed: Claimed, **changes: Any) -> Attempt:
    values: dict[str, Any] = {"attempt": claimed.attempt, "pod": claimed.pod, "began": 1.0}
    return Attempt(**values | {"ended": 2.0, "worker": "worker"} | changes)


def end_of(claimed: Claimed, **changes: Any) -> End:
    values: dict[str, Any] = {
        "id": claimed.id,
        "attempt": claimed.attempt,
        "state": TaskState.COMPLETED,
        "status": 200,
        "head": msgspec.json.encode(ResponseHead(status=200)),
        "body": Content(b"answer", size=6),
        "record": record_of(claimed),
        "keep": HOUR,
    }
    return End(**values | changes)
