"""A local port whose connections go to Ready Pods, one after the other or many at once."""

from __future__ import annotations

import asyncio

import pytest

from servedeck.cluster.http.errors import ApiError, ConnectionLostError
from servedeck.cluster.port_forward import PodConnectionError
from servedeck.forwarding import port_forward, relay
from tests.forwarding.fake_pods import Client, Cluster, FakeConnection, FakePod, forwarding
from tests.waiting import TimeSkipper, wait_until

RESET = PodConnectionError(8000, "error forwarding port 8000: read: connection reset by peer")


async def wait_for_request(pod: FakePod, request: bytes) -> FakeConnection:
    """The newest connection of a Pod once it has got the request."""
    await wait_until(lambda: pod.request == request, f"{request!r}, not {pod.request!r}")
    return pod.connections[-1]


async def wait_until_idle(cluster: Cluster) -> None:
    traffic = cluster.forward.traffic
    await wait_until(lambda: traffic.open_connections == 0, "the end of all connections")


async def assert_reset(client: Client) -> None:
    with pytest.raises(ConnectionResetError):
        await client.read_all()


async def test_bytes_go_both_ways_and_are_counted() -> None:
    async with forwarding("a") as cluster:
        client = await cluster.open_client()
        await client.send(b"question")
        connection = await wait_for_request(cluster.pods["a"], b"question")
        connection.answers.put_nowait(b"answer")
        assert await client.read(6) == b"answer"
        traffic = cluster.forward.traffic
        assert (traffic.connections, traffic.open_connections) == (1, 1)
        assert (traffic.sent_bytes, traffic.received_bytes) == (8, 6)
        connection.answers.put_nowait(b"")
        assert await client.read_all() == b""
        await wait_until_idle(cluster)
        assert connection.is_closed
        assert cluster.errors == []


async def test_a_new_connection_follows_while_an_open_one_stays() -> None:
    async with forwarding("a") as cluster:
        first = await cluster.open_client()
        await first.send(b"1")
        connection = await wait_for_request(cluster.pods["a"], b"1")
        cluster.set_pods("b")
        second = await cluster.open_client()
        await second.send(b"2")
        await wait_for_request(cluster.pods["b"], b"2")
        connection.answers.put_nowait(b"still here")
        assert await first.read(10) == b"still here"
        assert cluster.targets == ["b"]


async def test_a_connection_waits_for_a_ready_pod() -> None:
    async with forwarding() as cluster:
        client = await cluster.open_client()
        await client.send(b"early")
        await wait_until(lambda: cluster.forward.traffic.open_connections == 1, "the connection")
        cluster.set_pods("a")
        await wait_for_request(cluster.pods["a"], b"early")


async def test_a_connection_that_waited_too_long_is_closed_with_the_reason() -> None:
    async with forwarding() as cluster:
        client = await cluster.open_client()
        await wait_until(lambda: cluster.forward.traffic.open_connections == 1, "the connection")
        TimeSkipper(asyncio.get_running_loop())(port_forward.NO_POD_SECONDS + 1)
        await assert_reset(client)
        await wait_until_idle(cluster)
        assert cluster.errors == ["No Pod of team-a/llama is Ready (Ready); waited 15 s."]
        assert cluster.forward.last_error == cluster.errors[0]
        assert cluster.forward.failed_connections == 1


async def test_a_serving_that_does_not_exist_is_said() -> None:
    async with forwarding("a") as cluster:
        cluster.view = None
        cluster.forward.update()
        client = await cluster.open_client()
        await wait_until(lambda: cluster.forward.traffic.open_connections == 1, "the connection")
        TimeSkipper(asyncio.get_running_loop())(port_forward.NO_POD_SECONDS + 1)
        await assert_reset(client)
        await wait_until_idle(cluster)
        assert cluster.errors == ["team-a/llama does not exist; waited 15 s."]


