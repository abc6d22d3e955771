"""The connection to Valkey: the functions in Lua, and what its errors mean."""

from __future__ import annotations

import asyncio
import logging
import ssl
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from servedeck.gateway.stores.store import StoreError, StoreFullError, StoreUnavailableError
from servedeck.gateway.stores.task_records import (
    ATTEMPTS_KEPT,
    CANCELLED_MESSAGE,
    DEFAULT_KEEP,
    EXPIRED_MESSAGE,
    FEED_KEPT,
    LOST_MESSAGE,
    NO_CREDENTIALS_REFUSAL,
    OUTPUT_SECONDS,
    UNHEARD_MESSAGE,
)
from servedeck.gateway.stores.valkey.tls import (
    NO_FILES,
    TlsClosedError,
    TlsConnection,
    TlsContext,
    TlsFiles,
    tls_sentence,
)

_SOURCE = "".join(
    files(__package__).joinpath(name).read_text(encoding="utf-8")
    for name in ("functions.lua", "operations.lua")
)
for _name, _text in (
    ("EXPIRED", EXPIRED_MESSAGE),
    ("LOST", LOST_MESSAGE),
    ("UNHEARD", UNHEARD_MESSAGE),
    ("CANCELLED", CANCELLED_MESSAGE),
    ("NO_CREDENTIALS", NO_CREDENTIALS_REFUSAL),
    ("FEED_KEPT", str(FEED_KEPT)),
    ("ATTEMPTS_KEPT", str(ATTEMPTS_KEPT)),
    ("OUTPUT_KEPT", str(int(OUTPUT_SECONDS * 1000))),
    ("DEFAULT_KEEP", str(int(DEFAULT_KEEP * 1000))),
):
    _SOURCE = _SOURCE.replace(f"${_name}$", _text)
LIBRARY: Final = f"servedeck_{sha256(_SOURCE.encode()).hexdigest()[:12]}"
"""Named after what is in it: gateways of two versions run beside each other on one server."""
_LIBRARY_TEXT = _SOURCE.replace("$LIBRARY", LIBRARY)

MIN_VERSION = 7
"""Of Redis, as Valkey gives it too: the first with functions."""
MAX_BLOCK_SECONDS = 5.0
FEED_KEY = "ev"
_CONNECTIONS = 32
_BLOCKING_CONNECTIONS = 256
_FEED_CONNECTIONS = 8
"""Of the blocking ones, for the feed, so that many who follow tasks do not hold it up."""
_POLL_SECONDS = 2.0
"""Between looks at an entry that is waited for without a connection."""
_DEFAULT_PORT = 6379

Argument = str | bytes | int | float

_SENTENCES = {
    "LOADING": "is still loading its data",
    "READONLY": "is a replica and cannot be written to",
    "MISCONF": "cannot write its disk",
    "NOREPLICAS": "has too few replicas to be written to",
    "MASTERDOWN": "is a replica whose primary is away",
    "UNBLOCKED": "has become a replica",
    "BUSY": "is busy with a script",
    "CLUSTERDOWN": "is part of a cluster that is down",
    "MOVED": "is not the node of the cluster that has this serving",
    "ASK": "is not the node of the cluster that has this serving",
    "TRYAGAIN": "is moving this serving to another node of the cluster",
    "NOPERM": "does not allow its user what the gateway needs",
    "NOAUTH": "asks for a password",
    "WRONGPASS": "does not accept the user or the password",
}

_NOT_PRIMARY = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS"})
"""Refusals, before anything was done, of a server that may not be the primary any longer."""

_log = logging.getLogger(__name__)


