import base64
import json
import shlex

import pytest

from servedeck.cluster.command_options import CommandOptions
from servedeck.fleet.views import NamespacedName
from servedeck.serving.endpoint import Endpoint
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.clipboard import MAX_ENCODED_BYTES, CopyError, copy_text, osc52
from tui.screens.connect import ConnectScreen, build_paragraphs, connect_items
from widgets.styled_line import plain_text


async def open_connect(pilot, app) -> None:
    await pilot.press("c")
    await wait_for(pilot, lambda: isinstance(app.screen, ConnectScreen), "the overlay")


@pytest.fixture(autouse=True)
def outside_tmux(monkeypatch):
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def written(monkeypatch) -> list[str]:
    from tui.app import ServedeckApp

    sent: list[str] = []
    monkeypatch.setattr(ServedeckApp, "write_to_terminal", lambda self, text: sent.append(text))
    return sent


async def test_it_shows_where_the_serving_is_reached_and_how():
    app = make_app(fakes.FakeSource().add_views(fakes.serving("llama-8b")))
    async with app.run_test(size=(120, 60)) as pilot:
        await open_connect(pilot, app)
        await wait_for_text(
            pilot,
            "https://serve.example.com/team-a/llama-8b",
            "HTTPRoute team-a/llama-8b",
            "http://llama-8b.team-a.svc:80",
            "/v1/chat/completions",
            "/v1/models",
            "-H 'X-Async: true'",
            "kubectl --context prod-seoul port-forward -n team-a service/llama-8b 8080:80",
        )


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("u", "https://serve.example.com/team-a/llama-8b"),
        ("a", "http://llama-8b.team-a.svc:80"),
        ("f", "kubectl --context prod-seoul port-forward -n team-a service/llama-8b 8080:80"),
    ],
)
async def test_each_text_is_copied_with_one_key_and_shown(written, key, text):
    app = make_app(fakes.FakeSource().add_views(fakes.serving("llama-8b")))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_connect(pilot, app)
        await pilot.press(key)
        await wait_for_text(pilot, f"Copied by the terminal: {text}")
        assert written == [osc52(text, {})]


async def test_both_curl_lines_are_copied_whole(written):
    app = make_app(fakes.FakeSource().add_views(fakes.serving("llama-8b")))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_connect(pilot, app)
        await pilot.press("s", "x")
        await wait_for(pilot, lambda: len(written) == 2, "both copies")
        plain, queued = (
            base64.b64decode(text.split(";")[2].rstrip("\x07")).decode() for text in written
        )
        assert plain.startswith("curl -X POST 'https://serve.example.com/team-a/llama-8b/v1/chat")
        assert "X-Async" not in plain
        assert "-H 'X-Async: true'" in queued


OPTIONS = CommandOptions("prod", "/etc/kube/config")
PROXIED = Endpoint(
    cluster_url="http://llama.team-a.svc:80",
    port_forward_command="kubectl port-forward -n team-a service/llama 8080:80",
    proxy_path="/api/v1/namespaces/team-a/services/http:llama:80/proxy",
)


def items_of(view, *urls):
    return {item.name: item for item in connect_items(view, OPTIONS, urls)}


async def test_the_result_of_an_asynchronous_request_is_fetched(written):
    app = make_app(fakes.FakeSource().add_views(fakes.serving("llama-8b", has_async_queue=True)))
    async with app.run_test(size=(120, 44)) as pilot:
        await open_connect(pilot, app)
        url = "https://serve.example.com/team-a/llama-8b/-/async/tasks/<id>/result"
        await wait_for_text(pilot, "Its result, waited for up to 30 seconds", f"'{url}'")
        await pilot.press("x", "r")
        await wait_for(pilot, lambda: len(written) == 2, "both copies")
        request, result = (
            base64.b64decode(text.split(";")[2].rstrip("\x07")).decode() for text in written
        )
        assert "-H 'X-Async: true'" in request
        words = shlex.split(result.replace("\\\n", " "))
        assert words == [
            "curl",
            "-H",
            "Authorization: Bearer <token>",
            "-H",
            "Prefer: wait=30",
            url,
        ]


