"""`servedeck gateway`: its settings from a file and from flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from servedeck.cli import main
from servedeck.cli_parser import build_parser
from servedeck.commands.gateway import read_settings
from servedeck.gateway.settings import GatewaySettingsError, load_settings

MINIMUM = ("--serving", "chat/llama", "--upstream", "http://a:8000")


def test_flags_alone() -> None:
    args = build_parser().parse_args(["gateway", *MINIMUM, "--upstream", "http://b:8000"])
    settings = read_settings(args)
    assert settings.serving == "chat/llama"
    assert settings.upstreams == ("http://a:8000", "http://b:8000")
    assert (settings.port, settings.admin_port, settings.role) == (8080, 8081, "all")


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("serving: chat/llama\nport: 1\nservice: chat/llama:http\nmax_depth: 7\n")
    args = build_parser().parse_args(["gateway", "--config", str(file), "--port", "2"])
    settings = read_settings(args)
    assert (settings.port, settings.max_depth, settings.service) == (2, 7, "chat/llama:http")


def test_every_flag_is_a_setting() -> None:
    flags = {
        "--store": "valkey://h:1",
        "--service": "chat/llama:http",
        "--host": "127.0.0.1",
        "--port": "1",
        "--admin-host": "127.0.0.2",
        "--admin-port": "2",
        "--role": "accept",
        "--secret-file": "s",
    }
    pairs = [part for pair in flags.items() for part in pair]
    settings = read_settings(build_parser().parse_args(["gateway", *MINIMUM, *pairs]))
    assert settings.store == "valkey://h:1"
    assert settings.service == "chat/llama:http"
    assert (settings.host, settings.port) == ("127.0.0.1", 1)
    assert (settings.admin_host, settings.admin_port) == ("127.0.0.2", 2)
    assert (settings.role, settings.secret_file) == ("accept", Path("s"))


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ((), "serving is not set; give it in the file or by its flag."),
        (("--serving", "llama"), "serving must be NAMESPACE/NAME."),
        (("--serving", "a/b"), "upstreams or service must say where the inference server is."),
        ((*MINIMUM, "--store", "mysql://x"), "store must be sqlite:FILE or valkey://HOST:PORT."),
        ((*MINIMUM, "--role", "accept"), "a sqlite store has one process: role must be all."),
        ((*MINIMUM, "--port", "99999"), "port must be a whole number from 0 to 65535."),
        (
            ("--serving", "a/b", "--upstream", "http://a", "--upstream", "http://user:secret@b"),
            "upstreams: URL 2 is not one such as http://host:8000.",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    flags: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", *flags]) == 2
    assert capsys.readouterr() == ("", f"servedeck: {line}\n")


@pytest.mark.parametrize("name", ["X User", "X-User:", "", "x-user\n", "x-usér"])
def test_an_owner_header_that_no_request_has_is_refused(tmp_path: Path, name: str) -> None:
    # with it, all callers would be one
    values: dict[str, object] = {"serving": "a/b", "upstreams": ("http://a",)}
    with pytest.raises(GatewaySettingsError, match="owner_header must be the name of a header"):
        load_settings(None, values | {"owner_header": name})
    assert load_settings(None, values | {"owner_header": "X-User"}).owner_header == "X-User"


def test_each_wrong_setting_has_a_line(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("serving: chat/llama\nprot: 8080\nobjects: ftp\nlease: -1\n")
    with pytest.raises(GatewaySettingsError) as error:
        read_settings(build_parser().parse_args(["gateway", "--config", str(file)]))
    assert sorted(str(error.value).splitlines()) == [
        "lease must be a number over 0, and at most 31622400.",
        "objects must be file:DIRECTORY or s3://BUCKET/PREFIX.",
        "prot is no setting.",
    ]


def test_a_password_is_not_in_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", *MINIMUM, "--store", "valky://user:s3cret@host"]) == 2
    assert "s3cret" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file"), ("[1, 2]", "one setting a line"), ("{", "not YAML")]
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    file = tmp_path / "gateway.yaml"
    if text is not None:
        file.write_text(text)
    assert main(["gateway", "--config", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1


@pytest.mark.parametrize("flags", [("--role", "some"), ("--port", "x"), ("--nonsense",)])
def test_wrong_usage_exits_with_2(flags: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["gateway", *MINIMUM, *flags])
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"port": True}, "port must be a whole number from 0 to 65535."),
        ({"port": "80b"}, "port must be a whole number from 0 to 65535."),
        ({"max_depth": 1.5}, "max_depth must be a whole number from 1 to 100000000."),
        ({"lease": float("nan")}, "lease must be a number over 0, and at most 31622400."),
        ({"lease": float("inf")}, "lease must be a number over 0, and at most 31622400."),
        ({"drain": -1}, "drain must be a number from 0 to 3600."),
        ({"role": "both"}, "role must be all, accept or deliver."),
        ({"serving": "a/b\n"}, "serving must be NAMESPACE/NAME."),
        ({"upstreams": "http://a"}, "upstreams must be URLs."),
        ({"secret_file": 7}, "secret_file must be the path of a file."),
        ({"callback_hosts": ["a b"]}, "callback_hosts must have names of hosts, such as .*"),
    ],
)
def test_values_of_another_kind(values: dict[str, object], problem: str) -> None:
    given = {"serving": "a/b", "upstreams": ["http://a"]} | values
    with pytest.raises(GatewaySettingsError, match=problem):
        load_settings(None, given)


def test_numbers_may_be_quoted() -> None:
    found = load_settings(None, {"serving": "a/b", "upstreams": ["http://a"], "port": "80"})
    assert found.port == 80
