"""`servedeck apply`, `export` and `create` as used by a script, on a demo cluster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from servedeck import cli
from servedeck.commands import arguments, export
from servedeck.commands.errors import CommandError
from servedeck.demo.process import spawn
from servedeck.serving.edit.secret_fields import find_masked_values, redact_secrets
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.objects.unmanaged_fields import UnmanagedField
from servedeck.serving.spec.document import to_yaml
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import MASK
from tests.cluster.fake_api_server import write_kubeconfig as write_kubeconfig
from tests.waiting import WAIT_SECONDS

SERVING_YAML = """
apiVersion: servedeck.dev/v1
kind: Serving
metadata: {name: fresh, namespace: chat}
spec:
  template: vllm
  image: vllm/vllm-openai:v0.33.0
  memory: 32Gi
  accelerator: nvidia.com/gpu
  settings: {model: org/model}
"""

LOGIN_PAGE = b"<!DOCTYPE html><title>Log in</title>"


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


def run_servedeck(*args: object, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "servedeck", *map(str, args)],
        input=text,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def test_dry_run_says_what_would_be_made_and_makes_nothing(kubeconfig: Path) -> None:
    result = run_servedeck(
        "apply", "--kubeconfig", kubeconfig, "-f", "-", "--dry-run", text=SERVING_YAML
    )
    assert result.returncode == 0, result.stderr
    assert "deployment.apps/fresh created (server dry run)" in result.stdout
    gone = run_servedeck("export", "--kubeconfig", kubeconfig, "-n", "chat", "fresh")
    assert gone.returncode == 1
    assert "There is no Deployment fresh in namespace chat" in gone.stderr


def test_what_was_applied_is_exported_and_unchanged_when_applied_again(
    kubeconfig: Path, tmp_path: Path
) -> None:
    file = tmp_path / "serving.yaml"
    file.write_text(SERVING_YAML.replace("fresh", "again"))
    assert run_servedeck("apply", "--kubeconfig", kubeconfig, "-f", file).returncode == 0
    exported = run_servedeck("export", "--kubeconfig", kubeconfig, "-n", "chat", "again")
    assert exported.returncode == 0, exported.stderr
    assert exported.stderr == ""
    once_more = run_servedeck("apply", "--kubeconfig", kubeconfig, "-f", "-", text=exported.stdout)
    assert once_more.returncode == 0
    assert "deployment.apps/again unchanged" in once_more.stdout


def test_what_changes_is_printed_indented_under_its_object(kubeconfig: Path) -> None:
    text = SERVING_YAML.replace("fresh", "changes")
    command = ("apply", "--kubeconfig", kubeconfig, "-f", "-")
    assert run_servedeck(*command, text=text).returncode == 0
    result = run_servedeck(*command, "--dry-run", text=text.replace("v0.33.0", "v0.33.1"))
    assert result.stdout.startswith(
        "deployment.apps/changes configured (server dry run)\n"
        "  .spec.template.spec.containers[inference-server].image:"
        " vllm/vllm-openai:v0.33.0 -> vllm/vllm-openai:v0.33.1\n"
        "  its Pods restart\n"
        "service/changes unchanged (server dry run)\n"
    )


def test_an_error_of_the_spec_names_its_field_and_nothing_is_made(kubeconfig: Path) -> None:
    text = SERVING_YAML.replace("name: fresh", "name: wrong").replace("{model: org/model}", "{}")
    result = run_servedeck("apply", "--kubeconfig", kubeconfig, "-f", "-", text=text)
    assert result.returncode == 1
    assert "spec.settings.model: The model is missing" in result.stderr
    assert result.stdout == ""


def test_an_error_in_one_serving_of_a_file_applies_none(kubeconfig: Path) -> None:
    valid = SERVING_YAML.replace("name: fresh", "name: first")
    invalid = SERVING_YAML.replace("{model: org/model}", "{}")
    text = f"{valid}---{invalid}"
    result = run_servedeck("apply", "--kubeconfig", kubeconfig, "-f", "-", text=text)
    assert (result.returncode, result.stdout) == (1, "")
    assert "error: fresh: spec.settings.model: The model is missing" in result.stderr
    assert result.stderr.endswith(
        "error: No serving of the file was applied; correct the errors first.\n"
    )
    gone = run_servedeck("export", "--kubeconfig", kubeconfig, "-n", "chat", "first")
    assert "There is no Deployment first in namespace chat" in gone.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: [", "line 1"),
        (SERVING_YAML.replace("memory", "memry"), "memry"),
        (SERVING_YAML.replace("32Gi", "lots"), "line 8"),
    ],
)
def test_a_bad_file_is_reported_by_line_or_field(kubeconfig: Path, text: str, named: str) -> None:
    result = run_servedeck("apply", "--kubeconfig", kubeconfig, "-f", "-", text=text)
    assert result.returncode == 1
    assert named in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: fresh", 'name: "bad\\e]0;pwn\\a"'),
        ("memory:", '"mem\\e]0;pwn\\a\\u202E":'),
        ("org/model", '"bad\\e]0;pwn\\a"'),
    ],
)
def test_no_text_of_a_file_writes_control_sequences(kubeconfig: Path, old: str, new: str) -> None:
    text = SERVING_YAML.replace(old, new)
    result = run_servedeck("apply", "--dry-run", "--kubeconfig", kubeconfig, "-f", "-", text=text)
    for written in (result.stdout, result.stderr):
        assert written.replace("\n", "").isprintable(), ascii(written)
    assert old == "org/model" or result.returncode == 1


@pytest.mark.parametrize("text", ["bad\x1b]0;pwn\a", "a\x9b31mb\u202e"])
def test_output_of_a_command_writes_no_control_sequences(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(args: object) -> int:
        raise CommandError(f"first {text}\nsecond {text}")

    monkeypatch.setattr("tui.command_line.run_dashboard", fails)
    assert cli.main([]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("servedeck: first ")
    assert second.startswith("second ")
    assert (first + second).isprintable()


UNMANAGED = (
    UnmanagedField("Service x", "spec.\x1b]0;pwn\a\nx", "LoadBalancer", steps=("spec", "x")),
    UnmanagedField("Deployment x", "spec.replicas", 2, 1, ("spec", "replicas")),
)
NOTE = (
    "note: Not in the file: 2 fields of the objects; see the comments at its end{}. Applying the "
    "file does not change them; a new serving made from it lacks them or has other values.\n"
)


@pytest.mark.parametrize(
    ("flags", "stderr"),
    [
        ([], NOTE.format(", or use -v")),
        (
            ["-v"],
            NOTE.format("")
            + "  Service x spec. x: LoadBalancer\n"
            + "  Deployment x spec.replicas: 2 (a new serving: 1)\n",
        ),
    ],
)
def test_an_export_says_in_one_line_what_the_file_lacks_and_lists_it_on_demand(
    flags: list[str],
    stderr: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    async def exported(*_: object, **__: object) -> export.ExportedServing:
        return export.ExportedServing("a: b\n", UNMANAGED, ())

    async def settings(*_: object) -> PlatformSettings:
        return PlatformSettings()

    monkeypatch.setattr(export, "export_serving", exported)
    monkeypatch.setattr(export, "load_platform_settings", settings)
    config = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    assert cli.main(["export", "x", *flags, "--kubeconfig", str(config)]) == 0
    assert capsys.readouterr() == ("a: b\n", stderr)


def test_an_export_warns_of_what_applying_it_unchanged_creates() -> None:
    exported = export.ExportedServing("", (), ("Service chat/llama",))
    assert [*export.describe_export(exported, verbose=False)] == [
        "warning: The serving has no Service chat/llama; applying the file creates it."
    ]


def test_an_export_names_what_looks_secret_in_it() -> None:
    spec = ServingSpec.model_validate(
        {
            "name": "llama",
            "namespace": "chat",
            "template": "vllm",
            "env": [
                {"name": "HF_TOKEN", "value": "hf_abcdefghijklmnopqrstuvwxyz012345"},
                {"name": "MAX_TOKENS", "value": "100"},
                {"name": "API_KEY", "secret": {"name": "keys", "key": "api"}},
            ],
            "settings": {"model": "org/m", "additional_arguments": ["--api-key", "s3cret"]},
            "transformer": {
                "image": "t:1",
                "command": ["serve", "--token=abc"],
                "env": [{"name": "DB_PASSWORD", "value": "x"}],
            },
        }
    )
    found = tuple(export.find_secret_values(spec))
    assert found == (
        "env.HF_TOKEN",
        "transformer.env.DB_PASSWORD",
        "transformer.command",
        "settings.additionalArguments",
    )
    exported = export.ExportedServing("", (), (), found)
    [line] = export.describe_export(exported, verbose=False)
    assert line.startswith("warning: These values in the file look secret: env.HF_TOKEN, ")
    assert "s3cret" not in line and "hf_abc" not in line


SECRETS_YAML = """
apiVersion: servedeck.dev/v1
kind: Serving
metadata: {name: secretive, namespace: chat}
spec:
  template: vllm
  image: vllm/vllm-openai:v0.33.0
  memory: 32Gi
  accelerator: nvidia.com/gpu
  settings: {model: org/model, additionalArguments: [--api-key, s3cret]}
  env:
    - {name: HF_TOKEN, value: hf_abcdefghijklmnopqrstuvwxyz012345}
    - {name: MAX_TOKENS, value: "100"}
