"""The serving of another tool, and plans to adopt it."""

from __future__ import annotations

from typing import Any

from servedeck.changes.operations.adoption import Adoption
from servedeck.changes.operations.operation import ObjectCreation, OperationPlan
from servedeck.cluster.apply import ObjectRef
from servedeck.fleet.views import ServingView
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.objects.field_changes import FieldChange
from tests.tui import fakes
from tests.tui.operations import LLAMA, patch_plan

ADOPT = Adoption.make(LLAMA.namespace, LLAMA.name)
LABELS = {SERVING_LABEL: LLAMA.name, "app.kubernetes.io/managed-by": "servedeck"}


def foreign(**changes: Any) -> ServingView:
    """llama-8b, made by another tool."""
    return fakes.serving(LLAMA.name, LLAMA.namespace, **{"managed": False, **changes})


def adoption_plan(adoption: Adoption) -> OperationPlan:
    """What adopting llama-8b creates if nothing leads to its Pods."""
    metadata = {"name": LLAMA.name, "namespace": LLAMA.namespace, "labels": LABELS}
    ports = [{"name": "http", "port": 80, "targetPort": 8000, "protocol": "TCP"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": LLAMA.name}, "ports": ports},
    }
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {"hostnames": ["serve.example.com"]},
    }
    created = [service] * adoption.service + [route] * adoption.route
    sentences = ["servedeck lists it from then on, whatever server it runs."]
    if adoption.service:
        sentences.append("Service llama-8b is created, since none leads to port 8000 of its Pods.")
    if not adoption.route:
        sentences.append("No route is created: it is not opened to the outside.")
    return patch_plan(
        adoption,
        *sentences,
        "Restarts no Pods.",
        differences=(FieldChange(f".metadata.labels.{SERVING_LABEL}", "none", LLAMA.name),),
        creations=tuple(
            ObjectCreation(ObjectRef.from_manifest(one).path, f"{one['kind']} team-a/llama-8b", one)
            for one in created
        ),
    )
