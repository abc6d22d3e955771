"""The command and its process, where there is no cluster: settings, probes, and how it ends."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from servedeck.cli import main
from servedeck.cli_parser import build_parser
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.commands.controller import read_settings
from servedeck.controller.process import ControllerError, running_controller
from servedeck.controller.settings import ControllerSettings, ControllerSettingsError
from servedeck.metrics.transports import PrometheusOptions
from tests.cluster.fake_api_server import write_kubeconfig

PROMETHEUS = PrometheusOptions("http://127.0.0.1:1")
LOCAL = ControllerSettings(host="127.0.0.1", port=0)


@pytest.fixture
def options(tmp_path: Path) -> ConnectionOptions:
    file = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1", {"token": "secret"})
    return ConnectionOptions(kubeconfig=(file,))


def test_every_flag_is_a_setting() -> None:
    flags = {
        "--interval": "5",
        "--max-age": "60",
        "--lease-namespace": "here",
        "--lease-duration": "30",
        "--renew-deadline": "20",
        "--retry-period": "3",
        "--host": "127.0.0.1",
        "--port": "1",
    }
    words = [part for pair in flags.items() for part in pair]
    settings = read_settings(build_parser().parse_args(["controller", *words]))
    assert settings == ControllerSettings(5, 60, "here", 30, 20, 3, "127.0.0.1", 1)
    assert read_settings(build_parser().parse_args(["controller"])) == ControllerSettings()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--interval", "0"), "--interval must be more than 0 and at most 3600 seconds."),
        (("--interval", "nan"), "--interval must be more than 0 and at most 3600 seconds."),
        (("--max-age", "14"), "--max-age must not be shorter than --interval."),
        (
            ("--lease-duration", "10"),
            "--renew-deadline must be shorter than --lease-duration, so that one stops to act"
            " before another begins.",
        ),
        (
            ("--retry-period", "9"),
            "--retry-period must be shorter than --renew-deadline by a factor of 1.2.",
        ),
        (("--port", "70000"), "--port must be from 0 to 65535."),
        (("--readonly",), "A controller writes to the cluster; run it without --readonly."),
        (("--demo",), "A controller runs beside a cluster of its own; run it without --demo."),
        (
            (),
            "No Prometheus is named; give --prometheus-url, or set SERVEDECK_PROMETHEUS_URL or"
            " SERVEDECK_PROMETHEUS_SERVICE.",
        ),
        (
            ("--prometheus-url", "prometheus:9090"),
            "prometheus_url is not an http:// or https:// address; correct it.",
        ),
    ],
)
def test_settings_that_cannot_be_used(
    flags: tuple[str, ...],
    line: str,
    options: ConnectionOptions,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert options.kubeconfig is not None
    assert main(["controller", "--kubeconfig", str(options.kubeconfig[0]), *flags]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"servedeck: {line}"


async def test_it_is_alive_but_not_ready_without_an_api_server(options: ConnectionOptions) -> None:
    async with (
        running_controller(options, PROMETHEUS, LOCAL) as (_controller, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with session.get("/healthz") as answer:
            assert answer.status == 200
        async with session.get("/readyz") as answer:
            state = await answer.json()
            assert answer.status == 503
            assert state == {
                "ready": False,
                "leader": False,
                "message": "The Pods are not read yet.",
            }
        async with session.get("/metrics") as answer:
            assert "servedeck_controller_leader 0.0" in await answer.text()


async def test_a_port_that_is_taken(options: ConnectionOptions) -> None:
    async with running_controller(options, PROMETHEUS, LOCAL) as (_controller, port):
        taken = ControllerSettings(host="127.0.0.1", port=port)
        with pytest.raises(ControllerError, match=f"Cannot listen on 127.0.0.1 port {port}: "):
            async with running_controller(options, PROMETHEUS, taken):
                pass


async def test_settings_without_prometheus_are_refused(options: ConnectionOptions) -> None:
    with pytest.raises(ControllerSettingsError, match="No Prometheus is named"):
        async with running_controller(options, PrometheusOptions(), LOCAL):
            pass
