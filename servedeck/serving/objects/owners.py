"""Who changes an object or its replicas besides its operator: autoscalers, GitOps controllers,
Helm, and the controllers of other objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from servedeck.serving.objects.kserve import SERVICE_KINDS, SERVICE_LABEL
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, mappings
from servedeck.serving.text import one_line, sanitize

DEPLOYMENT = "Deployment"


class OwnerKind(StrEnum):
    ARGO_CD = "Argo CD application"
    FLUX_KUSTOMIZATION = "Flux Kustomization"
    FLUX_HELM_RELEASE = "Flux HelmRelease"
    HELM = "Helm release"
    HPA = "HorizontalPodAutoscaler"
    SCALED_OBJECT = "ScaledObject"
    CONTROLLER = "controller"
    """The controller of another object, such as an InferenceService."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who changes an object by itself. Text is sanitized and on one line."""

    kind: OwnerKind
    name: str
    """With its kind: "Argo CD application chat", "HorizontalPodAutoscaler chat"."""
    target: str = DEPLOYMENT
    """Kind of the object that it changes, "Deployment"."""

    @property
    def revert_warning(self) -> str:
        """What it does with a change of the object, and what to do, in one sentence."""
        return _REVERT_WARNINGS[self.kind].format(name=self.name, target=self.target)

    @property
    def label_warning(self) -> str:
        """When a label that its definition does not have is lost, and what to do, in one
        sentence."""
        return _LABEL_WARNINGS[self.kind].format(name=self.name)

    @property
    def replicas_error(self) -> str:
        """Why the replicas that it owns are not changed, and what to do, in one sentence."""
        return (
            f"{self.name} sets the replicas and would change them again; change its minimum and "
            "maximum instead."
        )


_REVERT_WARNINGS = {
    # Only with selfHeal does it revert a change by itself; otherwise it reports OutOfSync (Argo CD
    # documentation, Automated Sync Policy).
    OwnerKind.ARGO_CD: "{name} manages this {target} and reverts the change when it syncs; make "
    "the change in Git, too.",
    # Drift is corrected at each interval (Flux documentation, Kustomization).
    OwnerKind.FLUX_KUSTOMIZATION: "{name} manages this {target} and reverts the change when it "
    "reconciles; make the change in Git, too.",
    # Drift detection is off by default (Flux documentation, HelmRelease, spec.driftDetection).
    OwnerKind.FLUX_HELM_RELEASE: "{name} manages this {target} and may revert the change when it "
    "reconciles; change its values, too.",
    # Only where the chart's own value of the field differs (three-way merge of helm upgrade).
    OwnerKind.HELM: "{name} created this {target}, and the next helm upgrade may revert the "
    "change; change its values, too.",
    OwnerKind.HPA: "{name} sets the replicas of this {target}.",
    OwnerKind.SCALED_OBJECT: "{name} sets the replicas of this {target}.",
    OwnerKind.CONTROLLER: "{name} owns this {target}, and its controller may revert the change; "
    "change the {name} instead.",
}

_LABEL_WARNINGS = {
    # Sync is a three-way merge like that of kubectl apply, unless a resource is replaced (Argo CD
    # documentation, Sync Options, Replace Resource Instead Of Applying Changes).
    OwnerKind.ARGO_CD: "{name} manages this Deployment and keeps labels that Git does not have, "
    "unless it replaces the Deployment; add the label in Git, too.",
    # Server-side apply leaves the fields of other managers alone, those of kubectl excepted (Flux
    # documentation, Kustomization, Controlling the apply behavior of resources).
    OwnerKind.FLUX_KUSTOMIZATION: "{name} manages this Deployment and keeps labels that Git does "
    "not have, unless it creates the Deployment again or kubectl added them; add the label in Git, "
    "too.",
    OwnerKind.FLUX_HELM_RELEASE: "{name} manages this Deployment and keeps labels that the chart "
    "does not have, unless it creates the Deployment again; add the label to its values, too.",
    OwnerKind.HELM: "{name} created this Deployment; helm upgrade keeps labels that the chart does "
    "not have, unless it creates the Deployment again; add the label to its values, too.",
}
"""Of those that `find_gitops_owner` finds."""

