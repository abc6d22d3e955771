"""Commands in a container of the demo: a few that show something about it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from servedeck.demo.api.kubelet_api import CommandOutput, ExecutableNotFoundError
from servedeck.demo.workloads.instance import SimulatedInstance

_DIRECTORIES = "bin dev etc home lib opt proc root run sys tmp usr var"
_SHELL_OPERATORS = frozenset("|&;<>()`$*?")


class ContainerCommands:
    """The programs of one running container."""

    def __init__(
        self, instance: SimulatedInstance, environment: Mapping[str, str], gpus: int
    ) -> None:
        self._instance = instance
        self._environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": instance.pod,
            "HOME": "/root",
            **environment,
        }
        self._gpus = gpus

    def run(self, command: Sequence[str], now: float) -> CommandOutput:
        """What the command prints at the time `now`. Raises ExecutableNotFoundError."""
        program, *arguments = command
        if program in ("sh", "bash", "/bin/sh", "/bin/bash"):
            return self._run_shell(arguments, now)
        found = getattr(self, f"_run_{program.rpartition('/')[2].replace('-', '_')}", None)
        if found is None or (program == "nvidia-smi" and not self._gpus):
            raise ExecutableNotFoundError(program)
        output: CommandOutput = found(arguments, now)
        return output

    def _run_shell(self, arguments: Sequence[str], now: float) -> CommandOutput:
        if len(arguments) != 2 or arguments[0] != "-c":
            return CommandOutput(err=b"sh: the demo cluster runs sh -c only\n", exit_code=2)
        text = arguments[1]
        for name, value in self._environment.items():
            text = text.replace(f"${name}", value)
        if _SHELL_OPERATORS & set(text):
            error = "sh: 1: the demo cluster runs single commands only\n"
            return CommandOutput(err=error.encode(), exit_code=2)
        try:
            return self.run(shlex.split(text) or ["true"], now)
        except ExecutableNotFoundError as error:
            return CommandOutput(err=f"sh: 1: {error}: not found\n".encode(), exit_code=127)

    # -- programs -----------------------------------------------------------------------------

    def _run_true(self, arguments: Sequence[str], now: float) -> CommandOutput:
        return CommandOutput()

    def _run_false(self, arguments: Sequence[str], now: float) -> CommandOutput:
        return CommandOutput(exit_code=1)

    def _run_echo(self, arguments: Sequence[str], now: float) -> CommandOutput:
        return _lines(" ".join(arguments))

    def _run_hostname(self, arguments: Sequence[str], now: float) -> CommandOutput:
        return _lines(self._instance.pod)

    def _run_whoami(self, arguments: Sequence[str], now: float) -> CommandOutput:
        return _lines("root")

    def _run_pwd(self, arguments: Sequence[str], now: float) -> CommandOutput:
        return _lines("/")

    def _run_env(self, arguments: Sequence[str], now: float) -> CommandOutput:
        return _lines(*(f"{name}={value}" for name, value in self._environment.items()))

    def _run_ls(self, arguments: Sequence[str], now: float) -> CommandOutput:
        paths = [one for one in arguments if not one.startswith("-")] or ["/"]
        if paths == ["/"]:
            return _lines(*_DIRECTORIES.split())
        if paths == ["/etc"]:
            return _lines("hostname", "os-release")
        error = f"ls: cannot access '{paths[0]}': No such file or directory\n"
        return CommandOutput(err=error.encode(), exit_code=2)

    def _run_cat(self, arguments: Sequence[str], now: float) -> CommandOutput:
        files = {
            "/etc/hostname": self._instance.pod,
            "/etc/os-release": 'PRETTY_NAME="Ubuntu 24.04 LTS"\nID=ubuntu',
        }
        path = arguments[0] if arguments else ""
        if path in files:
            return _lines(files[path])
        error = f"cat: {path}: No such file or directory\n"
        return CommandOutput(err=error.encode(), exit_code=1)

    def _run_ps(self, arguments: Sequence[str], now: float) -> CommandOutput:
        server = self._instance.server
        hours, rest = divmod(int(max(0.0, now - self._instance.started)), 3600)
        running = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
        return _lines(
            "    PID TTY          TIME CMD",
            f"      1 ?        {running} {server.engine} serve {server.model_name}",
            "    412 ?        00:00:00 ps",
        )

    def _run_nvidia_smi(self, arguments: Sequence[str], now: float) -> CommandOutput:
        total = round(self._instance.device_memory * 1024)
        used = round(total * (0.9 if self._instance.listens(now) else 0.4))
        name = self._instance.device or "NVIDIA GPU"
        rows = [
            f"| {index:3}  {name:<32} {used:>7}MiB / {total:>7}MiB |" for index in range(self._gpus)
        ]
        rule = "+" + "-" * (len(rows[0]) - 2) + "+"
        return _lines(rule, "| GPU  Name" + " " * (len(rows[0]) - 12) + "|", rule, *rows, rule)


def _lines(*lines: str) -> CommandOutput:
    return CommandOutput("".join(f"{line}\n" for line in lines).encode())