async def test_a_queue_that_is_off_says_where_it_is_turned_on(written):
    app = make_app(fakes.FakeSource().add_views(fakes.serving("llama-8b")))
    async with app.run_test(size=(120, 44)) as pilot:
        await open_connect(pilot, app)
        await wait_for_text(pilot, "The async queue is off", "the tab Async Queue of the serving")
        await pilot.press("r")
        await wait_for_text(pilot, "The async queue is off: there are no results to fetch.")
        assert written == []
        app.source.add_views(fakes.serving("llama-8b", has_async_queue=True))
        await wait_for_text(pilot, "/-/async/tasks/<id>/result")
        assert "answered at once" not in screen_text(app)


def test_without_a_route_the_gateway_is_reached_through_a_port_forward_of_its_own():
    endpoint = Endpoint(
        cluster_url="http://llama.team-a.svc:9000",
        port_forward_command="kubectl port-forward -n team-a service/llama 9000:9000",
    )
    items = items_of(fakes.serving("llama", endpoint=endpoint, has_async_queue=True))
    assert "'http://localhost:9000/v1/chat/completions'" in items["curl"].text
    assert items["curl_async"].note == (
        "Through: servedeck --kubeconfig /etc/kube/config --context prod "
        "port-forward team-a/llama 8080 --async"
    )
    assert "'http://localhost:8080/v1/chat/completions'" in items["curl_async"].text
    assert "'http://localhost:8080/-/async/tasks/<id>/result'" in items["result"].text


def test_the_commands_name_the_cluster():
    items = items_of(fakes.serving("llama", endpoint=PROXIED))
    options = "--kubeconfig /etc/kube/config --context prod"
    forward = "port-forward -n team-a service/llama 8080:80"
    assert items["port_forward"].text == f"kubectl {options} {forward}"
    assert items["proxy"].text.startswith(f"kubectl {options} proxy --append-server-path --port=")


def body_of(text):
    return json.loads(shlex.split(text.replace("\\\n", " "))[-1])


def test_a_streamed_answer_is_asked_for_where_the_server_can():
    items = items_of(fakes.serving("llama"))
    assert items["stream"].text.startswith("curl -N -X POST ")
    assert body_of(items["stream"].text)["stream"] is True
    assert "stream" not in body_of(items["curl"].text)
    for other in (fakes.serving("bge", model="BAAI/bge-m3"), fakes.serving("t", template="triton")):
        item = items_of(other)["stream"]
        assert not item.text and "is known to stream its answer" in item.unavailable_reason


def test_a_request_through_the_api_server_has_no_header_of_its_own():
    text = items_of(fakes.serving("llama", endpoint=PROXIED))["proxy"].text
    proxy, request = text.split(" & sleep 1\n")
    port = proxy.rpartition("=")[2]
    assert f"'http://127.0.0.1:{port}{PROXIED.proxy_path}/v1/chat/completions'" in request
    assert "Authorization" not in text and request.endswith("; kill $!")
    read = items_of(fakes.serving("t", template="triton", endpoint=PROXIED))["proxy"].text
    assert f"'http://127.0.0.1:{port}{PROXIED.proxy_path}/v2'" in read and "POST" not in read


def test_a_running_port_forward_has_a_request_of_its_own():
    off, on = items_of(fakes.serving("llama")), items_of(fakes.serving("llama"), "http://[::1]:5")
    assert not off["forwarded"].text
    assert "No port-forward to it runs here" in off["forwarded"].unavailable_reason
    assert "'http://[::1]:5/v1/chat/completions'" in on["forwarded"].text
    assert on["curl"].text == off["curl"].text


def test_only_a_deployment_can_have_an_async_queue():
    view = fakes.serving("llama", key=NamespacedName("team-a", "llama", "StatefulSet"))
    items = items_of(view)
    assert items["curl"].text and not items["curl_async"].text and not items["result"].text
    assert items["curl_async"].unavailable_reason == "Only a Deployment can have an async queue."


