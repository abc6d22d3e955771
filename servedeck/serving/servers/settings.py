"""What the command line and the environment of an inference server set: its model and its port."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from servedeck.serving.servers.command_line import base_name, read_commands
from servedeck.serving.servers.images import image_model, image_tag_words
from servedeck.serving.servers.kind import ServerKind
from servedeck.serving.servers.kinds import UNKNOWN_SERVER
from servedeck.serving.servers.recognition import ContainerFacts, RecognizedServer, recognize

SERVING_PORT_NAMES = ("http", "http1", "inference", "https")
"""Names that say which of several ports receives requests."""
METRICS_PORT_NAMES = ("metrics", "prometheus", "monitoring", "http-metrics")
_GRPC_PORT_PREFIXES = ("grpc", "h2c")
_OTHER_PORTS = (6379, 8265, 10001, 29500, 5600)
"""Ports of what runs beside a server: Ray (GCS, dashboard, client), torch.distributed, NIXL."""


# -- the model --------------------------------------------------------------------------------


def find_model(facts: ContainerFacts, server: RecognizedServer, kind: ServerKind) -> str:
    """Name or path of the model; "" if neither the command line nor the environment sets it. `kind`
    says how the command line is read."""
    words = server.arguments
    env = dict(facts.env)
    has_positional = _has_positional_model(facts, server, kind)
    found = (
        (_positional_model(words, kind) if has_positional else "")
        or flag_value(words, kind.model_flags)
        or next((value for name in kind.model_env if (value := _known(env.get(name, "")))), "")
        or (_model_after_options(words) if has_positional else "")
    )
    if kind.template == "nim":
        found = found or _nim_model(facts)
    if kind.template == "torchserve":  # name=archive, or all those of the store
        found = found.partition("=")[0] if found != "all" else ""
    if kind.template == "infinity":  # a variable may have several
        found = found.partition(";")[0].strip()
    if kind.template == "ollama" and not found:
        found = pulled_model((*facts.command, *facts.args), env)
        found = found or pulled_model(facts.hook_command, env)
    return found


def _nim_model(facts: ContainerFacts) -> str:
    """The model of an image of NIM. The image of several models has it in the variable alone."""
    found = image_model(facts.image, "nim")
    return "" if found.rpartition("/")[2] in _NIM_IMAGES_OF_MANY_MODELS else found


_NIM_IMAGES_OF_MANY_MODELS = ("llm-nim",)


def find_served_model(facts: ContainerFacts, server: RecognizedServer, kind: ServerKind) -> str:
    """Name of the model in requests, the first of several; "" if it is the model's own."""
    env = dict(facts.env)
    found = flag_value(server.arguments, kind.served_model_flags) or next(
        (value for name in kind.served_model_env if (value := _known(env.get(name, "")))), ""
    )
    return found.partition(",")[0].strip()


def _has_positional_model(
    facts: ContainerFacts, server: RecognizedServer, kind: ServerKind
) -> bool:
    """Whether the first argument can be the model: after the server's subcommand, or after the
    image's entry point, which ends in it."""
    return kind.positional_model and (server.is_started_directly or not facts.command)


def _positional_model(words: Sequence[str], kind: ServerKind) -> str:
    """The first argument after a subcommand, which arguments of an image's entry point may have."""
    for subcommand in (*kind.subcommands, ("serve",), ("api_server",)):
        if subcommand and tuple(words[: len(subcommand)]) == subcommand:
            words = words[len(subcommand) :]
            break
    if not words or words[0].startswith("-") or words[0] in _HERE:
        return ""
    return _known(words[0])


_HERE = (".", "./")
"""The directory of the program (`bentoml serve .`), which says nothing about the model."""


def _model_after_options(words: Sequence[str]) -> str:
    """`vllm serve --port 80 MODEL`: a word that is no option's value."""
    for before, word in pairwise(words):
        is_value = before.startswith("-") and not before.startswith(_SWITCHES)
        if is_value or word.startswith("-") or "/" not in word:
            continue
        at = words.index(word)
        option = next((one for one in reversed(words[:at]) if one.startswith("-")), "")
        if option not in _LIST_OPTIONS:
            return _known(word)
    return ""


_SWITCHES = ("--enable-", "--disable-", "--no-", "--trust-remote-code", "--enforce-eager")
"""Beginnings of options without a value."""
_LIST_OPTIONS = ("--served-model-name", "--lora-modules", "--allowed-origins", "--api-key")


