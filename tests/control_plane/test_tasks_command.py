"""`servedeck tasks` as a process, on real gateways and a real Valkey, through a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import clean_environment
from servedeck.async_queue.tasks import TaskState
from tests.control_plane.async_gateway import (
    MODEL,
    SERVING,
    AsyncGateway,
    folder,
    gateway,
)
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.inference_process import ANSWER, BROKEN_MODEL
from tests.control_plane.test_command import SERVEDECK_PATH
from tests.control_plane.test_deploy import grant_role
from tests.control_plane.test_roles import rules_of
from tests.waiting import with_timeout

__all__ = ["folder", "gateway"]

COMPLETED, FAILED, CANCELLED = TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]})
BROKEN_BODY = json.dumps({"model": BROKEN_MODEL})


class Tasks:
    """`servedeck tasks NAMESPACE/llama`."""

    def __init__(self, gateway: AsyncGateway, kubeconfig: Path, home: Path) -> None:
        self._name = f"{gateway.namespace}/{SERVING}"
        self._environment = clean_environment(kubeconfig, str(home))

    @asynccontextmanager
    async def started(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *(SERVEDECK_PATH, "tasks", self._name, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        async with self.started(*arguments) as process:
            output, problem = await with_timeout(process.communicate())
        assert process.returncode is not None
        return process.returncode, output.decode(), problem.decode()

    async def good(self, *arguments: str) -> str:
        """The standard output of a run that succeeds."""
        code, output, problem = await self.run(*arguments)
        assert code == 0, problem
        return output

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self.good(*arguments, "-o", "json"))


@pytest.fixture
def tasks(gateway: AsyncGateway, kubeconfig: Path, tmp_path: Path) -> Tasks:
    return Tasks(gateway, kubeconfig, tmp_path)


async def states(gateway: AsyncGateway) -> dict[str, TaskState]:
    return {one.id: one.state for one in await gateway.stored_tasks()}


async def test_a_request_is_submitted_waited_for_listed_and_read(
    gateway: AsyncGateway, tasks: Tasks
) -> None:
    response = json.loads(await tasks.good("submit", "--wait", "-d", BODY))
    assert response["choices"][0]["message"]["content"] == ANSWER
    [item] = (await tasks.json("list"))["items"]
    assert (item["state"], item["pod"], item["model"]) == ("completed", gateway.pod, MODEL)
    assert await states(gateway) == {item["id"]: COMPLETED}
    code, output, problem = await tasks.run()
    assert code == 0 and item["id"] in output and "completed" in output
    assert f"{gateway.namespace}/{SERVING}: 0 pending, 0 processing" in problem
    detail = await tasks.good("get", item["id"])
    assert gateway.pod in detail and "/v1/chat/completions" in detail
    assert json.loads(await tasks.good("get", item["id"], "--request")) == json.loads(BODY)
    assert json.loads(await tasks.good("get", item["id"], "--response")) == response
    code, output, problem = await tasks.run("get", "0" * 44)
    assert (code, output) == (1, "") and len(problem.splitlines()) == 1


async def test_a_watch_prints_each_change_and_survives_a_killed_gateway(
    gateway: AsyncGateway, tasks: Tasks
) -> None:
    await gateway.inference.configure(is_open=False)
    ids = await gateway.submit([MODEL] * 2)
    async with tasks.started("watch", *ids, "-o", "json") as process:
        assert process.stdout is not None and process.stderr is not None
        begin = [json.loads(await with_timeout(process.stdout.readline())) for _ in ids]
        assert [one["id"] for one in begin] == ids
        await gateway.kill()
        assert b"Retrying." in await with_timeout(process.stderr.readline())
        await gateway.inference.configure(is_open=True)
        await gateway.start()
        rest, _ = await with_timeout(process.communicate())
    events = [json.loads(line) for line in rest.splitlines()]
    ended = [one["id"] for one in events if one["state"] == "completed"]
    assert sorted(ended) == sorted(ids), "each once"
    assert process.returncode == 0


async def test_the_failed_are_retried_and_watched_until_they_complete(
    gateway: AsyncGateway, tasks: Tasks
) -> None:
    await gateway.inference.configure(broken_status=400)
    failed = [(await tasks.good("submit", "-d", BROKEN_BODY)).strip() for _ in range(2)]
    [refused] = await gateway.submit([BROKEN_MODEL])
    code, _, _ = await tasks.run("watch", *failed, refused)
    assert code == 1, "none has completed"
    assert set((await states(gateway)).values()) == {FAILED}
    listed = await tasks.json("list", "--state", "failed", "--filter", "status:400 age:<1h")
    assert {one["id"] for one in listed["items"]} == {*failed, refused}
    await gateway.inference.configure(broken_status=200)
    code, output, _ = await tasks.run("retry", *failed, refused)
    assert code == 1 and set((await states(gateway)).values()) == {FAILED}, "it was not confirmed"
    code, output, problem = await tasks.run("retry", *failed, refused, "-y")
    assert (code, output) == (1, "")
    assert "2 tasks retried" in problem, "one was submitted with credentials"
    assert "credentials" in problem
    assert "1 task retried" in await tasks.good("retry", "--failed", "--no-credentials", "-y")
    assert (await tasks.run("watch", *failed, refused))[0] == 0
    assert set((await states(gateway)).values()) == {COMPLETED}


async def test_tasks_are_cancelled_by_their_ids_and_by_their_state(
    gateway: AsyncGateway, tasks: Tasks
) -> None:
    await gateway.inference.configure(is_open=False)
    ids = await gateway.submit([MODEL] * 8)
    code, _, _ = await tasks.run("watch", *ids, "--timeout", "100ms")
    assert code == 1, "they have not ended"
    first = sorted(ids)[-1]
    assert "The task was cancelled." in await tasks.good("cancel", first, "-y")
    found = await states(gateway)
    waiting = [id for id, state in found.items() if state is TaskState.PENDING]
    assert str(len(waiting)) in await tasks.good("cancel", "--state", "pending", "--dry-run")
    assert await states(gateway) == found
    output = await tasks.good("cancel", "--state", "pending", "-y")
    assert f"{len(waiting)} tasks cancelled" in output
    await gateway.inference.configure(is_open=True)
    await tasks.run("watch", *ids)
    cancelled = {id for id, state in (await states(gateway)).items() if state is CANCELLED}
    assert cancelled == {first, *waiting}


async def test_a_viewer_may_list_and_watch_but_not_read_or_change(
    control_plane: ControlPlane, gateway: AsyncGateway, tmp_path: Path
) -> None:
    [id] = await gateway.submit([MODEL])
    proxy = {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]}
    secret = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [f"{SERVING}-async-view"],
        "verbs": ["get"],
    }
    grant_role(control_plane, gateway.namespace, "viewer", [*rules_of("viewer"), proxy, secret])
    tasks = Tasks(gateway, control_plane.write_kubeconfig("viewer"), tmp_path)
    assert (await tasks.run("watch", id))[0] == 0
    assert id in await tasks.good("list")
    for arguments in (("get", id, "--response"), ("cancel", id, "-y"), ("retry", id, "-y")):
        code, output, problem = await tasks.run(*arguments)
        assert code == 1 and ANSWER not in output
        assert f"needs get on secrets {SERVING}-async" in problem, arguments


async def test_what_is_in_the_way_is_one_sentence(
    control_plane: ControlPlane, gateway: AsyncGateway, tasks: Tasks, tmp_path: Path
) -> None:
    nobody = Tasks(gateway, control_plane.write_kubeconfig("nobody"), tmp_path)
    code, output, problem = await nobody.run()
    assert (code, output) == (1, "")
    assert problem.startswith("servedeck: Asking the async gateway needs get on secrets")
    await asyncio.to_thread(gateway.valkey.kill)
    code, output, problem = await tasks.run()
    assert (code, output) == (1, "") and "The store" in problem
    await gateway.kill()
    code, output, problem = await tasks.run()
    assert (code, output, len(problem.splitlines())) == (1, "", 1)
    core = f"/api/v1/namespaces/{gateway.namespace}"
    control_plane.request("DELETE", f"{core}/secrets/{SERVING}-async")
    code, output, problem = await tasks.run()
    assert (code, output) == (1, "") and "the async queue is off" in problem
