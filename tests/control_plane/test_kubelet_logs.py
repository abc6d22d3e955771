"""The fake kubelet's logs through the API server: what clients of the real one see."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest

from tests.control_plane.control_plane import ControlPlane, RequestError, wait_for
from tests.control_plane.fake_kubelet import FakeKubelet
from tests.control_plane.kubelet_log_files import format_stamp
from tests.control_plane.kubelet_logs import ContainerLog
from tests.waiting import WAIT_SECONDS

SECOND = 10**9
NOON = 1_764_504_000 * SECOND


class Client(NamedTuple):
    """Requests for the log of one Pod, as an administrator."""

    plane: ControlPlane
    namespace: str
    pod: str

    @contextlib.contextmanager
    def open(self, **params: object) -> Iterator[http.client.HTTPResponse]:
        address = urlsplit(self.plane.url).netloc
        connection = http.client.HTTPSConnection(
            address, timeout=WAIT_SECONDS, context=self.plane.ssl_context
        )
        path = f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}/log"
        headers = {"Authorization": f"Bearer {self.plane.tokens['admin']}"}
        with contextlib.closing(connection):
            connection.request("GET", f"{path}?{urlencode(params)}", headers=headers)
            yield connection.getresponse()

    def read(self, **params: object) -> bytes:
        """The log. Raises RequestError, and IncompleteRead if the response has no proper end."""
        with self.open(**params) as response:
            body = response.read()
        if response.status != 200:
            raise RequestError(response.status, body.decode())
        return body


@pytest.fixture
def kubelet(control_plane: ControlPlane) -> FakeKubelet:
    assert control_plane.kubelet
    return control_plane.kubelet


@pytest.fixture
def client(control_plane: ControlPlane, namespace: str) -> Client:
    control_plane.create_deployment(namespace, "llama")
    control_plane.wait_until_ready(namespace, "llama", 1)
    (pod,) = control_plane.list_pods(namespace, "llama")
    return Client(control_plane, namespace, pod["metadata"]["name"])


@pytest.fixture
def log(kubelet: FakeKubelet, client: Client) -> ContainerLog:
    return kubelet.log(client.namespace, client.pod)


def test_bytes_are_passed_on_as_they_are(client: Client, log: ContainerLog) -> None:
    log.write(b"\xff\x00\x1b[31m \r", "grün")
    log.write_partial(b"no end")
    assert client.read() == b"\xff\x00\x1b[31m \r\ngr\xc3\xbcn\nno end"


def test_the_time_of_each_line_has_nine_digits(client: Client, log: ContainerLog) -> None:
    log.write("one", "two", "earlier", at=[NOON, NOON, NOON - 5])
    stamp = format_stamp(NOON)
    assert stamp == b"2025-11-30T12:00:00.000000000Z"
    assert client.read(timestamps="true").split(b"\n") == [
        stamp + b" one",
        stamp + b" two",
        b"2025-11-30T11:59:59.999999995Z earlier",
        b"",
    ]


def test_the_time_zone_of_a_node(client: Client, kubelet: FakeKubelet) -> None:
    kubelet.logs.zone = timezone(timedelta(hours=9))
    try:
        log = kubelet.log(client.namespace, client.pod)
    finally:
        kubelet.logs.zone = UTC
    log.write("one", at=NOON)
    assert client.read(timestamps="true") == b"2025-11-30T21:00:00.000000000+09:00 one\n"


def test_the_api_server_passes_on_whole_seconds(client: Client, log: ContainerLog) -> None:
    log.write("before", "at", "after", at=[NOON - 1, NOON, NOON + 5])
    since = "2025-11-30T12:00:00.000000003Z"
    assert client.read(sinceTime=since) == b"at\nafter\n"
    assert log.requests[-1]["sinceTime"] == "2025-11-30T12:00:00Z"
    assert client.read(sinceTime=since, tailLines=1) == b"after\n"
    assert client.read(sinceSeconds=1) == b""
    assert client.read(limitBytes=4) == b"befo"


def test_what_continues_a_line_has_no_timestamp(client: Client, log: ContainerLog) -> None:
    log.write_partial("a long ", at=NOON - 1)
    log.write("line", "next", at=NOON)
    whole = client.read(timestamps="true")
    assert whole == (
        b"2025-11-30T11:59:59.999999999Z a long line\n2025-11-30T12:00:00.000000000Z next\n"
    )
    rest = client.read(timestamps="true", sinceTime="2025-11-30T12:00:00Z")
    assert rest == b"line\n2025-11-30T12:00:00.000000000Z next\n"


def test_a_rotated_file_is_not_read_again(client: Client, log: ContainerLog) -> None:
    log.write("one")
    with client.open(follow="true") as follower:
        assert follower.readline() == b"one\n"
        log.rotate()
        log.write("two")
        assert client.read() == b"two\n"
        assert follower.readline() == b"two\n"
        log.finish()
        assert follower.read() == b""


def test_instances(client: Client, log: ContainerLog) -> None:
    with pytest.raises(RequestError, match=r"400.*previous terminated container .* not found"):
        client.read(previous="true")
    log.write("first")
    with client.open(follow="true") as follower:
        assert follower.readline() == b"first\n"
        log.write_partial("last words")
        log.restart()
        assert follower.read() == b"last words"
    assert client.read() == b""
    assert client.read(previous="true") == b"first\nlast words"
    log.write("second")
    log.crash()
    assert client.read() == client.read(previous="true") == b"second\n"
    log.remove_previous()
    body = client.read(previous="true")
    assert body.startswith(b"unable to retrieve container logs for containerd://")
    assert not body.endswith(b"\n")


def test_a_container_that_waits(client: Client, log: ContainerLog) -> None:
    log.wait_to_start("ErrImagePull")
    with pytest.raises(RequestError, match=r"400.*is waiting to start: image can't be pulled"):
        client.read()
    log.wait_to_start("PodInitializing")
    with pytest.raises(RequestError, match=r"400.*is waiting to start: PodInitializing"):
        client.read()
    log.write("started")
    assert client.read() == b"started\n"


def test_an_error_on_request(client: Client, log: ContainerLog) -> None:
    log.write("one")
    log.fail(500, "the runtime does not answer")
    with pytest.raises(RequestError, match=r"500.*the runtime does not answer"):
        client.read()
    assert client.read() == b"one\n"


@pytest.mark.parametrize("clean", [False, True])
def test_a_cut_response_ends_as_if_it_were_complete(
    client: Client, log: ContainerLog, clean: bool
) -> None:
    """The API server ends its response properly, however the kubelet ended its own."""
    log.write("one", "two")
    for size in range(9):
        log.cut_after(size, clean=clean)
        assert client.read(follow="true") == b"one\ntwo\n"[:size]
    log.cut_after(6, clean=clean)
    with client.open(follow="true") as follower:
        assert follower.read() == b"one\ntw"
    with client.open(follow="true") as follower:
        assert follower.readline() == b"one\n"
        log.cut_all(clean=clean)
        assert follower.read() == b"two\n"


def test_a_follower_that_has_gone_is_noticed(client: Client, log: ContainerLog) -> None:
    log.write("one")
    with client.open(follow="true") as follower:
        assert follower.readline() == b"one\n"
        assert log.open_count == 1
    wait_for(lambda: log.open_count == 0, "the end of the response")


def test_a_kubelet_that_is_not_reachable(
    client: Client, log: ContainerLog, kubelet: FakeKubelet
) -> None:
    log.write("one")
    with client.open(follow="true") as follower:
        assert follower.readline() == b"one\n"
        kubelet.stop()
        try:
            assert follower.read() == b""
            with pytest.raises(RequestError, match=r"500.*dial tcp.*connection refused"):
                client.read()
        finally:
            kubelet.start()
    assert client.read() == b"one\n"


def test_many_followers_get_every_line(client: Client, log: ContainerLog) -> None:
    count = 2000
    received: list[bytes] = []

    def follow() -> None:
        received.append(client.read(follow="true"))

    threads = [threading.Thread(target=follow) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_for(lambda: log.open_count == len(threads), "the followers")
    for number in range(count):
        log.write(f"line {number}")
    log.finish()
    for thread in threads:
        thread.join()
    expected = b"".join(b"line %d\n" % number for number in range(count))
    assert received == [expected] * len(threads)
