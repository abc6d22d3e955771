"""Who owns a Deployment or its replicas besides its operator."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.objects.owners import (
    Owner,
    OwnerKind,
    find_controller,
    find_gitops_owner,
    find_replicas_owner,
    holds_replicas,
)

Json = dict[str, Any]


def http_route(labels: Json | None = None, annotations: Json | None = None, *more: str) -> Json:
    return deployment(labels, annotations, *more) | {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
    }


def service(labels: Json | None = None, annotations: Json | None = None, *more: str) -> Json:
    return deployment(labels, annotations, *more) | {"apiVersion": "v1", "kind": "Service"}


def deployment(
    labels: Json | None = None, annotations: Json | None = None, *managers: str, **metadata: Any
) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "chat",
            "namespace": "prod",
            "labels": labels or {},
            "annotations": annotations or {},
            "managedFields": [{"manager": one, "operation": "Update"} for one in managers],
            **metadata,
        },
    }


def hpa(name: str = "chat", target: str = "chat", **reference: str) -> Json:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target, **reference}
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "prod"},
        "spec": {"scaleTargetRef": ref, "maxReplicas": 4},
    }


def scaled_object(annotations: Json | None = None, **reference: str) -> Json:
    return {
        "kind": "ScaledObject",
        "metadata": {"name": "chat", "namespace": "prod", "annotations": annotations or {}},
        "spec": {"scaleTargetRef": {"name": "chat", **reference}, "triggers": []},
    }


# -- GitOps -------------------------------------------------------------------------------------

ARGO_CD = "argocd.argoproj.io"


@pytest.mark.parametrize(
    ("live", "name"),
    [
        (deployment({f"{ARGO_CD}/instance": "chat"}), "Argo CD application chat"),
        (
            deployment({}, {f"{ARGO_CD}/tracking-id": "team_chat:apps/Deployment:prod/chat"}),
            "Argo CD application team_chat",
        ),
        (deployment({"kustomize.toolkit.fluxcd.io/name": "llm"}), "Flux Kustomization llm"),
        (deployment({"helm.toolkit.fluxcd.io/name": "llm"}), "Flux HelmRelease llm"),
        (
            deployment(
                {"app.kubernetes.io/managed-by": "Helm"}, {"meta.helm.sh/release-name": "stack"}
            ),
            "Helm release stack",
        ),
        (deployment({}, {}, "argocd-controller"), "Argo CD"),
        (deployment({}, {}, "kubectl", "kustomize-controller"), "Flux (kustomize-controller)"),
        (deployment({}, {}, "helm-controller"), "Flux (helm-controller)"),
        (deployment({}, {}, "helm"), "Helm"),
    ],
)
def test_the_owner_is_named(live: Json, name: str) -> None:
    owner = find_gitops_owner(live)
    assert owner is not None
    assert owner.name == name
    assert name in owner.revert_warning


def test_a_deployment_of_its_operator_alone_has_no_owner() -> None:
    ours = deployment({"app.kubernetes.io/managed-by": "servedeck"}, {}, "servedeck", "kubectl-set")
    assert find_gitops_owner(ours) is None
    assert find_gitops_owner({}) is None


def test_the_tracking_annotation_of_another_object_does_not_count() -> None:
    copied = {f"{ARGO_CD}/tracking-id": "base:apps/Deployment:prod/base"}
    assert find_gitops_owner(deployment({}, copied)) is None


def test_flux_comes_before_the_helm_release_that_it_made() -> None:
    labels = {"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "stack"}
    owner = find_gitops_owner(deployment(labels, {"meta.helm.sh/release-name": "stack"}, "helm"))
    assert owner == Owner(OwnerKind.FLUX_HELM_RELEASE, "Flux HelmRelease stack")


def test_flux_leaves_a_disabled_object_alone() -> None:
    disabled = {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}
    labels = {"kustomize.toolkit.fluxcd.io/name": "llm"}
    assert find_gitops_owner(deployment(labels, disabled, "kustomize-controller")) is None


def test_a_manager_of_the_status_alone_owns_nothing() -> None:
    live = deployment()
    live["metadata"]["managedFields"] = [{"manager": "helm", "subresource": "status"}]
    assert find_gitops_owner(live) is None


def test_the_name_of_an_owner_is_sanitized() -> None:
    owner = find_gitops_owner(deployment({f"{ARGO_CD}/instance": "a\x1b[31m\nb"}))
    assert owner is not None
    assert owner.name == "Argo CD application a b"


# -- autoscalers --------------------------------------------------------------------------------


def test_the_autoscaler_of_the_deployment_owns_its_replicas() -> None:
    owner = find_replicas_owner(deployment(), [hpa("other", "other"), hpa("chat-hpa")])
    assert owner == Owner(OwnerKind.HPA, "HorizontalPodAutoscaler chat-hpa")
    assert owner.replicas_error.startswith("HorizontalPodAutoscaler chat-hpa sets the replicas")


@pytest.mark.parametrize(
    "autoscaler",
    [
        hpa(target="other"),
        hpa(kind="StatefulSet"),
        hpa(apiVersion="argoproj.io/v1alpha1"),
        hpa() | {"metadata": {"name": "chat", "namespace": "test"}},
        scaled_object(kind="StatefulSet"),
        {},
    ],
)
def test_the_autoscaler_of_another_object_owns_nothing(autoscaler: Json) -> None:
    assert find_replicas_owner(deployment(), [autoscaler]) is None


def test_a_scaled_object_targets_deployments_by_default_and_comes_before_its_autoscaler() -> None:
    owner = find_replicas_owner(deployment(), [hpa("keda-hpa-chat"), scaled_object()])
    assert owner == Owner(OwnerKind.SCALED_OBJECT, "ScaledObject chat")


def test_entries_of_a_list_have_no_kind() -> None:
    entries = [{key: one[key] for key in ("metadata", "spec")} for one in (hpa(), scaled_object())]
    names = [getattr(find_replicas_owner(deployment(), [one]), "name", None) for one in entries]
    assert names == ["HorizontalPodAutoscaler chat", "ScaledObject chat"]


@pytest.mark.parametrize(
    ("value", "is_paused"),
    [("true", True), ("1", True), ("yes", True), ("", True), ("false", False), ("0", False)],
)
def test_what_is_not_false_pauses(value: str, is_paused: bool) -> None:
    found = scaled_object({"autoscaling.keda.sh/paused": value})
    assert (find_replicas_owner(deployment(), [found]) is None) is is_paused
    assert holds_replicas(found) is is_paused


def test_a_paused_scaled_object_sets_no_replicas() -> None:
    paused = scaled_object({"autoscaling.keda.sh/paused": "true"})
    assert find_replicas_owner(deployment(), [paused]) is None


def test_a_scaled_object_paused_at_a_number_holds_it() -> None:
    held = scaled_object(
        {"autoscaling.keda.sh/paused": "true", "autoscaling.keda.sh/paused-replicas": "2"}
    )
    assert find_replicas_owner(deployment(), [held]) is not None


# -- controllers --------------------------------------------------------------------------------


def test_the_object_whose_controller_made_the_deployment() -> None:
    references = [
        {"kind": "ConfigMap", "name": "x"},
        {"kind": "InferenceService", "name": "iris", "controller": True},
    ]
    owner = find_controller(deployment(ownerReferences=references))
    assert owner == Owner(OwnerKind.CONTROLLER, "InferenceService iris")
    assert find_controller(deployment(ownerReferences=references[:1])) is None


def test_the_owner_of_a_deployment_of_knative_is_the_inference_service() -> None:
    labels = {"serving.kserve.io/inferenceservice": "iris"}
    references = [{"kind": "Revision", "name": "iris-predictor-00001", "controller": True}]
    for owners in (references, []):
        owner = find_controller(deployment(labels, ownerReferences=owners))
        assert owner == Owner(OwnerKind.CONTROLLER, "InferenceService iris")
    references[0] |= {"kind": "LLMInferenceService", "name": "llama"}
    owner = find_controller(deployment(labels, ownerReferences=references))
    assert owner == Owner(OwnerKind.CONTROLLER, "LLMInferenceService llama")


# -- other objects than Deployments -------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "kind"),
    [
        (service({}, {f"{ARGO_CD}/tracking-id": "chat:/Service:prod/chat"}), "Service"),
        (
            http_route(
                {}, {f"{ARGO_CD}/tracking-id": "chat:gateway.networking.k8s.io/HTTPRoute:prod/chat"}
            ),
            "HTTPRoute",
        ),
        (service({"kustomize.toolkit.fluxcd.io/name": "llm"}), "Service"),
        (http_route({"helm.toolkit.fluxcd.io/name": "llm"}), "HTTPRoute"),
        (service({}, {}, "helm"), "Service"),
        (service({}, {}, "argocd-controller"), "Service"),
    ],
)
def test_the_manager_of_any_object_is_found_and_the_object_is_named(live: Json, kind: str) -> None:
    owner = find_gitops_owner(live)
    assert owner is not None
    assert f" this {kind}" in owner.revert_warning
    assert "Deployment" not in owner.revert_warning


def test_the_identity_of_an_object_of_another_kind_does_not_count() -> None:
    tracking = {f"{ARGO_CD}/tracking-id": "chat:apps/Deployment:prod/chat"}
    assert find_gitops_owner(service({}, tracking)) is None


def test_the_controller_of_any_object_is_named_with_the_object() -> None:
    live = service()
    reference = {"kind": "InferenceService", "name": "iris", "controller": True}
    live["metadata"]["ownerReferences"] = [reference]
    owner = find_controller(live)
    assert owner is not None
    assert "InferenceService iris owns this Service" in owner.revert_warning
