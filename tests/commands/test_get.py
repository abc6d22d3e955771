from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ConnectionFailedError
from servedeck.commands import get, session
from servedeck.commands.session import ServingsUnavailableError
from servedeck.fleet.query import parse_selector_query
from servedeck.fleet.session import ClusterSession
from tests.fleet.factories import (
    START,
    crashing_status,
    deployment,
    openshift_route,
    pod,
    replicaset,
    service,
)
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import FAST_CONFIG
from tests.waiting import wait_until, with_timeout


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(main="team-a")
    made.put(
        deployment("good"),
        replicaset("r-good", "d-good"),
        pod("p-good", "r-good"),
        deployment("bad"),
        replicaset("r-bad", "d-bad"),
        pod("p-bad", "r-bad", crashing_status()),
    )
    return made


class CommandRun:
    """One run of the command and its output."""

    def __init__(
        self, cluster: FakeCluster, connection_options: ConnectionOptions, options: get.GetOptions
    ) -> None:
        live = ClusterSession(
            connection_options,
            connect=cluster.connect,
            reflector_config=FAST_CONFIG,
            tune_gc=False,
            namespace_fallback=False,
        )
        self._out, self._err = io.StringIO(), io.StringIO()
        self._command = get.run_get(
            live, options, out=self._out, err=self._err, now=lambda: START + timedelta(hours=3)
        )
        self._task = asyncio.ensure_future(self._command)

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()

    async def exit_code(self) -> int:
        return await with_timeout(self._task)

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        await wait_until(condition, describe_state=lambda: (self.out, self.err))

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def run_command(
    cluster: FakeCluster, connection_options: ConnectionOptions | None = None, **options: Any
) -> tuple[int, CommandRun]:
    made = CommandRun(cluster, connection_options or ConnectionOptions(), get.GetOptions(**options))
    return await made.exit_code(), made


@asynccontextmanager
async def running_watch(cluster: FakeCluster, **options: Any) -> AsyncIterator[CommandRun]:
    made = CommandRun(cluster, ConnectionOptions(), get.GetOptions(watch=True, **options))
    try:
        yield made
    finally:
        await made.cancel()
        assert not cluster.watches and all(each.closed for each in cluster.connections)


def printed_changes(command_run: CommandRun) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in command_run.out.splitlines()]
    return [(each["type"], each["object"]["name"], each["object"]["status"]) for each in lines]


async def test_the_table_shows_what_the_list_shows(cluster: FakeCluster) -> None:
    code, made = await run_command(cluster)
    assert (code, made.err) == (0, "")
    header, bad, good = made.out.splitlines()
    assert header.split() == [
        "NAME",
        "STATUS",
        "REASON",
        "READY",
        "RESTARTS",
        "TEMPLATE",
        "ACCELERATOR",
        "AGE",
    ]
    assert bad.split()[:4] == ["bad", "Error", "OOMKilled", "0/1"]
    assert good.split()[:4] == ["good", "Ready", "<none>", "1/1"]
    assert good.split()[-1] == "3h"


async def test_all_namespaces_have_a_column_and_headers_can_be_left_out(
    cluster: FakeCluster,
) -> None:
    _, made = await run_command(cluster, ConnectionOptions(all_namespaces=True), show_headers=False)
    assert [line.split()[0] for line in made.out.splitlines()] == ["team-a", "team-a"]


async def test_json_and_names_are_in_the_order_of_names(cluster: FakeCluster) -> None:
    _, made = await run_command(cluster, format="json")
    assert [each["name"] for each in json.loads(made.out)["items"]] == ["bad", "good"]
    _, made = await run_command(cluster, format="name")
    assert made.out.split() == ["deployment.apps/bad", "deployment.apps/good"]


async def test_a_route_of_openshift_is_the_endpoint_where_the_cluster_has_routes(
    cluster: FakeCluster,
) -> None:
    cluster.put(service("good"), openshift_route("public", "good"))
    _, made = await run_command(cluster, format="json", names=("good",))
    assert json.loads(made.out)["endpoint"]["url"] == ""
    cluster.absent_kinds.remove("routes")
    code, made = await run_command(cluster, format="json", names=("good",))
    assert (code, made.err) == (0, "")
    found = json.loads(made.out)["endpoint"]
    assert (found["url"], found["source"]) == ("http://os.example", "Route team-a/public")
    _, made = await run_command(cluster, format="wide", names=("good",))
    assert "http://os.example" in made.out


async def test_one_name_gives_one_object(cluster: FakeCluster) -> None:
    _, made = await run_command(cluster, format="json", names=("good",))
    assert json.loads(made.out)["kind"] == "Serving"


async def test_a_selector_chooses(cluster: FakeCluster) -> None:
    selector = parse_selector_query("servedeck.dev/serving notin (bad)")
    _, made = await run_command(cluster, format="name", selector=selector)
    assert made.out.split() == ["deployment.apps/good"]


