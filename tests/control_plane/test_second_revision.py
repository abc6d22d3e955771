"""A canary from its start to its end, on a real control plane."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from servedeck import cli
from servedeck.changes.traffic_split.revisions import RevisionError, start_revision
from servedeck.serving.conventions import REVISION_LABEL
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.objects.traffic_split import read_rules
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import make_spec, open_connection
from tests.control_plane.test_roles import run_apply
from tests.waiting import wait_until_sync

ROUTES = {
    RouteKind.HTTP_ROUTE: "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes",
    RouteKind.VIRTUAL_SERVICE: "/apis/networking.istio.io/v1/namespaces/{}/virtualservices",
}
NEW_IMAGE = "vllm/vllm-openai:v0.99.0"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"


class Cluster:
    """The serving llama with an endpoint, and commands for it."""

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str,
        kubeconfig: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.plane, self.namespace = plane, namespace
        self.target = f"{namespace}/llama"
        self._kubeconfig, self._capsys = kubeconfig, capsys
        self._kind = RouteKind.HTTP_ROUTE

    def create(self, kind: RouteKind, **texts: str) -> None:
        self._kind = kind

        async def apply() -> None:
            platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", route=kind)
            spec = make_spec(self.namespace, **texts)
            async with open_connection(self.plane, namespace=self.namespace) as connection:
                good, lines = await run_apply(connection, spec, platform)
                assert good, lines

        asyncio.run(apply())
        self.plane.wait_until_ready(self.namespace, "llama", int(texts.get("replicas", 1)))

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error of `servedeck`."""
        code = cli.main([*words, "--kubeconfig", str(self._kubeconfig)])
        written = self._capsys.readouterr()
        return code, written.out, written.err

    def traffic(self, *words: str) -> str:
        """The output of a command that succeeds."""
        code, out, err = self("traffic", self.target, *words)
        assert code == 0, err
        return out

    def deployment(self, name: str) -> Any:
        return self.plane.request(
            "GET", f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"
        )

    def container(self, name: str) -> Any:
        return self.deployment(name)["spec"]["template"]["spec"]["containers"][0]

    def route(self) -> Any:
        return self.plane.request("GET", f"{ROUTES[self._kind].format(self.namespace)}/llama")

    def routes(self) -> list[str]:
        found = self.plane.request("GET", ROUTES[self._kind].format(self.namespace))["items"]
        return [one["metadata"]["name"] for one in found]

    def shares(self) -> list[str]:
        return [one.shares for one in read_rules(self.route())]

    def next_step(self) -> str:
        return str(json.loads(self.traffic("-o", "json"))["nextStep"])


