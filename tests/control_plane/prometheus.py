"""A real Prometheus, that scrapes an exporter or has a past."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.control_plane.processes import (
    ProcessSpawner,
    ReservedPort,
    find_binary,
    terminate,
)
from tests.waiting import WAIT_SECONDS, wait_until_sync

SCRAPE_INTERVAL = 0.2
"""Seconds between two scrapes."""


class Exporter:
    """Serves the pages of Pods, each at /NAMESPACE/POD. `counters` are the names of counters with
    their labels, that increase by so many per second of the clock; `lines` are constant. `pages`
    are whole pages in another format, by the seconds since the start."""

    def __init__(self) -> None:
        self.counters: dict[str, dict[str, float]] = {}
        self.lines: dict[str, str] = {}
        self.pages: dict[str, Callable[[float], bytes]] = {}
        self.content_type = "text/plain; version=0.0.4"
        self.url = ""
        self._began = time.time()

    def render(self, path: str) -> bytes:
        seconds = time.time() - self._began
        if path in self.pages:
            return self.pages[path](seconds)
        lines = [f"{name} {rate * seconds}" for name, rate in self.counters.get(path, {}).items()]
        return "\n".join([*lines, self.lines.get(path, ""), ""]).encode()

    @contextmanager
    def serve(self, host: str = "127.0.0.1") -> Iterator[None]:
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = exporter.render(self.path)
                self.send_response(200)
                self.send_header("Content-Type", exporter.content_type)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None: ...

        server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.url = f"{host}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def require_prometheus() -> str:
    """Path of the program. Skips, or fails where SERVEDECK_REQUIRE_SERVERS is 1, without it."""
    found = find_binary("prometheus")
    if found is None:
        reason = "no prometheus (Debian package prometheus) on the PATH"
        if os.environ.get("SERVEDECK_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def require_promtool() -> str:
    """The same for its tool, which is in the same package."""
    beside = Path(require_prometheus()).with_name("promtool")
    found = str(beside) if beside.exists() else find_binary("promtool")
    if found is None:
        reason = "no promtool (Debian package prometheus) on the PATH"
        if os.environ.get("SERVEDECK_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def run_prometheus(
    exporter: Exporter,
    pods: Mapping[str, Mapping[str, str]],
    host: str = "127.0.0.1",
    *flags: str,
) -> Iterator[str]:
    """Run Prometheus, which scrapes the exporter for each path with these labels; yields its
    URL."""
    config = {
        "global": {
            "scrape_interval": f"{SCRAPE_INTERVAL * 1000:.0f}ms",
            "scrape_timeout": f"{SCRAPE_INTERVAL * 1000:.0f}ms",
        },
        "scrape_configs": [
            {
                "job_name": path,
                "metrics_path": path,
                "static_configs": [{"targets": [exporter.url], "labels": dict(labels)}],
            }
            for path, labels in pods.items()
        ],
    }
    with run_configured(config, *flags, host=host) as url:
        yield url


@contextmanager
def run_past(lines: Iterable[str]) -> Iterator[str]:
    """Run a Prometheus that has these samples, each with its time, and scrapes nothing; yields its
    URL. The lines are of OpenMetrics text, without the last one.

    https://prometheus.io/docs/prometheus/latest/storage/#backfilling-from-openmetrics-format
    """
    tool = require_promtool()
    with tempfile.TemporaryDirectory(prefix="servedeck-past-") as folder:
        page, data = Path(folder) / "page", Path(folder) / "data"
        with page.open("w") as file:
            file.writelines(f"{one}\n" for one in lines)
            file.write("# EOF\n")
        arguments = ["tsdb", "create-blocks-from", "openmetrics", "--quiet", str(page), str(data)]
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        page.unlink()
        with run_configured({}, data=data) as url:
            yield url


@contextmanager
def run_configured(
    config: Mapping[str, object],
    *flags: str,
    host: str = "127.0.0.1",
    data: Path | None = None,
) -> Iterator[str]:
    """Run Prometheus with a configuration, and on a folder of samples where there is one; yields
    its URL."""
    program = require_prometheus()
    spawner, port = ProcessSpawner(), ReservedPort()
    with tempfile.TemporaryDirectory(prefix="servedeck-prometheus-") as folder:
        (Path(folder) / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        url = f"http://{host}:{port.number}"
        log = Path(folder) / "log"
        process = spawner.start(
            [
                program,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={data or f'{folder}/data'}",
                f"--web.listen-address={host}:{port.number}",
                *flags,
            ],
            log,
        )
        try:
            wait_until_sync(
                lambda: _is_ready(url) or process.poll() is not None,
                "a ready Prometheus",
                WAIT_SECONDS,
            )
            assert process.poll() is None, log.read_text()
            yield url
        finally:
            terminate(process, signal.SIGTERM)
            spawner.close()
            port.close()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=WAIT_SECONDS) as answer:
            return answer.status == 200
    except OSError:
        return False


def own_address() -> str:
    """An address of this machine that the API server connects to as a Pod's: it refuses those of
    the loopback interface. Skips if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address besides the loopback")
        host: str = probe.getsockname()[0]
    if host.startswith("127."):
        pytest.skip("this machine has no address besides the loopback")
    return host