_ARGO_CD_LABEL = "argocd.argoproj.io/instance"
_ARGO_CD_ANNOTATION = "argocd.argoproj.io/tracking-id"
_KUSTOMIZATION_LABEL = "kustomize.toolkit.fluxcd.io/name"
_RECONCILE_ANNOTATION = "kustomize.toolkit.fluxcd.io/reconcile"
_HELM_RELEASE_LABEL = "helm.toolkit.fluxcd.io/name"
_MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
_HELM_ANNOTATION = "meta.helm.sh/release-name"
_PAUSED_ANNOTATION = "autoscaling.keda.sh/paused"
_PAUSED_REPLICAS_ANNOTATION = "autoscaling.keda.sh/paused-replicas"
NOT_PAUSED = ("0", "f", "F", "false", "FALSE", "False")
"""Values of an annotation that pause nothing: what Go's ParseBool reads as false. KEDA takes any
other one as true (keda apis/keda/v1alpha1/scaledobject_types.go, getBoolAnnotation)."""

_OWNERS_BY_MANAGER = {
    "argocd-controller": (OwnerKind.ARGO_CD, "Argo CD"),
    "kustomize-controller": (OwnerKind.FLUX_KUSTOMIZATION, "Flux (kustomize-controller)"),
    "helm-controller": (OwnerKind.FLUX_HELM_RELEASE, "Flux (helm-controller)"),
    "helm": (OwnerKind.HELM, "Helm"),
}
"""By the field manager, where no label or annotation names the owner."""


def find_gitops_owner(obj: Mapping[str, Any]) -> Owner | None:
    """Who manages the object by a definition of its own: Argo CD, Flux or Helm, in this order, by
    labels, annotations and field managers; None if nobody does. An entry of a list, which has no
    kind, is taken for a Deployment."""
    group, kind_of = _group_and_kind(obj)
    labels, annotations = (as_mapping(obj, "metadata", one) for one in ("labels", "annotations"))
    # An annotation that was copied from another object does not count. The group of the core API is
    # "" (Argo CD documentation, Resource Tracking).
    tracked, _, identity = _text(annotations.get(_ARGO_CD_ANNOTATION)).partition(":")
    own_identity = f"{group}/{kind_of}:{_namespace(obj)}/{_name(obj)}"
    if tracked and identity == own_identity:
        return Owner(OwnerKind.ARGO_CD, f"{OwnerKind.ARGO_CD} {tracked}", kind_of)
    named = [
        (OwnerKind.ARGO_CD, labels.get(_ARGO_CD_LABEL)),
        (OwnerKind.FLUX_KUSTOMIZATION, labels.get(_KUSTOMIZATION_LABEL)),
        (OwnerKind.FLUX_HELM_RELEASE, labels.get(_HELM_RELEASE_LABEL)),
    ]
    if labels.get(_MANAGED_BY_LABEL) == "Helm":
        named.append((OwnerKind.HELM, annotations.get(_HELM_ANNOTATION)))
    is_left_alone = annotations.get(_RECONCILE_ANNOTATION) == "disabled"
    for kind, value in named:
        if (name := _text(value)) and not (is_left_alone and kind is OwnerKind.FLUX_KUSTOMIZATION):
            return Owner(kind, f"{kind} {name}", kind_of)
    managers = {
        as_str(one.get("manager"))
        for one in mappings(as_mapping(obj, "metadata").get("managedFields"))
        if not one.get("subresource")
    }
    if is_left_alone:
        managers.discard("kustomize-controller")
    known = next((one for name, one in _OWNERS_BY_MANAGER.items() if name in managers), None)
    return Owner(*known, kind_of) if known is not None else None


def find_replicas_owner(
    deployment: Mapping[str, Any], autoscalers: Iterable[Mapping[str, Any]]
) -> Owner | None:
    """The HorizontalPodAutoscaler or ScaledObject that sets the Deployment's replicas, None if
    there is none. A ScaledObject comes before the HorizontalPodAutoscaler that KEDA makes of it; a
    paused one sets nothing. `autoscalers` are decoded objects; entries of a list, which have no
    kind, are told apart by their triggers."""
    found: dict[OwnerKind, Owner] = {}
    for one in autoscalers:
        kind = _autoscaler_kind(one)
        if _scales(one, kind, deployment) and not _is_paused(one):
            found.setdefault(kind, Owner(kind, f"{kind} {_name(one)}"))
    return found.get(OwnerKind.SCALED_OBJECT) or found.get(OwnerKind.HPA)


