"""`servedeck request` on the demo cluster, whose servers answer through the API server."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.cli_parser import build_parser
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ClusterError
from servedeck.commands.errors import CommandError
from servedeck.commands.request import RequestOptions, make_options, run_request
from servedeck.demo.cluster import DemoCluster
from servedeck.fleet.session import ClusterSession
from tests.waiting import with_timeout

PROMPT = "Say hello in one sentence."
DEFAULT = RequestOptions(PROMPT, 64, through="api-server")


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False) as running:
        running.clock.start()
        yield running


async def run(
    demo: DemoCluster, name: str, options: RequestOptions, *, readonly: bool = False
) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    namespace, _, name = name.partition("/")
    target = ConnectionOptions((demo.kubeconfig,), namespace=namespace, readonly=readonly)
    out, err = io.StringIO(), io.StringIO()
    session = ClusterSession(target, tune_gc=False)
    code = await with_timeout(run_request(session, name, options, out=out, err=err))
    return code, out.getvalue(), err.getvalue()


async def test_the_answer_and_its_figures(demo: DemoCluster) -> None:
    code, out, err = await run(demo, "chat/llama-31-8b", DEFAULT)
    text, _, figures = out.partition("\n\n")
    assert code == 0 and f'You asked: "{PROMPT}"' in text
    lines = figures.splitlines()
    assert lines[0].startswith("time to first token ")
    assert lines[1].endswith(" tokens/s after the first token")
    assert lines[2].endswith(" tokens (usage)")
    assert lines[5:] == ["HTTP 200", "finish reason stop", f"model {MODEL}"]
    assert err == (
        "servedeck: POST /api/v1/namespaces/chat/services/http:llama-31-8b:80/proxy"
        "/v1/chat/completions through the API server\n"
    )


MODEL = "meta-llama/Llama-3.1-8B-Instruct"


async def test_as_json(demo: DemoCluster) -> None:
    options = DEFAULT._replace(as_json=True, max_tokens=5)
    code, out, _ = await run(demo, "chat/llama-31-8b", options)
    found = json.loads(out)
    assert (code, found["answered"], found["problem"]) == (0, True, "")
    assert (found["through"], found["method"], found["status"]) == ("api-server", "POST", 200)
    assert (found["tokens"], found["tokensFrom"], found["finishReason"]) == (5, "usage", "length")
    assert 0 < found["headersSeconds"] <= found["firstTokenSeconds"] <= found["totalSeconds"]
    assert found["tokensPerSecond"] > 0 and found["text"].startswith("This is ")


async def test_another_task_and_a_path(demo: DemoCluster) -> None:
    code, out, _ = await run(demo, "search/bge-m3", DEFAULT)
    assert code == 0 and out.startswith("1 embedding of 1,024 dimensions\n\n")
    code, out, err = await run(demo, "vision/table-ocr", DEFAULT)
    assert code == 0 and out.startswith('{"status":"ok"}\n\n') and "GET /api/v1/" in err
    code, out, _ = await run(demo, "chat/llama-31-8b", DEFAULT._replace(path="/v1/models"))
    assert code == 0 and '"object": "list"' in out


async def test_no_answer_is_exit_code_1(demo: DemoCluster) -> None:
    code, out, err = await run(demo, "vision/gemma-3-12b", DEFAULT)
    assert code == 1 and "HTTP 503" in out
    assert "servedeck: No Pod is Ready: the request fails unless one becomes Ready.\n" in err
    assert err.endswith(
        "servedeck: The Service leads to no Ready Pod (503); wait until one is Ready, see"
        " servedeck describe.\n"
    )
    code, out, _ = await run(demo, "vision/gemma-3-12b", DEFAULT._replace(as_json=True))
    found = json.loads(out)
    assert (code, found["answered"], found["status"]) == (1, False, 503)
    assert found["problem"].startswith("The Service leads to no Ready Pod")


async def test_readonly(demo: DemoCluster) -> None:
    code, out, err = await run(demo, "chat/llama-31-8b", DEFAULT, readonly=True)
    assert code == 1 and out == "" and "--readonly rejects" in err
    options = DEFAULT._replace(path="/health")
    assert (await run(demo, "chat/llama-31-8b", options, readonly=True))[0] == 0


async def test_the_endpoint_comes_first_and_must_exist(
    demo: DemoCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nothing leaves this machine
    _, _, err = await run(demo, "chat/llama-31-8b", DEFAULT._replace(through=""))
    assert "/chat/llama-31-8b/v1/chat/completions through the endpoint\n" in err
    with pytest.raises(ClusterError, match=r"There is no endpoint: No .*; use --through api-"):
        await run(demo, "research/mistral-7b", DEFAULT._replace(through="endpoint"))


# -- the arguments --------------------------------------------------------------------------------


def options_of(*words: str) -> RequestOptions:
    return make_options(build_parser().parse_args(["request", "chat/llama", *words]))


def test_the_defaults() -> None:
    assert options_of() == RequestOptions(PROMPT, 64)


def test_all_options(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" sk-1\n")
    found = options_of(
        *("--prompt", "Hi", "--max-tokens", "5", "--through", "endpoint", "--timeout", "2m"),
        *("--token-file", str(file), "-o", "json"),
    )
    assert found == RequestOptions("Hi", 5, "", "endpoint", "sk-1", 120.0, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-tokens", "0"), "--max-tokens: Enter a number of tokens from 1 to 100,000."),
        (("--prompt", " "), "--prompt: Enter a prompt"),
        (("--path", "/../x"), "--path: Enter a path without"),
        (("--timeout", "0"), "--timeout is 1s at least."),
        (("--timeout", "x"), "is not a duration"),
        (("--token-file", "no-such-file"), "Cannot read no-such-file: No such file"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError) as raised:
        options_of(*words)
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["", "sk 1", "sk-1\nsk-2", "sk-é"])
def test_a_file_without_a_usable_token(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(CommandError) as raised:
        options_of("--token-file", str(file))
    assert raised.value.exit_code == 2 and "sk" not in str(raised.value)
