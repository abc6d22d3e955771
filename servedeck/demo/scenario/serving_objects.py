"""The objects of a serving, as servedeck or another tool created them."""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.demo.api import field_set
from servedeck.demo.api.defaults import set_defaults
from servedeck.demo.api.schema import schema_of
from servedeck.demo.clock import format_timestamp
from servedeck.demo.resources import DEPLOYMENTS, HTTP_ROUTES, SERVICES, Resource
from servedeck.demo.scenario.cluster_objects import GATEWAY, HOST, TOKEN_SECRET, ResourceObject
from servedeck.demo.scenario.servings import DemoServing
from servedeck.demo.store.objects import Json
from servedeck.demo.workloads import failure_simulation
from servedeck.serving.conventions import FIELD_MANAGER
from servedeck.serving.objects import manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.templates import TEMPLATES
from servedeck.serving.spec.types import EnvVar, KeyRef, Quantity

PLATFORM = PlatformSettings(host=HOST, gateway="/".join(GATEWAY))


def objects_of(serving: DemoServing, opened: float) -> Iterator[ResourceObject]:
    """Deployment, Service and HTTPRoute of a managed serving, as servedeck builds them; a
    handwritten Deployment and Service for an unmanaged one. `opened`: when the demo opens, in
    seconds since the epoch."""
    built = _managed_objects(serving) if serving.managed else _unmanaged_objects(serving)
    for resource, obj in built:
        if resource is DEPLOYMENTS:
            _add_foreign_fields(serving, obj, opened)
        yield with_defaults(resource, obj)


def serving_spec(serving: DemoServing) -> ServingSpec:
    """The spec of a managed serving, as an operator would have entered it."""
    template = TEMPLATES[serving.template]
    head = () if template.command else ("serve",)
    message = (*head, serving.model, *serving.args) if serving.model else serving.args
    read = template.parse_command(serving.command or template.command, message)
    assert read is not None, f"{serving.name}'s arguments are not those of {template.id}"
    settings = read[1]
    if settings.get("gpu_memory_utilization", 0) is None:  # the form suggests a value
        settings["gpu_memory_utilization"] = template.default_settings()["gpu_memory_utilization"]
    reference = KeyRef(name=TOKEN_SECRET, key="token")
    return ServingSpec(
        name=serving.name,
        namespace=serving.namespace,
        description=serving.description,
        template=serving.template,
        command=serving.command,
        image=serving.image,
        cpu=Quantity(serving.cpu),
        memory=Quantity(serving.memory),
        accelerator=serving.resource,
        accelerator_count=serving.count,
        replicas=serving.replicas,
        settings=settings,
        rollout=serving.rollout,
        env=(EnvVar(name="HF_TOKEN", secret=reference),) if serving.uses_hf_token else (),
    )


def _managed_objects(serving: DemoServing) -> Iterator[ResourceObject]:
    resources = {"Deployment": DEPLOYMENTS, "Service": SERVICES, "HTTPRoute": HTTP_ROUTES}
    for obj in manifests.build_manifests(serving_spec(serving), PLATFORM):
        resource = resources[obj["kind"]]
        yield resource, mark_applied(resource, obj)


def mark_applied(resource: Resource, obj: Json) -> Json:
    """The object as if servedeck had applied it, so that applying a document without one of its
    fields removes the field."""
    owned = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": obj["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": field_set.encode_fields(field_set.fields_of(schema_of(resource), obj)),
    }
    obj["metadata"]["managedFields"] = [owned]
    return obj


def _add_foreign_fields(serving: DemoServing, obj: Json, opened: float) -> None:
    """Fields of the Deployment that servedeck does not manage and keeps when it applies."""
    template = obj["spec"]["template"]
    annotations = {
        failure_simulation.REQUEST_RATE_ANNOTATION: str(serving.requests_per_second),
        **serving.annotations,
    }
    if (replicas := serving.load_replicas or serving.replicas) > 1:
        annotations[failure_simulation.LOAD_REPLICAS_ANNOTATION] = str(replicas)
    if serving.load_swing:
        start = format_timestamp(opened)
        annotations[failure_simulation.LOAD_SWING_ANNOTATION] = f"{serving.load_swing} {start}"
    template["metadata"]["annotations"] = annotations
    if serving.product:
        template["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": serving.product}


def _unmanaged_objects(serving: DemoServing) -> Iterator[ResourceObject]:
    """A handwritten serving, without servedeck's labels."""
    labels = {"app": serving.name}
    meta: Json = {"namespace": serving.namespace, "name": serving.name, "labels": labels}
    pod: Json = {
        "enableServiceLinks": False,
        "containers": [_unmanaged_container(serving)],
        "volumes": [
            {"name": "model-cache", "emptyDir": {}},
            {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}},
        ],
        "tolerations": [{"key": serving.resource, "operator": "Exists", "effect": "NoSchedule"}],
    }
    body: Json = {
        "replicas": serving.replicas,
        "progressDeadlineSeconds": 3600,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }
    yield DEPLOYMENTS, {"metadata": meta, "spec": body}
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    service = {"selector": dict(labels), "ports": ports}
    yield SERVICES, {"metadata": {**meta, "labels": dict(labels)}, "spec": service}


def _unmanaged_container(serving: DemoServing) -> Json:
    env: list[Json] = [{"name": "HF_HOME", "value": "/root/.cache/huggingface"}]
    if serving.uses_hf_token:
        reference = {"name": TOKEN_SECRET, "key": "token"}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    fixed = {"memory": serving.memory, serving.resource: str(serving.count)}
    probe = {"httpGet": {"path": "/health", "port": "http"}, "timeoutSeconds": 5}
    return {
        "name": "vllm",
        "image": serving.image,
        "command": ["vllm", "serve"],
        "args": [serving.model, *serving.args],
        "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
        "env": env,
        "resources": {"requests": {"cpu": serving.cpu, **fixed}, "limits": dict(fixed)},
        "volumeMounts": [
            {"name": "model-cache", "mountPath": "/root/.cache/huggingface"},
            {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108 - a mount, not a file of ours
        ],
        "startupProbe": {**probe, "periodSeconds": 10, "failureThreshold": 180},
        "readinessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
        # the end of a crashed instance's log says why it crashed
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def with_defaults(resource: Resource, obj: Json) -> ResourceObject:
    """The object with the API server's defaults."""
    set_defaults(resource, obj)
    return resource, obj