async def test_a_refused_request_goes_to_another_pod_whole() -> None:
    async with forwarding("a", "b") as cluster:
        cluster.pods["a"].refuses = True
        client = await cluster.open_client()
        await client.send(b"request")
        connection = await wait_for_request(cluster.pods["b"], b"request")
        connection.answers.put_nowait(b"ok")
        assert await client.read(2) == b"ok"
        assert cluster.errors == []


async def test_a_refused_request_waits_for_the_pod_that_replaces_the_refusing_one() -> None:
    async with forwarding("a") as cluster:
        cluster.pods["a"].refuses = True
        client = await cluster.open_client()
        await client.send(b"request")
        await wait_until(lambda: cluster.pods["a"].connections, "the first try")
        cluster.set_pods("b")
        await wait_for_request(cluster.pods["b"], b"request")


async def test_a_port_where_no_pod_listens_fails_soon() -> None:
    async with forwarding("a") as cluster:
        cluster.pods["a"].refuses = True
        client = await cluster.open_client()
        await wait_until(lambda: cluster.pods["a"].connections, "the first try")
        TimeSkipper(asyncio.get_running_loop())(port_forward.REFUSED_SECONDS + 1)
        await assert_reset(client)
        await wait_until_idle(cluster)
        assert cluster.errors == ["Nothing listens on port 8000 of the Pod (connection refused)."]
        assert cluster.targets == []


async def test_a_pod_that_is_gone_for_the_api_server_is_replaced() -> None:
    async with forwarding("a", "b") as cluster:
        cluster.pods["a"].open_error = ApiError(404, "NotFound", 'pods "a" not found')
        client = await cluster.open_client()
        await client.send(b"x")
        await wait_for_request(cluster.pods["b"], b"x")


async def test_without_permission_no_other_pod_is_tried() -> None:
    async with forwarding("a", "b") as cluster:
        cluster.pods["a"].open_error = ApiError(403, "Forbidden", "no")
        await assert_reset(await cluster.open_client())
        await wait_until_idle(cluster)
        assert cluster.errors == ["The server forbids this (403): no."]
        assert cluster.pods["b"].connections == []


@pytest.mark.parametrize("error", [RESET, ConnectionLostError("Lost.")])
async def test_a_lost_connection_ends_alone_and_is_not_sent_again(error: Exception) -> None:
    async with forwarding("a", "b") as cluster:
        other = await cluster.open_client()
        await other.send(b"1")
        kept = await wait_for_request(cluster.pods["a"], b"1")
        client = await cluster.open_client()
        await client.send(b"2")
        connection = await wait_for_request(cluster.pods["a"], b"12")
        connection.answers.put_nowait(error)
        await assert_reset(client)
        kept.answers.put_nowait(b"fine")
        assert await other.read(4) == b"fine"
        assert cluster.pods["b"].connections == []
        assert cluster.errors == [str(error)]


async def test_an_answer_that_ends_too_early_is_an_error_for_the_client() -> None:
    async with forwarding("a") as cluster:
        client = await cluster.open_client()
        await client.send(b"x")
        connection = await wait_for_request(cluster.pods["a"], b"x")
        connection.answers.put_nowait(b"half")
        assert await client.read(4) == b"half"
        connection.answers.put_nowait(RESET)
        await assert_reset(client)


async def test_after_an_answer_a_request_is_not_sent_again() -> None:
    async with forwarding("a", "b") as cluster:
        client = await cluster.open_client()
        await client.send(b"x")
        connection = await wait_for_request(cluster.pods["a"], b"x")
        connection.answers.put_nowait(b"answer")
        await client.read(6)
        refused = PodConnectionError(8000, "dial tcp4: connection refused")
        connection.answers.put_nowait(refused)
        await assert_reset(client)
        assert cluster.pods["b"].connections == []