def scales_deployment(autoscaler: Mapping[str, Any], deployment: Mapping[str, Any]) -> bool:
    """Whether the target of a HorizontalPodAutoscaler or ScaledObject, also of a paused one, is the
    Deployment. Both as in `find_replicas_owner`."""
    return _scales(autoscaler, _autoscaler_kind(autoscaler), deployment)


def find_controller(obj: Mapping[str, Any]) -> Owner | None:
    """The object whose controller made this one, None if there is none. Without a kind, it is taken
    for a Deployment. Of a Deployment that Knative made for an InferenceService, it is the
    InferenceService: a Revision is immutable."""
    target = _group_and_kind(obj)[1]
    labels = as_mapping(obj, "metadata", "labels") if target == DEPLOYMENT else {}
    service = _text(labels.get(SERVICE_LABEL))
    for one in mappings(as_mapping(obj, "metadata").get("ownerReferences")):
        if one.get("controller") is True:
            kind = _text(one.get("kind"))
            if service and kind not in SERVICE_KINDS:
                break
            return Owner(OwnerKind.CONTROLLER, f"{kind} {_text(one.get('name'))}", target)
    name = f"InferenceService {service}"
    return Owner(OwnerKind.CONTROLLER, name, target) if service else None


def is_made_from_ingress(route: Mapping[str, Any]) -> bool:
    """Whether it is a Route that OpenShift made from an Ingress, which it owns, changes and deletes
    with it (openshift/route-controller-manager, README): the Ingress stands for it."""
    return route.get("kind") == "Route" and any(
        one.get("controller") is True and one.get("kind") == "Ingress"
        for one in mappings(as_mapping(route, "metadata").get("ownerReferences"))
    )


def _group_and_kind(obj: Mapping[str, Any]) -> tuple[str, str]:
    kind = _text(obj.get("kind"))
    if not kind:
        return "apps", DEPLOYMENT
    return _text(obj.get("apiVersion")).rpartition("/")[0], kind


def _autoscaler_kind(autoscaler: Mapping[str, Any]) -> OwnerKind:
    is_scaled_object = autoscaler.get("kind") == OwnerKind.SCALED_OBJECT or (
        not autoscaler.get("kind") and "triggers" in as_mapping(autoscaler, "spec")
    )
    return OwnerKind.SCALED_OBJECT if is_scaled_object else OwnerKind.HPA


def _scales(autoscaler: Mapping[str, Any], kind: OwnerKind, deployment: Mapping[str, Any]) -> bool:
    """Whether its target is the Deployment. A ScaledObject's defaults are apps/v1 and Deployment
    (KEDA documentation, ScaledObject specification)."""
    target = as_mapping(autoscaler, "spec", "scaleTargetRef")
    default = "Deployment" if kind is OwnerKind.SCALED_OBJECT else ""
    group = as_str(target.get("apiVersion")).rpartition("/")[0]
    return (
        (as_str(target.get("kind")) or default) == "Deployment"
        and group in ("", "apps")
        and _namespace(autoscaler) == _namespace(deployment)
        and as_str(target.get("name"))
        == as_str(as_mapping(deployment, "metadata").get("name"))
        != ""
    )


def holds_replicas(autoscaler: Mapping[str, Any]) -> bool:
    """Whether the autoscaler does not scale, because an annotation pauses it."""
    annotations = as_mapping(autoscaler, "metadata", "annotations")
    return _PAUSED_REPLICAS_ANNOTATION in annotations or _is_paused(autoscaler)


def _is_paused(autoscaler: Mapping[str, Any]) -> bool:
    """Whether KEDA leaves the replicas alone. With paused-replicas it holds them at a number (KEDA
    documentation, Pause autoscaling)."""
    annotations = as_mapping(autoscaler, "metadata", "annotations")
    if _PAUSED_REPLICAS_ANNOTATION in annotations or _PAUSED_ANNOTATION not in annotations:
        return False
    return annotations[_PAUSED_ANNOTATION] not in NOT_PAUSED


def _name(obj: Mapping[str, Any]) -> str:
    return _text(as_mapping(obj, "metadata").get("name"))


def _namespace(obj: Mapping[str, Any]) -> str:
    return _text(as_mapping(obj, "metadata").get("namespace"))


def _text(value: object) -> str:
    return one_line(sanitize(as_str(value)))