def pulled_model(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """The model of `ollama pull MODEL` in a command line; "" for none."""
    for command in read_commands(argv, env):
        program, *rest = (word for word in command.words if not word.startswith("-"))
        if base_name(program) == "ollama" and len(rest) > 1 and rest[0] in ("pull", "run"):
            return _known(rest[1])
    return ""


def flag_value(words: Sequence[str], flags: Sequence[str]) -> str:
    """Value of the first of `flags` that is set, as `--flag value`, `--flag=value` or `-p80`; the
    last one of a flag counts, as with argparse. A flag without hyphens is only written with "="."""
    for flag in flags:
        for index in range(len(words) - 1, -1, -1):
            name, equals, value = words[index].partition("=")
            if len(flag) == 2 and name[:2] == flag and name[2:].isdecimal():
                return name[2:]
            if name != flag and not (name.startswith("--") and name.replace("_", "-") == flag):
                continue
            if equals and value:
                return _known(value)
            after = words[index + 1] if index + 1 < len(words) else "-"
            if not equals and flag.startswith("-") and not after.startswith("-"):
                return _known(after)
    return ""


def has_flag(words: Sequence[str], flags: Sequence[str]) -> bool:
    return any(word.partition("=")[0].replace("_", "-") in flags for word in words)


def _known(value: str) -> str:
    """A value with a reference to a variable that is not known says nothing."""
    return "" if "$" in value or "`" in value else value


# -- the port ---------------------------------------------------------------------------------


class ServerPort(NamedTuple):
    number: int
    is_default: bool
    """Whether nothing in the container says it."""
    is_grpc: bool
    is_tls: bool


@lru_cache(maxsize=4096)
def find_port(facts: ContainerFacts, kind: ServerKind) -> ServerPort:
    """The port that the server of a container receives requests on. For a known server: that of its
    flag or variable, else of the declared ports the one with a usual name, that of a probe, the
    server's default, or the first that is neither for metrics nor gRPC. For an unknown one the
    declared ports count before the flag, which may mean something else."""
    server = recognize(facts)
    words = server.arguments
    written = _written_port(facts, words, kind)
    number, is_grpc = 0, kind.is_grpc
    if kind is UNKNOWN_SERVER:
        number = _declared_port(facts, written, kind) or written
    else:
        number = written or _declared_port(facts, 0, kind)
        grpc = _to_port(flag_value(words, kind.grpc_port_flags)) or kind.grpc_port
        needs_flag = kind.has_opt_in_http and server.is_started_directly
        if not written and needs_flag and grpc:
            declared = {port.number for port in facts.ports}
            if not declared or grpc in declared:
                number, is_grpc = grpc, True
        if grpc and _is_off(words, kind.http_switch_flags):
            number = grpc
        is_grpc = is_grpc or (bool(grpc) and number == grpc)
        is_grpc = is_grpc or _is_grpc_only(facts, words, kind)
        is_grpc = is_grpc or (kind.has_grpc_images and "grpc" in image_tag_words(facts.image))
    is_default = not number
    number = number or kind.port
    names = [port.name for port in facts.ports if port.number == number]
    may_be_grpc = kind is UNKNOWN_SERVER or bool(kind.grpc_port or kind.grpc_port_flags)
    return ServerPort(
        number,
        is_default,
        is_grpc or (may_be_grpc and any(n.startswith(_GRPC_PORT_PREFIXES) for n in names)),
        _is_tls(facts, words, kind) or "https" in names,
    )


def _is_grpc_only(facts: ContainerFacts, words: Sequence[str], kind: ServerKind) -> bool:
    """Whether a flag of the server, or its module, says that it accepts gRPC only."""
    flags = [one for one in kind.grpc_switches if one.startswith("-")]
    modules = [one for one in kind.grpc_switches if one not in flags]
    argv = (*facts.command, *facts.args)
    return has_flag(words, flags) or any(one in word for one in modules for word in argv)


def _is_off(words: Sequence[str], flags: Sequence[str]) -> bool:
    return bool(flags) and flag_value(words, flags).lower() in ("false", "0")


def _written_port(facts: ContainerFacts, words: Sequence[str], kind: ServerKind) -> int:
    env = dict(facts.env)
    found = _to_port(flag_value(words, kind.port_flags))
    return found or next(
        (port for name in kind.port_env if (port := _to_port(env.get(name, "")))), 0
    )


def _declared_port(facts: ContainerFacts, flag: int, kind: ServerKind) -> int:
    by_number = {port.number for port in facts.ports}
    by_name = {port.name: port.number for port in reversed(facts.ports) if port.name}
    candidates = [by_name.get(name, 0) for name in SERVING_PORT_NAMES]
    candidates.append(flag if flag in by_number else 0)
    for target in facts.probe_ports:
        number = by_name.get(target, 0) or _to_port(target)
        candidates.append(number if number in by_number else 0)
    if kind is not UNKNOWN_SERVER:
        candidates.append(kind.port if kind.port in by_number else 0)
    plain = [
        port
        for port in facts.ports
        if port.name not in METRICS_PORT_NAMES and port.number not in _OTHER_PORTS
    ]
    candidates += [one.number for one in plain if not one.name.startswith(_GRPC_PORT_PREFIXES)]
    candidates += [one.number for one in plain]
    if kind is UNKNOWN_SERVER:
        candidates += [one.number for one in facts.ports]
    if not facts.ports and kind is not UNKNOWN_SERVER:
        candidates += [_to_port(target) for target in facts.probe_ports]
    return next((number for number in candidates if number), 0)


def _is_tls(facts: ContainerFacts, words: Sequence[str], kind: ServerKind) -> bool:
    if facts.has_https_probe or has_flag(words, kind.tls_flags):
        return True
    env = dict(facts.env)
    return any(env.get(name, "").lower() not in _TLS_OFF for name in kind.tls_env)


_TLS_OFF = ("", "disabled", "false", "off", "0", "none")
_PORT_PATTERN = re.compile(r"(?:^|:)([0-9]{1,5})/?$", re.ASCII)


def _to_port(text: str) -> int:
    """The port in "8080", ":8080", "0.0.0.0:8080" or "http://0.0.0.0:8080"; 0 for none."""
    match = _PORT_PATTERN.search(text.strip())
    number = int(match[1]) if match else 0
    return number if number <= 65535 else 0
