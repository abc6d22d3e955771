"""What a Deployment of any origin serves: its server, model, accelerators and port."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from servedeck.serving import accelerators
from servedeck.serving.objects.records import (
    INFERENCE_CONTAINER,
    MANAGED_BY_LABEL,
    MANAGER,
    SERVING_LABEL,
    TEMPLATE_LABEL,
    TRANSFORMER_CONTAINER,
    Container,
    Deployment,
)
from servedeck.serving.text import one_line
from servedeck.serving.units import quantity

CUSTOM = "custom"
"""Template of a serving whose server is not known."""
DEFAULT_PORT = 8000


class Engine(NamedTuple):
    """How a well known inference server is told by its image and command line."""

    template: str
    images: tuple[str, ...]
    """Parts of an image's path, without registry, tag and digest."""
    programs: tuple[str, ...] = ()
    """Programs that may be followed by `serve` or the like."""
    modules: tuple[str, ...] = ()
    """Python modules run by `python -m`, with everything below them."""
    flags: tuple[str, ...] = ("--model",)
    """Flags that name the model."""
    served: tuple[str, ...] = ()
    """Flags that name the model towards clients."""
    verbs: tuple[str, ...] = ()
    """Subcommands that the model follows as a positional argument."""
    env: tuple[str, ...] = ()
    """Environment variables that name the model."""
    implied: bool = False
    """Whether the image's own command ends in a verb, so that the model may come first."""


ENGINES = (
    Engine(
        "vllm",
        ("vllm",),
        ("vllm",),
        ("vllm",),
        served=("--served-model-name",),
        verbs=("serve",),
        env=("VLLM_MODEL", "MODEL_NAME"),
        implied=True,
    ),
    Engine(
        "furiosa-llm",
        ("furiosa-llm", "furiosa_llm"),
        ("furiosa-llm",),
        ("furiosa_llm",),
        served=("--served-model-name",),
        verbs=("serve",),
    ),
    Engine(
        "sglang",
        ("sglang",),
        ("sglang",),
        ("sglang",),
        flags=("--model-path", "--model"),
        served=("--served-model-name",),
    ),
    Engine(
        "tgi",
        ("text-generation-inference", "lorax"),
        ("text-generation-launcher", "lorax-launcher"),
        flags=("--model-id",),
        env=("MODEL_ID", "HF_MODEL_ID"),
    ),
    Engine(
        "tei",
        ("text-embeddings-inference",),
        ("text-embeddings-router",),
        flags=("--model-id",),
        served=("--served-model-name",),
        env=("MODEL_ID",),
    ),
    Engine("ollama", ("ollama",), ("ollama",), env=("OLLAMA_MODEL", "MODEL")),
    Engine(
        "triton",
        ("tritonserver", "tensorrtllm_backend"),
        ("tritonserver",),
        flags=("--load-model", "--model-repository", "--model-store"),
    ),
    Engine(
        "tensorrt-llm",
        ("tensorrt-llm", "tensorrt_llm"),
        ("trtllm-serve",),
        ("tensorrt_llm",),
        verbs=("serve", "trtllm-serve"),
    ),
    Engine(
        "llama.cpp",
        ("llama.cpp", "llama-cpp", "llama-server"),
        ("llama-server",),
        ("llama_cpp",),
        flags=("--model", "-m", "--hf-repo", "-hf", "-hfr"),
        served=("--alias", "-a"),
        env=("LLAMA_ARG_MODEL", "LLAMA_ARG_HF_REPO"),
    ),
    Engine(
        "lmdeploy",
        ("lmdeploy",),
        ("lmdeploy",),
        ("lmdeploy",),
        served=("--model-name",),
        verbs=("api_server",),
    ),
    Engine(
        "kserve-huggingface",
        ("huggingfaceserver",),
        modules=("huggingfaceserver",),
        flags=("--model_id", "--model_dir"),
        served=("--model_name",),
        env=("MODEL_ID",),
    ),
    Engine("nim", ("nvcr.io/nim", "nim/"), env=("NIM_MODEL_NAME", "NIM_SERVED_MODEL_NAME")),
    Engine(
        "infinity",
        ("michaelf34/infinity", "infinity-emb"),
        ("infinity_emb",),
        flags=("--model-id",),
        served=("--served-model-name",),
    ),
    Engine(
        "tensorflow-serving",
        ("tensorflow/serving", "tensorflow-serving"),
        ("tensorflow_model_server",),
        flags=("--model_name", "--model_base_path"),
        env=("MODEL_NAME",),
    ),
    Engine(
        "openvino",
        ("openvino/model_server", "model_server"),
        ("ovms",),
        flags=("--source_model", "--model_name", "--model_path"),
    ),
    Engine("torchserve", ("torchserve",), ("torchserve",), flags=("--models",)),
    Engine("mlserver", ("mlserver",), ("mlserver",), env=("MLSERVER_MODEL_NAME",)),
)
_BY_TEMPLATE = {engine.template: engine for engine in ENGINES}
_OTHER = Engine(
    CUSTOM,
    (),
    flags=("--model", "--model-id", "--model-path", "--model_id", "--model-name", "--model_name"),
    served=("--served-model-name",),
    env=("MODEL_ID", "HF_MODEL_ID", "MODEL_NAME", "MODEL"),
)


