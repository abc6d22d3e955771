"""Detect the server, model, accelerators and port of a workload of any origin.

Everything is derived from the labels of the workload and its Pod template, so that it applies to
every kind that has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from servedeck.serving import accelerators
from servedeck.serving.conventions import (
    ASYNC_LABEL,
    DEFAULT_INFERENCE_PORT,
    FIELD_MANAGER,
    INFERENCE_CONTAINER,
    MANAGED_BY_LABEL,
    SERVING_LABEL,
    TEMPLATE_LABEL,
    TRANSFORMER_CONTAINER,
)
from servedeck.serving.objects import kserve
from servedeck.serving.objects.async_routes import async_gateway_name
from servedeck.serving.objects.model_sources import find_model_source, find_pulled_model
from servedeck.serving.objects.records import Container, PodTemplate, ProbeAction, Workload
from servedeck.serving.quantity import parse_quantity
from servedeck.serving.servers import settings
from servedeck.serving.servers.images import names_other_program
from servedeck.serving.servers.kinds import KINDS_BY_TEMPLATE, UNKNOWN_SERVER
from servedeck.serving.servers.recognition import (
    ContainerFacts,
    Port,
    RecognizedServer,
    recognize,
)
from servedeck.serving.text import one_line

CUSTOM_TEMPLATE = "custom"
"""Template of a serving whose server is unknown."""


class DetectedServer(NamedTuple):
    """What a workload serves, and how."""

    template: str
    """The server: "vllm", "sglang", ..., or "custom"."""
    model: str
    """Name or path of the model, "" if unknown."""
    served_model: str
    """Name of the model in requests, "" if unknown."""
    model_source: str
    """URI that the model is loaded from, if `model` is not where it comes from; else ""."""
    container: Container | None
    """The container that runs the inference server."""
    port: int
    is_grpc: bool
    """Whether the port accepts gRPC only."""
    is_tls: bool


def detect_server(labels: Mapping[str, str], template: PodTemplate) -> DetectedServer:
    """What the Pods of a workload serve. `labels` are those of the workload."""
    containers = template.spec.containers
    index = server_container_index(containers)
    labeled = labels.get(TEMPLATE_LABEL, "")
    if index is None:
        return DetectedServer(
            labeled or CUSTOM_TEMPLATE, "", "", "", None, DEFAULT_INFERENCE_PORT, False, False
        )
    container = containers[index]
    facts = container_facts(container)
    server = recognize(facts)
    kind = KINDS_BY_TEMPLATE.get(labeled) or server.kind or UNKNOWN_SERVER
    # The label of an adopted serving says that no template of the form fits.
    named = labeled if labeled and labeled != CUSTOM_TEMPLATE else kind.template
    model = one_line(settings.find_model(facts, server, kind))
    if kind.template == "ollama":
        model = model or one_line(find_pulled_model(template))
    alias = one_line(settings.find_served_model(facts, server, kind))
    source = one_line(find_model_source(template, model))
    if not model or kserve.is_model_mount(model):
        name = kserve.service_name(labels, template)
        # A server that can give the model another name, and does not, is asked for the path.
        has_own_name = bool(kind.served_model_flags) and kind is not UNKNOWN_SERVER
        own = model if has_own_name else ""
        model = alias or name or source or model
        alias = alias or own or name
    port = settings.find_port(facts, kind)
    return DetectedServer(
        named,
        model or alias,
        alias or model,
        source if source != model else "",
        container,
        port.number,
        port.is_grpc,
        port.is_tls,
    )


# -- is it one --------------------------------------------------------------------------------


def is_serving_template(labels: Mapping[str, str], template: PodTemplate) -> bool:
    """Whether a workload is a serving: labeled as one, a model server of KServe, or one that runs a
    known inference server. An accelerator alone does not make one (training, notebooks), but an
    unknown server with an accelerator, a model in its command line and a port does."""
    if ASYNC_LABEL in labels:
        return False
    if SERVING_LABEL in labels or kserve.is_model_server(labels, template):
        return True
    has_claims = bool(template.spec.resource_claims)
    for container in template.spec.containers:
        if container.name == INFERENCE_CONTAINER:
            return True
        facts = container_facts(container)
        server = recognize(facts)
        if server.kind is not None:
            return True
        accelerated = _requests_accelerator(container) or (has_claims and _has_claims(container))
        if accelerated and _looks_like_server(facts, server):
            return True
    return False


def _looks_like_server(facts: ContainerFacts, server: RecognizedServer) -> bool:
    """Whether an unknown program is given a model and accepts requests."""
    is_listening = any(
        port.name not in settings.METRICS_PORT_NAMES and port.number not in OTHER_PORTS
        for port in facts.ports
    ) or bool(settings.flag_value(server.arguments, UNKNOWN_SERVER.port_flags))
    return (
        is_listening
        and not server.runs_other_program
        and not names_other_program(facts.image.rpartition("/")[2].partition(":")[0])
        and bool(settings.find_model(facts, server, UNKNOWN_SERVER))
    )


OTHER_PORTS = (22, 6006, 6379, 8265, 8888, 9400, 29500)
"""Ports of what runs on accelerators without serving a model: SSH, TensorBoard, Ray, Jupyter, DCGM,
torch.distributed."""


def is_serving(deployment: Workload) -> bool:
    """Whether the workload is a serving (`is_serving_template`)."""
    return is_serving_template(deployment.metadata.labels, deployment.spec.template)


def is_managed(deployment: Workload) -> bool:
    """Whether the Deployment has servedeck's labels."""
    labels = deployment.metadata.labels
    return SERVING_LABEL in labels and labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER


