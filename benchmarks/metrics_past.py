"""A real Prometheus with a day of the metrics of a vLLM serving, each Pod scraped every minute.

Names and buckets are those of the demo's pages (`servedeck.demo.workloads.metrics`). The samples go
on for some time after the present, so that the newest ones are there while the benchmark runs.
"""

from __future__ import annotations

import math
import random
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from servedeck.demo.workloads.metrics import E2E_BUCKETS, ITL_BUCKETS, TTFT_BUCKETS
from tests.control_plane.processes import ProcessSpawner, ReservedPort, find_binary, terminate
from tests.waiting import WAIT_SECONDS, wait_until_sync

INTERVAL = 60
"""Seconds between two scrapes."""
PAST = 25 * 3600
FUTURE = 2 * 3600
_BLOCK = 2 * 3600
"""Seconds of one block. promtool reads a whole file once for each block, so each has its own."""
_HISTOGRAMS = (
    ("vllm:e2e_request_latency_seconds", E2E_BUCKETS, 1.2, 0.6),
    ("vllm:time_to_first_token_seconds", TTFT_BUCKETS, 0.08, 0.7),
    ("vllm:inter_token_latency_seconds", ITL_BUCKETS, 0.03, 0.4),
)
"""Name, upper bounds, and the median and spread of a log-normal distribution."""


class PodPast:
    """The counters of one Pod, which `advance` through the day."""

    def __init__(self, namespace: str, pod: str, number: int) -> None:
        self._chance = random.Random(number)
        self._phase = number / 7
        own = f'namespace="{namespace}",pod="{pod}"'
        labels = f'{own},engine="0",model_name="llama"'
        self._names: list[str] = []
        self._shares: list[float] = []
        """By how much each counter increases with one request."""
        for name, bounds, median, spread in _HISTOGRAMS:
            for bound in (*bounds, math.inf):
                text = "+Inf" if bound == math.inf else f"{bound}"
                share = _share_below(bound, median * (1 + number % 5 / 10), spread)
                self._add(f'{name}_bucket{{{labels},le="{text}"}}', share)
            self._add(f"{name}_count{{{labels}}}", 1.0)
            self._add(f"{name}_sum{{{labels}}}", median)
        for reason, share in (("stop", 0.86), ("length", 0.13), ("abort", 0.01)):
            self._add(f'vllm:request_success_total{{{labels},finished_reason="{reason}"}}', share)
        for name, share in (
            ("prompt_tokens", 800.0),
            ("generation_tokens", 250.0),
            ("prefix_cache_queries", 800.0),
            ("prefix_cache_hits", 300.0),
            ("num_preemptions", 0.001),
        ):
            self._add(f"vllm:{name}_total{{{labels}}}", share)
        for status, share in (("2xx", 0.985), ("4xx", 0.01), ("5xx", 0.005)):
            more = f'{own},handler="/v1/chat/completions",method="POST",status="{status}"'
            self._add(f"http_requests_total{{{more}}}", share)
        self._gauges = [
            f"vllm:{name}{{{labels}}}"
            for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
        ]
        self._values = [0.0] * len(self._names)

    def _add(self, name: str, share: float) -> None:
        self._names.append(name)
        self._shares.append(share)

    def advance(self, at: int) -> Iterator[str]:
        """The samples of the next scrape, at a time in seconds since the epoch."""
        load = 1 + 0.5 * math.sin(at / 9000 + self._phase) + 0.2 * self._chance.random()
        requests = round(load * 2 * INTERVAL)
        self._values = [
            value + requests * share
            for value, share in zip(self._values, self._shares, strict=True)
        ]
        for name, value in zip(self._names, self._values, strict=True):
            yield f"{name} {value:.1f} {at}\n"
        for name, value in zip(
            self._gauges, (8 * load, max(load - 1.5, 0) * 9, load / 2), strict=True
        ):
            yield f"{name} {value:.3f} {at}\n"


def _share_below(bound: float, median: float, spread: float) -> float:
    if bound == math.inf:
        return 1.0
    return 0.5 * (1 + math.erf(math.log(bound / median) / spread / math.sqrt(2)))


@contextmanager
def run_prometheus_with_past(
    folder: Path, namespace: str, pods: Sequence[str], *, log: Path
) -> Iterator[str]:
    """Make the day in a folder and run Prometheus on it; yields its URL."""
    tool, program = find_binary("promtool"), find_binary("prometheus")
    if tool is None or program is None:
        raise FileNotFoundError("prometheus and promtool are needed, on the PATH")
    _make_blocks(tool, folder, namespace, pods)
    spawner, port = ProcessSpawner(), ReservedPort()
    (folder / "prometheus.yml").write_text("{}")
    url = f"http://127.0.0.1:{port.number}"
    process = spawner.start(
        [
            program,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port.number}",
        ],
        log,
    )
    try:
        wait_until_sync(
            lambda: _is_ready(url) or process.poll() is not None, "a ready Prometheus", WAIT_SECONDS
        )
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        yield url
    finally:
        terminate(process, signal.SIGTERM)
        spawner.close()
        port.close()


def _make_blocks(tool: str, folder: Path, namespace: str, pods: Sequence[str]) -> None:
    pasts = [PodPast(namespace, pod, number) for number, pod in enumerate(pods)]
    now = int(time.time())
    at, end = (now - PAST) // INTERVAL * INTERVAL, now + FUTURE
    page = folder / "page"
    while at < end:
        limit = min((at // _BLOCK + 1) * _BLOCK, end)
        with page.open("w") as file:
            while at < limit:
                for past in pasts:
                    file.writelines(past.advance(at))
                at += INTERVAL
            file.write("# EOF\n")
        arguments = ["tsdb", "create-blocks-from", "openmetrics", "--quiet"]
        done = subprocess.run(
            [tool, *arguments, str(page), str(folder / "data")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        page.unlink()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=WAIT_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