# -- is it one, and which ---------------------------------------------------------------------


def is_serving(deployment: Deployment) -> bool:
    """Whether the Deployment is a serving: labelled as one, or looks like an inference server (its
    container's name, a well known image or command, a request for an accelerator)."""
    if SERVING_LABEL in deployment.metadata.labels:
        return True
    for container in deployment.spec.template.spec.containers:
        if container.name == INFERENCE_CONTAINER or _engine_of(container) is not None:
            return True
    return bool(accelerator(deployment)[0])


def is_managed(deployment: Deployment) -> bool:
    """Whether servedeck made or adopted the Deployment."""
    labels = deployment.metadata.labels
    return SERVING_LABEL in labels and labels.get(MANAGED_BY_LABEL) == MANAGER


def template(deployment: Deployment) -> str:
    """Template of the serving: its label, else the server that its containers run ("vllm",
    "furiosa-llm", "sglang", …), else "custom"."""
    labelled = deployment.metadata.labels.get(TEMPLATE_LABEL)
    if labelled:
        return labelled
    found = _find(deployment)
    return found[1].template if found is not None else CUSTOM


def server(deployment: Deployment) -> Container | None:
    """The container that runs the inference server; None where the Deployment has none at all."""
    containers = deployment.spec.template.spec.containers
    for container in containers:
        if container.name == INFERENCE_CONTAINER:
            return container
    found = _find(deployment)
    if found is not None:
        return found[0]
    for container in containers:
        if any(map(accelerators.is_accelerator, _requested(container))):
            return container
    for container in containers:
        if container.name != TRANSFORMER_CONTAINER:
            return container
    return None


def image(deployment: Deployment) -> str:
    """Image of the inference server, "" where there is none."""
    container = server(deployment)
    return one_line(container.image) if container is not None else ""


def _find(deployment: Deployment) -> tuple[Container, Engine] | None:
    containers = deployment.spec.template.spec.containers
    # Ours first: a transformer may run a model of its own.
    for container in sorted(containers, key=lambda c: c.name != INFERENCE_CONTAINER):
        engine = _engine_of(container)
        if engine is not None:
            return container, engine
    return None


def _engine_of(container: Container) -> Engine | None:
    path = _repository(container.image)
    words = tuple(_words(container))
    for engine in ENGINES:
        if _runs(engine, words):
            return engine
    for engine in ENGINES:
        if any(part in path for part in engine.images):
            return engine
    return None


def _repository(image: str) -> str:
    """An image's registry and path in lower case: no digest, and no tag."""
    name = image.partition("@")[0].lower()
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _runs(engine: Engine, words: Sequence[str]) -> bool:
    """Whether a command line runs the engine: its program at the start of a command, or one of its
    modules after `-m`."""
    start = True
    for index, word in enumerate(words):
        if start and word.rpartition("/")[2] in engine.programs:
            return True
        if word == "-m" and index + 1 < len(words):
            module = words[index + 1]
            if any(module == m or module.startswith(f"{m}.") for m in engine.modules):
                return True
        passes = "=" in word or word.rpartition("/")[2] in _BEFORE
        start = word in _STARTS or (start and passes)
    return False


# After these words of a shell's script a new command starts; these may stand before a command.
_STARTS = frozenset({"&&", "||", ";", "|", "exec", "then", "do", "-c", "-lc", "-ec", "--", "run"})
_BEFORE = frozenset({"sh", "bash", "env", "uv", "python", "python3", "tini", "dumb-init", "nohup"})


# -- the model --------------------------------------------------------------------------------


def model(deployment: Deployment) -> str:
    """Name or path of the model that is loaded, "" where the command line and environment do not
    say it."""
    container = server(deployment)
    if container is None:
        return ""
    engine = _engine(deployment, container)
    words = _without_program(tuple(_words(container)))
    found = _positional(words, engine) or _flag(words, engine.flags) or _variable(container, engine)
    if not found and engine.implied and not container.command and words:
        found = "" if words[0].startswith("-") or words[0] in engine.verbs else words[0]
    return one_line(found or _flag(words, engine.served))