def find_async_serving(deployment: Workload) -> str:
    """Name of the serving whose async gateway the Deployment is; "" if it is none."""
    metadata = deployment.metadata
    serving = metadata.labels.get(ASYNC_LABEL, "")
    is_gateway = (
        bool(serving)
        and metadata.labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER
        and metadata.name == async_gateway_name(serving)
    )
    return serving if is_gateway else ""


# -- one of its properties --------------------------------------------------------------------


def detect_deployment(deployment: Workload) -> DetectedServer:
    """What the Pods of a Deployment serve."""
    metadata = deployment.metadata
    labels = kserve.with_owner(metadata.labels, metadata.owner_references)
    return detect_server(labels, deployment.spec.template)


def detect_template(deployment: Workload) -> str:
    """Template of the serving: from its label, else from the server that its containers run
    ("vllm", "furiosa-llm", "sglang", …), else "custom"."""
    return detect_deployment(deployment).template


def detect_model(deployment: Workload) -> str:
    """Name or path of the loaded model, "" if nothing says it."""
    return detect_deployment(deployment).model


def detect_served_model(deployment: Workload) -> str:
    """Name of the model in requests: the alias it is served under, else the model itself."""
    return detect_deployment(deployment).served_model


def detect_port(deployment: Workload) -> int:
    """Port that the inference server receives requests on."""
    return detect_deployment(deployment).port


def detect_owner(deployment: Workload) -> str:
    """The object that manages the Deployment and reverts changes of it: "InferenceService llama";
    "" for none."""
    labels, template = deployment.metadata.labels, deployment.spec.template
    owner = next((one for one in deployment.metadata.owner_references if one.controller), None)
    name = kserve.service_name(labels, template)
    if name and (owner is None or owner.kind not in kserve.SERVICE_KINDS):
        return one_line(f"InferenceService {name}")
    return one_line(f"{owner.kind} {owner.name}") if owner is not None else ""


# -- the container of the server --------------------------------------------------------------


def find_server_container(deployment: Workload) -> Container | None:
    """The container that runs the inference server; None if the Deployment has no containers."""
    containers = deployment.spec.template.spec.containers
    index = server_container_index(containers)
    return None if index is None else containers[index]


def server_container_index(containers: Sequence[Container]) -> int | None:
    """Position of the container that runs the inference server: by its name, else a known server
    (of several, one with an accelerator), else KServe's, else an accelerator, else the first that
    is neither a transformer nor a well-known sidecar; None if there is none."""
    if len(containers) == 1 and containers[0].name != TRANSFORMER_CONTAINER:
        return 0

    def is_known(one: Container) -> bool:
        return recognize(container_facts(one)).kind is not None

    tests: tuple[Callable[[Container], bool], ...] = (
        lambda one: one.name == INFERENCE_CONTAINER,
        lambda one: _requests_accelerator(one) and is_known(one),
        is_known,
        lambda one: one.name == kserve.SERVER_CONTAINER,
        _requests_accelerator,
        lambda one: one.name not in _SIDECARS and one.name != TRANSFORMER_CONTAINER,
        lambda one: one.name != TRANSFORMER_CONTAINER,
    )
    for test in tests:
        for index, container in enumerate(containers):
            if test(container):
                return index
    return None


