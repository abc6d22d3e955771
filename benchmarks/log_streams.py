"""Lines per second that servedeck's streams and buffer take from a real API server, without a
screen; of one Pod and of many merged, beside kubectl, stern and k9s where they are present.

    python -m benchmarks.log_streams --lines 3000000 --pods 1 80

"history" was written before it is read, "live" is written as fast as it is read. Kubelet, API
server and reader share the machine. The exit code is 1 if servedeck lost or doubled a line.

    python -m benchmarks.log_streams read KUBECONFIG PODS LINES

is the reader, a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import log_peers
from benchmarks.control_plane_setup import start_control_plane
from servedeck.logs.buffer import LogBuffer
from servedeck.logs.lines import LineBatch
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.log_reading import LineReceiver, read_serving
from tests.control_plane.numbered_lines import LineCheck, NumberedLines

NAMESPACE, SERVING = "lab", "chat"
_CHUNK_LINES = 1000
_UNREAD_CHUNKS = 4
"""How far a live log is written ahead of what was read."""
_IDLE_SECONDS = 30.0


# -- the reader ------------------------------------------------------------------------------------


class BufferedReader(LineReceiver):
    """Keeps the lines as the program does."""

    def __init__(self) -> None:
        self.buffer = LogBuffer()
        self.last = 0.0
        """When the last lines came (monotonic clock)."""
        self.by_source: Counter[int] = Counter()

    async def add(self, batch: LineBatch) -> None:
        self.last = time.monotonic()
        self.by_source.update(batch.sources)
        self.buffer.append(batch)
        await self.buffer.wait_for_room()


async def read(kubeconfig: Path, pods: int, line_count: int) -> None:
    """Read so many lines, then look at all that are still held one by one."""
    reader = BufferedReader()
    async with read_serving(kubeconfig, NAMESPACE, SERVING, reader) as streams:
        while reader.buffer.end < line_count and (
            not reader.last or time.monotonic() - reader.last < _IDLE_SECONDS
        ):
            await asyncio.sleep(0.02)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        result: dict[str, Any] = {
            "last": reader.last,
            "received": reader.buffer.end,
            "streams": len(streams.sources) - 1,
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "memory_mib": _peak_memory() >> 20,
        }
        each = line_count // pods
        result["counts_differ"] = sum(
            reader.by_source[source.number] != each for source in streams.sources[1:]
        )
    check = LineCheck()
    buffer = reader.buffer
    for first in range(buffer.first, buffer.end, 10_000):
        check.add(line.text for line in buffer.lines(first, min(first + 10_000, buffer.end)))
    counts = check.compare(dict.fromkeys(check.instances, each))
    result["lost"] = counts.lost
    result["not_kept"] = f"; {buffer.first:,} not kept: {buffer.error}" if buffer.first else ""
    result["doubled"] = counts.doubled + counts.out_of_order
    print(json.dumps(result), flush=True)
    buffer.close()


def _peak_memory() -> int:
    """Most resident memory of this program in bytes. `ru_maxrss` includes that of the program that
    started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


# -- the run ---------------------------------------------------------------------------------------


class _Source:
    """The logs of the Pods."""

    def __init__(self, plane: ControlPlane, line_count: int) -> None:
        kubelet = plane.kubelet
        assert kubelet
        names = [pod["metadata"]["name"] for pod in plane.list_pods(NAMESPACE, SERVING)]
        self.line_count = line_count // (len(names) * _CHUNK_LINES) * len(names) * _CHUNK_LINES
        """Lines of all Pods; as many of each."""
        self.logs = [kubelet.log(NAMESPACE, name) for name in names]
        self._names = names

    def renew(self) -> None:
        """Empty logs."""
        for log in self.logs:
            log.restart()
        self._lines = [NumberedLines(name, 0, _CHUNK_LINES) for name in self._names]

    def finish(self) -> None:
        """The containers end."""
        for log in self.logs:
            log.finish()

    def write(self, *, live: bool) -> None:
        """Write all lines; if `live`, no further ahead than is read."""
        unfinished = list(zip(self.logs, self._lines, strict=True))
        each = self.line_count // len(self.logs)
        while unfinished:
            written = 0
            for log, lines in unfinished:
                if not live or log.unread_chunks < _UNREAD_CHUNKS:
                    log.write_chunk(lines.next_chunk(time.time_ns()))
                    written += 1
            unfinished = [(log, lines) for log, lines in unfinished if lines.count < each]
            if not written:
                time.sleep(0.0005)


