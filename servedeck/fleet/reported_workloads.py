"""Servings whose state is what their controllers report: DaemonSets, Rollouts of Argo, RayServices
and RayClusters. Their Pods are not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from servedeck.fleet.views import ServingView
from servedeck.serving.objects import detection
from servedeck.serving.objects.records import Event, PodTemplate, Record
from servedeck.serving.objects.reported_records import (
    DaemonSet,
    RayCluster,
    RayClusterSpec,
    RayService,
    Rollout,
)
from servedeck.serving.objects.workload_records import InferenceService
from servedeck.serving.status.reported_workloads import (
    evaluate_daemon_set,
    evaluate_ray_cluster,
    evaluate_ray_service,
    evaluate_rollout,
    rollout_badge,
)
from servedeck.serving.status.status import ServingStatus
from servedeck.serving.text import one_line

ReportedRecord = DaemonSet | Rollout | RayService | RayCluster
RECORD_TYPES: tuple[type[Record], ...] = (DaemonSet, Rollout, RayService, RayCluster)
KINDS = frozenset(one.__name__ for one in RECORD_TYPES)
_RAY_SERVE = "ray-serve"


def is_serving(record: ReportedRecord) -> bool:
    """Whether it is a serving. A RayService is one whatever it runs, and a RayCluster if a Pod of
    it starts an inference server, unless a RayService or RayJob made it."""
    labels = record.metadata.labels
    match record:
        case RayService():
            return True
        case RayCluster():
            templates = [_with_own_commands(template) for _, template in record.spec.groups]
            return not record.is_owned and any(
                detection.is_serving_template(labels, template) for template in templates
            )
        case _:
            return detection.is_serving_template(labels, record.spec.template)


def _with_own_commands(template: PodTemplate) -> PodTemplate:
    """The template without the containers that run the command of KubeRay, `ray start`, whatever
    their image contains."""
    containers = tuple(one for one in template.spec.containers if one.command or one.args)
    spec = msgspec.structs.replace(template.spec, containers=containers)
    return msgspec.structs.replace(template, spec=spec)


def evaluate(record: ReportedRecord, events: Sequence[Event]) -> ServingStatus:
    """Its state; `events` are its own."""
    match record:
        case DaemonSet():
            return evaluate_daemon_set(record, events)
        case Rollout():
            return evaluate_rollout(record)
        case RayService():
            return evaluate_ray_service(record)
        case RayCluster():
            return evaluate_ray_cluster(record)


def badge(record: ReportedRecord) -> str:
    """Badge of a rollout in progress, "" for none."""
    return rollout_badge(record) if isinstance(record, Rollout) else ""


def complete(view: ServingView, record: ReportedRecord) -> ServingView:
    """The view with what the shape of a Deployment does not say."""
    match record:
        case RayCluster():
            return _with_accelerators(view, record.spec)
        case RayService():
            model, source = map(one_line, record.models)
            model = model or view.model
            return replace(
                _with_accelerators(view, record.spec.ray_cluster_config),
                template=_RAY_SERVE,
                model=model,
                model_source=source or view.model_source,
                endpoint=replace(view.endpoint, model=model),
            )
    return view


def _with_accelerators(view: ServingView, spec: RayClusterSpec) -> ServingView:
    """The view with the accelerators of the head and all workers, at the replicas that the spec
    asks for."""
    found = [(count, detection.detect_accelerators(template)) for count, template in spec.groups]
    first = next((one for _, one in found if one.number), None)
    if first is None:
        return view
    return replace(
        view,
        accelerator=first.name,
        accelerator_resource=first.resource,
        accelerator_count=sum(
            count * one.number for count, one in found if one.resource == first.resource
        ),
    )


def with_predictor(view: ServingView, record: InferenceService) -> ServingView:
    """The view of an InferenceService, with what KServe reports."""
    model, url = record.spec.predictor.model, one_line(record.status.url)
    endpoint = replace(
        view.endpoint,
        url=url,
        source=f"InferenceService {view.key.namespace}/{view.key.name}" if url else "",
        issue="" if url else "KServe has not reported its URL",
        model=view.key.name,
        port_forward_command="",
    )
    view = replace(view, endpoint=endpoint)
    if model is None:
        return view
    return replace(
        view,
        template=one_line(model.model_format.name) or view.template,
        model=view.key.name,
        model_source=one_line(model.storage_uri),
    )
