"""Whether a reader of the logs of a whole serving gets each line once and in order, whatever
happens meanwhile:

    python -m benchmarks.log_acceptance --seconds 60 --pods 20 --rate 50000

On a real control plane, the Pods of one serving write numbered lines at that rate. Meanwhile there
are a rollout, two restarts of containers, ten cut connections (half of them behind the API server,
which then ends the response as if it were complete, half before it) and a kill -9 of the API
server. The reader is a process of its own. The exit code is 1 if a line was lost, doubled or out
of order.

    python -m benchmarks.log_acceptance --dashboard

reads with the dashboard in a terminal, presses keys all the while, and checks the log that it saves
at the end.

    python -m benchmarks.log_acceptance read KUBECONFIG NAMESPACE SERVING

is the reader without a screen. It reads from standard input how many lines each container instance
has written, and prints its counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.control_plane_setup import start_control_plane
from benchmarks.log_dashboard import DashboardReader
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.log_reading import ServingReader, read_serving
from tests.control_plane.log_writers import ServingWriter
from tests.control_plane.numbered_lines import Instance
from tests.control_plane.proxies import TcpProxyThread

NAMESPACE, SERVING = "lab", "chat"
CUTS = 10
_CUT_SECONDS = 2.0
"""A container that wrote less than expected for so long is not followed: another one is cut."""
_LINE_BYTES = 140
_IDLE_SECONDS = 30.0
"""The reader gives up after so long without a line."""
_PAUSE_CHECK_SECONDS = 0.002


@dataclass(frozen=True)
class Extent:
    """Extent of the run."""

    seconds: float = 60
    pods: int = 20
    rate: float = 50_000
    """Lines per second of all Pods together."""


# -- the reader ------------------------------------------------------------------------------------


async def read(kubeconfig: Path, namespace: str, serving: str) -> None:
    """Run the reader until all lines have arrived, or none arrive any more."""
    reader = ServingReader()
    pauses = _PauseMeter()
    loop = asyncio.get_running_loop()
    async with read_serving(kubeconfig, namespace, serving, reader):
        pauses.start()
        text = await loop.run_in_executor(None, sys.stdin.readline)
        written = {(pod, instance): count for pod, instance, count in json.loads(text)}
        count, since = -1, time.monotonic()
        while not _is_complete(reader, written) and time.monotonic() - since < _IDLE_SECONDS:
            if reader.check.count != count:
                count, since = reader.check.count, time.monotonic()
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)  # lines that are received twice may follow
        pauses.stop()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        **asdict(reader.check.compare(written)),
        "other": len(reader.check.other),
        "notices": len(reader.notices),
        "worst_pause_ms": round(1000 * pauses.worst, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "memory_mib": usage.ru_maxrss >> 10,
    }
    wrong = [
        f"{pod}, instance {instance}: {counts}"
        for (pod, instance), counts in reader.check.compare_each(written).items()
        if not counts.is_exact
    ]
    print(json.dumps(result | {"wrong": wrong, "last_notices": reader.notices[-60:]}), flush=True)


def _is_complete(reader: ServingReader, written: Mapping[Instance, int]) -> bool:
    return reader.check.count >= sum(written.values()) and not reader.check.compare(written).lost


class ReaderProcess:
    """Runs the reader without a screen; a context manager."""

    def __init__(self, kubeconfig: Path, namespace: str, serving: str) -> None:
        module = [sys.executable, "-m", "benchmarks.log_acceptance"]
        self._process = subprocess.Popen(
            [*module, "read", str(kubeconfig), namespace, serving],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> ReaderProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def finish(self, written: Mapping[Instance, int]) -> dict[str, Any]:
        """Wait until all lines have arrived, or none arrive any more; its counts."""
        text = json.dumps([[pod, instance, count] for (pod, instance), count in written.items()])
        output, _ = self._process.communicate(text + "\n")
        result: dict[str, Any] = json.loads(output)
        return result


class _PauseMeter:
    """The longest time for which the event loop did nothing else."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        assert self._task
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_PAUSE_CHECK_SECONDS)
            self.worst = max(self.worst, time.monotonic() - before - _PAUSE_CHECK_SECONDS)


# -- the run ---------------------------------------------------------------------------------------


