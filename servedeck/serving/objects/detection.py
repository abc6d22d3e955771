"""Detect the server, model, accelerators and port of a Deployment of any origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from servedeck.serving import accelerators
from servedeck.serving.conventions import (
    DEFAULT_INFERENCE_PORT,
    FIELD_MANAGER,
    INFERENCE_CONTAINER,
    MANAGED_BY_LABEL,
    SERVING_LABEL,
    TEMPLATE_LABEL,
    TRANSFORMER_CONTAINER,
)
from servedeck.serving.objects.records import Container, Deployment
from servedeck.serving.quantity import parse_quantity
from servedeck.serving.spec.templates.arguments import command_words
from servedeck.serving.text import one_line

CUSTOM_TEMPLATE = "custom"
"""Template of a serving whose server is unknown."""


class ServerKind(NamedTuple):
    """How a well-known inference server is recognized by its image and command line."""

    template: str
    image_parts: tuple[str, ...]
    """Components of the image path, without registry, tag and digest."""
    programs: tuple[str, ...] = ()
    """Programs that may be followed by a subcommand such as `serve`."""
    modules: tuple[str, ...] = ()
    """Python modules run by `python -m`, including their submodules."""
    model_flags: tuple[str, ...] = ("--model",)
    """Flags that set the model."""
    served_model_flags: tuple[str, ...] = ()
    """Flags that set the served model name."""
    subcommands: tuple[str, ...] = ()
    """Subcommands that the model follows as a positional argument."""
    model_env: tuple[str, ...] = ()
    """Environment variables that set the model."""
    has_implied_subcommand: bool = False
    """Whether the image's entry point ends in a subcommand, so that the model may be the first
    argument."""


SERVER_KINDS = (
    ServerKind(
        "vllm",
        ("vllm",),
        ("vllm",),
        ("vllm",),
        served_model_flags=("--served-model-name",),
        subcommands=("serve",),
        model_env=("VLLM_MODEL", "MODEL_NAME"),
        has_implied_subcommand=True,
    ),
    ServerKind(
        "furiosa-llm",
        ("furiosa-llm", "furiosa_llm"),
        ("furiosa-llm",),
        ("furiosa_llm",),
        served_model_flags=("--served-model-name",),
        subcommands=("serve",),
    ),
    ServerKind(
        "sglang",
        ("sglang",),
        ("sglang",),
        ("sglang",),
        model_flags=("--model-path", "--model"),
        served_model_flags=("--served-model-name",),
    ),
    ServerKind(
        "tgi",
        ("text-generation-inference", "lorax"),
        ("text-generation-launcher", "lorax-launcher"),
        model_flags=("--model-id",),
        model_env=("MODEL_ID", "HF_MODEL_ID"),
    ),
    ServerKind(
        "tei",
        ("text-embeddings-inference",),
        ("text-embeddings-router",),
        model_flags=("--model-id",),
        served_model_flags=("--served-model-name",),
        model_env=("MODEL_ID",),
    ),
    ServerKind("ollama", ("ollama",), ("ollama",), model_env=("OLLAMA_MODEL", "MODEL")),
    ServerKind(
        "triton",
        ("tritonserver", "tensorrtllm_backend"),
        ("tritonserver",),
        model_flags=("--load-model", "--model-repository", "--model-store"),
    ),
    ServerKind(
        "tensorrt-llm",
        ("tensorrt-llm", "tensorrt_llm"),
        ("trtllm-serve",),
        ("tensorrt_llm",),
        subcommands=("serve", "trtllm-serve"),
    ),
    ServerKind(
        "llama.cpp",
        ("llama.cpp", "llama-cpp", "llama-server"),
        ("llama-server",),
        ("llama_cpp",),
        model_flags=("--model", "-m", "--hf-repo", "-hf", "-hfr"),
        served_model_flags=("--alias", "-a"),
        model_env=("LLAMA_ARG_MODEL", "LLAMA_ARG_HF_REPO"),
    ),
    ServerKind(
        "lmdeploy",
        ("lmdeploy",),
        ("lmdeploy",),
        ("lmdeploy",),
        served_model_flags=("--model-name",),
        subcommands=("api_server",),
    ),
    ServerKind(
        "kserve-huggingface",
        ("huggingfaceserver",),
        modules=("huggingfaceserver",),
        model_flags=("--model_id", "--model_dir"),
        served_model_flags=("--model_name",),
        model_env=("MODEL_ID",),
    ),
    ServerKind(
        "nim", ("nvcr.io/nim", "nim/"), model_env=("NIM_MODEL_NAME", "NIM_SERVED_MODEL_NAME")
    ),
    ServerKind(
        "infinity",
        ("michaelf34/infinity", "infinity-emb"),
        ("infinity_emb",),
        model_flags=("--model-id",),
        served_model_flags=("--served-model-name",),
    ),
    ServerKind(
        "tensorflow-serving",
        ("tensorflow/serving", "tensorflow-serving"),
        ("tensorflow_model_server",),
        model_flags=("--model_name", "--model_base_path"),
        model_env=("MODEL_NAME",),
    ),
    ServerKind(
        "openvino",
        ("openvino/model_server", "model_server"),
        ("ovms",),
        model_flags=("--source_model", "--model_name", "--model_path"),
    ),
    ServerKind("torchserve", ("torchserve",), ("torchserve",), model_flags=("--models",)),
    ServerKind("mlserver", ("mlserver",), ("mlserver",), model_env=("MLSERVER_MODEL_NAME",)),
)
_SERVER_KINDS_BY_TEMPLATE = {server_kind.template: server_kind for server_kind in SERVER_KINDS}
_UNKNOWN_SERVER_KIND = ServerKind(
    CUSTOM_TEMPLATE,
    (),
    model_flags=(
        "--model",
        "--model-id",
        "--model-path",
        "--model_id",
        "--model-name",
        "--model_name",
    ),
    served_model_flags=("--served-model-name",),
    model_env=("MODEL_ID", "HF_MODEL_ID", "MODEL_NAME", "MODEL"),
)


# -- is it one, and which ---------------------------------------------------------------------


def is_serving(deployment: Deployment) -> bool:
    """Whether the Deployment is a serving: labeled as one, or detected as an inference server
    (container name, well-known image or command, accelerator request)."""
    if SERVING_LABEL in deployment.metadata.labels:
        return True
    for container in deployment.spec.template.spec.containers:
        if container.name == INFERENCE_CONTAINER or _detect_server_kind(container) is not None:
            return True
    return bool(detect_accelerator(deployment)[0])


def is_managed(deployment: Deployment) -> bool:
    """Whether the Deployment has servedeck's labels."""
    labels = deployment.metadata.labels
    return SERVING_LABEL in labels and labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER


