"""An API server in place of a connection: it stores objects, and loses responses when told to."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from servedeck.changes.operations.merge_patch import apply_merge_patch
from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionFailedError,
    ConnectionLostError,
)
from servedeck.cluster.http.server_clock import ServerClock

JsonObject = dict[str, Any]

LOST = ConnectionLostError("The connection to https://cluster was lost.")
REFUSED = ConnectionFailedError("Connection refused by https://cluster; is the cluster up?")


class FakeCluster:
    """Objects by path, and lists by the path of their collection. Each write takes the first of
    `faults`, if there is one."""

    def __init__(self, objects: dict[str, Any] | None = None) -> None:
        groups = [{"name": one} for one in ("apps", "autoscaling", "networking.k8s.io")]
        self.objects = {"/apis": {"groups": groups}, **copy.deepcopy(objects or {})}
        self.faults: list[Callable[[Callable[[], ApiResponse]], ApiResponse]] = []
        self.before_write: Callable[[], None] = lambda: None
        """Called when a write arrives, before it is looked at: another client."""
        self.server_revision = 1
        self.read_error: ClusterError | None = None
        """Raised by every GET."""
        self.writes: list[tuple[str, str]] = []
        """Method and path of each write that was executed."""
        self.requests: list[tuple[str, str, bool]] = []
        """Method, path and whether it was a dry run, of each write that arrived."""
        self.forbidden: set[tuple[str, str]] = set()
        """Verbs and resources that the reviews of the permissions do not have."""
        self.headers: dict[str, str] = {}
        self.defaults: dict[str, Any] = {}
        """What the API server sets in the container of a Deployment that is written, by path."""
        self.previewed_pods: list[JsonObject] = []
        """Pods whose creation was tried in a dry run."""
        self.pod_rejection: ApiError | None = None
        """Why no Pod is admitted; None if they are."""
        self.clock = ServerClock()
        self.options = SimpleNamespace(kubeconfig=None)
        self.context_name = ""
        self.readonly = False

    @property
    def connection(self) -> Connection:
        return cast(Connection, self)

    # -- the cluster's side -----------------------------------------------------------------------

    def change(self, path: str, **fields: Any) -> None:
        """Another client's merge patch of an object."""
        changed = apply_merge_patch(self.objects[path], fields)
        version = int(changed["metadata"].get("resourceVersion", "100"))
        changed["metadata"]["resourceVersion"] = str(version + 1)
        self.objects[path] = changed

    # -- the connection's side --------------------------------------------------------------------

    async def get(self, path: str) -> bytes:
        return json.dumps(await self.get_json(path)).encode()

    async def get_json(self, path: str, params: Any = ()) -> JsonObject:
        if self.read_error is not None:
            raise self.read_error
        found = self.objects.get(path)
        if isinstance(found, ClusterError):
            raise found
        if isinstance(found, list):
            return {"items": copy.deepcopy(found)}
        if found is None:
            raise ApiError(404, "NotFound", f"{path} not found")
        return cast(JsonObject, copy.deepcopy(found))

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Any = (),
        body: Any = None,
        content_type: str = "application/json",
    ) -> ApiResponse:
        if path.endswith("/selfsubjectrulesreviews"):
            return self._review()
        if method == "POST" and path.endswith("/pods"):
            self.previewed_pods.append(json.loads(body))
            if self.pod_rejection is not None:
                raise self.pod_rejection
            return ApiResponse(201, {}, body)
        # As a real API server, which ignores the query of a deletion with a body.
        dry_run = (
            body.get("dryRun") == ["All"]
            if method == "DELETE"
            else ("dryRun", "All") in list(params)
        )

        def execute() -> ApiResponse:
            changed = self._execute(method, path, body, dry_run)
            return ApiResponse(200, self.headers, json.dumps(changed).encode())

        self.requests.append((method, path, dry_run))
        self.before_write()
        if self.faults:
            return self.faults.pop(0)(execute)
        return execute()

    def _review(self) -> ApiResponse:
        rules = [
            {"verbs": [verb], "apiGroups": ["*"], "resources": [plural]}
            for verb in ("get", "list", "patch", "delete")
            for plural in ("deployments", "services", "httproutes", "pods")
            if (verb, plural) not in self.forbidden
        ]
        status = {"resourceRules": rules, "incomplete": False}
        return ApiResponse(201, {}, json.dumps({"status": status}).encode())

    def _execute(self, method: str, path: str, body: JsonObject, dry_run: bool) -> JsonObject:
        if method == "POST":
            return self._create(path, body, dry_run)
        stored = self.objects.get(path)
        if stored is None:
            raise ApiError(404, "NotFound", f"{path} not found")
        metadata = stored["metadata"]
        wanted = body["preconditions"] if method == "DELETE" else body["metadata"]
        if any(
            wanted.get(key) != metadata.get(key)
            for key in ("uid", "resourceVersion")
            if key in wanted
        ):
            raise ApiError(409, "Conflict", "the object has been modified")
        if not dry_run:
            self.writes.append((method, path))
        if method == "DELETE":
            if not dry_run:
                del self.objects[path]
            return {}
        changed = cast(JsonObject, apply_merge_patch(stored, body))
        if defaults := self.defaults.get(path):
            containers = changed["spec"]["template"]["spec"]["containers"]
            containers[0] = apply_merge_patch(containers[0], defaults)
        if changed != stored:
            version = str(int(metadata["resourceVersion"]) + 1)
            generation = metadata.get("generation", 0) + (changed["spec"] != stored["spec"])
            changed["metadata"] = {
                **changed["metadata"],
                "resourceVersion": version,
                "generation": generation,
            }
        if not dry_run:
            self.objects[path] = changed
        return changed

    def _create(self, collection: str, body: JsonObject, dry_run: bool) -> JsonObject:
        path = f"{collection}/{body['metadata']['name']}"
        if path in self.objects:
            raise ApiError(409, "AlreadyExists", f"{path} already exists")
        created = copy.deepcopy(body)
        created["metadata"] |= {"uid": f"uid-{len(self.objects)}", "resourceVersion": "100"}
        if not dry_run:
            self.writes.append(("POST", path))
            self.objects[path] = created
        return created


def lose_request(execute: Callable[[], ApiResponse]) -> ApiResponse:
    """The connection is lost before the request arrives."""
    raise LOST


def lose_response(execute: Callable[[], ApiResponse]) -> ApiResponse:
    """The connection is lost after the request was executed."""
    execute()
    raise LOST


def refuse_connection(execute: Callable[[], ApiResponse]) -> ApiResponse:
    raise REFUSED


def respond(error: ApiError) -> Callable[[Callable[[], ApiResponse]], ApiResponse]:
    """Respond with an error."""

    def fault(execute: Callable[[], ApiResponse]) -> ApiResponse:
        raise error

    return fault
