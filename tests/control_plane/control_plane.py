"""A Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager,
kube-scheduler, and kwok in place of kubelets. Used by tests and by the benchmarks."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tests import waiting
from tests.control_plane import custom_resources, objects, pod_statuses
from tests.control_plane.fake_kubelet import FakeKubelet
from tests.control_plane.processes import ProcessSpawner, ReservedPort, find_binary, terminate
from tests.waiting import WAIT_SECONDS

SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
USERS = {"admin": "system:masters", "member": "members", "viewer": "viewers", "nobody": ""}
"""Users with a token, and their group. By default, RBAC grants nothing to the last three."""

JsonObject = dict[str, Any]
T = TypeVar("T")


class PortInUseError(RuntimeError):
    """Another program listens on the port that was chosen for a server."""


class RequestError(Exception):
    """An error response of the API server."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body[:500]}")
        self.status = status
        self.body = body


def missing_binaries_message(names: Iterable[str] = (*SERVERS, "kubectl")) -> str:
    """Why no control plane can be started here, or "" if one can."""
    absent = [name for name in names if find_binary(name) is None]
    if not absent:
        return ""
    return (
        f"{', '.join(absent)} not found: set KUBEBUILDER_ASSETS to a folder with etcd, "
        "kube-apiserver and kubectl (`setup-envtest use -p path` fetches them), "
        "kube-controller-manager and kube-scheduler (dl.k8s.io) and kwok (kwok.sigs.k8s.io)"
    )


def wait_for(condition: Callable[[], T], what: str, limit: float = WAIT_SECONDS) -> T:
    """The first truthy value of `condition`; an error response counts as not yet. The TimeoutError
    contains `what` and the last value."""
    return waiting.wait_until_sync(
        condition, what, limit, ignored_errors=(OSError, RequestError, http.client.HTTPException)
    )


def make_signing_key() -> str:
    """A fresh P-256 private key in PEM, for service account tokens. An EC key in SEC1 format is
    any 32 bytes in a fixed structure (the public key is optional), so neither openssl nor the
    cryptography package is needed."""
    secret = secrets.token_bytes(31).rjust(32, b"\x01")
    body = b"\x02\x01\x01\x04\x20" + secret + bytes.fromhex("a00a06082a8648ce3d030107")
    text = base64.encodebytes(b"\x30" + bytes([len(body)]) + body).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{text}-----END EC PRIVATE KEY-----\n"


