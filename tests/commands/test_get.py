from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import Target
from servedeck.cluster.http.errors import ConnectError
from servedeck.commands import get
from servedeck.fleet.query import parse_selector
from servedeck.fleet.session import Live
from tests.fleet.cluster import Cluster
from tests.fleet.make import START, crashing_status, deployment, pod, replicaset
from tests.fleet.test_session import QUICK
from tests.waiting import until, within


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(main="team-a")
    made.put(
        deployment("good"),
        replicaset("r-good", "d-good"),
        pod("p-good", "r-good"),
        deployment("bad"),
        replicaset("r-bad", "d-bad"),
        pod("p-bad", "r-bad", crashing_status()),
    )
    return made


class Run:
    """One run of the command, and what it wrote."""

    def __init__(self, cluster: Cluster, target: Target, options: get.Options) -> None:
        live = Live(target, connect=cluster.connect, timings=QUICK, calm_gc=False, narrow=False)
        self._out, self._err = io.StringIO(), io.StringIO()
        self._work = get.run(
            live, options, out=self._out, err=self._err, now=lambda: START + timedelta(hours=3)
        )
        self._done = asyncio.ensure_future(self._work)

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()

    async def code(self) -> int:
        return await within(self._done)

    async def until(self, condition: Callable[[], Any]) -> None:
        await until(condition, sign=lambda: (self.out, self.err))

    async def end(self) -> None:
        self._done.cancel()
        await asyncio.gather(self._done, return_exceptions=True)


async def run(cluster: Cluster, target: Target | None = None, **options: Any) -> tuple[int, Run]:
    made = Run(cluster, target or Target(), get.Options(**options))
    return await made.code(), made


@asynccontextmanager
async def watching(cluster: Cluster, **options: Any) -> AsyncIterator[Run]:
    made = Run(cluster, Target(), get.Options(watch=True, **options))
    try:
        yield made
    finally:
        await made.end()
        assert not cluster.watches and all(each.closed for each in cluster.opened)


def changes(made: Run) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in made.out.splitlines()]
    return [(each["type"], each["object"]["name"], each["object"]["status"]) for each in lines]


async def test_the_table_shows_what_the_list_shows(cluster: Cluster) -> None:
    code, made = await run(cluster)
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


async def test_all_namespaces_have_a_column_and_headers_can_be_left_out(cluster: Cluster) -> None:
    _, made = await run(cluster, Target(all_namespaces=True), headers=False)
    assert [line.split()[0] for line in made.out.splitlines()] == ["team-a", "team-a"]


async def test_json_and_names_are_in_the_order_of_names(cluster: Cluster) -> None:
    _, made = await run(cluster, format="json")
    assert [each["name"] for each in json.loads(made.out)["items"]] == ["bad", "good"]
    _, made = await run(cluster, format="name")
    assert made.out.split() == ["deployment.apps/bad", "deployment.apps/good"]


async def test_one_name_gives_one_object(cluster: Cluster) -> None:
    _, made = await run(cluster, format="json", names=("good",))
    assert json.loads(made.out)["kind"] == "Serving"


async def test_a_selector_chooses(cluster: Cluster) -> None:
    selector = parse_selector("servedeck.dev/serving notin (bad)")
    _, made = await run(cluster, format="name", selector=selector)
    assert made.out.split() == ["deployment.apps/good"]


async def test_what_is_not_there_is_said_as_kubectl_says_it(cluster: Cluster) -> None:
    code, made = await run(cluster, Target(namespace="empty"))
    assert (code, made.out, made.err) == (0, "", "No resources found in empty namespace.\n")
    code, made = await run(Cluster(), Target(all_namespaces=True))
    assert (code, made.err) == (0, "No resources found.\n")
    code, made = await run(cluster, format="json", selector=parse_selector("nope"))
    assert json.loads(made.out)["items"] == []


async def test_a_name_that_does_not_exist_fails_after_the_others(cluster: Cluster) -> None:
    code, made = await run(cluster, names=("good", "gone"))
    assert code == 1
    assert "good" in made.out
    assert made.err == 'servedeck: there is no serving "gone" in namespace team-a.\n'


async def test_a_server_that_does_not_answer_is_one_sentence(cluster: Cluster) -> None:
    cluster.down = True
    with pytest.raises(get.NotShownError, match="Nothing listens at") as caught:
        await run(cluster)
    assert caught.value.exit_code == 1


async def test_all_namespaces_without_the_right_is_an_error_and_no_part_of_it(
    cluster: Cluster,
) -> None:
    cluster.forbidden = {("deployments", "")}
    with pytest.raises(get.NotShownError, match=r"Cannot list deployments\.apps in all names"):
        await run(cluster, Target(all_namespaces=True))


async def test_what_may_not_be_read_is_named_and_the_rest_printed(cluster: Cluster) -> None:
    cluster.forbidden = {("pods", "*")}
    code, made = await run(cluster)
    assert code == 0 and "good" in made.out
    assert made.err == "servedeck: not allowed to list pods; what hangs on it is left out.\n"


async def test_late_events_are_not_waited_for_for_ever(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get, "PATIENCE", 0.05)
    answer = cluster.check

    def check(path: str) -> tuple[str, str]:
        if path.endswith("/events"):
            raise ConnectError("It does not answer.")
        return answer(path)

    monkeypatch.setattr(cluster, "check", check)
    code, made = await run(cluster)
    assert code == 0 and "good" in made.out
    assert "Events or routes may be missing" in made.err


async def test_watching_gives_a_json_line_for_each_change(cluster: Cluster) -> None:
    async with watching(cluster, format="json") as made:
        await made.until(lambda: made.out.count("\n") == 2)
        cluster.put(pod("p-bad", "r-bad"))
        await made.until(lambda: made.out.count("\n") == 3)
        cluster.delete(deployment("good"))
        await made.until(lambda: made.out.count("\n") == 4)
        assert changes(made) == [
            ("ADDED", "bad", "Error"),
            ("ADDED", "good", "Ready"),
            ("MODIFIED", "bad", "Ready"),
            ("DELETED", "good", "Ready"),
        ]


async def test_watching_an_empty_namespace_waits_for_the_first(cluster: Cluster) -> None:
    async with watching(Cluster(main="team-a"), format="name") as made:
        await made.until(lambda: made.err)
        assert made.err == "No resources found in team-a namespace.\n"


async def test_watching_prints_rows_and_says_once_that_the_server_is_away(
    cluster: Cluster,
) -> None:
    async with watching(cluster) as made:
        await made.until(lambda: made.out.count("\n") == 3)
        cluster.fall()
        await made.until(lambda: "Trying again" in made.err)
        cluster.down = False
        cluster.put(pod("p-bad", "r-bad"))
        await made.until(lambda: made.out.count("\n") == 4)
        lines = made.out.splitlines()
        assert lines[3].index("Ready") == lines[0].index("STATUS")
