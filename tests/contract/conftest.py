"""Fixtures: each contract test runs against the demo and the real control plane."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.kubectl import Kubectl
from tests.contract.target import (
    DemoBackend,
    RealBackend,
    Target,
    add_nodes,
    eventually,
    fresh,
    scaled_down_deployment,
)
from tests.control_plane.processes import find_binary

TARGETS = ["demo", pytest.param("real", marks=pytest.mark.xdist_group("control_plane"))]


@pytest.fixture(scope="session")
def demo_backend() -> Iterator[DemoBackend]:
    backend = DemoBackend()
    yield backend
    backend.close()


@pytest.fixture(scope="package", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    if request.param == "demo":
        found = Target(request.getfixturevalue("demo_backend"))
        add_nodes(found)
    else:
        found = Target(RealBackend(request.getfixturevalue("control_plane")))
    found.backend.grant_view()
    yield found
    found.backend.revoke_view()
    found.close()


@pytest.fixture
def ns(target: Target) -> Iterator[str]:
    """A fresh namespace, deleted after the test."""
    name = fresh()
    target.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    target.send("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def deployments(ns: str) -> str:
    """Path of the Deployments in the fresh namespace."""
    return f"/apis/apps/v1/namespaces/{ns}/deployments"


@pytest.fixture
def configmaps(target: Target, ns: str) -> str:
    """Path of the ConfigMaps in the fresh namespace. On the real control plane, waits for the
    ConfigMap that a controller creates, so that it does not appear during a test."""
    path = f"/api/v1/namespaces/{ns}/configmaps"
    if target.name == "real":
        own = f"{path}/kube-root-ca.crt"
        eventually(lambda: target.send("GET", own).code == 200, "the cluster's own ConfigMap")
    return path


@pytest.fixture
def pods(ns: str) -> str:
    return f"/api/v1/namespaces/{ns}/pods"


@pytest.fixture
def kubectl(target: Target, ns: str, tmp_path: Path) -> Kubectl:
    """kubectl in the fresh namespace."""
    binary = find_binary("kubectl")
    if binary is None:
        if os.environ.get("SERVEDECK_REQUIRE_SERVERS") == "1":
            pytest.fail("kubectl not found: set KUBEBUILDER_ASSETS")
        pytest.skip("KUBEBUILDER_ASSETS names no kubectl")
    return Kubectl(str(binary), target.backend, ns, tmp_path)


@pytest.fixture
def web(target: Target, deployments: str) -> str:
    """Path of a Deployment without Pods."""
    target.ok("POST", deployments, scaled_down_deployment(), agent="creator/1")
    return f"{deployments}/web"
