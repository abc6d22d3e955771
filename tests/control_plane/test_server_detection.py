"""Workloads of other projects on a real API server, which adds its defaults: the same ones are
servings, and the list and the form read them alike."""

from __future__ import annotations

import copy
import json
from typing import Any

from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.serving.objects import detection
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.records import Deployment
from servedeck.serving.spec.templates import TEMPLATES
from tests.control_plane.control_plane import ControlPlane
from tests.serving.corpus import OTHERS, SERVINGS, Workload


def create(plane: ControlPlane, namespace: str, name: str, workload: Workload) -> Any:
    labels = {"app": name, **workload.pod_labels}
    template = {
        "metadata": {"labels": labels, "annotations": workload.annotations},
        "spec": copy.deepcopy(workload.pod),
    }
    manifest = {
        "metadata": {"name": name, "labels": workload.labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template},
    }
    return plane.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", manifest)


def decode(stored: Any) -> Deployment:
    decoded = RecordDecoder(Deployment).decode(json.dumps(stored).encode())
    assert isinstance(decoded.record, Deployment)
    return decoded.record


def test_the_servings_among_the_workloads_of_others_are_found(
    control_plane: ControlPlane, namespace: str
) -> None:
    for number, (name, expected) in enumerate(SERVINGS.items()):
        stored = create(control_plane, namespace, f"serving-{number}", expected.workload)
        deployment = decode(stored)
        assert detection.is_serving(deployment), name
        found = detection.detect_deployment(deployment)
        assert found.container is not None
        assert (found.template, found.model, found.port, found.container.name) == (
            expected.template,
            expected.model,
            expected.port,
            expected.container,
        ), name
        stored["kind"] = "Deployment"
        imported = import_objects([stored])
        own = found.template if found.template in TEMPLATES else "custom"
        assert imported.spec.template == (expected.exported or own), name
        assert imported.objects.container["name"] == expected.container, name
        assert imported.spec.inference_port in (None, expected.port), name
    for number, (name, workload) in enumerate(OTHERS.items()):
        stored = create(control_plane, namespace, f"other-{number}", workload)
        assert not detection.is_serving(decode(stored)), name