async def test_without_a_route_it_says_so_and_gives_the_port_forward(written):
    endpoint = Endpoint(
        issue="No route to the serving.",
        cluster_url="http://llama-8b.team-a.svc:80",
        service_name="llama-8b",
        port=80,
        port_forward_command="kubectl port-forward -n team-a service/llama-8b 8080:80",
    )
    app = make_app(fakes.FakeSource().add_views(fakes.serving("llama-8b", endpoint=endpoint)))
    async with app.run_test(size=(80, 30)) as pilot:
        await open_connect(pilot, app)
        await wait_for_text(pilot, "No route to the serving.", "use the port-forward below")
        await pilot.press("u")
        await wait_for_text(pilot, "No route to the serving.")
        assert written == []
        await pilot.press("s")
        await wait_for(pilot, lambda: written, "the copy")
        text = base64.b64decode(written[0].split(";")[2].rstrip("\x07")).decode()
        assert "http://localhost:8080/v1/chat/completions" in text


def test_the_sequence_is_wrapped_for_tmux_and_for_screen():
    assert osc52("hi", {}) == "\x1b]52;c;aGk=\x07"
    assert osc52("hi", {"TMUX": "/tmp/x"}) == "\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\"
    wrapped = osc52("hi" * 60, {"TERM": "screen-256color"})
    chunks = [chunk.removeprefix("\x1bP") for chunk in wrapped.split("\x1b\\")]
    assert "".join(chunks) == osc52("hi" * 60, {})


def test_what_no_terminal_would_take_is_rejected_with_a_sentence():
    with pytest.raises(CopyError, match="too long to copy"):
        osc52("x" * MAX_ENCODED_BYTES, {})


async def test_inside_tmux_the_text_goes_through_tmux(tmp_path, monkeypatch):
    taken = tmp_path / "taken"
    fake = tmp_path / "tmux"
    loads = f'printf "%s " "$@" > {taken}.args; cat > {taken}'
    fake.write_text(f"#!/bin/sh\n[ $1 = load-buffer ] || exit\n{loads}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    sent: list[str] = []
    assert await copy_text("hello", sent.append, {"TMUX": "/tmp/x"}) == "through tmux"
    assert taken.read_text() == "hello"
    assert (tmp_path / "taken.args").read_text() == "load-buffer -w - "
    assert sent == []


async def test_a_tmux_without_set_clipboard_is_reported(tmp_path, monkeypatch):
    fake = tmp_path / "tmux"
    fake.write_text("#!/bin/sh\n[ $1 = load-buffer ] && cat > /dev/null || echo off\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert "set-clipboard is off" in await copy_text("hello", print, {"TMUX": "/tmp/x"})


@pytest.mark.parametrize(
    ("desired", "expected"),
    [(2, "No Pod is ready: requests fail"), (0, "scaled to 0: requests fail")],
)
def test_where_nothing_answers_it_says_so(desired, expected):
    silent = build_paragraphs(fakes.serving("llama", ready=0, desired=desired), OPTIONS)
    assert any(expected in plain_text(paragraph.line) for paragraph in silent)
    answers = build_paragraphs(fakes.serving("llama", ready=1, desired=2), OPTIONS)
    assert not any("requests fail" in plain_text(paragraph.line) for paragraph in answers)


async def test_without_tmux_support_the_terminal_is_used(tmp_path, monkeypatch):
    fake = tmp_path / "tmux"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    sent: list[str] = []
    assert await copy_text("hello", sent.append, {"TMUX": "/tmp/x"}) == "by the terminal"
    assert sent[0].startswith("\x1bPtmux;")


def test_a_server_of_grpc_gets_no_curl_command():
    grpc = Endpoint(
        cluster_url="llama.team-a.svc:9000",
        is_grpc=True,
        port_forward_command="kubectl port-forward service/llama 9000:9000",
    )
    view = fakes.serving("llama", template="jetstream", endpoint=grpc)
    items = items_of(view)
    assert items["address"].text == "llama.team-a.svc:9000"
    assert items["curl"].text == items["curl_async"].text == ""
    assert "accepts gRPC only" in items["curl"].unavailable_reason
    text = "\n".join(plain_text(one.line) for one in build_paragraphs(view, OPTIONS))
    assert "Paths of the inference server" not in text
    assert "curl -X" not in text


def test_a_forwarded_server_with_tls_is_requested_with_https():
    tls = Endpoint(
        cluster_url="https://llama.team-a.svc:8000",
        port_forward_command="kubectl port-forward service/llama 8000:8000",
    )
    items = items_of(fakes.serving("llama", endpoint=tls))
    assert "'https://localhost:8000/v1/chat/completions'" in items["curl"].text
