"""Commands that are interrupted between two writes, as processes on a demo cluster."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from aiohttp import web

from servedeck.cluster.http.errors import ApiError, ConnectionFailedError, ReadTimeoutError
from servedeck.cluster.write_log import (
    WriteLog,
    expect_writes,
    note_effect,
    settle_write,
    track_write,
)
from servedeck.demo.process import spawn
from tests.waiting import wait_until, with_timeout

SERVINGS = """
apiVersion: servedeck.dev/v1
kind: Serving
metadata: {name: NAME, namespace: chat}
spec:
  template: vllm
  image: vllm/vllm-openai:v0.33.0
  memory: 32Gi
  accelerator: nvidia.com/gpu
  settings: {model: org/model}
"""


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


class HoldingProxy:
    """Passes requests on, but holds the responses to writes, or to dry runs, from one of them
    on."""

    def __init__(self, server: str, *, dry_runs: bool) -> None:
        self.first = 1
        """The number of the first one that is held."""
        self._count = 0
        self._server = server
        self._dry_runs = dry_runs
        self.held: list[str] = []
        """Path of each write."""
        self.release = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        is_dry_run = "dryRun" in request.query_string or b'"dryRun"' in body
        is_review = request.path.split("/")[-1].endswith("reviews")
        is_write = request.method != "GET" and not is_review
        holds = is_write and is_dry_run == self._dry_runs
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                f"{self._server}{request.path_qs}",
                data=body,
                headers={key: value for key, value in request.headers.items() if key != "Host"},
            ) as found,
        ):
            if "watch" in request.query:
                stream = web.StreamResponse(headers={"Content-Type": "application/json"})
                await stream.prepare(request)
                async for chunk in found.content.iter_any():
                    await stream.write(chunk)
                return stream
            content = await found.read()
            self._count += holds
            if holds and self._count >= self.first:
                self.held.append(request.path)
                await self.release.wait()
            kind = found.headers.get("Content-Type", "")
            return web.Response(body=content, status=found.status, headers={"Content-Type": kind})


@asynccontextmanager
async def holding_proxy(
    kubeconfig: Path, folder: Path, *, dry_runs: bool = False
) -> AsyncIterator[tuple[HoldingProxy, Path]]:
    """The proxy, and a kubeconfig for it."""
    config = yaml.safe_load(kubeconfig.read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    proxy = HoldingProxy(f"{server.scheme}://{server.netloc}", dry_runs=dry_runs)
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    for one in config["clusters"]:
        one["cluster"]["server"] = f"http://127.0.0.1:{port}{server.path}"
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    try:
        yield proxy, file
    finally:
        proxy.release.set()
        await runner.cleanup()


async def start(*arguments: object) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "servedeck", *map(str, arguments), stdin=DEVNULL, stdout=PIPE,
        stderr=PIPE,
    )  # fmt: skip


async def wait_for_end(process: Process) -> tuple[int, str]:
    """Exit code and standard error."""
    assert process.stderr is not None
    error = (await with_timeout(process.stderr.read())).decode()
    code = await with_timeout(process.wait())
    return code, error


async def wait_for_answer(process: Process) -> str:
    """The line that says that it waits for a response."""
    assert process.stderr is not None
    while line := (await with_timeout(process.stderr.readline())).decode():
        if "Waiting for the response" in line:
            return line
    raise AssertionError("it did not wait")


def write_servings(folder: Path, *names: str) -> Path:
    file = folder / "servings.yaml"
    file.write_text("---".join(SERVINGS.replace("NAME", name) for name in names))
    return file


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_write_in_flight_is_finished_and_the_rest_is_said(
    kubeconfig: Path, tmp_path: Path, number: signal.Signals
) -> None:
    name = f"cut-{number.name.lower()}"
    file = write_servings(tmp_path, name, f"{name}-later")
    async with holding_proxy(kubeconfig, tmp_path) as (proxy, config):
        process = await start("apply", "--kubeconfig", config, "-f", file)
        await wait_until(lambda: proxy.held, "the first write")
        process.send_signal(number)
        waiting = await wait_for_answer(process)
        assert f"response to the write of Deployment chat/{name}; interrupt again" in waiting
        proxy.release.set()
        code, error = await wait_for_end(process)
    assert code == 128 + number
    assert error == (
        f"servedeck: Interrupted. Written: Deployment chat/{name}. Not done: serving "
        f"chat/{name}-later, Service chat/{name}, HTTPRoute chat/{name}. Run the command again "
        "for the rest.\n"
    )
    assert len(proxy.held) == 1
    again = await start("apply", "--kubeconfig", kubeconfig, "-f", file)
    code, error = await wait_for_end(again)
    assert code == 0, error


async def test_a_second_interruption_does_not_wait_for_the_response(
    kubeconfig: Path, tmp_path: Path
) -> None:
    file = write_servings(tmp_path, "twice")
    async with holding_proxy(kubeconfig, tmp_path) as (proxy, config):
        process = await start("apply", "--kubeconfig", config, "-f", file)
        await wait_until(lambda: proxy.held, "the first write")
        process.send_signal(signal.SIGINT)
        await wait_for_answer(process)
        process.send_signal(signal.SIGINT)
        code, error = await wait_for_end(process)
    assert code == 130
    assert "Not known: Deployment chat/twice, whose response did not come" in error
    assert "Not done: Service chat/twice, HTTPRoute chat/twice. Run the command again" in error


async def test_before_the_first_write_nothing_was_written(kubeconfig: Path, tmp_path: Path) -> None:
    file = write_servings(tmp_path, "never")
    async with holding_proxy(kubeconfig, tmp_path, dry_runs=True) as (proxy, config):
        process = await start("apply", "--kubeconfig", config, "-f", file)
        await wait_until(lambda: proxy.held, "the dry run")
        process.send_signal(signal.SIGINT)
        code, error = await wait_for_end(process)
    assert (code, error) == (
        130,
        "servedeck: Interrupted; nothing was written. Not done: serving chat/never.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "scale chat/llama-33-70b search/bge-m3 --replicas 1 -y",
            "Written: Deployment chat/llama-33-70b. Not done: Deployment search/bge-m3.",
        ),
        ("restart research/mistral-7b -y", "Written: Deployment research/mistral-7b."),
        ("set search/bge-m3 replicas=1 -y", "Written: Deployment search/bge-m3."),
        (
            "delete agents/gpt-oss-20b -y",
            "Deleted: HTTPRoute agents/gpt-oss-20b. Not done: Deployment",
        ),
        ("async-queue on vision/table-ocr -y", "Not done: "),
        ("traffic chat/llama-31-8b canary -y", "Not done: "),
    ],
)
async def test_commands_that_write_say_what_they_wrote(
    kubeconfig: Path, tmp_path: Path, arguments: str, expected: str
) -> None:
    async with holding_proxy(kubeconfig, tmp_path) as (proxy, config):
        process = await start(*arguments.split(), "--kubeconfig", config)
        await wait_until(lambda: proxy.held or process.returncode is not None, "the first write")
        if process.returncode is not None:
            raise AssertionError(await wait_for_end(process))
        process.send_signal(signal.SIGINT)
        await wait_for_answer(process)
        proxy.release.set()
        code, error = await wait_for_end(process)
    assert code == 130, error
    assert "servedeck: Interrupted." in error
    assert expected in error
    assert len(proxy.held) == 1


async def interrupt(
    kubeconfig: Path, folder: Path, arguments: str, number: signal.Signals, at: int
) -> tuple[int, str]:
    """Exit code and standard error of a command that is interrupted at one of its writes."""
    async with holding_proxy(kubeconfig, folder) as (proxy, config):
        proxy.first = at
        process = await start(*arguments.split(), "--kubeconfig", config)
        await wait_until(lambda: proxy.held or process.returncode is not None, "the write")
        assert process.returncode is None, await wait_for_end(process)
        process.send_signal(number)
        if number != signal.SIGKILL:
            await wait_for_answer(process)
            proxy.release.set()
        return await wait_for_end(process)


async def run_again(kubeconfig: Path, arguments: str) -> tuple[int, str]:
    return await wait_for_end(await start(*arguments.split(), "--kubeconfig", kubeconfig))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_an_adoption_that_was_interrupted_is_completed(
    tmp_path: Path, number: signal.Signals
) -> None:
    arguments = "adopt research/mistral-7b --route -y"
    with spawn() as cluster:
        code, error = await interrupt(cluster, tmp_path, arguments, number, 1)
        if number == signal.SIGKILL:
            assert (code, error) == (-9, "")
        else:
            assert code == 143
            assert error == (
                "servedeck: Interrupted. Written: Deployment research/mistral-7b. Not done: "
                "HTTPRoute research/mistral-7b. Run the command again for the rest.\n"
            )
        dry = await start(*f"{arguments} --dry-run --kubeconfig {cluster}".split())
        assert dry.stdout is not None
        assert b"HTTPRoute mistral-7b is created" in await with_timeout(dry.stdout.read())
        await wait_for_end(dry)
        code, error = await run_again(cluster, arguments)
    assert code == 0, error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_a_second_revision_that_was_interrupted_is_not_left_beside_another_one(
    tmp_path: Path, number: signal.Signals
) -> None:
    arguments = "traffic chat/llama-31-8b canary -y"
    with spawn() as cluster:
        code, error = await interrupt(cluster, tmp_path, arguments, number, 1)
        delete = "servedeck delete chat/llama-31-8b-canary"
        if number == signal.SIGINT:
            assert code == 130
            assert "Not done: Service chat/llama-31-8b-canary, " in error
            assert error.endswith(f" To begin again, delete it first: {delete}\n")
        code, error = await run_again(cluster, arguments)
        assert code == 1
        assert "llama-31-8b-canary is a revision of llama-31-8b already" in error
        assert f"it was not created as a whole. To begin again, delete it first: {delete}" in error
        code, error = await run_again(cluster, "delete chat/llama-31-8b-canary -y")
        assert code == 0, error
        code, error = await run_again(cluster, arguments)
        assert code == 0, error
        # A whole one that gets no requests is said, and may have another one beside it.
        code, error = await run_again(cluster, arguments)
    assert code == 0
    assert "llama-31-8b-canary is a revision of llama-31-8b already and gets no requests" in error


async def test_what_was_restarted_is_not_to_be_restarted_again_with_the_rest(
    kubeconfig: Path, tmp_path: Path
) -> None:
    arguments = "restart search/bge-m3 research/llama-32-3b -y"
    code, error = await interrupt(kubeconfig, tmp_path, arguments, signal.SIGINT, 1)
    assert code == 130
    assert error.endswith(
        "Not done: Deployment research/llama-32-3b. Run the command again for those alone.\n"
    )


# -- the log ------------------------------------------------------------------------------------


def run_logged(log: WriteLog, path: str, error: BaseException | None = None) -> None:
    async def run() -> None:
        log.begin()
        with track_write("PATCH", path, None):
            if error is not None:
                raise error

    asyncio.run(run())


DEPLOYMENT = "/apis/apps/v1/namespaces/chat/deployments/llama"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiError(409), "Interrupted; nothing was written."),
        (ConnectionFailedError("refused"), "Interrupted; nothing was written."),
        (ApiError(504), "Not known: Deployment chat/llama, whose response did not come"),
        (ReadTimeoutError("silent"), "Not known: Deployment chat/llama, whose"),
    ],
)
def test_a_write_that_failed_is_written_only_if_the_server_may_have_executed_it(
    error: Exception, expected: str
) -> None:
    log = WriteLog()
    with pytest.raises(type(error)):
        run_logged(log, DEPLOYMENT, error)
    assert expected in log.summary()


def test_what_is_settled_is_not_expected() -> None:
    log = WriteLog()

    async def run() -> None:
        log.begin()
        expect_writes(["Deployment chat/a", "Deployment chat/b\x1b[31m"])
        settle_write("Deployment chat/a")

    asyncio.run(run())
    assert log.summary() == "Interrupted; nothing was written. Not done: Deployment chat/b."


def test_a_write_after_the_interruption_is_not_sent() -> None:
    log = WriteLog()
    log.stop(lambda: None)
    with pytest.raises(asyncio.CancelledError):
        run_logged(log, DEPLOYMENT)
    assert "nothing was written" in log.summary()


@pytest.mark.parametrize(
    ("method", "path", "body", "name"),
    [
        ("POST", "v1/namespaces/chat/secrets", b'{"metadata":{"name":"key"}}', "Secret chat/key"),
        ("PATCH", "v1/nodes/gpu-1", None, "Node gpu-1"),
        ("PATCH", "v1/namespaces/chat/pods/a%2Fb/status", None, "Pod chat/a/b"),
        ("POST", "v1/namespaces/chat/services", b"x", "Service chat/of a new name"),
    ],
)
def test_objects_are_named_as_in_plans(
    method: str, path: str, body: bytes | None, name: str
) -> None:
    log = WriteLog()

    async def run() -> None:
        log.begin()
        with track_write(method, f"/api/{path}", body):
            assert log.in_flight == (f"write of {name}",)

    asyncio.run(run())
    assert log.summary() == f"Interrupted. Written: {name}."


PROXIED = "/api/v1/namespaces/chat/services/llama-async-admin:8082/proxy/-/async/queue/close"


@pytest.mark.parametrize("error", [None, ApiError(504), ReadTimeoutError("silent")])
def test_a_request_to_a_service_is_no_write_of_it(error: Exception | None) -> None:
    log = WriteLog()

    async def run() -> None:
        log.begin()
        with track_write("POST", PROXIED, None):
            assert log.in_flight == ("request to Service chat/llama-async-admin:8082",)
            if error is not None:
                raise error

    with nullcontext() if error is None else pytest.raises(type(error)):
        asyncio.run(run())
    assert log.summary() == "Interrupted; nothing was written." and not log.in_flight


async def test_a_request_to_a_service_is_waited_for_and_none_begins_after() -> None:
    log, idle = WriteLog(), []
    log.begin()
    with track_write("POST", PROXIED, None):
        log.stop(lambda: idle.append(True))
        assert not idle
    assert idle == [True]
    with pytest.raises(asyncio.CancelledError), track_write("POST", PROXIED, None):
        raise AssertionError


async def test_a_write_that_is_not_answered_yet_is_not_known() -> None:
    log = WriteLog("Do it again for the rest.")
    log.begin()
    expect_writes(["Deployment chat/llama", "Service chat/llama"])
    assert log.is_empty
    assert log.notice("Adopt chat/llama", "Nothing is known.") == "Nothing is known."
    with track_write("PATCH", DEPLOYMENT, None):
        assert log.notice("Adopt chat/llama", "Nothing is known.") == (
            "Adopt chat/llama: Interrupted. Not known: Deployment chat/llama, whose response did "
            "not come; look at it first. Not done: Service chat/llama. Do it again for the rest."
        )
    assert "Written: Deployment chat/llama. Not done: Service chat/llama." in log.summary()


async def test_what_is_noted_is_said_until_it_is_not_true_any_more() -> None:
    log = WriteLog()
    log.begin()
    expect_writes(["Deployment chat/llama"])
    note_effect("a", "First.")
    note_effect("b", "The queue is\x1b[31m closed.", unless_deleted="Deployment chat/llama")
    note_effect("a", "Second.")
    assert log.summary() == (
        "Interrupted. The queue is closed. Second. Not done: Deployment chat/llama. Run the"
        " command again for the rest."
    )
    note_effect("a", "")
    with track_write("PATCH", DEPLOYMENT, None):
        pass
    assert log.summary() == "Interrupted. Written: Deployment chat/llama. The queue is closed."
    with track_write("DELETE", DEPLOYMENT, None):
        pass
    assert log.summary() == "Interrupted. Deleted: Deployment chat/llama."
