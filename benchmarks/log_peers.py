"""Other readers of the logs of a serving, for `log_streams`: kubectl, stern and k9s. Each is found
by its name in capitals in the environment (`STERN=/opt/bin/stern`), by KUBEBUILDER_ASSETS or in the
PATH.

    python -m benchmarks.log_peers NAME NAMESPACE SERVING PODS LINES

runs one on the cluster of KUBECONFIG until it has read all lines, and prints what it read as JSON.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import clean_environment, matches_line
from benchmarks.terminal import BenchmarkTerminal
from tests.control_plane.numbered_lines import LINE_START, LineCheck
from tests.control_plane.processes import find_binary

UNREAD = "kubectl to /dev/null"
"""kubectl without the cost of a pipe; whether it loses lines is not seen."""
PEERS = ("kubectl", UNREAD, "stern", "k9s")
IDLE_SECONDS = 30.0
"""A reader to which nothing came for so long has got all that it will get."""
_START_SECONDS = 120.0
_PIPE_BYTES = 1 << 20
_READ_PAUSE_SECONDS = 0.002
"""Between reads of a pipe: kubectl and stern write each line on its own, which takes twice as long
when each write wakes a reader. The pipe has space for what comes meanwhile."""
_SAVE_SECONDS = 3.0
_K9S_SECONDS = 300.0
_K9S_SCREEN_SECONDS = 60.0
_K9S_LINES = 5000
"""The most that k9s takes for `tail` and `buffer` (its internal/config/logger.go)."""
_K9S_CONFIG: dict[str, Any] = {
    "logger": {"tail": _K9S_LINES, "buffer": _K9S_LINES, "sinceSeconds": -1},
    "skipLatestRevCheck": True,
    "ui": {"splashless": True},
}


def find_peer(name: str) -> str | None:
    """Path of another reader."""
    program = name.split()[0]
    return os.environ.get(program.upper()) or find_binary(program)


def peer_command(name: str, namespace: str, serving: str, pods: int, lines: int) -> list[str]:
    """The command that runs a reader of so many lines."""
    return [sys.executable, "-m", __spec__.name, name, namespace, serving, str(pods), str(lines)]


# -- readers that write to a pipe ------------------------------------------------------------------


def _pipe_arguments(name: str, namespace: str, serving: str, pods: int) -> list[str]:
    """What follows all lines of all Pods."""
    common = ["-n", namespace, "-l", f"app={serving}", "--tail=-1", f"--max-log-requests={pods}"]
    if name != "stern":
        return ["logs", "-f", "--timestamps", *common]
    return [*common, "--output=raw", "--only-log-lines"]


def _read_pipe(command: Sequence[str], pods: int, line_count: int) -> dict[str, Any]:
    """Run a reader until so many lines came, or none any more, and look at them afterwards."""
    chunks: list[bytes] = []
    received, last = 0, 0.0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pipesize=_PIPE_BYTES
    ) as peer:
        try:
            assert peer.stdout
            descriptor = peer.stdout.fileno()
            while received < line_count:
                limit = IDLE_SECONDS if chunks else _START_SECONDS
                if not select.select([descriptor], [], [], limit)[0]:
                    break
                data = os.read(descriptor, _PIPE_BYTES)
                if not data:
                    break
                last = time.monotonic()
                received += data.count(b"\n")
                chunks.append(data)
                time.sleep(_READ_PAUSE_SECONDS)
        finally:
            peer.kill()
    result = {"last": last} | _children_usage()
    return result | _compare(_split_lines(chunks), pods, line_count)


def _read_nothing(command: Sequence[str], line_count: int) -> dict[str, Any]:
    """Run a reader that ends with the logs."""
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return {"last": time.monotonic(), "received": line_count} | _children_usage()


def _children_usage() -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "memory_mib": usage.ru_maxrss >> 10,
    }


def _split_lines(chunks: Iterable[bytes]) -> Iterable[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _compare(lines: Iterable[bytes], pods: int, line_count: int) -> dict[str, int]:
    """Lines that were lost and doubled. What a reader prints before a line does not count."""
    check = LineCheck()
    check.add(line[max(0, line.find(LINE_START)) :] for line in lines)
    each = line_count // pods
    counts = check.compare(dict.fromkeys(check.instances, each))
    return {
        "received": counts.received,
        "streams": len(check.instances),
        "lost": counts.lost + each * (pods - len(check.instances)),
        "doubled": counts.doubled + counts.out_of_order,
    }


# -- k9s -------------------------------------------------------------------------------------------


class _K9sLog:
    """What k9s says in its own log of the streams."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest = b""
        self.dropped = 0
        """Lines that it has read, but not kept."""
        self.ended = 0
        """Streams that it has read to the end."""

    def read(self) -> None:
        """Count what was added."""
        text, _, self._rest = (self._rest + self._file.read()).rpartition(b"\n")
        self.dropped += text.count(b"Dropping log line due to slow consumer")
        self.ended += text.count(b"Log reader reached EOF")


def _read_k9s(
    binary: str, namespace: str, serving: str, pods: int, line_count: int
) -> dict[str, Any]:
    """Show the log of the Deployment until all streams have ended, then save what is shown."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "config.yaml").write_text(json.dumps({"k9s": _K9S_CONFIG}))
        env = clean_environment(Path(os.environ["KUBECONFIG"]), folder)
        env |= {"K9S_CONFIG_DIR": folder, "K9S_LOGS_DIR": folder}
        command = [binary, "-n", namespace, "-c", "deploy", "--logLevel", "debug"]
        terminal = BenchmarkTerminal(command, (160, 50), env)
        try:
            row = re.compile(rf"\b{serving}\b.*\b{pods}/{pods}\b")
            if terminal.wait(partial(matches_line, terminal, row), _START_SECONDS) is None:
                raise RuntimeError("k9s does not show the Deployment")
            terminal.send_keys("l")
            log = _K9sLog(home / "k9s.log")
            deadline = time.monotonic() + _K9S_SECONDS
            while log.ended < pods and time.monotonic() < deadline:
                time.sleep(0.02)
                log.read()
            last = time.monotonic()
            saved = _save_screen(terminal, home, last + _K9S_SCREEN_SECONDS)
            log.read()
            kept = _compare(saved.splitlines(), pods, line_count)
            return kept | {
                "last": last,
                "dropped": log.dropped,
                "cpu_seconds": round(terminal.cpu_seconds(), 1),
                "memory_mib": round(terminal.rss_mib()),
            }
        finally:
            terminal.close()


def _save_screen(terminal: BenchmarkTerminal, home: Path, deadline: float) -> bytes:
    """All lines that k9s has, once they no longer change or at `deadline`: its screen lags behind
    its streams."""
    text: bytes | None = None
    while True:
        terminal.send_keys("\x13")
        time.sleep(_SAVE_SECONDS)
        files = sorted(home.glob("screen-dumps/**/*.log"), key=lambda path: path.stat().st_mtime)
        before, text = text, files[-1].read_bytes() if files else None
        if text is not None and (text == before or time.monotonic() > deadline):
            return text
        if time.monotonic() > deadline:
            return b""


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    name, namespace, serving, pods, lines = arguments
    binary = find_peer(name)
    assert binary
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if name == "k9s":
        result = _read_k9s(binary, namespace, serving, int(pods), int(lines))
    else:
        command = [binary, *_pipe_arguments(name, namespace, serving, int(pods))]
        if name == UNREAD:
            result = _read_nothing(command, int(lines))
        else:
            result = _read_pipe(command, int(pods), int(lines))
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
