"""Which inference server a container runs.

The command line decides before the image: an image of vLLM that runs a cache server, a benchmark or
`sleep` serves no model. A script whose content is not known is taken for what the image contains.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from servedeck.serving.servers.command_line import (
    PYTHON_LAUNCHERS,
    SHELLS,
    WRAPPERS,
    base_name,
    is_python,
    read_commands,
    read_python,
)
from servedeck.serving.servers.images import (
    find_image_kind,
    name_words,
    names_other_program,
)
from servedeck.serving.servers.kind import ServerKind
from servedeck.serving.servers.kinds import PROGRAMS, SERVER_KINDS


class Port(NamedTuple):
    name: str
    number: int


class ContainerFacts(NamedTuple):
    """What of a container says which server it runs. Hashable, so that readings are cached."""

    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    """Variables with a value, in order."""
    ports: tuple[Port, ...]
    """Declared TCP ports."""
    probe_ports: tuple[str, ...] = ()
    """Ports of the HTTP probes, each a name or a number."""
    has_https_probe: bool = False
    hook_command: tuple[str, ...] = ()
    """Command of the postStart hook."""


class RecognizedServer(NamedTuple):
    kind: ServerKind | None
    """None if the container runs no known inference server."""
    arguments: tuple[str, ...]
    """Arguments of the server."""
    program_end: int | None
    """Index of the first argument in command and args together; None if a script starts it."""
    is_started_directly: bool
    """Whether the command line names the server's program, so that the image's entry point does not
    apply."""
    runs_other_program: bool
    """Whether the command line runs something that is known to be no inference server."""


class _Role(enum.Enum):
    SERVER = enum.auto()
    SCRIPT = enum.auto()
    """A file whose content is not known."""
    UNKNOWN = enum.auto()
    OTHER = enum.auto()


@lru_cache(maxsize=4096)
def recognize(facts: ContainerFacts) -> RecognizedServer:
    """The inference server that a container runs."""
    env = dict(facts.env)
    argv = (*facts.command, *facts.args)
    image_kind = find_image_kind(facts.image)
    is_explicit = bool(facts.command) or _starts_with_program(facts.args)
    roles: set[_Role] = set()
    commands = read_commands(argv, env)
    words = tuple(word for command in commands for word in command.words)
    if is_explicit:
        for command in commands:
            role, kind, end = _classify(command.words)
            if kind is not None:
                start = None if command.start is None else command.start + end
                return RecognizedServer(kind, command.words[end:], start, True, False)
            roles.add(role)
    elif image_kind is not None and _is_other(argv):
        return RecognizedServer(None, words, None, False, True)
    if is_explicit and _Role.SCRIPT not in roles:
        is_server = _Role.UNKNOWN in roles and bool(facts.ports or facts.probe_ports)
        if not is_server:
            is_other = _Role.UNKNOWN not in roles
            return RecognizedServer(None, words, None, False, is_other)
    if image_kind is not None:
        for name in image_kind.arguments_env:
            words += tuple(env.get(name, "").strip("\"'").split())
    return RecognizedServer(
        image_kind, words, None if is_explicit or image_kind is None else 0, False, False
    )


def _starts_with_program(args: Sequence[str]) -> bool:
    """Whether the arguments of an image's entry point begin with a program (entry points that run
    their arguments, as those of NVIDIA's images do)."""
    if not args or args[0].startswith("-"):
        return False
    name = base_name(args[0])
    return (
        name in SHELLS
        or name in WRAPPERS
        or name in _OTHER_PROGRAMS
        or name in PROGRAMS
        or is_python(name)
        or _find_program(tuple(args)) is not None
        or ("/" in args[0] and name.endswith((".sh", ".py")))
    )


def _find_program(words: tuple[str, ...]) -> tuple[ServerKind, int] | None:
    """The server that a program starts, and the index of its first argument."""
    kind = _KINDS_BY_PROGRAM.get(base_name(words[0]))
    for subcommand in kind.subcommands if kind is not None else ():
        end = 1 + len(subcommand)
        if kind is not None and words[1:end] == subcommand and not _is_other(words[end : end + 1]):
            return kind, end
    return None


_KINDS_BY_PROGRAM = {program: kind for kind in SERVER_KINDS for program in kind.programs}


def _is_other(words: Sequence[str]) -> bool:
    return bool(words) and words[0] in _OTHER_SUBCOMMANDS


def _classify(words: tuple[str, ...]) -> tuple[_Role, ServerKind | None, int]:
    """What one program is; for a server its kind, and the index of its first argument."""
    if found := _find_program(words):
        return _Role.SERVER, *found
    name = base_name(words[0])
    if name in PROGRAMS or name in _OTHER_PROGRAMS or name in SHELLS:
        return _Role.OTHER, None, 0
    if is_python(name):
        return _classify_python(words)
    is_script = "/" in words[0] or name.endswith((".sh", ".bash")) or "entrypoint" in name
    if is_script and len(words) > 1 and not words[1].startswith("-"):
        # an entry point that runs its arguments
        role, kind, end = _classify(words[1:])
        if kind is not None:
            return role, kind, end + 1
    if names_other_program(name):
        return _Role.OTHER, None, 0
    return _Role.SCRIPT if is_script else _Role.UNKNOWN, None, 0