@pytest.fixture
def cluster(
    control_plane: ControlPlane,
    namespace: str,
    kubeconfig: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Cluster:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Cluster(control_plane, namespace, kubeconfig, capsys)


@pytest.mark.parametrize("kind", list(ROUTES))
def test_a_canary_from_its_start_to_its_end(cluster: Cluster, kind: RouteKind) -> None:
    plane, namespace = cluster.plane, cluster.namespace
    cluster.create(kind, replicas="2")
    before = cluster.route()

    # -- it is created, and gets no requests
    out = cluster.traffic("canary", f"image={NEW_IMAGE}", "env.NEW=1", "--dry-run")
    assert f"  image: {cluster.container('llama')['image']} -> {NEW_IMAGE}" in out
    assert plane.list_pods(namespace, "llama-canary") == []
    out = cluster.traffic("canary", f"image={NEW_IMAGE}", "env.NEW=1", "-y")
    assert out.splitlines()[:2] == [
        "deployment.apps/llama-canary created",
        "service/llama-canary created",
    ]
    assert f"servedeck traffic {cluster.target} split llama-canary --weight 1" in out
    plane.wait_until_ready(namespace, "llama-canary", 1)
    made = cluster.deployment("llama-canary")
    assert made["metadata"]["labels"][REVISION_LABEL] == "llama"
    assert f"--served-model-name={MODEL}" in cluster.container("llama-canary")["args"]
    assert cluster.routes() == ["llama"] and cluster.route() == before

    # -- it gets a share, then all
    assert "split llama-canary --weight PERCENT: sends a share" in cluster.next_step()
    cluster.traffic("split", "llama-canary", "--weight", "10", "-y")
    assert cluster.shares() == ["llama 90 %, llama-canary 10 %"]
    code, out, err = cluster("traffic", cluster.target, "finish", "-y")
    assert (code, out) == (1, "") and "promote llama-canary first" in err
    assert cluster.container("llama")["image"] != NEW_IMAGE
    out = cluster.traffic("promote", "-y")
    assert cluster.shares() == ["llama 0 %, llama-canary 100 %"]
    assert "finish: takes the settings of llama-canary over" in cluster.next_step()

    # -- the first one takes its settings over, while the other one answers
    code, out, err = cluster("traffic", cluster.target, "finish", "-y")
    assert code == 0, err
    assert "does not interrupt its endpoint" in err
    assert f"servedeck traffic {cluster.target} abort" in out
    container = cluster.container("llama")
    assert container["image"] == NEW_IMAGE
    assert {"name": "NEW", "value": "1"} in container["env"]
    assert not any(one.startswith("--served-model-name") for one in container["args"])
    assert cluster.deployment("llama")["spec"]["replicas"] == 2
    assert REVISION_LABEL not in cluster.deployment("llama")["metadata"]["labels"]
    assert cluster.shares() == ["llama 0 %, llama-canary 100 %"], "no second kind of write"
    plane.wait_until_ready(namespace, "llama", 2)
    code, out, err = cluster("wait", cluster.target, "--for", "Ready", "--timeout", "3m")
    assert code == 0, err
    assert " abort: gives the requests back to llama" in cluster.next_step()

    # -- the requests go back, and it is deleted
    cluster.traffic("abort", "-y")
    assert cluster.route()["spec"] == before["spec"]
    assert "has the same settings and gets no requests" in cluster.next_step()
    code, out, err = cluster("delete", f"{namespace}/llama-canary", "-y")
    assert code == 0, err
    wait_until_sync(lambda: not plane.list_pods(namespace, "llama-canary"), "the end of its Pods")
    assert cluster.routes() == ["llama"]


def test_an_older_revision_is_the_second_one(cluster: Cluster) -> None:
    cluster.create(RouteKind.HTTP_ROUTE)
    old = cluster.container("llama")["image"]
    code, _, err = cluster("set", cluster.target, f"image={NEW_IMAGE}", "env.NEW=1", "-y")
    assert code == 0, err
    code, _, err = cluster("wait", cluster.target, "--for", "Ready", "--timeout", "3m")
    assert code == 0, err
    out = cluster.traffic("canary", "--revision", "1", "--name", "llama-old", "-y")
    assert "deployment.apps/llama-old created" in out
    container = cluster.container("llama-old")
    assert container["image"] == old
    assert all(one["name"] != "NEW" for one in container.get("env", ()))
    for words, message in (
        (("--revision", "9"), "There is no revision 9; choose from 2, 1."),
        (("--name", "llama-old"), "llama-old is taken"),
    ):
        code, out, err = cluster("traffic", cluster.target, "canary", *words, "-y")
        assert (code, out) == (1, "") and message in err
    code, out, err = cluster("traffic", f"{cluster.namespace}/llama-old", "canary", "-y")
    assert (code, out) == (1, "") and "is itself a revision of llama" in err


def test_without_a_route_that_can_be_split_nothing_is_created(cluster: Cluster) -> None:
    cluster.create(RouteKind.HTTP_ROUTE)
    cluster.plane.request(
        "DELETE", f"{ROUTES[RouteKind.HTTP_ROUTE].format(cluster.namespace)}/llama"
    )
    code, out, err = cluster("traffic", cluster.target, "canary", "-y")
    assert (code, out) == (1, "") and "it has no endpoint whose traffic could be split" in err
    assert cluster.plane.list_pods(cluster.namespace, "llama-canary") == []


async def test_a_taken_name_is_not_proposed(control_plane: ControlPlane, namespace: str) -> None:
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main")
    control_plane.create(
        f"/api/v1/namespaces/{namespace}/services",
        {"metadata": {"name": "llama-canary"}, "spec": {"ports": [{"port": 80}]}},
    )
    async with open_connection(control_plane, namespace=namespace) as connection:
        await run_apply(connection, make_spec(namespace), platform)
        start = await start_revision(connection, namespace, "llama")
        assert start.spec.name == "llama-canary-2" and start.spec.replicas == 1
        with pytest.raises(RevisionError, match="There is no Deployment none"):
            await start_revision(connection, namespace, "none")