def served_model(deployment: Deployment) -> str:
    """Name of the model in requests: the alias it is served under, else the model itself."""
    container = server(deployment)
    if container is None:
        return ""
    engine = _engine(deployment, container)
    words = _without_program(tuple(_words(container)))
    return one_line(_flag(words, engine.served)) or model(deployment)


def _engine(deployment: Deployment, container: Container) -> Engine:
    labelled = _BY_TEMPLATE.get(deployment.metadata.labels.get(TEMPLATE_LABEL, ""))
    return labelled or _engine_of(container) or _OTHER


def _without_program(words: tuple[str, ...]) -> tuple[str, ...]:
    """`python -m module` is no model: the interpreter's own -m goes, with what it runs."""
    for index, word in enumerate(words[:-1]):
        if word == "-m" and index and words[index - 1].rpartition("/")[2].startswith("python"):
            return words[index + 2 :]
    return words


def _positional(words: Sequence[str], engine: Engine) -> str:
    """`vllm serve MODEL`: the argument after the subcommand, where it is no flag."""
    for index, word in enumerate(words[:-1]):
        if word.rpartition("/")[2] in engine.verbs:
            after = words[index + 1]
            if not after.startswith("-") and after not in engine.verbs:
                return after
    return ""


def _flag(words: Sequence[str], flags: Sequence[str]) -> str:
    """Value of the first of `flags` that is given, as `--flag value` or `--flag=value`."""
    for flag in flags:
        for index, word in enumerate(words):
            name, equals, value = word.partition("=")
            # vLLM's and SGLang's parsers take _ for -.
            if name != flag and not (name.startswith("--") and name.replace("_", "-") == flag):
                continue
            if equals and value:
                return value
            if not equals and index + 1 < len(words) and not words[index + 1].startswith("-"):
                return words[index + 1]
    return ""


def _variable(container: Container, engine: Engine) -> str:
    values = {variable.name: variable.value for variable in container.env}
    return next((values[name] for name in engine.env if values.get(name)), "")


# -- command lines ----------------------------------------------------------------------------

_LONGEST_SCRIPT = 20_000
_REFERENCE = re.compile(r"\$\((\w+)\)|\$\{(\w+)\}|\$(\w+)")
_SEPARATORS = re.compile(r"(;|&&|\|\||\n)")


def _words(container: Container) -> Iterator[str]:
    """The words of a container's command and arguments, those of a shell's script one by one, with
    references to the container's own variables filled in."""
    values = {variable.name: variable.value for variable in container.env if variable.value}

    def fill(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2] or match[3], match[0])

    for argument in (*container.command, *container.args):
        text = _REFERENCE.sub(fill, argument) if "$" in argument and values else argument
        if " " in text or "\n" in text:
            yield from _split(text[:_LONGEST_SCRIPT])
        else:
            yield text


def _split(script: str) -> list[str]:
    script = _SEPARATORS.sub(
        lambda match: " ; " if match[1] in "\n;" else f" {match[1]} ", script.replace("\\\n", " ")
    )
    try:
        return shlex.split(script)
    except ValueError:
        return script.split()


# -- what it takes ----------------------------------------------------------------------------


def accelerator(deployment: Deployment) -> tuple[str, int]:
    """Resource key of the accelerator that each replica asks for, and how many of them; ("", 0)
    for none. Of several kinds the first known one counts, summed over the containers."""
    counts: dict[str, int] = {}
    for container in deployment.spec.template.spec.containers:
        for resource, amount in _requested(container).items():
            if accelerators.is_accelerator(resource):
                counts[resource] = counts.get(resource, 0) + _whole(amount)
    counts = {resource: count for resource, count in counts.items() if count > 0}
    for resource in accelerators.BY_RESOURCE:
        if resource in counts:
            return resource, counts[resource]
    return min(counts.items(), default=("", 0))


def _requested(container: Container) -> dict[str, str | int | float]:
    # An extended resource's limit is its request, and the limit alone may be given.
    return {**container.resources.limits, **container.resources.requests}


def _whole(amount: str | int | float) -> int:
    try:
        return int(quantity(amount))
    except ValueError:
        return 0


def port(deployment: Deployment) -> int:
    """Port that the inference server listens on: its container's, its --port flag, else 8000."""
    container = server(deployment)
    if container is None:
        return DEFAULT_PORT
    for declared in container.ports:
        if declared.name in ("http", "http1", "inference") and declared.container_port > 0:
            return declared.container_port
    for declared in container.ports:
        if declared.container_port > 0:
            return declared.container_port
    flag = _flag(tuple(_words(container)), ("--port",))
    return (
        int(flag)
        if flag.isascii() and flag.isdigit() and 0 < int(flag[:6]) < 65536
        else DEFAULT_PORT
    )