async def test_what_is_not_there_is_reported_as_kubectl_says_it(cluster: FakeCluster) -> None:
    code, made = await run_command(cluster, ConnectionOptions(namespace="empty"))
    assert (code, made.out, made.err) == (0, "", "No resources found in empty namespace.\n")
    code, made = await run_command(FakeCluster(), ConnectionOptions(all_namespaces=True))
    assert (code, made.err) == (0, "No resources found.\n")
    code, made = await run_command(cluster, format="json", selector=parse_selector_query("nope"))
    assert json.loads(made.out)["items"] == []


async def test_a_name_that_does_not_exist_fails_after_the_others(cluster: FakeCluster) -> None:
    code, made = await run_command(cluster, names=("good", "gone"))
    assert code == 1
    assert "good" in made.out
    assert made.err == 'servedeck: there is no serving "gone" in namespace team-a.\n'


async def test_a_server_that_does_not_respond_is_a_one_line_error(cluster: FakeCluster) -> None:
    cluster.is_down = True
    with pytest.raises(ServingsUnavailableError, match="Connection refused by") as caught:
        await run_command(cluster)
    assert caught.value.exit_code == 1


async def test_all_namespaces_without_permission_is_an_error_without_partial_output(
    cluster: FakeCluster,
) -> None:
    cluster.forbidden = {("deployments", "")}
    with pytest.raises(
        ServingsUnavailableError, match=r"Cannot list deployments\.apps in all names"
    ):
        await run_command(cluster, ConnectionOptions(all_namespaces=True))


async def test_what_may_not_be_read_is_named_and_the_rest_printed(cluster: FakeCluster) -> None:
    cluster.forbidden = {("pods", "*")}
    code, made = await run_command(cluster)
    assert code == 0 and "good" in made.out
    assert made.err == "servedeck: not allowed to list pods; data that needs it is not shown.\n"


async def test_get_does_not_wait_forever_for_events(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "OPTIONAL_LISTS_TIMEOUT", 0.05)
    answer = cluster.check_access

    def check(path: str) -> tuple[str, str]:
        if path.endswith("/events"):
            raise ConnectionFailedError("It does not answer.")
        return answer(path)

    monkeypatch.setattr(cluster, "check_access", check)
    code, made = await run_command(cluster)
    assert code == 0 and "good" in made.out
    assert "Events or routes may be missing" in made.err


async def test_watching_gives_a_json_line_for_each_change(cluster: FakeCluster) -> None:
    async with running_watch(cluster, format="json") as made:
        await made.wait_until(lambda: made.out.count("\n") == 2)
        cluster.put(pod("p-bad", "r-bad"))
        await made.wait_until(lambda: made.out.count("\n") == 3)
        cluster.delete(deployment("good"))
        await made.wait_until(lambda: made.out.count("\n") == 4)
        assert printed_changes(made) == [
            ("ADDED", "bad", "Error"),
            ("ADDED", "good", "Ready"),
            ("MODIFIED", "bad", "Ready"),
            ("DELETED", "good", "Ready"),
        ]


async def test_watching_an_empty_namespace_waits_for_the_first(cluster: FakeCluster) -> None:
    async with running_watch(FakeCluster(main="team-a"), format="name") as made:
        await made.wait_until(lambda: made.err)
        assert made.err == "No resources found in team-a namespace.\n"


async def test_watching_prints_rows_and_reports_once_that_the_server_is_unavailable(
    cluster: FakeCluster,
) -> None:
    async with running_watch(cluster) as made:
        await made.wait_until(lambda: made.out.count("\n") == 3)
        cluster.shut_down()
        await made.wait_until(lambda: "Retrying" in made.err)
        cluster.is_down = False
        cluster.put(pod("p-bad", "r-bad"))
        await made.wait_until(lambda: made.out.count("\n") == 4)
        lines = made.out.splitlines()
        assert lines[3].index("Ready") == lines[0].index("STATUS")


async def test_a_clock_that_differs_from_the_servers_is_reported(cluster: FakeCluster) -> None:
    cluster.server_ahead = -480.0
    code, made = await run_command(cluster)
    assert code == 0
    assert made.err == (
        "servedeck: The clock here is 8m ahead of the API server's; ages use the server's time.\n"
    )


async def test_ages_are_by_default_those_of_the_server(cluster: FakeCluster) -> None:
    day = timedelta(days=1)
    cluster.server_ahead = (START + 3 * day).timestamp() - cluster.local_time()
    session = ClusterSession(
        ConnectionOptions(), connect=cluster.connect, reflector_config=FAST_CONFIG, tune_gc=False
    )
    out = io.StringIO()
    await with_timeout(get.run_get(session, get.GetOptions(), out=out, err=io.StringIO()))
    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["AGE", "3d", "3d"]