async def test_a_client_that_ends_its_direction_gets_the_answer() -> None:
    async with forwarding("a") as cluster:
        client = await cluster.open_client()
        await client.send(b"x")
        client.writer.write_eof()
        connection = await wait_for_request(cluster.pods["a"], b"x")
        connection.answers.put_nowait(b"ans")
        connection.answers.put_nowait(b"wer")
        connection.answers.put_nowait(b"")
        assert await client.read_all() == b"answer"
        await wait_until_idle(cluster)
        assert cluster.errors == []


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [(b"", relay.UNANSWERED_SECONDS), (b"done", relay.ANSWERED_SECONDS)],
)
async def test_the_connection_of_a_client_that_has_closed_it_ends(
    answer: bytes, seconds: float
) -> None:
    skip = TimeSkipper(asyncio.get_running_loop())
    async with forwarding("a") as cluster:
        client = await cluster.open_client()
        await client.send(b"x")
        connection = await wait_for_request(cluster.pods["a"], b"x")
        if answer:
            connection.answers.put_nowait(answer)
            assert await client.read(len(answer)) == answer
        client.writer.write_eof()
        skip(seconds + 0.1)
        await wait_until_idle(cluster)
        assert connection.is_closed
        assert cluster.errors == []


async def test_a_client_that_is_reset_ends_its_connection() -> None:
    async with forwarding("a") as cluster:
        client = await cluster.open_client()
        await client.send(b"x")
        connection = await wait_for_request(cluster.pods["a"], b"x")
        relay.ClientConnection(client.reader, client.writer, relay.Traffic()).reset()
        await wait_until_idle(cluster)
        assert connection.is_closed
        assert cluster.errors == []


async def test_a_client_that_does_not_read_holds_the_pod_up() -> None:
    chunk = bytes(32 << 10)
    total = 2000
    async with forwarding("a") as cluster:
        client = await cluster.open_client()
        await client.send(b"x")
        connection = await wait_for_request(cluster.pods["a"], b"x")
        for _ in range(total):
            connection.answers.put_nowait(chunk)
        connection.answers.put_nowait(b"")
        seen = -1
        while seen != connection.reads:  # until nothing moves any more
            seen = connection.reads
            await asyncio.sleep(0.2)
        assert connection.reads < total
        assert len(await client.read_all()) == total * len(chunk)


async def test_a_pod_that_does_not_read_holds_the_client_up() -> None:
    async with forwarding("a") as cluster:
        client = await cluster.open_client()
        await client.send(b"x")
        connection = await wait_for_request(cluster.pods["a"], b"x")
        connection.can_write.clear()
        size = 64 << 20
        sending = asyncio.create_task(client.send(bytes(size)))
        seen = -1
        while seen != cluster.forward.traffic.sent_bytes:
            seen = cluster.forward.traffic.sent_bytes
            await asyncio.sleep(0.2)
        assert not sending.done()
        connection.can_write.set()
        await wait_until(lambda: cluster.forward.traffic.sent_bytes == size + 1, "the rest")
        await sending


async def test_the_number_of_connections_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_forward, "MAX_CONNECTIONS", 1)
    async with forwarding("a") as cluster:
        first = await cluster.open_client()
        await first.send(b"1")
        connection = await wait_for_request(cluster.pods["a"], b"1")
        await assert_reset(await cluster.open_client())
        assert cluster.errors == ["More than 1 connections at once; one was closed."]
        connection.answers.put_nowait(b"")
        await first.read_all()
        await wait_until_idle(cluster)
        again = await cluster.open_client()
        await again.send(b"2")
        await wait_for_request(cluster.pods["a"], b"12")


async def test_closing_ends_all_connections_and_frees_the_port() -> None:
    async with forwarding("a") as cluster:
        client = await cluster.open_client()
        await client.send(b"x")
        connection = await wait_for_request(cluster.pods["a"], b"x")
        await cluster.forward.close()
        await assert_reset(client)
        assert connection.is_closed
        with pytest.raises(ConnectionRefusedError):
            await cluster.open_client()