class ValkeyConnection:
    """`url` is valkey://[user:password@]host[:port][/db], or valkeys:// with TLS (redis:// and
    rediss:// likewise); raises ValueError for another, without repeating it. A `password` given by
    itself replaces that of the URL. `timeout` is in seconds, of each command. Raises TlsFileError
    for files that TLS cannot use."""

    def __init__(
        self,
        url: str,
        password: str | None,
        timeout: float,
        prefix: str,
        tls: TlsFiles = NO_FILES,
    ) -> None:
        options, self.address = _parse(url, tls)
        if password is not None:
            options["password"] = password
        self._timeout = timeout
        self.prefix = prefix
        self._options = options | {
            "protocol": 2,
            # redis-py's own timeouts are not used: before Python 3.12 they lose cancellations
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "timeout": None,
            # a command that is sent twice may be done twice: only the caller knows whether it may
            "retry": Retry(NoBackoff(), 0),
        }
        self._commands = self._client(_CONNECTIONS)
        # apart, so that those who wait for news never hold up commands
        self._blocking = self._client(_BLOCKING_CONNECTIONS)
        self._loading = asyncio.Lock()
        self._waiting = 0
        """Connections that wait for entries."""
        self._generation = 0
        """Counts up with each `reconnect`."""

    def _client(self, connections: int) -> Redis:
        return Redis.from_pool(BlockingConnectionPool(max_connections=connections, **self._options))

    async def close(self) -> None:
        for client in (self._commands, self._blocking):
            try:
                await client.aclose()
            except (exceptions.RedisError, OSError) as error:
                _log.debug("A connection was not closed in order: %s", type(error).__name__)

    async def reconnect(self) -> None:
        """Resolve the address again for what is asked from now on: after a failover it may lead to
        another server, while the connections to the one that was demoted stay open."""
        self._generation += 1
        for client in (self._commands, self._blocking):
            await _drop_idle(client)

    async def load(self) -> None:
        """Load the functions, unless they are there. Raises StoreError."""
        async with self._loading:
            try:
                async with asyncio.timeout(self._timeout):
                    await _execute(self._commands, "FUNCTION", "LOAD", _LIBRARY_TEXT)
            except exceptions.ResponseError as error:
                if "already exists" not in str(error):
                    raise self._translated(error) from None
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                raise self._translated(error) from None

    async def call(self, name: str, *arguments: Argument, repeat: bool = False) -> Any:
        """The answer of a function. `repeat` sends it once more if the connection breaks, after
        which it may be done twice. Raises StoreError."""
        return await self.command(
            "FCALL", f"{LIBRARY}_{name}", 1, self.prefix, *arguments, repeat=repeat
        )

    async def call_and_replicate(
        self, name: str, replicas: int, *arguments: Argument
    ) -> tuple[Any, bool]:
        """The same, for a function that may be repeated, once so many replicas have it; and whether
        it was sent twice. Raises StoreError, StoreUnavailableError if fewer replicas have it."""
        for is_last in (False, True):
            pipeline = self._commands.pipeline(transaction=False)
            _add(pipeline, "FCALL", f"{LIBRARY}_{name}", 1, self.prefix, *arguments)
            # on the same connection, as it waits for what that has written
            if replicas:
                _add(pipeline, "WAIT", replicas, int(self._timeout * 500))
            try:
                async with asyncio.timeout(self._timeout):
                    answer, *waited = await pipeline.execute(raise_on_error=False)
                for one in (answer, *waited):
                    if isinstance(one, Exception):
                        raise one
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                if not is_last and await self._may_repeat(error, True):
                    continue
                raise self._translated(error) from None
            if waited and waited[0] < replicas:
                raise StoreUnavailableError(
                    f"Only {waited[0]} of {replicas} replicas of {self.address} have it."
                )
            return answer, is_last
        raise AssertionError("unreachable")

    async def command(self, *command: Argument, repeat: bool = False) -> Any:
        """The answer of a command. Raises StoreError."""
        for is_last in (False, True):
            try:
                async with asyncio.timeout(self._timeout):
                    return await _execute(self._commands, *command)
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                if not is_last and await self._may_repeat(error, repeat):
                    continue
                raise self._translated(error) from None
        raise AssertionError("unreachable")

    async def wait_for_entry(self, key: str, after: str, wait: float) -> bool:
        """Whether the stream `key` may have an entry after that id, within so many seconds (at most
        MAX_BLOCK_SECONDS) or now. Those for whom there is no connection are told so now and then,
        without being asked. Raises StoreError."""
        spared = 0 if key == FEED_KEY else _FEED_CONNECTIONS
        if self._waiting >= _BLOCKING_CONNECTIONS - spared:
            await asyncio.sleep(min(wait, _POLL_SECONDS))
            return True
        self._waiting += 1
        milliseconds = max(1, int(min(wait, MAX_BLOCK_SECONDS) * 1000))
        generation = self._generation
        try:
            async with asyncio.timeout(milliseconds / 1000 + self._timeout):
                found = await _execute(
                    self._blocking,
                    *("XREAD", "COUNT", 1, "BLOCK", milliseconds),
                    *("STREAMS", self.prefix + key, after),
                )
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise self._translated(error) from None
        finally:
            self._waiting -= 1
            if generation != self._generation:
                await _drop_idle(self._blocking)
        return bool(found)

    async def information(self) -> dict[str, Any]:
        """INFO, by field. Raises StoreError."""
        try:
            async with asyncio.timeout(self._timeout):
                found: dict[str, Any] = await self._commands.info()
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise self._translated(error) from None
        return found

    async def parameter(self, name: str) -> str:
        """A value of CONFIG; "" where the server does not tell it."""
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._commands.config_get(name)
        except exceptions.ResponseError:
            return ""
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise self._translated(error) from None
        return str(found.get(name, ""))

    async def _may_repeat(self, error: Exception, repeat: bool) -> bool:
        if isinstance(error, exceptions.ResponseError):
            # after FLUSHALL with FUNCTION FLUSH, or on a new primary
            if "Function not found" in str(error):
                await self.load()
                return True
            if _code_of(error) in _NOT_PRIMARY:
                await self.reconnect()
                await self.load()
                return True
            return False
        # its subclasses are refusals, which a second try would meet again
        is_broken = type(error) is exceptions.ConnectionError or (
            isinstance(error, OSError) and not isinstance(error, TimeoutError)
        )
        return repeat and is_broken

    def _translated(self, error: Exception) -> StoreError:
        """Without the server's own text, which may name users, keys or values."""
        code = _code_of(error)
        if code == "OOM":
            return StoreFullError(f"The memory of {self.address} is full.")
        if sentence := _SENTENCES.get(code):
            return StoreUnavailableError(f"{self.address} {sentence}.")
        if isinstance(error, exceptions.TimeoutError | TimeoutError):
            tls = self._options.get("tls")
            doubt = "; it may not speak TLS on this port" if tls and not tls.is_proven else ""
            return StoreUnavailableError(
                f"{self.address} did not answer in {self._timeout:g} s{doubt}."
            )
        if isinstance(error, exceptions.ResponseError):
            if "unknown command" in str(error).lower():
                return StoreUnavailableError(
                    f"{self.address} does not know a command that the gateway needs;"
                    f" Valkey, or Redis {MIN_VERSION} or newer, is needed."
                )
            _log.error("%s refused a command: %.200s", self.address, error)
            return StoreUnavailableError(f"{self.address} refused a command.")
        is_told = isinstance(error, TlsClosedError)
        reason = error if is_told else error.__cause__ or error.__context__ or error
        if isinstance(reason, ssl.SSLError | TlsClosedError):
            return StoreUnavailableError(tls_sentence(self.address, reason))
        return StoreUnavailableError(f"{self.address} cannot be reached.")


