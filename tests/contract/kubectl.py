"""kubectl, run by a user of one of the two servers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.contract.target import Backend
from tests.waiting import WAIT_SECONDS

KUBECTL_TIMEOUT_ARGS = f"--timeout={WAIT_SECONDS:.0f}s"
"""Timeout option for commands that wait."""


class Kubectl:
    """Runs `binary` in one namespace, with its files in `home`."""

    def __init__(self, binary: str, backend: Backend, namespace: str, home: Path) -> None:
        self._binary = binary
        self._backend = backend
        self._namespace = namespace
        self._home = home

    def __call__(self, *args: str, input: Any = None, user: str = "admin", code: int = 0) -> str:
        """Standard output followed by standard error; asserts the exit code `code`."""
        text = json.dumps(input) if input is not None else ""
        process = self.start(*args, user=user)
        try:
            output, error = process.communicate(text, 2 * WAIT_SECONDS)
        finally:
            process.kill()
        assert process.returncode == code, (args, output, error)
        return output + error

    def start(self, *args: str, user: str = "admin") -> subprocess.Popen[str]:
        """The running process, with its output as a pipe."""
        config = self._home / f"kubeconfig-{user}"
        config.write_text(json.dumps(self._backend.kubeconfig(user)))
        return subprocess.Popen(
            [self._binary, "-n", self._namespace, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"KUBECONFIG": str(config), "HOME": str(self._home), "PATH": os.environ["PATH"]}
            | {"KUBE_EDITOR": "sed -i s/v0.10.0/v0.12.0/"},
        )
