"""Logins that are renewed while a session runs, and an API server that stops answering."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from servedeck.cluster.watch.reflector import ReflectorConfig
from servedeck.fleet.views import NamespacedName
from tests.control_plane import objects
from tests.control_plane.assertions import assert_matches_cluster, started_session, wait_for_view
from tests.control_plane.control_plane import ControlPlane
from tests.waiting import wait_until

API_VERSION = "client.authentication.k8s.io/v1"


def with_user(file: Path, user: dict[str, Any]) -> str:
    document = json.loads(file.read_text())
    document["users"][0]["user"] = user
    return json.dumps(document)


async def test_a_login_is_renewed_in_the_kubeconfig_without_a_key_being_pressed(
    control_plane: ControlPlane, namespace: str
) -> None:
    file = control_plane.write_kubeconfig(token="expired")
    good = with_user(file, {"token": control_plane.tokens["admin"]})
    async with started_session(file, namespace, settled=False) as live:
        await wait_until(lambda: live.state.phase.name == "UNAUTHORIZED", "the rejection")
        assert "does not accept the credentials of user 'admin'" in live.state.message
        file.write_text(good[:200])
        file.write_text(good)
        await wait_until(lambda: live.state.phase.name == "LIVE", "the new login")
        await assert_matches_cluster(live, control_plane, namespace)


async def test_a_plugin_gets_a_session_in_once_the_operator_has_logged_in(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    runs, token = tmp_path / "runs", tmp_path / "token"
    status = json.dumps(
        {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": {"token": "@"}}
    )
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!/bin/sh\necho run >> {runs}\n"
        f"test -e {token} || {{ echo 'session expired' >&2; exit 255; }}\n"
        f"printf %s {shlex.quote(status)} | sed s/@/$(cat {token})/\n"
    )
    plugin.chmod(0o755)
    file = control_plane.write_kubeconfig(
        credentials={"exec": {"apiVersion": API_VERSION, "command": str(plugin)}}
    )
    async with started_session(file, namespace, settled=False) as live:
        await wait_until(lambda: live.state.phase.name == "UNAUTHORIZED", "the failure")
        assert "session expired" in live.state.message
        token.write_text(control_plane.tokens["admin"])
        await wait_until(lambda: live.state.phase.name == "LIVE", "the login")
        before = runs.read_text()
        control_plane.create(
            f"/apis/apps/v1/namespaces/{namespace}/deployments", objects.deployment("llama")
        )
        await wait_for_view(live, NamespacedName(namespace, "llama"), lambda view: view.status)
        assert runs.read_text() == before, "once for all requests"


async def test_a_server_that_is_stopped_is_noticed_before_its_watches_end(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    patient = ReflectorConfig(watch_read_timeout=3600.0)
    async with started_session(kubeconfig, namespace, timings=patient) as live:
        control_plane.pause("kube-apiserver")
        try:
            await wait_until(lambda: live.state.phase.name == "RETRYING", "the silence")
            assert "does not answer" in live.state.message
        finally:
            control_plane.resume("kube-apiserver")
        await wait_until(lambda: live.state.phase.name == "LIVE", "LIVE again")
        await assert_matches_cluster(live, control_plane, namespace)
