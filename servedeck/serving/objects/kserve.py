"""What KServe writes into the Deployments of its InferenceServices (pkg/constants/constants.go of
KServe 0.16)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from servedeck.serving.objects.records import OwnerReference, PodTemplate

SERVICE_KINDS = ("InferenceService", "LLMInferenceService")
"""Objects of KServe that own Deployments."""
SERVER_CONTAINER = "kserve-container"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_COMPONENT_LABEL = "component"
_OTHER_COMPONENTS = ("transformer", "explainer")
_INITIALIZER_CONTAINER = "storage-initializer"
_MODEL_MOUNT = "/mnt/models"


def is_model_server(labels: Mapping[str, str], template: PodTemplate) -> bool:
    """Whether a workload is the predictor of an InferenceService, by KServe's labels or the name of
    its container. Transformers and explainers have both too, but load no model."""
    if _find_label(labels, template, _COMPONENT_LABEL) in _OTHER_COMPONENTS:
        return False
    is_named = any(one.name == SERVER_CONTAINER for one in template.spec.containers)
    return is_named or bool(service_name(labels, template))


def service_name(labels: Mapping[str, str], template: PodTemplate) -> str:
    """Name of the InferenceService, which is also the model's name in requests unless the command
    line sets another; "" for none."""
    return _find_label(labels, template, SERVICE_LABEL)


def with_owner(labels: Mapping[str, str], owners: Iterable[OwnerReference]) -> Mapping[str, str]:
    """The labels of a workload with that of the InferenceService that controls it."""
    if SERVICE_LABEL in labels:
        return labels
    names = [one.name for one in owners if one.controller and one.kind == "InferenceService"]
    return {**labels, SERVICE_LABEL: names[0]} if names else labels


def _find_label(labels: Mapping[str, str], template: PodTemplate, label: str) -> str:
    return labels.get(label, "") or template.metadata.labels.get(label, "")


def is_model_mount(model: str) -> bool:
    """Whether a model is a path that KServe's init container fills: it says nothing about the
    model."""
    return model == _MODEL_MOUNT or model.startswith(f"{_MODEL_MOUNT}/")


def model_uri(template: PodTemplate) -> str:
    """Where the model is loaded from: the first argument of KServe's init container, or its
    annotation; "" if neither is there."""
    for one in template.spec.init_containers:
        if one.name == _INITIALIZER_CONTAINER and one.args and "://" in one.args[0]:
            return one.args[0]
    return template.metadata.annotations.model_uri
