"""Rules for the fields of a serving, alone and in combination, without the cluster.

Each yields the errors and warnings of one field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from servedeck.serving.conventions import (
    MAX_STARTUP_SECONDS,
    MODEL_CACHE_PATH,
    MODEL_CACHE_VOLUME,
    PREDICTOR_URL_ENV,
    ROOT_MODEL_CACHE_PATH,
    SHARED_MEMORY_PATH,
)
from servedeck.serving.objectives import parse_objectives
from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mapping.ports import known_port
from servedeck.serving.spec.mapping.system_volumes import cache_env
from servedeck.serving.spec.mapping.volumes import OtherMounts
from servedeck.serving.spec.mount_paths import normalize_path
from servedeck.serving.spec.names import (
    validate_config_key,
    validate_env_name,
    validate_image,
    validate_label,
    validate_resource_name,
    validate_subdomain,
)
from servedeck.serving.spec.pod_setting_rules import validate_memory_size, validate_mig_profile
from servedeck.serving.spec.rollouts import read_amounts
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.spec.types import EnvVar, Quantity
from servedeck.serving.text import one_line, sanitize

MAX_DESCRIPTION_LENGTH = 2000
MAX_ARGUMENT_BYTES = 128 * 1024
"""Linux MAX_ARG_STRLEN: with a longer argument or variable the container cannot start."""
MIN_MEMORY_BYTES = 16 * 2**20
MAX_CPU = 10_000
MAX_REPLICAS = 2**31 - 1
"""kubernetes api/apps/v1, DeploymentSpec.Replicas: an int32."""
MAX_ACCELERATORS = 1024
MIN_STARTUP_SECONDS = 10
STARTUP_STEP_SECONDS = 5
_RESERVED_MOUNT_PATHS = ("/", "/dev", "/proc", "/sys")


def validate_name(spec: SpecLike) -> Iterable[Issue]:
    if message := validate_label(spec.name, "The service name"):
        yield error("name", message)
    elif spec.name[0].isdigit():
        # core validation.go, ValidateServiceName: RFC 1035 until RelaxedServiceNameValidation.
        yield warning(
            "name",
            "Clusters before Kubernetes 1.36 reject a Service whose name starts with a digit; "
            "start with a letter if yours is older.",
        )


def validate_namespace(spec: SpecLike) -> Iterable[Issue]:
    if not spec.namespace:
        yield error("namespace", "The namespace is missing; choose the namespace to deploy to.")
    elif message := validate_label(spec.namespace, "The namespace"):
        yield error("namespace", message)


def validate_description(spec: SpecLike) -> Iterable[Issue]:
    if "\0" in spec.description:
        yield error("description", "A description cannot contain a NUL character; remove it.")
    elif len(spec.description) > MAX_DESCRIPTION_LENGTH:
        yield error(
            "description",
            f"The description has {len(spec.description)} characters; "
            f"shorten it to {MAX_DESCRIPTION_LENGTH}.",
        )


def validate_objectives(spec: SpecLike) -> Iterable[Issue]:
    if "\0" in spec.objectives:
        yield error("objectives", "Objectives cannot contain a NUL character; remove it.")
    else:
        for problem in parse_objectives(spec.objectives)[1]:
            yield error("objectives", problem)


def validate_revision_of(spec: SpecLike) -> Iterable[Issue]:
    name = spec.revision_of
    if not name:
        return
    if message := validate_label(name, "The name of the serving"):
        yield error("revision_of", message)
    elif name == spec.name:
        yield error(
            "revision_of",
            "A serving cannot be a revision of itself; enter the serving whose endpoint sends it "
            "requests, or leave it empty.",
        )


def validate_image_field(spec: SpecLike) -> Iterable[Issue]:
    if message := validate_image(spec.image):
        yield error("image", message)


def validate_cpu(spec: SpecLike) -> Iterable[Issue]:
    if spec.cpu is not None:
        yield from _validate_cpu_amount("cpu", spec.cpu)


def validate_cpu_limit(spec: SpecLike) -> Iterable[Issue]:
    if spec.cpu_limit is None:
        return
    if spec.cpu is None:
        message = "Without a CPU request, Kubernetes uses the limit as the request; enter CPU too."
        yield error("cpu_limit", message)
    elif spec.cpu_limit.value < spec.cpu.value:
        yield error(
            "cpu_limit", f"The limit {spec.cpu_limit} is below the CPU {spec.cpu}; raise it."
        )
    else:
        yield from _validate_cpu_amount("cpu_limit", spec.cpu_limit)


def _validate_cpu_amount(path: str, amount: Quantity, subject: str = "CPU") -> Iterable[Issue]:
    """The API server rounds a finer amount up, which would then differ from the spec for ever."""
    cpu = amount.value
    if cpu <= 0:
        yield error(path, f"{subject} must be more than 0; enter cores such as 0.5 or 500m.")
    elif (cpu * 1000).denominator != 1:
        yield error(path, f"{amount} is finer than 1m, the smallest step; round it.")
    elif cpu > MAX_CPU:
        yield error(path, f"{amount} is more cores than any node has; enter fewer.")


def _validate_memory_amount(path: str, amount: Quantity, example: str) -> Iterable[Issue]:
    if amount.value < MIN_MEMORY_BYTES:
        too_little = "less than a container can start with"
        yield error(path, f"Memory {amount} is {too_little}; enter a value such as {example}.")
    else:
        yield from validate_memory_size(path, amount)


def validate_memory(spec: SpecLike) -> Iterable[Issue]:
    if spec.memory is None:
        yield warning(
            "memory",
            "Memory is not set: a Pod without it is the first that a node evicts; enter a value "
            "such as 16Gi.",
        )
        return
    yield from _validate_memory_amount("memory", spec.memory, "1Gi")


def validate_memory_limit(spec: SpecLike) -> Iterable[Issue]:
    limit, memory = spec.memory_limit, spec.memory
    if limit is None:
        return
    if memory is None:
        message = (
            "Without a memory request, Kubernetes uses the limit as the request; enter Memory too."
        )
        yield error("memory_limit", message)
    elif limit.value and limit.value < memory.value:
        yield error("memory_limit", f"The limit {limit} is below the memory {memory}; raise it.")
    else:
        yield from validate_memory_size("memory_limit", limit)


def validate_accelerator(spec: SpecLike) -> Iterable[Issue]:
    if spec.accelerator and (message := validate_resource_name(spec.accelerator)):
        yield error("accelerator", message)
    else:
        yield from validate_mig_profile(spec)


def validate_accelerator_count(spec: SpecLike) -> Iterable[Issue]:
    if spec.accelerator and not 1 <= spec.accelerator_count <= MAX_ACCELERATORS:
        yield error(
            "accelerator_count",
            f"Accelerator Count must be from 1 to {MAX_ACCELERATORS}; "
            "for none, set Accelerator to None.",
        )


def validate_replicas(spec: SpecLike) -> Iterable[Issue]:
    if spec.replicas < 0:
        yield error("replicas", "Replicas must be 0 or more; enter how many Pods to run.")
    elif spec.replicas > MAX_REPLICAS:
        yield error("replicas", f"Kubernetes allows at most {MAX_REPLICAS} replicas; enter fewer.")


def validate_rollout(spec: SpecLike) -> Iterable[Issue]:
    amounts = read_amounts(spec.rollout)
    if amounts is None:
        return
    surge, unavailable = (int(one.removesuffix("%")) for one in amounts)
    if not surge and not unavailable:
        yield error(
            "rollout", "maxSurge and maxUnavailable cannot both be 0; choose surge or replace."
        )
    elif amounts[1].endswith("%") and unavailable > 100:
        yield error("rollout", f"maxUnavailable {amounts[1]} is more than 100%; lower it.")


def validate_settings(spec: SpecLike) -> Iterable[Issue]:
    for name, value in spec.settings.items():
        words = value if isinstance(value, tuple) else (value,)
        if any(isinstance(word, str) and "\0" in word for word in words):
            yield error(f"settings.{name}", "A setting cannot contain a NUL character; remove it.")
    yield from spec.template_definition.validate(spec)


def validate_volumes(spec: SpecLike) -> Iterable[Issue]:
    taken: dict[str, str] = {}
    for at, volume in enumerate(spec.volumes):
        path = f"volumes.{at}.mount_path"
        if message := validate_subdomain(volume.pvc, "The PVC"):
            yield error(f"volumes.{at}.pvc", message)
        written = volume.mount_path
        clean = normalize_path(written)
        if not written:
            yield error(path, "The mount path is missing; enter a value such as /data.")
        elif not written.startswith("/"):
            yield error(path, f"{written!r} is not absolute; start it with /.")
        elif ":" in written or ".." in written.split("/") or not written.isprintable():
            yield error(path, "A mount path must not contain ':', '..' or control characters.")
        elif clean in _RESERVED_MOUNT_PATHS:
            yield error(
                path, f"{clean} is a system directory of the container; choose another path."
            )
        elif clean in taken:
            yield error(path, f"{clean} is already used by {taken[clean]}; choose another path.")
        else:
            taken[clean] = volume.pvc


def validate_port(spec: SpecLike) -> Iterable[Issue]:
    if not _is_port(spec.port):
        yield error(
            "inference_port", "A port must be from 1 to 65535; enter the server's, such as 8000."
        )


def validate_command(spec: SpecLike) -> Iterable[Issue]:
    return _validate_words("command", spec.command)


def validate_readiness_path(spec: SpecLike) -> Iterable[Issue]:
    return _validate_http_path("readiness_path", spec.effective_readiness_path)


def validate_liveness_path(spec: SpecLike) -> Iterable[Issue]:
    return _validate_http_path("liveness_path", spec.effective_liveness_path)


def _validate_http_path(field: str, path: str) -> Iterable[Issue]:
    if not path:
        return
    if not path.isprintable() or " " in path:
        yield error(field, f"{path!r} is not an HTTP path; start it with / and remove spaces.")
    elif not path.startswith("/"):
        yield error(field, f"An endpoint is a path from the root; enter /{path}.")


def validate_startup_path(spec: SpecLike) -> Iterable[Issue]:
    yield from _validate_http_path("startup_path", spec.startup_path)
    if spec.startup_path and spec.startup_seconds == 0:
        yield error(
            "startup_path",
            "Without a Start-up Time there is no start-up probe that could ask this; enter a time "
            "such as 1800, or clear the Start-up Endpoint.",
        )


def validate_startup_seconds(spec: SpecLike) -> Iterable[Issue]:
    seconds = spec.startup_seconds
    if seconds == 0 and spec.effective_liveness_path:
        yield warning(
            "startup_seconds",
            "Without a start-up probe, the liveness probe restarts containers that take longer "
            "than it allows to load; enter a time such as 1800.",
        )
    if not seconds:
        return
    if not MIN_STARTUP_SECONDS <= seconds <= MAX_STARTUP_SECONDS or seconds % STARTUP_STEP_SECONDS:
        yield error(
            "startup_seconds",
            f"A start-up time is from {MIN_STARTUP_SECONDS} to {MAX_STARTUP_SECONDS} seconds, a "
            f"multiple of {STARTUP_STEP_SECONDS}; enter a value such as 1800.",
        )
    elif not (spec.startup_path or spec.effective_liveness_path or spec.effective_readiness_path):
        yield error(
            "startup_seconds",
            "The start-up probe needs an endpoint; enter a Readiness Endpoint or a Liveness "
            "Endpoint, or clear the Start-up Time.",
        )


def validate_env(spec: SpecLike) -> Iterable[Issue]:
    return _validate_variables("env", spec.env)


def _validate_variables(path: str, variables: Sequence[EnvVar]) -> Iterable[Issue]:
    seen: dict[str, int] = {}
    for at, one in enumerate(variables):
        here = f"{path}.{at}"
        if message := validate_env_name(one.name):
            yield error(f"{here}.name", message)
        elif one.name in seen:
            yield error(
                f"{here}.name",
                f"{one.name} is already set in row {seen[one.name] + 1}; remove one of them.",
            )
        seen.setdefault(one.name, at)
        sources = [ref for ref in (one.secret, one.config_map) if ref is not None]
        if len(sources) + bool(one.value) > 1:
            yield error(
                here, f"{one.name} has a value and a source; keep the value, or one source."
            )
        for what, field, ref in (
            ("Secret", "secret", one.secret),
            ("ConfigMap", "config_map", one.config_map),
        ):
            if ref is None:
                continue
            if message := validate_subdomain(ref.name, f"The {what}'s name"):
                yield error(f"{here}.{field}.name", message)
            if message := validate_config_key(ref.key, f"The {what}'s key"):
                yield error(f"{here}.{field}.key", message)
        if "\0" in one.value:
            yield error(f"{here}.value", "A value cannot contain a NUL character; remove it.")
        elif len(one.name) + len(one.value.encode()) >= MAX_ARGUMENT_BYTES - 2:
            yield error(
                f"{here}.value", "A value can be at most 128 KiB; put it in a file on a volume."
            )
        elif not sources and looks_secret(one.name, one.value) and one.value:
            yield warning(
                f"{here}.value",
                f"{one.name} looks like a secret, and everyone who can read the Deployment can "
                "read it; take it from a Secret.",
            )


def validate_transformer(spec: SpecLike) -> Iterable[Issue]:
    transformer = spec.transformer
    if transformer is None:
        return
    if transformer.port is not None and not _is_port(transformer.port):
        yield error("transformer.port", "A port must be from 1 to 65535; enter the transformer's.")
    elif transformer.port is not None and transformer.port == known_port(spec):
        yield error(
            "transformer.port",
            f"Port {transformer.port} is the inference server's, and both share the Pod's address; "
            "choose another.",
        )
    if not transformer.image:
        yield error(
            "transformer.image",
            "The transformer's image is missing; enter it, or remove the command and the variables "
            "as well for no transformer.",
        )
    elif message := validate_image(transformer.image, "The transformer's image"):
        yield error("transformer.image", message)
    if transformer.cpu is not None:
        yield from _validate_cpu_amount("transformer.cpu", transformer.cpu, "The transformer's CPU")
    if transformer.memory is not None:
        yield from _validate_memory_amount("transformer.memory", transformer.memory, "256Mi")
    yield from _validate_words("transformer.command", transformer.command)
    yield from _validate_variables("transformer.env", transformer.env)
    for at, one in enumerate(transformer.env):
        if one.name == PREDICTOR_URL_ENV:
            yield error(
                f"transformer.env.{at}.name",
                f"{PREDICTOR_URL_ENV} always contains the inference server's address; remove it "
                f"here.",
            )


def _validate_words(path: str, words: Sequence[str]) -> Iterable[Issue]:
    if any("\0" in word for word in words):
        yield error(path, "A command cannot contain a NUL character; remove it.")
    elif any(len(word.encode()) >= MAX_ARGUMENT_BYTES for word in words):
        yield error(path, "An argument can be at most 128 KiB; put it in a file on a volume.")
    elif words and not words[0]:
        yield error(path, "The command's first word is empty; enter the program to start.")


def validate_other_mounts(spec: SpecLike, mounts: OtherMounts) -> Iterable[Issue]:
    """Issues with what is mounted beside the volumes of the form, at the fields that fix them."""
    memory, shared = spec.memory, spec.shared_memory_limit
    if (
        mounts.has_shared_memory
        and memory is not None
        and MIN_MEMORY_BYTES <= memory.value <= shared.value
        and spec.memory_limit is None
    ):
        yield error(
            "memory",
            f"Memory {memory} is not more than the {shared} of "
            f"{SHARED_MEMORY_PATH} (dshm), which counts against it; enter more.",
        )
    cache, names = spec.effective_model_cache_path, dict(mounts.names)
    if mounts.has_model_cache:
        names.setdefault(cache, MODEL_CACHE_VOLUME)
    reserved = {SHARED_MEMORY_PATH, cache}
    if not mounts.has_model_cache:  # a volume there would be taken for the model cache
        reserved |= {MODEL_CACHE_PATH, ROOT_MODEL_CACHE_PATH}
    for at, volume in enumerate(spec.volumes):
        path = normalize_path(volume.mount_path)
        if name := one_line(sanitize(names.get(path, ""))):
            message = f"{path} is already used by {name}; choose another path."
            yield error(f"volumes.{at}.mount_path", message)
        elif path in reserved:
            what = "shared memory" if path == SHARED_MEMORY_PATH else "model cache"
            yield error(
                f"volumes.{at}.mount_path",
                f"{path} is the path of the {what}, whose volume is no field; choose another "
                "path, or change the Deployment.",
            )
    own = cache_env(cache) if mounts.has_model_cache else {}
    for at, one in enumerate(spec.env):
        if one.name in own and one.value != own[one.name]:
            yield warning(
                f"env.{at}.name",
                f"{one.name} overrides servedeck's {own[one.name]}; "
                "remove it unless this is intended.",
            )


def _is_port(port: int) -> bool:
    return 1 <= port <= 65535
