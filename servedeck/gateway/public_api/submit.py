"""Accepting a request: it is answered with 202 when it is safely stored."""

from __future__ import annotations

import asyncio
import logging
from hashlib import sha256

import msgspec

from servedeck.async_queue.tasks import Accepted, TaskState
from servedeck.gateway.asgi import HttpError, Receive, Scope, Send, read_body, send_json
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.messages import RequestHead
from servedeck.gateway.objects import ObjectStoreError
from servedeck.gateway.public_api.answers import result_url, status_url, store_problem
from servedeck.gateway.public_api.caller import owner_of, stored_headers
from servedeck.gateway.public_api.drain_rate import DrainRate
from servedeck.gateway.public_api.preferences import Preferences
from servedeck.gateway.public_api.results import Results
from servedeck.gateway.stores.store import (
    Content,
    NewTask,
    StoreError,
    StoreFullError,
    SubmitOutcome,
    Submitted,
)
from servedeck.gateway.stores.task_records import CLOSED_REFUSAL

METHODS = ("POST", "PUT", "PATCH")
MAX_MODEL_LENGTH = 256
MAX_PATH_LENGTH = 8192

_INSPECTED_BYTES = 64 << 20
"""msgspec passes over 3 GB of JSON in a second: a larger body would hold up other requests."""
_MIN_HELD_BYTES = 64 << 20
_BUSY_SECONDS = 2
_CLOSED_SECONDS = 30
_NOT_STORED = (SubmitOutcome.FULL, SubmitOutcome.CLOSED)

_log = logging.getLogger(__name__)


class ClosedError(HttpError):
    def __init__(self) -> None:
        super().__init__(503, "The queue is closed", CLOSED_REFUSAL, retry_after=_CLOSED_SECONDS)