def _classify_python(words: tuple[str, ...]) -> tuple[_Role, ServerKind | None, int]:
    program = read_python(words)
    if program.script:
        script = base_name(program.script)
        if found := _find_program((script, *words[program.arguments_at :])):
            return _Role.SERVER, found[0], program.arguments_at + found[1] - 1
        script = script.removesuffix(".py")
        if names_other_program(script):
            return _Role.OTHER, None, 0
        if not _SERVER_SCRIPT_WORDS.isdisjoint(name_words(script)):
            return _Role.SCRIPT, None, 0
        is_training = base_name(words[0]) in PYTHON_LAUNCHERS
        return _Role.OTHER if is_training else _Role.UNKNOWN, None, 0
    if not program.module:
        return _Role.OTHER, None, 0
    end = program.arguments_at
    if name := _PROGRAM_MODULES.get(program.module):
        if found := _find_program((name, *words[end:])):
            return _Role.SERVER, found[0], end + found[1] - 1
        return _Role.OTHER, None, 0
    for module, kind in _MODULES.get(program.module.partition(".")[0], ()):
        if program.module == module or program.module.startswith(f"{module}."):
            rest = program.module.removeprefix(module)
            if not names_other_program(rest) and not rest.endswith(_OTHER_MODULE_SUFFIXES):
                return _Role.SERVER, kind, end
    is_other = program.module.partition(".")[0] in _OTHER_MODULES
    is_other = is_other or names_other_program(program.module)
    return _Role.OTHER if is_other else _Role.UNKNOWN, None, 0


def _index_modules() -> dict[str, list[tuple[str, ServerKind]]]:
    """The servers' modules by their package."""
    found: dict[str, list[tuple[str, ServerKind]]] = {}
    for kind in SERVER_KINDS:
        for module in (*kind.modules, *kind.worker_modules):
            found.setdefault(module.partition(".")[0], []).append((module, kind))
    return found


_MODULES = _index_modules()
_PROGRAM_MODULES = {
    "vllm": "vllm",
    "vllm.scripts": "vllm",
    "vllm.entrypoints.cli.main": "vllm",
    "sglang": "sglang",
    "lmdeploy": "lmdeploy",
    "mlc_llm": "mlc_llm",
    "bentoml": "bentoml",
    "mlflow": "mlflow",
}
"""Modules that are a server's program with its subcommands."""
_SERVER_SCRIPT_WORDS = frozenset({"server", "serve", "serving", "api", "inference", "entrypoint"})
_OTHER_MODULE_SUFFIXES = (".run_batch", ".mini_lb", ".launch_lb", ".api_client")
_OTHER_MODULES = frozenset(
    {
        *("http", "pip", "venv", "pytest", "timeit", "json", "ray", "torch", "accelerate"),
        *("deepspeed", "jupyter", "jupyterlab", "notebook", "ipykernel", "tensorboard", "trl"),
        *("axolotl", "sglang_router", "vllm_router", "dynamo", "lmcache", "mooncake", "sglang"),
        *("vllm", "tensorrt_llm", "huggingface_hub", "datasets"),
    }
)
"""Packages whose modules are no inference server, except for those in the table."""
_OTHER_SUBCOMMANDS = frozenset(
    {
        *("bench", "chat", "complete", "collect-env", "run-batch", "pull", "push", "list", "show"),
        *("create", "disaggregated", "disaggregated_mpi_worker", "proxy", "convert", "quantize"),
        *("federated", "explorer", "p2p-worker", "lite", "route", "download-model"),
        *("download-to-cache", "create-model-store", "list-model-profiles"),
    }
)
"""Subcommands of inference servers' programs that serve no model."""
_OTHER_PROGRAMS = frozenset(
    {
        *("echo", "printf", "cd", "mkdir", "cp", "mv", "rm", "ln", "chmod", "chown", "ls", "cat"),
        *("test", "true", "false", ":", "set", "unset", "ulimit", "umask", "read", "shift", "wait"),
        *("exit", "return", "sleep", "tail", "head", "grep", "sed", "awk", "sort", "tr", "tee"),
        *("touch", "find", "xargs", "date", "hostname", "nvidia-smi", "ldconfig", "modprobe"),
        *("pip", "pip3", "apt", "apt-get", "apk", "yum", "dnf", "microdnf", "git", "curl", "wget"),
        *("tar", "unzip", "hf", "huggingface-cli", "aws", "gsutil", "gcloud", "az", "kubectl"),
        *("ray", "jupyter", "jupyter-lab", "jupyter-notebook", "start-notebook.sh", "code-server"),
        *("lmcache_server", "lmcache", "lmcache_controller", "mooncake_master", "etcd"),
        *("redis-server", "valkey-server", "nginx", "envoy", "haproxy", "caddy", "sshd", "cron"),
        *("vllm-router", "sglang-router", "sgl-router", "smg", "amg", "perf_analyzer"),
        *("text-generation-benchmark", "text-generation-server", "tritonclient"),
        *("genai-perf", "guidellm", "trtllm-bench", "trtllm-build", "llama-cli", "llama-bench"),
        *("llama-quantize", "rpc-server", "tensorboard", "wandb", "dcgm-exporter", "nv-hostengine"),
        *("accelerate-launch", "axolotl", "tune", "swift", "npm", "node", "streamlit", "gradio"),
        *("open-webui", "litellm", "java", "pytest", "make", "tritonserver-sdk"),
    }
)
"""Programs that are no inference server, whatever the image contains."""


# -- the command line as the form edits it ----------------------------------------------------


def find_editable_program(
    template: str, image: str, command: Sequence[str], args: Sequence[str]
) -> int | None:
    """Index of the first argument of the template's server in command and args, if its flags can be
    edited one by one there: no script starts it, and they are the server's own. None otherwise."""
    facts = ContainerFacts(image, tuple(command), tuple(args), (), ())
    server = recognize(facts)
    if server.kind is None or server.kind.template != template or server.program_end is None:
        return None
    words = (*command, *args)
    if server.is_started_directly and any(
        word in server.kind.worker_modules for word in words[: server.program_end]
    ):
        return None
    return server.program_end
