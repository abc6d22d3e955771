"""The connection to Valkey: the functions in Lua, and what its errors mean."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from servedeck.gateway.stores.store import StoreError, StoreUnavailableError
from servedeck.gateway.stores.valkey.cluster import MIN_SECONDS, Node, named_node
from servedeck.gateway.stores.valkey.errors import code_of, translate
from servedeck.gateway.stores.valkey.library import LIBRARY, LIBRARY_TEXT, make_script
from servedeck.gateway.stores.valkey.packed_connection import PackedConnection
from servedeck.gateway.stores.valkey.tls import (
    NO_FILES,
    TlsClosedError,
    TlsConnection,
    TlsContext,
    TlsFiles,
)

_SUBMIT = "submit"
"""The one function that a server whose memory is full refuses."""

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
        options, self._home = _parse(url, tls)
        self._node = self._home
        """Who is asked: `_home`, or the node of its cluster that it names."""
        self._moved = -MIN_SECONDS
        self._followed = 0
        """Counts up when another node was followed to, or could not be."""
        self._is_cluster = False
        self._following = asyncio.Lock()
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
        # apart, so that those who wait for news never hold up commands
        self._commands, self._blocking = self._make_clients()
        self._retired: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        self._script = self._submit_script = ""
        """Names (SHA1) of the functions as scripts; "" while they are loaded as functions."""
        self._waiting = 0
        """Connections that wait for entries."""
        self._generation = 0
        """Counts up with each `reconnect`."""

    @property
    def address(self) -> str:
        return str(self._node)

    def _make_clients(self) -> tuple[Redis, Redis]:
        options = self._options | self._node._asdict()
        return tuple(  # type: ignore[return-value]
            Redis.from_pool(BlockingConnectionPool(max_connections=connections, **options))
            for connections in (_CONNECTIONS, _BLOCKING_CONNECTIONS)
        )

    async def close(self) -> None:
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        await _close(self._commands, self._blocking)

    async def reconnect(self) -> None:
        """Resolve the address again for what is asked from now on: after a failover it may lead to
        another server, while the connections to the one that was demoted stay open."""
        self._generation += 1
        for client in (self._commands, self._blocking):
            await _drop_idle(client)

    @property
    def uses_scripts(self) -> bool:
        """Whether its memory was full when the functions were to be loaded, so that scripts are
        used in their place until `load` is called again."""
        return bool(self._script)

    async def locate(self) -> None:
        """In a cluster, find the node that has the serving. Raises StoreError."""
        if self._is_cluster:
            await self.command("EXISTS", self.prefix, repeat=True)

    async def _follow(self, error: exceptions.MovedError, asked: Node) -> bool:
        """Whether another node is asked now. Raises StoreError."""
        followed = self._followed
        async with self._following:
            if asked != self._node:
                return True
            if followed != self._followed:
                # In vain, by another: all would wait for that node, one after the other.
                return False
            node = named_node(error, asked)
            if node is None or time.monotonic() - self._moved < MIN_SECONDS:
                return False
            self._moved = time.monotonic()
            self._go(node)
            try:
                await self.load()
            finally:
                self._followed += 1
            return True

    def _leave(self, error: Exception, asked: Node) -> None:
        """A node that is lost cannot say where the serving is now: ask the one of the settings."""
        # other subclasses of ConnectionError are what a server answered
        is_lost = type(error) is exceptions.ConnectionError or isinstance(
            error, OSError | exceptions.TimeoutError | TlsClosedError
        )
        if is_lost and asked == self._node != self._home:
            self._go(self._home)

    def _go(self, node: Node) -> None:
        """Ask that node from now on; what has been asked before has its time to be answered."""
        old = (self._commands, self._blocking)
        self._node = node
        self._commands, self._blocking = self._make_clients()
        task = asyncio.create_task(self._retire(*old))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def _retire(self, *clients: Redis) -> None:
        try:
            await asyncio.sleep(MAX_BLOCK_SECONDS + self._timeout)
        finally:
            await _close(*clients)

    async def load(self) -> None:
        """Load the functions, unless they are there. Raises StoreError."""
        asked = self._node
        try:
            # the wait for others is a part of it, who may be waiting for a server that hangs
            async with asyncio.timeout(self._timeout), self._loading:
                asked = self._node
                await self._load()
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise self._translated(error, asked) from None

    async def _load(self) -> None:
        try:
            await _execute(self._commands, "FUNCTION", "LOAD", LIBRARY_TEXT)
        except exceptions.ResponseError as error:
            if code_of(error) == "OOM":
                await self._load_in_full_memory()
                return
            if "already exists" not in str(error):
                raise
        if self._script:
            _log.info("%s has room again for the functions.", self.address)
        self._script = self._submit_script = ""

    async def _load_in_full_memory(self) -> None:
        """What was accepted is to end, which makes room."""
        if await _execute(self._commands, "FUNCTION", "LIST", "LIBRARYNAME", LIBRARY):
            self._script = self._submit_script = ""
            return
        if not self._script:
            _log.warning(
                "The memory of %s is full, so that the functions are not loaded; scripts are used"
                " until there is room.",
                self.address,
            )
        shas = [
            await _execute(self._commands, "SCRIPT", "LOAD", make_script(in_full_memory=one))
            for one in (True, False)
        ]
        self._script, self._submit_script = [
            one.decode() if isinstance(one, bytes) else one for one in shas
        ]

    async def call(self, name: str, *arguments: Argument, repeat: bool = False) -> Any:
        """The answer of a function. `repeat` sends it once more if the connection breaks, after
        which it may be done twice. Raises StoreError."""
        return await self._run(lambda: self._function(name, *arguments), repeat)

    def _function(self, name: str, *arguments: Argument) -> tuple[Argument, ...]:
        """The command that calls it, which is another one after `load`."""
        if self._script:
            script = self._submit_script if name == _SUBMIT else self._script
            return ("EVALSHA", script, 1, self.prefix, *arguments, name)
        return ("FCALL", f"{LIBRARY}_{name}", 1, self.prefix, *arguments)

    async def call_and_replicate(
        self, name: str, replicas: int, *arguments: Argument
    ) -> tuple[Any, bool]:
        """The same, for a function that may be repeated, once so many replicas have it; and whether
        it was sent twice. Raises StoreError, StoreUnavailableError if fewer replicas have it."""
        for is_last in (False, True):
            asked = self._node
            # of the library that is there by now
            command = self._function(name, *arguments)
            waited = 0
            try:
                async with asyncio.timeout(self._timeout):
                    if replicas:
                        answer, waited = await self._replicate(command, replicas)
                    else:
                        answer = await _execute(self._commands, *command)
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                if not is_last and await self._may_repeat(error, True, asked):
                    continue
                raise self._translated(error, asked) from None
            if waited < replicas:
                raise StoreUnavailableError(
                    f"Only {waited} of {replicas} replicas of {self.address} have it."
                )
            return answer, is_last
        raise AssertionError("unreachable")

    async def _replicate(self, command: Sequence[Argument], replicas: int) -> tuple[Any, int]:
        pipeline = self._commands.pipeline(transaction=False)
        _add(pipeline, *command)
        # on the same connection, as it waits for what that has written
        _add(pipeline, "WAIT", replicas, int(self._timeout * 500))
        answers = await pipeline.execute(raise_on_error=False)
        for one in answers:
            if isinstance(one, Exception):
                raise one
        return answers[0], answers[1]

    async def command(self, *command: Argument, repeat: bool = False) -> Any:
        """The answer of a command. Raises StoreError."""
        return await self._run(lambda: command, repeat)

    async def _run(self, command: Callable[[], tuple[Argument, ...]], repeat: bool) -> Any:
        for is_last in (False, True):
            asked = self._node
            try:
                async with asyncio.timeout(self._timeout):
                    return await _execute(self._commands, *command())
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                if not is_last and await self._may_repeat(error, repeat, asked):
                    continue
                raise self._translated(error, asked) from None
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
        generation, asked = self._generation, self._node
        try:
            async with asyncio.timeout(milliseconds / 1000 + self._timeout):
                found = await _execute(
                    self._blocking,
                    *("XREAD", "COUNT", 1, "BLOCK", milliseconds),
                    *("STREAMS", self.prefix + key, after),
                )
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            if isinstance(error, exceptions.MovedError) and await self._follow(error, asked):
                return True
            raise self._translated(error, asked) from None
        finally:
            self._waiting -= 1
            if generation != self._generation:
                await _drop_idle(self._blocking)
        return bool(found)

    async def information(self) -> dict[str, Any]:
        """INFO, by field. Raises StoreError."""
        asked = self._node
        try:
            async with asyncio.timeout(self._timeout):
                found: dict[str, Any] = await self._commands.info()
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise self._translated(error, asked) from None
        self._is_cluster = bool(found.get("cluster_enabled"))
        return found

    async def parameter(self, name: str) -> str:
        """A value of CONFIG; "" where the server does not tell it."""
        asked = self._node
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._commands.config_get(name)
        except exceptions.ResponseError:
            return ""
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise self._translated(error, asked) from None
        return str(found.get(name, ""))

    async def _may_repeat(self, error: Exception, repeat: bool, asked: Node) -> bool:
        self._leave(error, asked)
        if isinstance(error, exceptions.MovedError):
            return await self._follow(error, asked)
        if isinstance(error, exceptions.ResponseError):
            # after FLUSHALL with FUNCTION FLUSH, on a new primary, or one that was started again
            if "Function not found" in str(error) or isinstance(error, exceptions.NoScriptError):
                await self.load()
                return True
            if code_of(error) in _NOT_PRIMARY:
                await self.reconnect()
                await self.load()
                return True
            return False
        # its subclasses are refusals, which a second try would meet again
        is_broken = type(error) is exceptions.ConnectionError or (
            isinstance(error, OSError) and not isinstance(error, TimeoutError)
        )
        return repeat and is_broken

    def _translated(self, error: Exception, asked: Node) -> StoreError:
        self._leave(error, asked)
        return translate(error, str(asked), self._timeout, self._options.get("tls"))


def _parse(url: str, tls: TlsFiles) -> tuple[dict[str, Any], Node]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        raise ValueError("the URL of the store is not valkey://host[:port][/db]") from None
    if parts.scheme not in ("valkey", "valkeys", "redis", "rediss") or not host:
        raise ValueError("the URL of the store is not valkey://host[:port][/db]")
    options: dict[str, Any] = {"db": database}
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    with_tls = parts.scheme.endswith("s") and parts.scheme != "redis"
    options["connection_class"] = TlsConnection if with_tls else PackedConnection
    if with_tls:
        options["tls"] = TlsContext(tls)
    return options, Node(host, port)


async def _close(*clients: Redis) -> None:
    for client in clients:
        try:
            await client.aclose()
        except (exceptions.RedisError, OSError) as error:
            _log.debug("A connection was not closed in order: %s", type(error).__name__)


async def _drop_idle(client: Redis) -> None:
    try:
        await client.connection_pool.disconnect(inuse_connections=False)
    except (exceptions.RedisError, OSError) as error:
        _log.debug("A connection was not closed in order: %s", type(error).__name__)


async def _execute(client: Redis, *command: Argument) -> Any:
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


def _add(pipeline: Pipeline, *command: Argument) -> None:
    pipeline.execute_command(*command)
