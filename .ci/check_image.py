"""Builds the gateway's image with docker where that runs; else does what its Containerfile says in
empty folders: what it copies is all that is there, and what it installs all that is installed. Then
starts the gateway of it, and asks whether it is alive.

    python .ci/check_image.py
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "gateway" / "Containerfile"
TIMEOUT = 120.0
"""Seconds for the gateway to start."""


def read_instructions() -> list[tuple[str, str]]:
    """Name and arguments of each, without comments, on one line."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(encoding="utf-8"), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines) if name]


def run_instructions(folder: Path) -> dict[str, str]:
    """Do what the first stage says below `folder`; returns the environment of the last one."""
    build, environment = folder / "build", dict(os.environ)
    build.mkdir()
    stage = 0
    for name, rest in read_instructions():
        stage += name == "FROM"
        if stage == 1 and name == "COPY":
            *sources, target = shlex.split(rest)
            for one in sources:
                place = build / target / (Path(one).name if target in (".", "./") else "")
                if (ROOT / one).is_dir():
                    skipped = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / one, place, ignore=skipped)
                else:
                    shutil.copy(ROOT / one, place)
        elif stage == 1 and name == "RUN":
            command = re.sub(r"/venv\b", str(folder / "venv"), rest)
            command = command.replace("python -m", f"{sys.executable} -m", 1)
            print("RUN", command, flush=True)
            subprocess.run(command, shell=True, cwd=build, check=True, stdout=subprocess.DEVNULL)
        elif stage == 2 and name == "ENV":
            for pair in shlex.split(rest):
                key, _, value = pair.partition("=")
                value = value.replace("/venv", str(folder / "venv"))
                environment[key] = os.path.expandvars(value)
    environment.pop("PYTHONPATH", None)
    return environment


def check_alive(command: list[str], environment: dict[str, str], folder: Path) -> None:
    """Start a gateway that keeps its tasks below `folder`, which is all that it may write."""
    arguments = ["--serving", "chat/llama", "--upstream", "http://127.0.0.1:9"]
    arguments += ["--store", f"sqlite:{folder}/tasks.db", "--port", "0", "--admin-port", "0"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments], stderr=output, env=environment, cwd=folder
        )
    try:
        end = time.monotonic() + TIMEOUT
        while (
            found := re.search(r"Operators are answered on \S+ port (\d+)", log.read_text())
        ) is None:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the gateway did not start: {log.read_text()}")
            time.sleep(0.1)
        url = f"http://127.0.0.1:{found[1]}/healthz"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            print(url, response.status, flush=True)
    finally:
        process.terminate()
    if process.wait(TIMEOUT) != 0:
        raise SystemExit(f"the gateway ended with {process.returncode}: {log.read_text()}")


def main() -> None:
    docker = shutil.which("docker")
    if (
        docker
        and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0
    ):
        subprocess.run(
            [docker, "build", "--quiet", "-f", str(FILE), "-t", "servedeck-gateway:ci", str(ROOT)],
            check=True,
        )
        run = [docker, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "servedeck-gateway:ci"]
        subprocess.run([*run, "--help"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        environment = run_instructions(folder)
        written = folder / "written"
        written.mkdir()
        check_alive([str(folder / "venv/bin/servedeck"), "gateway"], environment, written)


if __name__ == "__main__":
    main()
