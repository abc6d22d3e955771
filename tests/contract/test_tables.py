"""Table rows printed by the server, and API discovery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from servedeck.demo.api.schema import definitions
from servedeck.demo.api.tables.table import make_table
from servedeck.demo.resources import RESOURCES, Resource
from tests.contract import schema_source
from tests.contract.target import TABLE, Target, scaled_down_deployment

Json = dict[str, Any]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def rows(target: Target, path: str) -> tuple[list[str], list[list[Any]]]:
    found = target.ok("GET", path, accept=TABLE)
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    names = [column["name"] for column in found["columnDefinitions"]]
    return names, [row["cells"] for row in found["rows"]]


def test_the_row_of_a_deployment(target: Target, deployments: str) -> None:
    target.ok("POST", deployments, scaled_down_deployment())
    names, cells = rows(target, deployments)
    assert names == [
        "Name",
        "Ready",
        "Up-to-date",
        "Available",
        "Age",
        "Containers",
        "Images",
        "Selector",
    ]
    assert cells[0][:4] == ["web", "0/0", 0, 0]
    assert cells[0][5:] == ["c", "ghcr.io/contract/app:v0.10.0", "app=web"]


def state(kind: str, **values: Any) -> Json:
    return {"state": {kind: values}}


def container(name: str, **values: Any) -> Json:
    base = {"name": name, "ready": False, "restartCount": 0, "image": "i", "imageID": ""}
    return base | values


RUNNING = state("running", startedAt="2026-01-01T00:00:00Z")
ENDED = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:00Z"}
STATUSES: list[tuple[Json, list[str]]] = [
    ({"phase": "Pending"}, ["0/2", "Pending", "0"]),
    (
        {
            "phase": "Pending",
            "containerStatuses": [
                container("a", **state("waiting", reason="ContainerCreating")),
                container("b", **state("waiting", reason="ImagePullBackOff")),
            ],
        },
        ["0/2", "ContainerCreating", "0"],
    ),
    (
        {
            "phase": "Running",
            "containerStatuses": [
                container("a", ready=True, **RUNNING),
                container("b", ready=True, restartCount=3, **RUNNING),
            ],
        },
        ["2/2", "Running", "3"],
    ),
    (
        {
            "phase": "Running",
            "containerStatuses": [
                container("a", **state("terminated", **ENDED)),
                container("b", ready=True, **RUNNING),
            ],
        },
        ["1/2", "OOMKilled", "0"],
    ),
    ({"phase": "Failed", "reason": "Evicted"}, ["0/2", "Evicted", "0"]),
    (
        {
            "phase": "Pending",
            "initContainerStatuses": [
                container("init", restartCount=2, **state("terminated", exitCode=1))
            ],
        },
        ["0/2", "Init:ExitCode:1", "2"],
    ),
]


# The demo computes Ready, Status and Restarts with servedeck's own rule (serving.status.pods), so
# on the demo these two tests cannot prove that the rule matches kubectl. Only the run against the
# real control plane can.


@pytest.mark.parametrize(("status", "wanted"), STATUSES, ids=[w[1] for _, w in STATUSES])
def test_the_row_of_a_pod(target: Target, pods: str, status: Json, wanted: list[str]) -> None:
    spec = {
        "schedulerName": "nobody",
        "initContainers": [{"name": "init", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
    }
    target.ok("POST", pods, {"metadata": {"name": "p"}, "spec": spec})
    target.patch(f"{pods}/p/status", {"status": status})
    names, cells = rows(target, pods)
    assert names[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert names[5:] == ["IP", "Node", "Nominated Node", "Readiness Gates"]
    assert cells[0][:4] == ["p", *wanted]
    assert cells[0][5:] == ["<none>", "<none>", "<none>", "<none>"]


def test_a_restart_says_when(target: Target, pods: str) -> None:
    containers = [{"name": "a", "image": "i"}]
    body = {"metadata": {"name": "p"}, "spec": {"schedulerName": "x", "containers": containers}}
    target.ok("POST", pods, body)
    last = {"lastState": {"terminated": ENDED | {"finishedAt": "2020-01-01T00:00:00Z"}}}
    waiting = state("waiting", reason="CrashLoopBackOff")
    statuses = [container("a", restartCount=4, **waiting, **last)]
    target.patch(f"{pods}/p/status", {"status": {"containerStatuses": statuses}})
    _, cells = rows(target, pods)
    assert cells[0][2] == "CrashLoopBackOff"
    assert cells[0][3].startswith("4 (") and cells[0][3].endswith(" ago)")


@pytest.mark.parametrize(
    "resource",
    [r for r in RESOURCES if r.builtin and "list" in r.verbs],
    ids=lambda resource: resource.key,
)
def test_the_columns_of_every_kind(target: Target, resource: Resource) -> None:

    path = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    found = target.ok("GET", f"{path}/{resource.plural}?limit=1", accept=TABLE)
    kept = ("name", "type", "format", "priority")
    real = [{key: column[key] for key in kept} for column in found["columnDefinitions"]]
    ours = make_table(resource, [], {}, datetime.now(UTC))["columnDefinitions"]
    assert [{key: column[key] for key in kept} for column in ours] == real


def test_whole_objects_or_none_in_rows(target: Target, deployments: str) -> None:
    target.ok("POST", deployments, scaled_down_deployment())
    whole = target.ok("GET", f"{deployments}?includeObject=Object", accept=TABLE)
    assert whole["rows"][0]["object"]["spec"]["selector"]
    none = target.ok("GET", f"{deployments}?includeObject=None", accept=TABLE)
    assert "object" not in none["rows"][0] or none["rows"][0]["object"] is None


def entries(document: Json) -> dict[tuple[str, str, str], Json]:
    return {
        (item["metadata"].get("name", ""), version["version"], resource["resource"]): resource
        for item in document["items"]
        for version in item["versions"]
        for resource in version["resources"]
    }


def test_discovery_lists_the_resources(target: Target) -> None:
    found = entries(target.ok("GET", "/api", accept=AGGREGATED))
    found |= entries(target.ok("GET", "/apis", accept=AGGREGATED))
    for resource in RESOURCES:
        if not resource.builtin or resource.group == "events.k8s.io":
            continue
        entry = found[(resource.group, resource.version, resource.plural)]
        assert entry["responseKind"]["kind"] == resource.kind
        assert entry["scope"] == ("Namespaced" if resource.namespaced else "Cluster")
        assert entry["singularResource"] == resource.singular
        assert sorted(entry["verbs"]) == sorted(resource.verbs)
        assert entry.get("shortNames", []) == list(resource.short_names)
        assert entry.get("categories", []) == list(resource.categories)
        known = {sub["subresource"] for sub in entry.get("subresources", ())}
        assert set(resource.subresources) <= known


def test_the_older_discovery(target: Target) -> None:
    assert target.ok("GET", "/api")["versions"] == ["v1"]
    names = {group["name"] for group in target.ok("GET", "/apis")["groups"]}
    assert {"apps", "networking.k8s.io", "autoscaling"} <= names
    found = target.ok("GET", "/apis/apps/v1")
    assert (found["kind"], found["groupVersion"]) == ("APIResourceList", "apps/v1")
    listed = {resource["name"]: resource for resource in found["resources"]}
    assert {"deployments", "deployments/scale", "deployments/status"} <= set(listed)
    assert listed["deployments/scale"]["kind"] == "Scale"
    assert target.ok("GET", "/apis/apps")["preferredVersion"]["groupVersion"] == "apps/v1"
    assert target.ok("GET", "/version")["minor"]
    assert target.send("GET", "/readyz").text == "ok"


def test_types_come_from_the_real_server(target: Target) -> None:
    """schema.json matches the real server's OpenAPI documents."""
    if target.name == "real":
        collected = schema_source.collect(lambda path: target.ok("GET", path))
        assert collected == {name: definitions()[name] for name in collected}
    item = target.ok("GET", "/openapi/v3/apis/apps/v1")["paths"]
    patch = item["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert {"fieldValidation", "dryRun"} <= {p["name"] for p in patch["parameters"]}
