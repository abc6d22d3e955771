"""Fixtures that provide a real control plane: a plugin, so that all folders share one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.control_plane.control_plane import (
    ControlPlane,
    RequestError,
    missing_binaries_message,
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", 'slow: takes more than some ten seconds; -m "not slow"')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs all tests that need the servers: the servers are heavy, and some tests kill
    them."""
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("control_plane"))


def require_servers() -> None:
    """Skip, or fail where SERVEDECK_REQUIRE_SERVERS is 1, when no control plane can be started."""
    reason = missing_binaries_message()
    if reason and os.environ.get("SERVEDECK_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    if reason and not os.environ.get("KUBEBUILDER_ASSETS"):
        reason = "no servers of a control plane (KUBEBUILDER_ASSETS is not set)"
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane with four nodes and the custom resources; every server runs and the
    watch caches are warm. A test that stops a server restarts it."""
    require_servers()
    with ControlPlane() as plane:
        plane.add_crds()
        plane.add_nodes(4)
        yield plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace, deleted after the test."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.start()
    control_plane.restart_waiting_controllers()
    control_plane.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    control_plane.start()
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def kubeconfig(control_plane: ControlPlane) -> Path:
    """A kubeconfig file of an administrator."""
    return control_plane.write_kubeconfig()


MakePolicy = Callable[[str, str], None]
"""Arguments: a condition in CEL, and what happens if it is false (Deny or Warn)."""


@pytest.fixture
def policy(control_plane: ControlPlane, namespace: str) -> Iterator[MakePolicy]:
    """Makes the admission policy "at most 5 replicas" for the Deployments of the namespace."""
    root = "/apis/admissionregistration.k8s.io/v1"
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }

    def make(condition: str, action: str) -> None:
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        control_plane.create(
            f"{root}/validatingadmissionpolicies",
            {
                "metadata": {"name": namespace},
                "spec": {
                    "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
                    "validations": [{"expression": condition, "message": "at most 5 replicas"}],
                },
            },
        )
        control_plane.create(
            f"{root}/validatingadmissionpolicybindings",
            {
                "metadata": {"name": namespace},
                "spec": {"policyName": namespace, "validationActions": [action]},
            },
        )

    yield make
    for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        with contextlib.suppress(RequestError):
            control_plane.request("DELETE", f"{root}/{kind}/{namespace}")
