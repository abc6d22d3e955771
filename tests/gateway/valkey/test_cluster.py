"""A cluster of real servers: a serving is on the node that has its slot, and is found there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import MovedError

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import Control, StoreUnavailableError
from servedeck.gateway.stores.valkey import connection
from servedeck.gateway.stores.valkey.cluster import Node, named_node
from servedeck.gateway.stores.valkey.connection import ValkeyConnection
from servedeck.gateway.stores.valkey.store import ValkeyStore
from tests.control_plane.processes import ReservedPort
from tests.gateway.conftest import StartValkey
from tests.gateway.valkey.helpers import (
    SERVING,
    claim,
    end_of,
    make_store,
    record_of,
    submit,
)
from tests.gateway.valkey.proxies import answering
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import WAIT_SECONDS, wait_until, wait_until_sync, with_timeout

SLOTS = 16384
FUNCTIONS = set(re.findall(r"^register\('(\w+)'", connection.LIBRARY_TEXT, re.MULTILINE))


class Cluster:
    """Nodes that know each other; all slots are on the first one."""

    def __init__(self, nodes: list[ValkeyServer], buses: list[int]) -> None:
        self.nodes = nodes
        self.command(nodes[0], "ADDSLOTSRANGE", "0", str(SLOTS - 1))
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            self.command(nodes[0], "MEET", "127.0.0.1", str(node.port), str(bus))
        self.slot = int(nodes[0].ask("CLUSTER", "KEYSLOT", f"{{{SERVING}}}:")[1:])
        wait_until_sync(self.agrees, "a cluster that agrees")

    def agrees(self) -> bool:
        """Whether each node knows all others and who has the slots."""
        return all(
            "cluster_state:ok" in one.ask("CLUSTER", "INFO")
            and one.ask("CLUSTER", "NODES").count(" connected") == len(self.nodes)
            for one in self.nodes
        )

    @staticmethod
    def command(node: ValkeyServer, *command: str) -> None:
        answer = node.ask("CLUSTER", *command)
        assert answer.startswith("+OK"), answer

    @staticmethod
    def id_of(node: ValkeyServer) -> str:
        return node.ask("CLUSTER", "MYID").split("\r\n")[1]

    def begin_move(self, source: ValkeyServer, target: ValkeyServer) -> None:
        self.command(target, "SETSLOT", str(self.slot), "IMPORTING", self.id_of(source))
        self.command(source, "SETSLOT", str(self.slot), "MIGRATING", self.id_of(target))

    def end_move(self, source: ValkeyServer, target: ValkeyServer) -> None:
        """Move the keys of the slot, and say where they are."""
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", str(self.slot), "1000").split("\r\n")[2:-1:2]
        if keys:
            answer = source.ask(
                *("MIGRATE", "127.0.0.1", str(target.port), "", "0", "60000", "KEYS", *keys)
            )
            assert answer.startswith("+OK"), answer
        for one in (target, source, *self.nodes):
            self.command(one, "SETSLOT", str(self.slot), "NODE", self.id_of(target))


@pytest.fixture
def ports() -> Iterator[list[ReservedPort]]:
    reserved: list[ReservedPort] = []
    yield reserved
    for one in reserved:
        one.close()


def start_cluster(start_valkey: StartValkey, ports: list[ReservedPort], count: int) -> Cluster:
    nodes, buses = [], []
    for _ in range(count):
        ports.append(ReservedPort())
        buses.append(ports[-1].number)
        # a test says when a node is away, not the time that a slow machine takes
        options = ("--cluster-port", str(buses[-1]), "--cluster-node-timeout", "600000")
        nodes.append(start_valkey("--cluster-enabled", "yes", *options))
    return Cluster(nodes, buses)


async def test_each_function_uses_one_slot(
    start_valkey: StartValkey, ports: list[ReservedPort], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start_cluster(start_valkey, ports, 1)
    called: set[str] = set()
    function = ValkeyConnection._function

    def watched(self: ValkeyConnection, name: str, *arguments: Any) -> Any:
        called.add(name)
        return function(self, name, *arguments)

    monkeypatch.setattr(ValkeyConnection, "_function", watched)
    store = make_store(cluster.nodes[0])
    await store.open()
    assert await store.check() == ""
    first = await submit(
        store,
        credentials=b"secret",
        idempotency_key="key",
        fingerprint="print",
        has_callback=True,
        is_stream=True,
    )
    others = [await submit(store, owner=f"owner {number}") for number in range(3)]
    assert (await store.move_to_front([others[2]]))[0].changed
    assert await store.position(others[2]) == 0
    claimed = {one.id: one for one in await claim(store, 4)}
    ours = claimed[first]
    assert await store.beat([(first, ours.attempt)], 60) == []
    assert await store.append_output(first, ours.attempt, b"part")
    assert (await store.read_outputs(first, ours.attempt, 0, 0)).parts == [(1, b"part")]
    assert await store.finish(end_of(ours, state=TaskState.FAILED, reason="refused"))
    assert await store.claim_callbacks(1, 60) == [(first, 0)]
    await store.settle_callback(first, None)
    assert (await store.redrive(first, 60, b"others")).changed
    one = claimed[others[0]]
    assert await store.retry(one.id, one.attempt, 0, record_of(one))
    assert (await store.cancel(others[1], 60)).changed
    assert await store.release("worker", [], -60) == 1  # the third of them
    await store.set_control(Control(False, None, None))
    assert await store.control() == Control(False, None, None)
    await store.sweep(60)
    assert (await store.find(first)) is not None
    assert len(await store.page(None, "", 10)) == 4
    assert len(await store.find_many([first, others[0]])) == 2
    assert await store.time() > 0
    assert (await store.counts()).pending == 3
    assert await store.oldest_pending() is not None
    assert await store.minutes()
    assert await store.workers() == []
    assert len(await store.read_feed("0", 100, 0)) > 4
    assert await store.feed_end() != "0"
    assert (await store.forget(others[1])).changed
    assert await store.unneeded_objects(10) == []
    await store.drop_objects(["object"])
    await store.expire_rest()
    assert FUNCTIONS - called == {"report"}  # which needs the status of a worker
    await store.close()


async def test_a_serving_is_found_on_another_node(
    start_valkey: StartValkey, ports: list[ReservedPort]
) -> None:
    cluster = start_cluster(start_valkey, ports, 2)
    owner, named = cluster.nodes
    store = make_store(named)
    await store.open()
    ids = await asyncio.gather(*(submit(store) for _ in range(20)))
    [claimed] = await claim(store)
    assert await store.finish(end_of(claimed))
    assert await store.check() == ""
    assert await store.read_feed("0", 10, 0)
    assert owner.ask("ZCARD", f"{{{SERVING}}}:s:P") == f":{len(ids) - 1}\r\n"
    assert named.ask("DBSIZE") == ":0\r\n"
    assert named.ask("FUNCTION", "LIST") == "*0\r\n"
    await store.close()


async def test_a_serving_that_moves_while_it_is_used(
    start_valkey: StartValkey, ports: list[ReservedPort]
) -> None:
    cluster = start_cluster(start_valkey, ports, 2)
    source, target = cluster.nodes
    store = make_store(source)
    await store.open()
    ids = [await submit(store) for _ in range(5)]
    [held] = await claim(store)
    waiting = asyncio.create_task(store.read_feed(await store.feed_end(), 10, 3600))
    await wait_until(lambda: store._valkey._waiting == 1)

    cluster.begin_move(source, target)
    # half of the keys may be on one node, half on the other: nothing is done on either
    for call in (submit(store), claim(store), store.counts()):
        with pytest.raises(StoreUnavailableError, match="is moving this serving to another node"):
            await call
    cluster.end_move(source, target)

    assert await store.finish(end_of(held))
    assert {one.id for one in await claim(store, 10)} == set(ids) - {held.id}
    assert await waiting
    assert source.ask("DBSIZE") == ":0\r\n"
    assert store._valkey.address == f"Valkey at 127.0.0.1:{target.port}"
    await store.close()
    assert not store._valkey._retired


def offset_of(server: ValkeyServer) -> int:
    """How much of the stream of changes it has, made or got."""
    found = re.search(r"^master_repl_offset:(\d+)", server.ask("INFO", "replication"), re.MULTILINE)
    assert found
    return int(found[1])


async def test_a_failover_to_a_replica(
    start_valkey: StartValkey, ports: list[ReservedPort]
) -> None:
    """The settings name one node; another has the serving, is lost, and its replica takes over."""
    cluster = start_cluster(start_valkey, ports, 3)
    owner, named, replica = cluster.nodes
    cluster.command(replica, "REPLICATE", cluster.id_of(owner))
    await wait_until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"))
    for store in (of_replica := make_store(replica), make_store(named)):
        # a replica cannot be given functions, and leads to its primary
        await store.open()
    accepted = await asyncio.gather(*(submit(store) for _ in range(10)))
    await wait_until(lambda: offset_of(replica) >= offset_of(owner))
    assert await of_replica.find(accepted[0]) is not None

    await asyncio.to_thread(owner.kill)
    # the node of the settings names it still
    await _until(store, f"Valkey at 127.0.0.1:{owner.port} cannot be reached.")
    cluster.command(replica, "FAILOVER", "TAKEOVER")
    for one in (store, of_replica):
        await _until(one, "")
        assert {task.id for task in await one.page(None, "", 100)} >= set(accepted)
        assert one._valkey.address == f"Valkey at 127.0.0.1:{replica.port}"
        await one.close()


async def _until(store: ValkeyStore, said: str) -> None:
    """Ask it until it answers so: an error, or "" for none."""

    async def answer() -> str:
        try:
            await store.check()
        except StoreUnavailableError as error:
            return str(error)
        return ""

    async def ask() -> None:
        while await answer() != said:
            await asyncio.sleep(0.05)

    await with_timeout(ask())


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("10.0.0.9:6381", Node("10.0.0.9", 6381)),
        ("node-1.valkey.svc:6379", Node("node-1.valkey.svc", 6379)),
        ("fd00::9:6379", Node("fd00::9", 6379)),
        (":6380", Node("asked", 6380)),  # the same host
        (":6379", None),  # the one that was asked
        ("?:6379", None),
        ("a/b:6379", None),
        ("user@host:6379", None),
        ("-host:6379", None),
        ("host:0", None),
        ("host:65536", None),
    ],
)
def test_the_address_that_a_node_names(named: str, expected: Node | None) -> None:
    assert named_node(MovedError(f"3999 {named}"), Node("asked", 6379)) == expected


async def test_nodes_that_do_not_agree_are_not_followed_in_circles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "MIN_SECONDS", 3600.0)
    first = bytearray()
    async with answering(first) as one, answering(b"-MOVED 1 127.0.0.1:%d\r\n" % one) as other:
        first += b"-MOVED 1 127.0.0.1:%d\r\n" % other
        store = ValkeyStore(SERVING, f"valkey://127.0.0.1:{one}", timeout=WAIT_SECONDS)
        await store.open()
        for _ in range(5):
            with pytest.raises(StoreUnavailableError, match=f":{other} is not the node of the"):
                await submit(store)
        assert len(store._valkey._retired) == 1
        await store.close()


async def test_a_node_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by each of the requests that were led there, one after the other."""
    monkeypatch.setattr(connection, "MIN_SECONDS", 0.0)
    connections = 0
    is_over = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await is_over.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as hanging:
        port = hanging.sockets[0].getsockname()[1]
        async with answering(b"-MOVED 1 127.0.0.1:%d\r\n" % port) as named:
            store = ValkeyStore(SERVING, f"valkey://127.0.0.1:{named}", timeout=WAIT_SECONDS)
            await store.open()
            asking = [asyncio.create_task(store.counts()) for _ in range(5)]
            following = store._valkey._following
            await wait_until(lambda: connections and len(following._waiters or ()) == 4)
            is_over.set()
            for one in asking:
                with pytest.raises(StoreUnavailableError):
                    await with_timeout(one)
            assert connections == 1
            await store.close()


async def test_the_functions_are_waited_for_no_longer_than_a_command() -> None:
    async with answering(b"+OK\r\n") as port:
        store = ValkeyStore(SERVING, f"valkey://127.0.0.1:{port}", timeout=0.05)
        async with store._valkey._loading:  # another one loads them, from a server that hangs
            with pytest.raises(StoreUnavailableError, match="did not answer in"):
                await with_timeout(store._valkey.load())
        await store.close()