class Submitter:
    def __init__(self, context: GatewayContext, results: Results, drain_rate: DrainRate) -> None:
        self._context = context
        self._results = results
        self._drain_rate = drain_rate
        self._held_bytes = 0
        self._max_held_bytes = max(_MIN_HELD_BYTES, 2 * context.settings.max_body_bytes)
        self._deleting: set[asyncio.Task[None]] = set()

    async def submit(
        self, scope: Scope, receive: Receive, send: Send, preferences: Preferences
    ) -> None:
        """Raises HttpError and ClientDisconnectedError."""
        try:
            submitted = await self._submit(scope, receive, preferences)
        except HttpError as error:
            count_rejected(self._context, error)
            raise
        if preferences.wait and await self._results.send_when_ended(
            scope, receive, send, submitted.id, preferences.wait
        ):
            return
        state = TaskState.PENDING
        if preferences.wait or submitted.outcome is SubmitOutcome.REPEATED:
            state = await self._state(submitted.id)
        await self._send_accepted(send, submitted, state, preferences)

    async def _submit(self, scope: Scope, receive: Receive, preferences: Preferences) -> Submitted:
        context = self._context
        if scope["method"] not in METHODS:
            raise HttpError(
                405,
                "Method not allowed",
                f"X-Async works for {', '.join(METHODS)}.",
                headers=[(b"allow", ", ".join(METHODS).encode())],
            )
        owner = owner_of(context, scope)
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._held_bytes += size
            if self._held_bytes > self._max_held_bytes:
                raise _busy()

        try:
            body = await read_body(scope, receive, context.settings.max_body_bytes, hold)
            submitted = await self._store(scope, owner, body, preferences)
        finally:
            self._held_bytes -= held
        if submitted.outcome is SubmitOutcome.CONFLICT:
            raise _conflict()
        if submitted.outcome is SubmitOutcome.FULL:
            raise self._full()
        if submitted.outcome is SubmitOutcome.CLOSED:
            raise ClosedError
        if submitted.outcome is SubmitOutcome.ACCEPTED:
            context.metrics.submitted.inc()
        return submitted

    async def close(self) -> None:
        await asyncio.gather(*self._deleting, return_exceptions=True)

    async def _store(
        self, scope: Scope, owner: str, body: bytes, preferences: Preferences
    ) -> Submitted:
        context, settings = self._context, self._context.settings
        id = context.identity.new_id(owner)
        clear, credentials = stored_headers(context, scope)
        path = target_of(scope)
        model, is_stream = inspect_body(body)
        head = RequestHead(
            method=scope["method"],
            path=path,
            headers=clear,
            model=model,
            is_stream=is_stream,
            attempt_seconds=preferences.attempt_seconds,
            callback=preferences.callback,
        )
        key = fingerprint = ""
        if preferences.idempotency_key:
            key = sha256(f"{owner}\0{preferences.idempotency_key}".encode()).hexdigest()
            fingerprint = _fingerprint(head, body)
        content = Content(data=body, size=len(body))
        if context.objects is not None and len(body) > settings.inline_bytes:
            content = Content(object=f"{id}/request", size=len(body))
            try:
                await context.objects.put(content.object, body)
            except ObjectStoreError as error:
                _log.warning("A request was not stored: %s", error)
                raise HttpError(
                    503,
                    "The object store is not available",
                    "Try again in a moment.",
                    retry_after=StoreError.retry_after,
                ) from None
        task = NewTask(
            id=id,
            owner=owner,
            urgency=preferences.urgency,
            lifetime=preferences.lifetime,
            max_attempts=preferences.max_attempts,
            head=msgspec.json.encode(head),
            body=content,
            credentials=context.identity.encrypt(id, credentials),
            idempotency_key=key,
            fingerprint=fingerprint,
            has_callback=bool(preferences.callback),
        )
        try:
            submitted = await context.store.submit(task, settings.max_depth)
        except StoreError as error:
            if isinstance(error, StoreFullError):
                self._delete_object(content)
                raise store_problem(error) from None
            # It may have been stored: the id lets the caller ask.
            raise store_problem(error, id) from None
        if submitted.id != id or submitted.outcome in _NOT_STORED:
            self._delete_object(content)
        return submitted

    def _delete_object(self, content: Content) -> None:
        if content.object:
            deleting = asyncio.create_task(self._delete(content.object))
            self._deleting.add(deleting)
            deleting.add_done_callback(self._deleting.discard)

    async def _delete(self, name: str) -> None:
        assert self._context.objects is not None
        try:
            await self._context.objects.delete([name])
        except ObjectStoreError as error:
            # `delete_older` finds it.
            _log.debug("A body that is not needed was not deleted: %s", error)

    async def _state(self, id: str) -> TaskState:
        """The task is stored, whatever happens to the store now: the answer stays 202."""
        try:
            found = await self._context.store.find(id)
        except StoreError:
            found = None
        return found.task.state if found is not None else TaskState.PENDING

    async def _send_accepted(
        self, send: Send, submitted: Submitted, state: TaskState, preferences: Preferences
    ) -> None:
        settings = self._context.settings
        location = status_url(settings, submitted.id)
        position = submitted.position if state is TaskState.PENDING else None
        retry_after = self._drain_rate.seconds((position or 0) + 1)
        headers = [
            (b"location", location.encode()),
            (b"retry-after", b"%d" % retry_after),
        ]
        if preferences.respond_async:
            headers.append((b"preference-applied", b"respond-async"))
        accepted = Accepted(
            id=submitted.id,
            status=state,
            status_url=location,
            result_url=result_url(settings, submitted.id),
            position=position,
        )
        await send_json(send, 202, accepted, headers)

    def _full(self) -> HttpError:
        most = self._context.settings.max_depth
        return HttpError(
            429,
            "The queue is full",
            f"{most} requests wait, as many as are allowed; try again later.",
            retry_after=self._drain_rate.seconds(max(1, most // 20)),
        )


def target_of(scope: Scope) -> str:
    """Path and query as they were received. Raises HttpError."""
    raw: bytes = scope["raw_path"]
    if scope["query_string"]:
        raw += b"?" + scope["query_string"]
    if not raw.startswith(b"/"):
        raise HttpError(400, "Bad request target", "The target must be a path.")
    if len(raw) > MAX_PATH_LENGTH:
        raise HttpError(
            414, "Path too long", f"Path and query may have {MAX_PATH_LENGTH} bytes at most."
        )
    return raw.decode("latin-1")


class _Inspected(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw(b"")
    stream: msgspec.Raw = msgspec.Raw(b"")


_inspected = msgspec.json.Decoder(_Inspected)


def inspect_body(body: bytes) -> tuple[str, bool]:
    """The members `model` and `stream` of a JSON object; "" and False where there are none, as
    other bodies are forwarded too."""
    if not body[:64].lstrip().startswith(b"{") or len(body) > _INSPECTED_BYTES:
        return "", False
    try:
        found = _inspected.decode(body)
        raw_model = bytes(found.model)
        model = ""
        if raw_model.startswith(b'"') and len(raw_model) <= 6 * MAX_MODEL_LENGTH:
            model = msgspec.json.decode(raw_model, type=str)[:MAX_MODEL_LENGTH]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return "", False
    return model, bytes(found.stream) == b"true"


def _fingerprint(head: RequestHead, body: bytes) -> str:
    kind = next((value for name, value in head.headers if name == "content-type"), "")
    digest = sha256(f"{head.method}\0{head.path}\0{kind}\0".encode())
    digest.update(body)
    return digest.hexdigest()


def _conflict() -> HttpError:
    # draft-ietf-httpapi-idempotency-key-header, section "Error Scenarios": 422 for another
    # payload. Its 409 is for a first request that is not answered yet: here that gets its 202.
    return HttpError(
        422,
        "The Idempotency-Key is used already",
        "Another request was made with this Idempotency-Key; take a new key for a new request.",
    )


def _busy() -> HttpError:
    return HttpError(
        503,
        "Too many large requests",
        "The gateway is reading as much as it can hold; try again in a moment.",
        headers=[(b"connection", b"close")],
        retry_after=_BUSY_SECONDS,
    )


_REASONS = {405: "method", 408: "slow", 413: "size", 422: "conflict", 429: "depth", 503: "store"}


def count_rejected(context: GatewayContext, error: HttpError) -> None:
    """In the metrics, by a reason of few values."""
    reason = _REASONS.get(error.problem.status, "request")
    if isinstance(error, ClosedError):
        reason = "closed"
    context.metrics.rejected.labels(reason).inc()