def run(pods: int, line_count: int) -> list[dict[str, Any]]:
    """The figures of one number of Pods."""
    plane = start_control_plane(None, 4)
    try:
        plane.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        plane.create_deployment(NAMESPACE, SERVING, replicas=pods)
        plane.wait_until_ready(NAMESPACE, SERVING, pods)
        for pod in plane.list_pods(NAMESPACE, SERVING):
            # with the ID of its container, which stern waits for and kwok does not write
            plane.set_pod_status(pod, pod_statuses.ready_status())
        source = _Source(plane, line_count)
        kubeconfig = plane.write_kubeconfig()
        found = []
        for live in (False, True):
            name = f"{'live' if live else 'history'}, {pods} Pods"
            found.append(
                {"what": f"{name}, servedeck"} | _measure_servedeck(source, kubeconfig, live)
            )
            for peer in log_peers.PEERS:
                found.append({"what": f"{name}, {peer}"})
                if log_peers.find_peer(peer):
                    found[-1] |= _measure_peer(peer, source, kubeconfig, live)
        return found
    finally:
        plane.stop()


def _measure(
    source: _Source, command: Sequence[str], env: Mapping[str, str], live: bool, *, ends: bool
) -> dict[str, Any]:
    """Write all lines and run a reader of them: what it prints, and the seconds from the time when
    the first line could be read. `ends`: the containers end, as this reader reads until then."""
    source.renew()
    if not live:
        source.write(live=False)
        if ends:
            source.finish()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as reader:
        try:
            first = any if not live else all
            requested = [len(log.requests) for log in source.logs]
            wait_for(
                lambda: first(
                    len(log.requests) > count
                    for log, count in zip(source.logs, requested, strict=True)
                ),
                "the reader",
            )
            began = time.monotonic()
            if live:
                wait_for(lambda: all(log.open_count for log in source.logs), "all streams")
                began = time.monotonic()
                source.write(live=True)
                if ends:
                    source.finish()
            output, _ = reader.communicate()
        finally:
            reader.terminate()
    result: dict[str, Any] = json.loads(output)
    return result | {"seconds": result["last"] - began}


def _measure_servedeck(source: _Source, kubeconfig: Path, live: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.log_streams", "read", str(kubeconfig)]
    command += [str(len(source.logs)), str(source.line_count)]
    result = _measure(source, command, os.environ, live, ends=False)
    return result | {"lines_per_s": round(result["received"] / result["seconds"])}


def _measure_peer(peer: str, source: _Source, kubeconfig: Path, live: bool) -> dict[str, Any]:
    pods = len(source.logs)
    command = log_peers.peer_command(peer, NAMESPACE, SERVING, pods, source.line_count)
    env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    result = _measure(source, command, env, live, ends=True)
    if peer != "k9s":
        return result | {"lines_per_s": round(result["received"] / result["seconds"])}
    if live:  # of a history it requests the last lines only
        return result | {"lines_per_s": round(source.line_count / result["seconds"])}
    return result


def describe(figures: Mapping[str, Any]) -> str:
    """One or two lines."""
    if "seconds" not in figures:
        return f"{'not present':>20}  {figures['what']}"
    rate = f"{figures['lines_per_s']:,} lines/s" if "lines_per_s" in figures else ""
    counts = ""
    if "streams" in figures:
        counts = f"{figures['received']:,} lines of {figures['streams']} streams"
        if "dropped" in figures:
            counts += f" kept, {figures['dropped']:,} dropped while reading"
        else:
            counts += f", {figures['lost']:,} lost"
        counts += f", {figures['doubled']:,} doubled or out of order; "
    return (
        f"{rate:>20}  {figures['what']}\n"
        f"{'':15}{counts}{figures['cpu_seconds']} s of CPU, {figures['memory_mib']} MiB"
        f"{figures.get('not_kept', '')}"
    )


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if arguments[:1] == ["read"]:
        _, kubeconfig, pods, lines = arguments
        asyncio.run(read(Path(kubeconfig), int(pods), int(lines)))
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=3_000_000)
    parser.add_argument("--pods", type=int, nargs="+", default=[1, 80])
    args = parser.parse_args(arguments)
    wrong = 0
    for pods in args.pods:
        for figures in run(pods, args.lines):
            print(describe(figures), flush=True)
            if "counts_differ" in figures:
                wrong += figures["lost"] + figures["doubled"] + figures["counts_differ"]
    return int(wrong != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
