"""Whatever a client writes is stored or refused as by a real server, and the controllers go on."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servedeck.demo.api import access, admission, patch_handler, read_handlers, write_handlers
from servedeck.demo.api.request import ApiRequest
from servedeck.demo.api.status import StatusError
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import ControllerManager
from servedeck.demo.resources import ALL_VERBS, DEPLOYMENTS, NAMESPACES, RESOURCES, Resource
from servedeck.demo.store.store import ObjectStore
from tests.demo.any_objects import any_object, any_value
from tests.demo.cluster_fixture import START, deployment

Json = dict[str, Any]
WRITABLE = [one for one in RESOURCES if set(ALL_VERBS) - {"deletecollection"} <= set(one.verbs)]
ADMIN = access.admin()
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"

_ANSWERS = {200, 201, 400, 403, 404, 409, 422, 500}
"""500: the real server's answer to an apply patch of the wrong types. An error that the demo does
not expect has no code; it ends the test."""


class Client:
    """Writes to a cluster whose controllers' errors are errors of the test."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.store = ObjectStore(self.clock)
        self.store.admission.append(admission.admit)
        self.controllers = ControllerManager(self.store, self.clock)
        for name in ("chat", "default"):
            self.store.create(NAMESPACES, {"metadata": {"name": name}})
        nodes: Json = {"cpu": "96", "memory": "1000Gi", "nvidia.com/gpu": "8", "pods": "110"}
        node = {"metadata": {"name": "n"}, "status": {"allocatable": nodes, "capacity": nodes}}
        self.send("POST", next(r for r in RESOURCES if r.kind == "Node"), node)
        body = deployment("llm")
        body["metadata"]["namespace"] = "chat"
        assert self.send("POST", DEPLOYMENTS, body) == 201

    def send(
        self,
        method: str,
        resource: Resource,
        body: Any,
        *,
        name: str = "",
        subresource: str = "",
        content_type: str = "application/json",
    ) -> int:
        """The status code of a write."""
        call = ApiRequest(
            method=method,
            resource=resource,
            namespace="chat" if resource.namespaced else "",
            name=name,
            subresource=subresource,
            query={"fieldManager": "test"},
            headers={"Content-Type": content_type, "Accept": TABLE},
            user=ADMIN,
            body=json.dumps(body).encode(),
        )
        try:
            if method == "POST":
                return write_handlers.create_object(self.store, call).code
            if method == "PUT":
                return write_handlers.replace_object(self.store, call).code
            if method == "PATCH":
                return patch_handler.handle_patch(self.store, call).code
            read_handlers.list_objects(self.store, call)
        except StatusError as error:
            return error.code
        return 200


@pytest.mark.parametrize("resource", WRITABLE, ids=lambda one: one.plural)
@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_whatever_is_written_the_controllers_go_on(resource: Resource, seed: int) -> None:
    rng, client = random.Random(seed), Client()  # noqa: S311 - test data
    name = rng.choice(("odd", "llm"))
    codes = [client.send("POST", resource, any_object(resource, rng, name, "chat"))]
    client.clock.advance(2)
    for _ in range(3):
        body = any_object(resource, rng, name, "chat")
        subresource = rng.choice(("", "status")) if resource.has_status else ""
        method, content_type = rng.choice((("PUT", ""), ("PATCH", MERGE), ("PATCH", APPLY)))
        if content_type == APPLY:
            body |= {"apiVersion": resource.api_version, "kind": resource.kind}
        codes.append(
            client.send(
                method,
                resource,
                body,
                name=name,
                subresource=subresource,
                content_type=content_type or "application/json",
            )
        )
        client.clock.advance(40)
        codes.append(client.send("GET", resource, None))
    assert set(codes) <= _ANSWERS
    client.controllers.resync()
    client.clock.advance(400)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_patches_of_any_type_are_refused_or_applied(seed: int) -> None:
    rng, client = random.Random(seed), Client()  # noqa: S311 - test data
    for content_type in (
        "application/json-patch+json",
        MERGE,
        "application/strategic-merge-patch+json",
    ):
        body = any_value(rng)
        if content_type.startswith("application/json-patch") and rng.random() < 0.8:
            body = [
                {
                    "op": rng.choice(("add", "remove", "replace", "move", "copy", "test", "x", 5)),
                    "path": rng.choice(("", "/", "/spec", "/spec/replicas", "/x/0/-", "~", 5)),
                    "from": rng.choice(("", "/spec", "/metadata/name", "x", None)),
                    "value": any_value(rng),
                }
                for _ in range(rng.randrange(1, 3))
            ]
        code = client.send("PATCH", DEPLOYMENTS, body, name="llm", content_type=content_type)
        assert code in _ANSWERS, body
    client.clock.advance(30)
