"""Tells the URLs that requests gave of the ends of their tasks (Standard Webhooks 1.0.0)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import random
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import aiohttp
import msgspec

from servedeck.async_queue.tasks import Task
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.delivery.callback_resolver import CallbackResolver
from servedeck.gateway.delivery.callback_targets import CallbackRefusedError, check_target
from servedeck.gateway.messages import RequestHead
from servedeck.gateway.settings import GatewaySettingsError
from servedeck.gateway.stores.store import Callback, StoreError

_BATCH = 16
_LEASE = 60.0
_SEND_SECONDS = 15.0
_POLL_SECONDS = (1.0, 2.0)
_PAUSE_SECONDS = 0.1
"""Between two looks: most tasks that end have no callback."""
_RETRY_SECONDS = 5.0
_DELAYS = (5.0, 60.0, 300.0, 1800.0)
"""Before the second to the fifth try; then it is given up."""
_GONE = 410
"""The receiver wants no more (Standard Webhooks, "Responding to the webhook")."""
_SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret: what one begins with

_log = logging.getLogger(__name__)


class Callbacks:
    """Five tries each. What is sent has no part of a request or a result: the receiver fetches the
    result by its URL, with its credentials."""

    def __init__(self, context: GatewayContext, rng: random.Random) -> None:
        self._context = context
        self._rng = rng
        self._asked = asyncio.Event()

    def wake(self) -> None:
        """A task has ended."""
        self._asked.set()

    async def run(self) -> None:
        """Ends only when it is cancelled. Callbacks that were asked for when the settings still
        allowed them are refused one by one."""
        resolver = CallbackResolver(self._context.settings.callback_hosts)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_BATCH, resolver=resolver, use_dns_cache=False, force_close=True
            ),
            timeout=aiohttp.ClientTimeout(total=_SEND_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            while True:
                self._asked.clear()
                is_full, wait = False, self._rng.uniform(*_POLL_SECONDS)
                try:
                    is_full = await self._send_due(session)
                except StoreError as error:
                    _log.debug("Callbacks were not read: %s", error)
                    wait = _RETRY_SECONDS
                except Exception:
                    _log.exception("Callbacks were not sent.")
                    wait = _RETRY_SECONDS
                if is_full:
                    continue
                await asyncio.sleep(_PAUSE_SECONDS)
                try:
                    async with asyncio.timeout(wait):
                        await self._asked.wait()
                except TimeoutError:
                    pass

    async def _send_due(self, session: aiohttp.ClientSession) -> bool:
        """Whether there may be more."""
        due = await self._context.store.claim_callbacks(_BATCH, _LEASE)
        await asyncio.gather(*(self._send_one(session, one) for one in due))
        return len(due) == _BATCH

    async def _send_one(self, session: aiohttp.ClientSession, due: Callback) -> None:
        outcome, retry_after = "failed", _next_delay(due.tries, self._rng)
        try:
            found = await self._context.store.find(due.id)
            if found is None:
                retry_after, outcome = None, "deleted"
            else:
                url = msgspec.json.decode(found.head, type=RequestHead).callback
                status = await self._post(session, url, found.task)
                if 200 <= status < 300:
                    retry_after, outcome = None, "delivered"
                elif status == _GONE:
                    retry_after, outcome = None, "refused"
        except CallbackRefusedError as error:
            _log.warning("A callback was not sent: %s", error)
            retry_after, outcome = None, "not_allowed"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _log.info("A callback failed: %s", type(error).__name__)
        except StoreError as error:
            _log.debug("A callback waits for its lease: %s", error)
            return
        if outcome == "failed" and retry_after is None:
            outcome = "given_up"
        self._context.metrics.callbacks.labels(outcome).inc()
        try:
            await self._context.store.settle_callback(due.id, retry_after)
        except StoreError as error:  # it is sent again after its lease, with the same webhook-id
            _log.debug("A callback was not settled: %s", error)

    async def _post(self, session: aiohttp.ClientSession, url: str, task: Task) -> int:
        """Status of the answer. Raises CallbackRefusedError."""
        settings = self._context.settings
        target = check_target(url, settings.callback_hosts)
        if settings.callback_secret_file is None:
            raise CallbackRefusedError("there is no secret to sign it with.")
        secret = await asyncio.to_thread(Path(settings.callback_secret_file).read_bytes)
        body = callback_body(task, settings.public_path)
        headers = {
            **sign(secret, callback_id(task), int(time.time()), body),
            "content-type": "application/json",
            "user-agent": "servedeck-gateway",
        }
        try:
            async with session.post(
                target, data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, CallbackRefusedError):
                raise error.os_error from None
            raise


def check_secret(file: Path) -> None:
    """Raises GatewaySettingsError if callbacks cannot be signed with what is in it."""
    try:
        sign(file.read_bytes(), "", 0, b"")
    except CallbackRefusedError as error:
        raise GatewaySettingsError(f"callback_secret_file: {file}: {error}") from None
    except OSError as error:
        raise GatewaySettingsError(f"callback_secret_file: {file}: {error.strerror}.") from None


def callback_id(task: Task) -> str:
    """The same for each try of one end, and another for the end after a retry by hand."""
    return f"task_{task.id}_{task.attempt}"


def callback_body(task: Task, public_path: str) -> bytes:
    base = f"{public_path}/-/async/tasks/{task.id}"
    ended = task.ended or task.created
    return msgspec.json.encode(
        {
            "type": f"task.{task.state}",
            "timestamp": _iso(ended),
            "data": {
                "id": task.id,
                "status": task.state,
                "created": task.created,
                "started": task.started,
                "ended": task.ended,
                "expires": task.expires,
                "status_url": base,
                "result_url": f"{base}/result",
            },
        }
    )


def sign(secret: bytes, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks. `secret`: the content of the file, a secret a line; one
    that begins with whsec_ is Base64. With several, the receiver may know any of them."""
    signed = f"{id}.{timestamp}.".encode() + body
    keys = [_read_key(line) for line in secret.splitlines() if line.strip()]
    signatures = [
        "v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode() for key in keys
    ]
    if not signatures:
        raise CallbackRefusedError("the file of the secret is empty.")
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _read_key(line: bytes) -> bytes:
    line = line.strip()
    prefix = _SECRET_PREFIX.encode()
    if not line.startswith(prefix):
        return line
    try:
        return base64.b64decode(line.removeprefix(prefix), validate=True)
    except binascii.Error:
        raise CallbackRefusedError("the secret after whsec_ is not Base64.") from None


def _next_delay(tries: int, rng: random.Random) -> float | None:
    """None after the last try."""
    return _DELAYS[tries] * rng.uniform(1.0, 1.2) if tries < len(_DELAYS) else None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