class ControlPlane:
    """The servers, each of which can be stopped, killed and restarted on the same port.

    `with ControlPlane() as plane:` starts all. Files are in a temporary folder that `stop`
    removes, unless `root` is given.
    """

    def __init__(self, root: Path | None = None, *, api_args: Iterable[str] = ()) -> None:
        self._temporary = root is None
        self.root = root or Path(tempfile.mkdtemp(prefix="servedeck-control-plane-"))
        self.root.mkdir(parents=True, exist_ok=True)
        self.ports = {name: ReservedPort() for name in ("etcd", "peer", "kube-apiserver")}
        self.tokens = {user: f"{user}-{secrets.token_hex(8)}" for user in USERS}
        self.api_args = list(api_args)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kubelet: FakeKubelet | None = None
        self._spawner = ProcessSpawner()
        self._started: set[str] = set()
        """Servers that have run: other servers use their ports, so the ports do not change."""
        self._controllers_need_restart = False
        """The API server was started after the controllers."""
        # The API server generates its own certificate; the tests' own requests do not verify it.
        self.ssl_context = ssl._create_unverified_context()

    @property
    def url(self) -> str:
        """URL of the API server, once it runs."""
        return f"https://127.0.0.1:{self.ports['kube-apiserver'].number}"

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['etcd'].number}"

    # -- the servers ---------------------------------------------------------------------------

    def __enter__(self) -> ControlPlane:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, names: Iterable[str] = SERVERS) -> None:
        """Start those of `names` that are not running, in order, and wait until each responds."""
        for name in names:
            if name not in self.processes or self.processes[name].poll() is not None:
                self._start(name)

    def stop(self) -> None:
        """Kill every server and remove the files. A graceful shutdown of the API server waits for
        open watches for up to a minute, so it is killed."""
        for name in reversed(SERVERS):
            self.kill(name)
        if self.kubelet:
            self.kubelet.close()
            self.kubelet = None
        self._spawner.close()
        for port in self.ports.values():
            port.close()
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Terminate one server with a signal and wait until it has exited."""
        process = self.processes.pop(name, None)
        if process:
            terminate(process, number)

    def restart(self, name: str = "kube-apiserver") -> None:
        """Kill with SIGKILL and start again on the same port."""
        self.kill(name)
        self._start(name)

    def restart_waiting_controllers(self) -> None:
        """Restart the controllers if the API server was down: after some errors they back off for
        longer than a test can wait."""
        if self._controllers_need_restart:
            for name in SERVERS[2:]:
                self.restart(name)
            self._controllers_need_restart = False

    def pause(self, name: str) -> None:
        """SIGSTOP: connections stay open without a response until `resume`."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def _start(self, name: str) -> None:
        """Start one server and wait until it responds. On the first start, choose other ports if
        another program has taken one."""
        first = name not in self._started
        for last in (False,) * 4 * first + (True,):
            try:
                self._try_start(name)
                break
            except PortInUseError:
                if last:
                    raise
                for each in {"etcd": ("etcd", "peer")}.get(name, (name,)):
                    self.ports[each].close()
                    self.ports[each] = ReservedPort()
        self._started.add(name)

    def _try_start(self, name: str) -> None:
        binary = find_binary(name)
        if binary is None:
            raise FileNotFoundError(missing_binaries_message([name]))
        if name == "kwok" and self.kubelet is None:
            self.kubelet = FakeKubelet(self.root / "certs")
        arguments: dict[str, Callable[[], list[str]]] = {
            "etcd": self._etcd_args,
            "kube-apiserver": self._apiserver_args,
            "kube-controller-manager": self._manager_args,
            "kube-scheduler": self._scheduler_args,
            "kwok": self._kwok_args,
        }
        log = self.root / f"{name}.log"
        process = self._spawner.start([binary, *arguments[name]()], log)
        self.processes[name] = process
        if name == "kube-apiserver" and SERVERS[-1] in self.processes:
            self._controllers_need_restart = True

        def healthy() -> bool:
            if process.poll() is not None:
                tail = log.read_text(errors="replace")[-2000:]
                taken = "address already in use" in tail
                kind = PortInUseError if taken and name in self.ports else RuntimeError
                raise kind(f"{name} ended with {process.returncode}:\n{tail}")
            if name == "etcd":
                return self._responds(f"{self.etcd_url}/health")
            if name == "kube-apiserver":
                return self._responds(f"{self.url}/readyz")
            return True

        wait_for(healthy, f"{name} to answer")

    def _responds(self, url: str) -> bool:
        request = urllib.request.Request(url, headers=self._auth_headers("admin"))
        context = self.ssl_context if url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return bool(answer.status == 200)

    def _etcd_args(self) -> list[str]:
        peer = f"http://127.0.0.1:{self.ports['peer'].number}"
        return [
            f"--data-dir={self.root / 'etcd'}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        ]

    def _apiserver_args(self) -> list[str]:
        key = self.root / "service-accounts.key"
        if not key.exists():
            key.write_text(make_signing_key())
        lines = (f'{self.tokens[user]},{user},{user},"{group}"\n' for user, group in USERS.items())
        (self.root / "tokens.csv").write_text("".join(lines))
        return [
            f"--etcd-servers={self.etcd_url}",
            f"--secure-port={self.ports['kube-apiserver'].number}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self.root / 'certs'}",
            f"--token-auth-file={self.root / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            *self.api_args,
        ]

    def _manager_args(self) -> list[str]:
        return [
            f"--kubeconfig={self.write_kubeconfig()}",
            "--leader-elect=false",
            f"--service-account-private-key-file={self.root / 'service-accounts.key'}",
            "--concurrent-deployment-syncs=20",
            "--concurrent-replicaset-syncs=20",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
            "--bind-address=127.0.0.1",
            "--secure-port=0",
        ]

    def _scheduler_args(self) -> list[str]:
        return [
            f"--kubeconfig={self.write_kubeconfig()}",
            "--leader-elect=false",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
            "--bind-address=127.0.0.1",
            "--secure-port=0",
        ]

    def _kwok_args(self) -> list[str]:
        assert self.kubelet
        stages = self.root / "stages.yaml"
        documents = (objects.KWOK_OPTIONS, *objects.POD_STAGES)
        stages.write_text("\n---\n".join(map(json.dumps, documents)))
        return [
            f"--kubeconfig={self.write_kubeconfig()}",
            f"--config={stages}",
            f"--manage-nodes-with-annotation-selector={objects.KWOK_ANNOTATION}=fake",
            "--node-lease-duration-seconds=40",
            "--node-ip=127.0.0.1",
            f"--node-port={self.kubelet.port}",
            "--server-address=127.0.0.1:0",
        ]

    # -- ways in -------------------------------------------------------------------------------

    def write_kubeconfig(
        self,
        user: str = "admin",
        *,
        token: str | None = None,
        server: str | None = None,
        namespace: str | None = None,
        credentials: JsonObject | None = None,
    ) -> Path:
        """A kubeconfig file for a user of `tokens`, or with other credentials; each call writes a
        new file. `server` overrides the URL, for a proxy."""
        cluster: JsonObject = {
            "server": server or self.url,
            "certificate-authority": str(self.root / "certs" / "apiserver.crt"),
        }
        if server and server.startswith("http:"):
            del cluster["certificate-authority"]
        context: JsonObject = {"cluster": "plane", "user": user}
        if namespace:
            context["namespace"] = namespace
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "plane",
            "clusters": [{"name": "plane", "cluster": cluster}],
            "users": [{"name": user, "user": credentials or {"token": token or self.tokens[user]}}],
            "contexts": [{"name": "plane", "context": context}],
        }
        path = self.root / f"kubeconfig-{user}-{secrets.token_hex(4)}"
        path.write_text(json.dumps(body))
        return path

    def _auth_headers(self, user: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[user]}"}

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = "admin",
        content_type: str = "",
        accept: str = "application/json",
        timeout: float = WAIT_SECONDS,
    ) -> Any:
        """The parsed response. A PATCH is a merge patch unless `content_type` is given. Raises
        RequestError on a status of 400 or more."""
        kind = content_type or (
            "application/merge-patch+json" if method == "PATCH" else "application/json"
        )
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={**self._auth_headers(user), "Content-Type": kind, "Accept": accept},
        )
        try:
            with urllib.request.urlopen(
                request, timeout=timeout, context=self.ssl_context
            ) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise RequestError(error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None

    def kubectl(
        self, *args: str, input: str | JsonObject | None = None, user: str = "admin"
    ) -> str:
        """Standard output of kubectl. Raises CalledProcessError, with its standard error."""
        binary = find_binary("kubectl")
        if binary is None:
            raise FileNotFoundError(missing_binaries_message(["kubectl"]))
        text = json.dumps(input) if isinstance(input, dict) else input
        result = subprocess.run(
            [binary, *args],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(self.root),
                "KUBECONFIG": str(self.write_kubeconfig(user)),
            },
        )
        if result.returncode:
            raise subprocess.CalledProcessError(
                result.returncode, result.args, result.stdout, result.stderr
            )
        return result.stdout

    # -- what tests put into it ----------------------------------------------------------------

    def create(self, path: str, body: JsonObject) -> Any:
        """POST; an existing object is left unchanged."""
        try:
            return self.request("POST", path, body)
        except RequestError as failure:
            if failure.status != 409:
                raise
            return None

    def add_nodes(self, count: int, *, prefix: str = "node", accelerators: str = "") -> list[str]:
        """Nodes simulated by kwok, ready when this returns: alternately 8 GPUs and 8 RNGDs, or
        `accelerators` on all."""
        names = [f"{prefix}-{number:03}" for number in range(count)]
        for number, name in enumerate(names):
            resource = accelerators or ("nvidia.com/gpu", "furiosa.ai/rngd")[number % 2]
            self.create("/api/v1/nodes", objects.node(name, resource))
        wait_for(lambda: set(names) <= self.ready_nodes(), f"{count} nodes to be ready")
        return names

    def ready_nodes(self) -> set[str]:
        """Names of the nodes that the scheduler may use."""
        return {
            item["metadata"]["name"]
            for item in self.request("GET", "/api/v1/nodes")["items"]
            if not item["spec"].get("taints")
            and any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in item["status"].get("conditions", ())
            )
        }

    def add_crds(self) -> None:
        """CustomResourceDefinitions of all optional kinds, served when this returns."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in custom_resources.CUSTOM_RESOURCE_DEFINITIONS:
            self.create(path, definition)
        for definition in custom_resources.CUSTOM_RESOURCE_DEFINITIONS:
            spec = definition["spec"]
            group, version = spec["group"], spec["versions"][0]["name"]
            url = f"/apis/{group}/{version}/{spec['names']['plural']}"
            wait_for(partial(self.request, "GET", url), f"{url} to be served")

    def remove_crds(self) -> None:
        """They are gone when this returns: one that is still being deleted cannot be recreated."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in custom_resources.CUSTOM_RESOURCE_DEFINITIONS:
            self.request("DELETE", f"{path}/{definition['metadata']['name']}")
        names = {
            definition["metadata"]["name"]
            for definition in custom_resources.CUSTOM_RESOURCE_DEFINITIONS
        }

        def gone() -> bool:
            left = self.request("GET", path)["items"]
            return not names & {one["metadata"]["name"] for one in left}

        wait_for(gone, "the definitions to be gone")

    def grant(
        self, user: str, rules: list[JsonObject], *, namespace: str = "", name: str = "tests"
    ) -> None:
        """Create RBAC rules for a user, in one namespace or in all; replaces those of the same
        name."""
        scope = f"namespaces/{namespace}/" if namespace else ""
        kind = "Role" if namespace else "ClusterRole"
        base = f"/apis/rbac.authorization.k8s.io/v1/{scope}{kind.lower()}"
        group = "rbac.authorization.k8s.io"
        role = {"metadata": {"name": f"{user}-{name}"}, "rules": rules}
        binding = {
            "metadata": {"name": f"{user}-{name}"},
            "roleRef": {"apiGroup": group, "kind": kind, "name": f"{user}-{name}"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        }
        if self.create(f"{base}s", role) is None:
            self.request("PATCH", f"{base}s/{user}-{name}", {"rules": rules})
        self.create(f"{base}bindings", binding)
        self.wait_until_allowed(user, rules, namespace)

    def wait_until_allowed(self, user: str, rules: list[JsonObject], namespace: str) -> None:
        """Wait until the API server's authorizer knows the rules: it reads them by a watch. A
        reflector that is refused once asks again after a minute only."""
        for rule in rules:
            for verb in rule["verbs"] if rule.get("resources") else ():
                attributes = {
                    "namespace": namespace,
                    "verb": verb,
                    "group": (rule.get("apiGroups") or [""])[0],
                    "resource": rule["resources"][0].partition("/")[0],
                    "subresource": rule["resources"][0].partition("/")[2],
                    "name": (rule.get("resourceNames") or [""])[0],
                }
                body = {"spec": {"user": user, "resourceAttributes": attributes}}
                wait_for(
                    lambda body=body: self.request(  # type: ignore[misc]
                        "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body
                    )["status"].get("allowed"),
                    f"the permission of {user} to {verb} {attributes['resource']}",
                )

    def revoke(self, user: str, *, namespace: str = "", name: str = "tests") -> None:
        """Delete the binding created by `grant`."""
        scope = f"namespaces/{namespace}/rolebindings" if namespace else "clusterrolebindings"
        self.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{scope}/{user}-{name}")

    def compact_etcd(self) -> int:
        """Compact etcd to its current revision and return the revision. An API server watch that
        must be read from etcd at an older one gets 410."""
        revision = int(self._call_etcd("range", {"key": "AA=="})["header"]["revision"])
        self._call_etcd("compaction", {"revision": str(revision), "physical": True})
        return revision

    def _call_etcd(self, call: str, body: JsonObject) -> JsonObject:
        request = urllib.request.Request(
            f"{self.etcd_url}/v3/kv/{call}", data=json.dumps(body).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            result: JsonObject = json.loads(answer.read())
        return result

    # -- servings ------------------------------------------------------------------------------

    def create_deployment(self, namespace: str, name: str, **options: Any) -> JsonObject:
        """Create a Deployment built by `objects.deployment`."""
        body = objects.deployment(name, **options)
        answer: JsonObject = self.request(
            "POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body
        )
        return answer

    def list_pods(self, namespace: str, serving: str = "") -> list[JsonObject]:
        """Pods of a serving, or all of the namespace, that are not being deleted."""
        selector = f"?labelSelector={objects.SERVING_LABEL}%3D{serving}" if serving else ""
        items = self.request("GET", f"/api/v1/namespaces/{namespace}/pods{selector}")["items"]
        return [item for item in items if "deletionTimestamp" not in item["metadata"]]

    def wait_for_pods(
        self, namespace: str, serving: str, count: int, *, scheduled: bool = True
    ) -> list[JsonObject]:
        """The Pods, once there are `count`, and each has a node unless `scheduled` is false."""

        def found() -> list[JsonObject] | None:
            pods = self.list_pods(namespace, serving)
            ready = all("nodeName" in pod["spec"] for pod in pods) or not scheduled
            return pods if len(pods) == count and ready else None

        pods = wait_for(found, f"{count} Pods of {namespace}/{serving}")
        assert pods is not None
        return pods

    def wait_until_ready(
        self, namespace: str, name: str, replicas: int, limit: float = WAIT_SECONDS
    ) -> None:
        """Wait until the Deployment has this many ready replicas, all of its current revision."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"

        def ready() -> bool:
            item = self.request("GET", path)
            status = item["status"]
            return bool(
                status.get("observedGeneration") == item["metadata"]["generation"]
                and status.get("readyReplicas", 0) == replicas
                and status.get("updatedReplicas", 0) == replicas
                and status.get("replicas", 0) == replicas
            )

        wait_for(ready, f"{replicas} ready replicas of {namespace}/{name}", limit=limit)

    def set_pod_status(self, pod: JsonObject, status: JsonObject) -> JsonObject:
        """Replace fields of a Pod's status as its kubelet would. Conditions are merged by type."""
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        answer: JsonObject = self.request(
            "PATCH",
            path,
            {"status": status},
            content_type="application/strategic-merge-patch+json",
        )
        return answer

    def create_warning_event(
        self, pod: JsonObject, reason: str, message: str, **fields: Any
    ) -> None:
        """Write a Warning Event about a Pod in the kubelet's format."""
        namespace = pod["metadata"]["namespace"]
        body = pod_statuses.event(pod, reason, message, **fields)
        self.request("POST", f"/api/v1/namespaces/{namespace}/events", body)