"""


def test_a_redacted_export_has_no_secret_and_is_refused_until_its_values_are_written(
    kubeconfig: Path,
) -> None:
    common = ("--kubeconfig", kubeconfig)
    applied = run_servedeck("apply", *common, "-f", "-", text=SECRETS_YAML)
    assert applied.returncode == 0, applied.stderr
    plain = run_servedeck("export", *common, "chat/secretive").stdout
    assert "s3cret" in plain
    redacted = run_servedeck("export", *common, "chat/secretive", "--redact")
    assert redacted.returncode == 0
    assert "s3cret" not in redacted.stdout and "hf_abc" not in redacted.stdout
    replaced = plain.replace("s3cret", MASK).replace("hf_abcdefghijklmnopqrstuvwxyz012345", MASK)
    assert redacted.stdout == replaced
    assert redacted.stderr == (
        f"note: {MASK} in the file stands for values that look secret: env.HF_TOKEN, "
        "settings.additionalArguments. Write them, or take them from a Secret of the cluster, "
        "before you apply it.\n"
    )
    for command in ("apply", "create"):
        refused = run_servedeck(command, *common, "-f", "-", text=redacted.stdout)
        assert refused.returncode == 1
        assert (
            f"standard input: secretive: {MASK} stands for a value that is not shown, in "
            "env.HF_TOKEN, settings.additionalArguments; write the value"
        ) in refused.stderr
    again = run_servedeck("apply", *common, "-f", "-", text=plain)
    assert again.returncode == 0
    assert "deployment.apps/secretive unchanged" in again.stdout


@pytest.mark.parametrize(
    ("where", "value", "redacted"),
    [
        ("command", ["serve", "--token=abc", "x"], ("serve", f"--token={MASK}", "x")),
        ("command", ["sh", "-c", "serve --api-key 'a b'"], None),
        ("command", ["serve", "--port", "8000"], ("serve", "--port", "8000")),
        ("env", [{"name": "DB_PASSWORD", "value": "x"}], None),
        ("env", [{"name": "DB_PASSWORD", "secret": {"name": "s", "key": "k"}}], ()),
    ],
)
@pytest.mark.parametrize("part", ["", "transformer"])
def test_what_is_redacted_is_found_as_masked(
    part: str, where: str, value: list[object], redacted: tuple[str, ...] | None
) -> None:
    changed = {where: value}
    spec = ServingSpec.model_validate(
        {"name": "llama", "namespace": "chat", "template": "custom"}
        | ({part: {"image": "t:1", **changed}} if part else changed)
    )
    found = redact_secrets(spec)
    holder = getattr(found, part) if part else found
    if redacted is None or MASK in str(redacted):
        assert [*find_masked_values(found)] == [*export.find_secret_values(spec)] != []
    else:
        assert found == spec and found.model_fields_set == spec.model_fields_set
    if redacted:
        assert getattr(holder, where) == redacted
    assert "a b" not in str(getattr(holder, where))


SCRIPTS_WITH_S16 = [
    'export HF_TOKEN="S16"; vllm serve m --api-key="S16"',
    "HF_TOKEN='S16' vllm serve m",
    'curl -H "Authorization: Bearer S16" http://u',
    "x --api-key \\\n  S16",
    'serve --config \'{"api_key": "S16"}\'',
    "bash -c \"HF_TOKEN='S16' serve\"",
]


@pytest.mark.parametrize("script", SCRIPTS_WITH_S16)
def test_a_secret_in_quotes_is_not_exported(script: str) -> None:
    shell = ["sh", "-c", script]
    spec = ServingSpec.model_validate(
        {
            "name": "llama",
            "template": "vllm",
            "settings": {"model": "m", "additional_arguments": shell},
            "command": shell,
            "env": [{"name": "LAUNCH", "value": script}],
        }
    )
    found = redact_secrets(spec)
    assert "S16" not in to_yaml(found)
    masked = ["env.LAUNCH", "command", "settings.additionalArguments"]
    assert [*find_masked_values(found)] == [*export.find_secret_values(spec)] == masked
    assert found.command[:2] == ("sh", "-c") and found.command[2] != MASK
    assert redact_secrets(found) == found


@pytest.mark.parametrize("value", ["--api-key S16 --port 80", '{"api_key": "S16"}'])
def test_a_variable_with_a_secret_in_its_text_is_not_exported(value: str) -> None:
    spec = ServingSpec.model_validate(
        {"name": "llama", "template": "custom", "env": [{"name": "ARGS", "value": value}]}
    )
    assert redact_secrets(spec).env[0].value == MASK
    assert [*export.find_secret_values(spec)] == ["env.ARGS"]


def test_a_secret_that_cannot_be_told_from_the_text_masks_the_whole() -> None:
    spec = ServingSpec.model_validate(
        {
            "name": "llama",
            "template": "custom",
            "command": ["serve", "--token=abc", "--api-key", "-S16"],
        }
    )
    assert redact_secrets(spec).command == (MASK,)


def test_readonly_applies_nothing(kubeconfig: Path) -> None:
    result = run_servedeck(
        "--readonly", "apply", "--kubeconfig", kubeconfig, "-f", "-", text=SERVING_YAML
    )
    assert result.returncode == 1
    assert "readonly" in result.stderr


@pytest.fixture
def login_page(tmp_path: Path) -> Iterator[Path]:
    """Kubeconfig of a server that responds to every request with a login page and status 200."""

    class LoginPageHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(LOGIN_PAGE)))
            self.end_headers()
            self.wfile.write(LOGIN_PAGE)

        do_POST = do_PATCH = do_GET  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), LoginPageHandler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield write_kubeconfig(tmp_path / "config", address, {"token": "x"})
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("command", [("apply", "-f", "-"), ("export", "fresh")])
def test_a_login_page_instead_of_the_server_is_a_one_line_error(
    login_page: Path, command: tuple[str, ...]
) -> None:
    result = run_servedeck(*command, "--kubeconfig", login_page, text=SERVING_YAML)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        "servedeck: The server answered with a web page; is there a login or proxy in between?\n"
    )


def test_the_form_takes_one_serving_and_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(f"{SERVING_YAML}\n---\n{SERVING_YAML.replace('fresh', 'other')}")
    assert run_servedeck("create", "-f", file).returncode == 2
    file.write_text(SERVING_YAML)
    result = run_servedeck("create", "-f", file)
    assert result.returncode == 1
    assert "terminal" in result.stderr


def test_a_file_without_an_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "_MAX_DOCUMENT_LENGTH", 1 << 20)
    with pytest.raises(CommandError, match="/dev/zero is longer than 1 MiB; name another file"):
        arguments.read_servings("/dev/zero")
