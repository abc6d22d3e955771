"""The API server with workloads of the test's own: logs, proxy, odd requests."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from servedeck.demo.api import access
from servedeck.demo.api.kubelet_api import LogOptions, ProxyRequest, ProxyResponse
from servedeck.demo.api.server import ApiServer
from servedeck.demo.resources import NAMESPACES, NODES, PODS, SERVICES
from servedeck.demo.store.store import Store
from tests.waiting import until, within

Json = dict[str, Any]


class FakeKubelet:
    """Records what it is asked, and answers from what the test set."""

    def __init__(self) -> None:
        self.options: list[LogOptions] = []
        self.requests: list[tuple[str, int, ProxyRequest]] = []
        self.lines = [b"one\n", b"two\n"]
        self.answer: ProxyResponse | None = ProxyResponse(
            200, {"Content-Type": "text/plain", "X-More": "yes"}, b"hello"
        )

    async def logs(self, pod: Json, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        self.options.append(options)
        for line in self.lines:
            yield line

    async def proxy(self, pod: Json, port: int, request: ProxyRequest) -> ProxyResponse:
        self.requests.append((pod["metadata"]["name"], port, request))
        if self.answer is None:
            raise ConnectionRefusedError
        return self.answer


class Api:
    def __init__(self) -> None:
        self.store = Store()
        self.kubelet = FakeKubelet()
        self.user = access.admin()
        self.member = access.namespace_admin("a", "member")
        self.viewer = access.viewer()
        self.server = ApiServer(self.store, self.kubelet, [self.user, self.member, self.viewer])
        self.session: aiohttp.ClientSession

    async def send(
        self, method: str, path: str, body: bytes | None = None, *, token: str = "", **headers: str
    ) -> tuple[int, bytes]:
        sent = {"Authorization": f"Bearer {token or self.user.token}"}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        url = self.server.url + path
        async with self.session.request(method, url, data=body, headers=sent) as answer:
            return answer.status, await answer.read()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    made.store.create(NAMESPACES, {"metadata": {"name": "a"}})
    made.store.create(NODES, {"metadata": {"name": "n"}})
    await made.server.start()
    async with aiohttp.ClientSession() as made.session:
        yield made
    await made.server.stop()


RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def place_pod(api: Api, state: Json | None = None, last: Json | None = None) -> None:
    statuses = [{"name": "c", "state": state or RUNNING, "lastState": last or {}}]
    conditions = [{"type": "Ready", "status": "True"}]
    api.store.create(
        PODS,
        {
            "metadata": {"name": "p", "namespace": "a", "labels": {"app": "x"}},
            "spec": {
                "nodeName": "n",
                "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8000}]}],
            },
            "status": {
                "podIP": "10.0.0.1",
                "conditions": conditions,
                "containerStatuses": statuses,
            },
        },
    )


async def test_applying_the_same_a_second_later_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/v1/namespaces/a/configmaps/c?fieldManager=f"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {}}}
    told = []
    for second in (1, 2, 3):
        monkeypatch.setattr(api.store, "timestamp", lambda at=second: f"2026-01-01T00:00:0{at}Z")
        code, text = await api.send(
            "PATCH", path, json.dumps(body).encode(), Content_Type="application/apply-patch+yaml"
        )
        told.append((code, json.loads(text)))
    first = told[0][1]
    assert told == [(201, first), (200, first), (200, first)]
    body["data"] = {"k": "v"}
    _, text = await api.send(
        "PATCH", path, json.dumps(body).encode(), Content_Type="application/apply-patch+yaml"
    )
    (owner,) = json.loads(text)["metadata"]["managedFields"]
    assert owner["time"] == "2026-01-01T00:00:03Z"


LOG = "/api/v1/namespaces/a/pods/p/log"


async def test_log_options_reach_the_kubelet(api: Api) -> None:
    place_pod(api, last={"terminated": {"exitCode": 1}})
    query = "follow=true&previous=1&tailLines=7&timestamps=true&sinceTime=2026-01-01T00:00:00.123Z"
    code, text = await api.send("GET", f"{LOG}?{query}")
    assert (code, text) == (200, b"one\ntwo\n")
    since = datetime(2026, 1, 1, microsecond=123000, tzinfo=UTC)
    assert api.kubelet.options == [LogOptions(True, True, since, 7, True)]
    before = datetime.now(UTC)
    await api.send("GET", f"{LOG}?sinceSeconds=60")
    since_then = api.kubelet.options[-1].since
    assert since_then is not None
    assert before <= since_then + timedelta(seconds=60) <= datetime.now(UTC)


async def test_a_log_is_cut_at_its_limit(api: Api) -> None:
    place_pod(api)
    assert (await api.send("GET", f"{LOG}?limitBytes=5"))[1] == b"one\nt"


@pytest.mark.parametrize(
    ("state", "last", "query", "message"),
    [
        (
            {"waiting": {"reason": "ContainerCreating"}},
            {},
            "",
            'container "c" in pod "p" is waiting to start: ContainerCreating',
        ),
        (
            {"waiting": {"reason": "ImagePullBackOff"}},
            {},
            "",
            'container "c" in pod "p" is waiting to start: trying and failing to pull image',
        ),
        (
            {"waiting": {"reason": "ErrImagePull"}},
            {},
            "",
            'container "c" in pod "p" is waiting to start: image can\'t be pulled',
        ),
        (
            RUNNING,
            {},
            "?previous=true",
            'previous terminated container "c" in pod "p" not found',
        ),
    ],
)
async def test_a_container_without_a_log(
    api: Api, state: Json, last: Json, query: str, message: str
) -> None:
    place_pod(api, state, last)
    code, text = await api.send("GET", LOG + query)
    assert (code, json.loads(text)["message"]) == (400, message)


async def test_a_crashed_container_still_has_its_log(api: Api) -> None:
    place_pod(api, {"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1}})
    assert (await api.send("GET", LOG))[0] == 200


def place_service(api: Api) -> None:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    spec = {"selector": {"app": "x"}, "ports": ports}
    api.store.create(SERVICES, {"metadata": {"name": "s", "namespace": "a"}, "spec": spec})


@pytest.mark.parametrize(
    "name", ["pods/p:8000", "pods/http:p:8000", "pods/p", "services/s:80", "services/s:web"]
)
async def test_a_request_reaches_the_port(api: Api, name: str) -> None:
    place_pod(api)
    place_service(api)
    path = f"/api/v1/namespaces/a/{name}/proxy/v1/chat?stream=1&q=a%20b"
    code, text = await api.send("POST", path, b"{}", X_Async="true")
    assert (code, text) == (200, b"hello")
    pod, port, request = api.kubelet.requests[0]
    assert (pod, port) == ("p", 8000)
    assert (request.method, request.body) == ("POST", b"{}")
    assert request.path == "/v1/chat?stream=1&q=a%20b"
    assert request.headers["X-Async"] == "true"
    # the API server keeps the client's credentials to itself
    assert "Authorization" not in request.headers


async def test_a_stream_comes_chunk_by_chunk(api: Api) -> None:
    place_pod(api)
    more = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await more.wait()
        yield b"data: 2\n\n"

    api.kubelet.answer = ProxyResponse(200, {"Content-Type": "text/event-stream"}, body())
    url = f"{api.server.url}/api/v1/namespaces/a/pods/p:8000/proxy/x"
    headers = {"Authorization": f"Bearer {api.user.token}"}
    async with api.session.get(url, headers=headers) as answer:
        assert await answer.content.readany() == b"data: 1\n\n"
        more.set()
        assert await answer.content.read() == b"data: 2\n\n"


async def test_nobody_listens(api: Api) -> None:
    place_pod(api)
    api.kubelet.answer = None
    code, text = await api.send("GET", "/api/v1/namespaces/a/pods/p:9/proxy/")
    assert code == 503
    assert json.loads(text)["message"] == (
        "error trying to reach service: dial tcp 10.0.0.1:9: connect: connection refused"
    )


# -- who --------------------------------------------------------------------------------------


async def test_a_token_is_needed(api: Api) -> None:
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic eDp5"}):
        async with api.session.get(f"{api.server.url}/api/v1/pods", headers=headers) as answer:
            assert answer.status == 401
            assert (await answer.json())["reason"] == "Unauthorized"
    async with api.session.get(f"{api.server.url}/nope/api/v1/pods") as answer:
        assert answer.status == 401


async def test_the_token_may_stand_in_the_path(api: Api) -> None:
    config = api.server.kubeconfig()
    assert config["current-context"] == "demo"
    servers = [entry["cluster"]["server"] for entry in config["clusters"]]
    assert len(servers) == 3
    async with api.session.get(f"{servers[0]}/api/v1/pods") as answer:
        assert answer.status == 200
    async with api.session.get(f"{servers[1]}/api/v1/pods") as answer:
        assert answer.status == 403
    assert config["contexts"][1]["context"]["namespace"] == "a"


async def test_a_member_stays_in_the_namespace(api: Api) -> None:
    token = api.member.token
    assert (await api.send("GET", "/api/v1/namespaces/a/pods", token=token))[0] == 200
    assert (await api.send("GET", "/api/v1/pods", token=token))[0] == 403
    assert (await api.send("GET", "/api/v1/namespaces/b/pods", token=token))[0] == 403
    assert (await api.send("GET", "/apis", token=token))[0] == 200
    assert (await api.send("GET", "/foo", token=token))[0] == 403


async def test_every_user_may_discover(api: Api) -> None:
    for path in ("/api", "/apis", "/version", "/openapi/v3"):
        url = f"{api.server.url}/{api.viewer.token}{path}"
        async with api.session.get(url) as answer:
            assert answer.status == 200


def test_it_listens_on_loopback_alone() -> None:
    from servedeck.demo.api import server

    assert server.HOST == "127.0.0.1"


# -- bad input --------------------------------------------------------------------------------


async def raw(api: Api, request: bytes) -> bytes:
    host, port = api.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    answer = await within(reader.read(4000))
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"garbage\r\n\r\n", 405),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"GET /api HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 400),
        (b"BREW /api HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ],
)
async def test_what_is_not_http_gets_a_status_too(api: Api, request_: bytes, code: int) -> None:
    head, _, body = (await raw(api, request_)).partition(b"\r\n\r\n")
    assert head.split()[1] == str(code).encode()
    status = json.loads(body)
    assert (status["kind"], status["code"]) == ("Status", code)
    assert (await api.send("GET", "/api"))[0] == 200


async def test_a_body_that_is_only_announced(api: Api) -> None:
    head = (
        f"POST /{api.user.token}/api/v1/namespaces HTTP/1.1\r\nHost: x\r\n"
        "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    )
    assert b"413" in (await raw(api, head.encode())).split(b"\r\n")[0]


BODIES = [
    b"\xff\xfe{}",
    b'{"metadata": {"name": "\\ud800"}, "data": {"k": "\\udfff"}}',
    b'{"metadata": {"name": "nan"}, "data": {"k": NaN}}',
    b"[" * 100_000,
    b'{"metadata":' * 3_000 + b"1",
    b'{"metadata": {"name": "big"}, "data": {"k": 1' + b"0" * 5_000 + b"}}",
    b'{"metadata": 5}',
    b'{"metadata": {"name": 5}}',
    b'{"metadata": {"name": "x", "labels": ["a"]}}',
    b'{"metadata": {"name": "x", "creationTimestamp": "yesterday"}}',
    b"null",
    b"5",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
async def test_strange_bodies_are_refused(api: Api, body: bytes, media: str) -> None:
    path = "/api/v1/namespaces/a/configmaps"
    code, text = await api.send("POST", path, body, Content_Type=media)
    if b"NaN" in body and media == "application/yaml":
        assert code == 201  # in YAML that is a word
        return
    assert code in (400, 422), text
    assert json.loads(text)["kind"] == "Status"


async def test_aliases_of_yaml_do_not_unfold(api: Api) -> None:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((n, n) + (n - 1,) * 8)
        for n in range(ord("b"), ord("m"))
    )
    path = "/api/v1/namespaces/a/configmaps"
    code, text = await api.send("POST", path, bomb, Content_Type="application/yaml")
    assert code == 400 and b"aliases" in text


async def test_random_requests_never_end_the_server(api: Api) -> None:
    rng = random.Random(5)
    parts = [
        "api",
        "apis",
        "v1",
        "apps",
        "namespaces",
        "a",
        "pods",
        "p",
        "log",
        "proxy",
        "status",
        "scale",
        "deployments",
        "events",
        "..",
        "%00",
        "%2f",
        "é",
        "x" * 300,
        "openapi",
        "v3",
    ]
    queries = [
        "watch=1&resourceVersion=x",
        "limit=-5",
        "continue=%00",
        "as=Table",
        "labelSelector=((",
        "fieldSelector===",
        "dryRun=%F0%9F",
        "resourceVersion=-1",
    ]
    bodies = [None, b"", b"{}", b"[]", b'{"spec":{"replicas":1}}', b'[{"op":"add"}]', b"\x00"]
    medias = [
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "",
    ]
    place_pod(api)
    for _ in range(600):
        path = "/" + "/".join(rng.choices(parts, k=rng.randint(0, 7)))
        path += f"?{rng.choice(queries)}&fieldManager=f"
        method = rng.choice(["GET", "POST", "PUT", "PATCH", "DELETE"])
        code, text = await api.send(
            method, path, rng.choice(bodies), Content_Type=rng.choice(medias)
        )
        # 500 is for what server-side apply cannot type, and for a watch of a bad version
        internal = code == 500 and b"InternalError" in text
        assert 200 <= code < 600 and not internal, (method, path, text)
    assert (await api.send("GET", "/api/v1/namespaces"))[0] == 200


async def test_a_watch_ends_with_its_client_and_with_the_server(api: Api) -> None:
    url = f"{api.server.url}/{api.user.token}/api/v1/pods?watch=1&resourceVersion={{}}"
    listeners = len(api.store._listeners)
    async with api.session.get(url.format(api.store.version)):
        assert len(api.store._listeners) == listeners + 1
    await until(lambda: len(api.store._listeners) == listeners, "its end")
    async with api.session.get(url.format(api.store.version)) as answer:
        await within(api.server.stop())
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()