def _code_of(error: Exception) -> str:
    code = getattr(error, "status_code", None)
    if code:
        return str(code)
    if isinstance(error, exceptions.AuthenticationError):
        return "WRONGPASS"
    if isinstance(error, exceptions.ResponseError):
        return str(error).partition(" ")[0]
    return ""


def _parse(url: str, tls: TlsFiles) -> tuple[dict[str, Any], str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        raise ValueError("the URL of the store is not valkey://host[:port][/db]") from None
    if parts.scheme not in ("valkey", "valkeys", "redis", "rediss") or not host:
        raise ValueError("the URL of the store is not valkey://host[:port][/db]")
    options: dict[str, Any] = {"host": host, "port": port, "db": database}
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    with_tls = parts.scheme.endswith("s") and parts.scheme != "redis"
    options["connection_class"] = TlsConnection if with_tls else Connection
    if with_tls:
        options["tls"] = TlsContext(tls)
    shown = f"[{host}]" if ":" in host else host
    return options, f"Valkey at {shown}:{port}"


async def _drop_idle(client: Redis) -> None:
    try:
        await client.connection_pool.disconnect(inuse_connections=False)
    except (exceptions.RedisError, OSError) as error:
        _log.debug("A connection was not closed in order: %s", type(error).__name__)


async def _execute(client: Redis, *command: Argument) -> Any:
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


def _add(pipeline: Pipeline, *command: Argument) -> None:
    pipeline.execute_command(*command)