_SIDECARS = frozenset(
    {
        *("istio-proxy", "linkerd-proxy", "queue-proxy", "envoy", "envoy-sidecar", "agent"),
        *("kserve-agent", "fluent-bit", "fluentd", "filebeat", "promtail", "vector", "log-agent"),
        *("otel-collector", "datadog-agent", "vault-agent", "cloud-sql-proxy", "modelcar"),
        *("kube-rbac-proxy", "oauth-proxy", "auth-proxy", "gke-gcsfuse-sidecar", "aibrix-runtime"),
        *("metrics-exporter", "dcgm-exporter", "routing-proxy", "transformer-container"),
    }
)
"""Usual names of containers that serve no model."""


def container_facts(container: Container) -> ContainerFacts:
    """What of a container says which server it runs."""
    probes = (container.readiness_probe, container.liveness_probe, container.startup_probe)
    actions = [one.http_get for one in probes if isinstance(one, ProbeAction) and one.http_get]
    return ContainerFacts(
        container.image,
        container.command,
        container.args,
        tuple((one.name, one.value) for one in container.env if one.value),
        tuple(
            Port(one.name, one.container_port)
            for one in container.ports
            if 0 < one.container_port < 65536 and one.protocol in ("", "TCP")
        ),
        tuple(str(one.port) for one in actions if one.port),
        any(one.scheme == "HTTPS" for one in actions),
        container.lifecycle.post_start.exec.command,
    )


# -- what it takes ----------------------------------------------------------------------------


class Accelerators(NamedTuple):
    """The accelerators that each replica requests."""

    name: str
    """Display name, "" for none."""
    resource: str
    """Key of the extended resource, "" for claims of dynamic resource allocation."""
    number: int


def detect_accelerators(template: PodTemplate) -> Accelerators:
    """The accelerators of each replica: an extended resource, or else the claims of dynamic
    resource allocation. A Pod template says the name of a claim, not the devices behind it."""
    resource, count = _count_accelerators(template)
    if resource:
        return Accelerators(accelerators.accelerator_display_name(resource), resource, count)
    used = {claim.name for one in template.spec.containers for claim in one.resources.claims}
    claims = [one for one in template.spec.resource_claims if one.name in used]
    if not claims:
        return Accelerators("", "", 0)
    name = "resource claim"
    if len(claims) == 1:
        [claim] = claims
        origin = claim.resource_claim_template_name or claim.resource_claim_name or claim.name
        name = one_line(f"{name} {origin}")
    return Accelerators(name, "", len(claims))


def detect_accelerator(deployment: Workload) -> tuple[str, int]:
    """Resource key and number of the accelerators that each replica requests; ("", 0) for none. Of
    several kinds the first known one is used, summed over the containers."""
    return _count_accelerators(deployment.spec.template)


def _count_accelerators(template: PodTemplate) -> tuple[str, int]:
    counts: dict[str, int] = {}
    for container in template.spec.containers:
        for resource, amount in _requested_resources(container).items():
            if accelerators.is_accelerator(resource):
                counts[resource] = counts.get(resource, 0) + _to_int(amount)
    counts = {resource: count for resource, count in counts.items() if count > 0}
    for resource in accelerators.ACCELERATORS_BY_RESOURCE:
        if resource in counts:
            return resource, counts[resource]
    return min(counts.items(), default=("", 0))


def _requests_accelerator(container: Container) -> bool:
    return any(map(accelerators.is_accelerator, _requested_resources(container)))


def _has_claims(container: Container) -> bool:
    return bool(container.resources.claims)


def _requested_resources(container: Container) -> dict[str, str | int | float]:
    # The limit of an extended resource is its request, and the request may be omitted.
    return {**container.resources.limits, **container.resources.requests}


def _to_int(amount: str | int | float) -> int:
    try:
        return int(parse_quantity(amount))
    except ValueError:
        return 0