def detect_template(deployment: Deployment) -> str:
    """Template of the serving: from its label, else from the server that its containers run
    ("vllm", "furiosa-llm", "sglang", …), else "custom"."""
    labeled = deployment.metadata.labels.get(TEMPLATE_LABEL)
    if labeled:
        return labeled
    found = _find_known_server(deployment)
    return found[1].template if found is not None else CUSTOM_TEMPLATE


def find_server_container(deployment: Deployment) -> Container | None:
    """The container that runs the inference server; None if the Deployment has no containers."""
    containers = deployment.spec.template.spec.containers
    index = server_container_index(containers)
    return None if index is None else containers[index]


def server_container_index(containers: Sequence[Container]) -> int | None:
    """Position of the container that runs the inference server: by its name, else a known server,
    else an accelerator, else the first that is no transformer; None if there is none."""
    tests: tuple[Callable[[Container], bool], ...] = (
        lambda one: one.name == INFERENCE_CONTAINER,
        lambda one: _detect_server_kind(one) is not None,
        lambda one: any(map(accelerators.is_accelerator, _requested_resources(one))),
        lambda one: one.name != TRANSFORMER_CONTAINER,
    )
    for test in tests:
        for index, container in enumerate(containers):
            if test(container):
                return index
    return None


def _find_known_server(deployment: Deployment) -> tuple[Container, ServerKind] | None:
    containers = deployment.spec.template.spec.containers
    # Our container name first: a transformer may run its own model.
    for container in sorted(containers, key=lambda c: c.name != INFERENCE_CONTAINER):
        server_kind = _detect_server_kind(container)
        if server_kind is not None:
            return container, server_kind
    return None


def _detect_server_kind(container: Container) -> ServerKind | None:
    path = _image_repository(container.image)
    words = tuple(_words(container))
    for server_kind in SERVER_KINDS:
        if _runs_server(server_kind, words):
            return server_kind
    for server_kind in SERVER_KINDS:
        if any(part in path for part in server_kind.image_parts):
            return server_kind
    return None


def _image_repository(image: str) -> str:
    """An image's registry and path in lower case: no digest, and no tag."""
    name = image.partition("@")[0].lower()
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _runs_server(server_kind: ServerKind, words: Sequence[str]) -> bool:
    """Whether a command line runs the server: its program is the command, or one of its modules
    follows `-m`."""
    start = True
    for index, word in enumerate(words):
        if start and word.rpartition("/")[2] in server_kind.programs:
            return True
        if word == "-m" and index + 1 < len(words):
            module = words[index + 1]
            if any(module == m or module.startswith(f"{m}.") for m in server_kind.modules):
                return True
        passes = "=" in word or word.rpartition("/")[2] in _COMMAND_WRAPPERS
        start = word in _COMMAND_SEPARATORS or (start and passes)
    return False


# In a shell script a new command starts after these words; these may precede a command.
_COMMAND_SEPARATORS = frozenset(
    {"&&", "||", ";", "|", "exec", "then", "do", "-c", "-lc", "-ec", "--", "run"}
)
_COMMAND_WRAPPERS = frozenset(
    {"sh", "bash", "env", "uv", "python", "python3", "tini", "dumb-init", "nohup"}
)


# -- the model --------------------------------------------------------------------------------