class Disturbances:
    """What happens to the reader meanwhile, each at its time."""

    def __init__(
        self, plane: ControlPlane, writer: ServingWriter, proxy: TcpProxyThread, extent: Extent
    ) -> None:
        self._plane = plane
        self._writer = writer
        self._proxy = proxy
        self._extent = extent
        self.done: list[str] = []

    def schedule(self) -> list[tuple[float, Callable[[], None]]]:
        """(seconds after the start, what happens), in order."""
        seconds = self._extent.seconds
        cuts = [
            (seconds * (number + 0.5) / CUTS, self._cut_node if number % 2 else self._cut_client)
            for number in range(CUTS)
        ]
        others = [
            (seconds * 0.2, self._restart_container),
            (seconds * 0.4, self._roll_out),
            (seconds * 0.5, self._restart_api_server),
            (seconds * 0.8, self._restart_container),
        ]
        return sorted([*cuts, *others], key=lambda each: each[0])

    def _random_pod(self) -> str:
        ending = set(self._writer.ending_pods)
        return random.choice([pod for pod in self._writer.running_pods if pod not in ending])

    def _cut_node(self) -> None:
        """Cut a log in the middle of what its container writes in the next tenth of a second."""
        bytes_of_pod = _LINE_BYTES * self._extent.rate / self._extent.pods
        while True:
            log = self._writer.container_log(self._random_pod())
            log.cut_after(random.randrange(round(bytes_of_pod / 10)))
            give_up = time.monotonic() + _CUT_SECONDS
            while log.pending_cuts and time.monotonic() < give_up:
                time.sleep(0.01)
            if not log.cancel_cuts():
                break
        self.done.append("connection cut behind the API server")

    def _cut_client(self) -> None:
        self._proxy.reset_busiest()
        self.done.append("connection cut before the API server")

    def _restart_container(self) -> None:
        self._writer.restart_container(self._random_pod())
        self.done.append("restart of a container")

    def _roll_out(self) -> None:
        self._plane.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{SERVING}")
        self.done.append("rollout")

    def _restart_api_server(self) -> None:
        self._plane.restart("kube-apiserver")
        self._plane.restart_waiting_controllers()
        self.done.append("restart of the API server")


Reader = type[ReaderProcess] | type[DashboardReader]


def run(extent: Extent, reader: Reader = ReaderProcess) -> dict[str, Any]:
    """Run it; the counts of the reader, and of what happened meanwhile."""
    plane = start_control_plane(None, 4)
    try:
        plane.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        plane.create_deployment(
            NAMESPACE, SERVING, replicas=extent.pods, keep=True, minReadySeconds=1
        )
        plane.wait_until_ready(NAMESPACE, SERVING, extent.pods)
        with (
            TcpProxyThread(plane.url) as proxy,
            ServingWriter(plane, NAMESPACE, SERVING, extent.rate) as writer,
        ):
            kubeconfig = plane.write_kubeconfig(server=proxy.url)
            with reader(kubeconfig, NAMESPACE, SERVING) as opened:
                return _observe(plane, proxy, writer, opened, extent)
    finally:
        plane.stop()


def _observe(
    plane: ControlPlane,
    proxy: TcpProxyThread,
    writer: ServingWriter,
    reader: ReaderProcess | DashboardReader,
    extent: Extent,
) -> dict[str, Any]:
    logs = [writer.container_log(pod) for pod in writer.running_pods]
    wait_for(lambda: all(log.open_count for log in logs), "the reader to follow all Pods")
    disturbances = Disturbances(plane, writer, proxy, extent)
    first, started = writer.line_count, time.monotonic()
    for at, happen in disturbances.schedule():
        time.sleep(max(0.0, started + at - time.monotonic()))
        happen()
    time.sleep(max(0.0, started + extent.seconds - time.monotonic()))
    rate = (writer.line_count - first) / (time.monotonic() - started)
    writer.stop_writing()
    result = reader.finish(writer.written)
    result["rate"] = round(rate)
    result["instances"] = len(writer.written)
    result["requests"] = sum(
        len(writer.container_log(pod).requests) for pod in {pod for pod, _ in writer.written}
    )
    result["events"] = disturbances.done
    return result


def print_table(result: Mapping[str, Any]) -> None:
    """The counts, and what happened meanwhile."""
    for event in dict.fromkeys(result["events"]):
        print(f"{result['events'].count(event):>12,}  {event}")
    rows = {
        "written": "lines written",
        "rate": "lines written a second",
        "received": "lines received",
        "lost": "lost",
        "doubled": "doubled",
        "out_of_order": "out of order within a container",
        "other": "lines of no container",
        "instances": "container instances",
        "requests": "requests for logs that reached a node",
        "worst_pause_ms": "ms, longest pause of the reader's event loop",
        "keys": "keys pressed meanwhile",
        "key_p50_ms": "ms from a key to the paint of its effect, median",
        "key_p99_ms": "ms from a key to the paint of its effect, P99",
        "key_max_ms": "ms from a key to the paint of its effect, worst",
        "cpu_seconds": "s of CPU of the reader",
        "memory_mib": "MiB, most memory of the reader",
    }
    figures = {**result} | {f"key_{name}": value for name, value in result.get("key", {}).items()}
    for name, label in rows.items():
        if name in figures:
            print(f"{figures[name]:>12,}  {label}")
    print("".join(f"{each}\n" for each in result["wrong"]), end="")


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=Extent.seconds)
    parser.add_argument("--pods", type=int, default=Extent.pods)
    parser.add_argument("--rate", type=float, default=Extent.rate)
    parser.add_argument("--dashboard", action="store_true", help="read with the dashboard")
    parser.add_argument("--notices", action="store_true", help="print the reader's last notices")
    parser.add_argument("read", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.read:
        _, kubeconfig, namespace, serving = args.read
        asyncio.run(read(Path(kubeconfig), namespace, serving))
        return 0
    extent = Extent(args.seconds, args.pods, args.rate)
    result = run(extent, DashboardReader if args.dashboard else ReaderProcess)
    print_table(result)
    if args.notices and not args.dashboard:
        print("\n".join(result["last_notices"]))
    return int(any(result[name] for name in ("lost", "doubled", "out_of_order", "other")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