def detect_model(deployment: Deployment) -> str:
    """Name or path of the loaded model, "" if neither the command line nor the environment sets
    it."""
    container = find_server_container(deployment)
    if container is None:
        return ""
    server_kind = _resolve_server_kind(deployment, container)
    words = _strip_python_module(tuple(_words(container)))
    found = (
        _positional_model(words, server_kind)
        or _flag_value(words, server_kind.model_flags)
        or _model_from_env(container, server_kind)
    )
    if not found and server_kind.has_implied_subcommand and not container.command and words:
        found = "" if words[0].startswith("-") or words[0] in server_kind.subcommands else words[0]
    return one_line(found or _flag_value(words, server_kind.served_model_flags))


def detect_served_model(deployment: Deployment) -> str:
    """Name of the model in requests: the alias it is served under, else the model itself."""
    container = find_server_container(deployment)
    if container is None:
        return ""
    server_kind = _resolve_server_kind(deployment, container)
    words = _strip_python_module(tuple(_words(container)))
    return one_line(_flag_value(words, server_kind.served_model_flags)) or detect_model(deployment)


def _resolve_server_kind(deployment: Deployment, container: Container) -> ServerKind:
    labeled = _SERVER_KINDS_BY_TEMPLATE.get(deployment.metadata.labels.get(TEMPLATE_LABEL, ""))
    return labeled or _detect_server_kind(container) or _UNKNOWN_SERVER_KIND


def _strip_python_module(words: tuple[str, ...]) -> tuple[str, ...]:
    """The -m of `python -m module` does not set the model: drop it with its module."""
    for index, word in enumerate(words[:-1]):
        if word == "-m" and index and words[index - 1].rpartition("/")[2].startswith("python"):
            return words[index + 2 :]
    return words


def _positional_model(words: Sequence[str], server_kind: ServerKind) -> str:
    """`vllm serve MODEL`: the argument after the subcommand, unless it is a flag."""
    for index, word in enumerate(words[:-1]):
        if word.rpartition("/")[2] in server_kind.subcommands:
            after = words[index + 1]
            if not after.startswith("-") and after not in server_kind.subcommands:
                return after
    return ""


def _flag_value(words: Sequence[str], flags: Sequence[str]) -> str:
    """Value of the first of `flags` that is set, as `--flag value` or `--flag=value`."""
    for flag in flags:
        for index, word in enumerate(words):
            name, equals, value = word.partition("=")
            # The parsers of vLLM and SGLang accept _ for -.
            if name != flag and not (name.startswith("--") and name.replace("_", "-") == flag):
                continue
            if equals and value:
                return value
            if not equals and index + 1 < len(words) and not words[index + 1].startswith("-"):
                return words[index + 1]
    return ""


def _words(container: Container) -> Iterator[str]:
    env = {variable.name: variable.value for variable in container.env}
    return command_words((*container.command, *container.args), env)


def _model_from_env(container: Container, server_kind: ServerKind) -> str:
    values = {variable.name: variable.value for variable in container.env}
    return next((values[name] for name in server_kind.model_env if values.get(name)), "")


# -- what it takes ----------------------------------------------------------------------------


def detect_accelerator(deployment: Deployment) -> tuple[str, int]:
    """Resource key and number of the accelerators that each replica requests; ("", 0) for none. Of
    several kinds the first known one is used, summed over the containers."""
    counts: dict[str, int] = {}
    for container in deployment.spec.template.spec.containers:
        for resource, amount in _requested_resources(container).items():
            if accelerators.is_accelerator(resource):
                counts[resource] = counts.get(resource, 0) + _to_int(amount)
    counts = {resource: count for resource, count in counts.items() if count > 0}
    for resource in accelerators.ACCELERATORS_BY_RESOURCE:
        if resource in counts:
            return resource, counts[resource]
    return min(counts.items(), default=("", 0))


def _requested_resources(container: Container) -> dict[str, str | int | float]:
    # The limit of an extended resource is its request, and the request may be omitted.
    return {**container.resources.limits, **container.resources.requests}


def _to_int(amount: str | int | float) -> int:
    try:
        return int(parse_quantity(amount))
    except ValueError:
        return 0


_SERVER_PORT_NAMES = ("http", "http1", "inference")
_METRICS_PORT_NAMES = ("metrics", "prometheus", "monitoring")


def detect_port(deployment: Deployment) -> int:
    """Port that the inference server listens on: of the declared ones that with a usual name, that
    of the flag --port, or the first that is not for metrics; without any, the flag, else 8000."""
    container = find_server_container(deployment)
    if container is None:
        return DEFAULT_INFERENCE_PORT
    declared = [one for one in container.ports if one.container_port > 0]
    written = _flag_value(tuple(_words(container)), ("--port",))
    is_port = written.isascii() and written.isdigit() and 0 < int(written[:6]) < 65536
    flag = int(written) if is_port else DEFAULT_INFERENCE_PORT
    ranked = [
        *(one for one in declared if one.name in _SERVER_PORT_NAMES),
        *(one for one in declared if is_port and one.container_port == flag),
        *(one for one in declared if one.name not in _METRICS_PORT_NAMES),
        *declared,
    ]
    return ranked[0].container_port if ranked else flag
