"""Client certificates and contexts that change while a session runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from servedeck.cluster.auth import exec_plugin
from servedeck.cluster.watch.reflector import ReflectorConfig
from tests.cluster.certificates import create_authority
from tests.control_plane.assertions import started_session
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.fixtures import require_servers
from tests.waiting import wait_until

API_VERSION = "client.authentication.k8s.io/v1"
IMPATIENT = ReflectorConfig(retry_delay=(0.05, 0.1), unauthorized_delay=(0.05, 0.1))


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that accepts client certificates of the authority "ca" in its folder."""
    require_servers()
    root = tmp_path_factory.mktemp("plane")
    authority = create_authority(root)
    plane = ControlPlane(root, api_args=[f"--client-ca-file={authority}"])
    try:
        plane.start(["etcd", "kube-apiserver"])
        yield plane
    finally:
        plane.stop()


@pytest.fixture(autouse=True)
def never_waits_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes to run the plugins of these tests."""
    monkeypatch.setattr(exec_plugin, "NOTICE_SECONDS", 3600.0)


def issue(plane: ControlPlane, lifetime: timedelta) -> tuple[str, str]:
    """A client certificate of an administrator and its key, in PEM format."""
    authority = x509.load_pem_x509_certificate((plane.root / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((plane.root / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = ((NameOID.ORGANIZATION_NAME, "system:masters"), (NameOID.COMMON_NAME, "admin"))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(*pair) for pair in names]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(signer, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


def write_plugin(folder: Path, body: str) -> dict[str, Any]:
    """A user who logs in with a plugin, a shell script."""
    plugin = folder / "plugin"
    plugin.write_text(f"#!/bin/sh\n{body}\n")
    plugin.chmod(0o755)
    return {"exec": {"apiVersion": API_VERSION, "command": str(plugin)}}


def write_answer(file: Path, certificate: str, key: str) -> None:
    status = {"clientCertificateData": certificate, "clientKeyData": key}
    document = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}
    file.write_text(json.dumps(document))


async def test_a_certificate_that_expired_is_said_and_the_renewed_one_is_used(
    api_server: ControlPlane, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "client.crt", tmp_path / "client.key"
    for file, content in zip(
        (certificate, key), issue(api_server, timedelta(hours=-1)), strict=True
    ):
        file.write_text(content)
    config = api_server.write_kubeconfig(
        credentials={"client-certificate": str(certificate), "client-key": str(key)}
    )
    async with started_session(config, settled=False) as live:
        await wait_until(lambda: live.state.phase.name == "UNAUTHORIZED", "the rejection")
        assert live.state.message.startswith("The client certificate of user 'admin' expired on 20")
        for file, content in zip(
            (certificate, key), issue(api_server, timedelta(hours=1)), strict=True
        ):
            file.write_text(content)
        await wait_until(lambda: live.state.phase.name == "LIVE", "the renewed certificate")


async def test_a_plugin_whose_certificate_does_not_belong_to_its_key_is_run_again(
    api_server: ControlPlane, tmp_path: Path
) -> None:
    """As where it reads both from files that are just being renewed."""
    answer = tmp_path / "answer"
    certificate, key = issue(api_server, timedelta(hours=1))
    write_answer(answer, certificate, issue(api_server, timedelta(hours=1))[1])
    config = api_server.write_kubeconfig(credentials=write_plugin(tmp_path, f"cat {answer}"))
    async with started_session(config, settled=False) as live:
        await wait_until(lambda: live.state.phase.name == "UNAUTHORIZED", "the failure")
        assert "'plugin' returned a client certificate and a key that" in live.state.message
        write_answer(answer, certificate, key)
        await wait_until(lambda: live.state.phase.name == "LIVE", "the certificate")


async def test_a_plugin_whose_tokens_are_all_rejected_is_run_at_growing_intervals(
    api_server: ControlPlane, tmp_path: Path
) -> None:
    runs, token = tmp_path / "runs", tmp_path / "token"
    answer = json.dumps(
        {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": {"token": "@"}}
    )
    user = write_plugin(
        tmp_path,
        f"echo run >> {runs}\n"
        f"test -e {token} && cat {token} && exit\n"
        f"echo '{answer}' | sed s/@/rejected-$$/",
    )
    config = api_server.write_kubeconfig(credentials=user)
    async with started_session(config, settled=False, timings=IMPATIENT) as live:
        await wait_until(lambda: live.state.phase.name == "UNAUTHORIZED", "the rejection")
        lists = list(live._reflectors.values())
        await wait_until(lambda: min(each.list_count for each in lists) > 20, "many requests")
        assert len(runs.read_text().split()) < 10, "another token each time, and none accepted"
        token.write_text(answer.replace("@", api_server.tokens["admin"]))
        live.retry_now()
        await wait_until(lambda: live.state.phase.name == "LIVE", "the retry")


async def test_a_context_that_was_renamed_is_said_and_can_be_chosen(
    api_server: ControlPlane,
) -> None:
    config = api_server.write_kubeconfig(token="expired")
    good = json.loads(config.read_text())
    good["users"][0]["user"]["token"] = api_server.tokens["admin"]
    good["contexts"][0]["name"] = good["current-context"] = "renamed"
    async with started_session(config, settled=False) as live:
        await wait_until(lambda: live.state.phase.name == "UNAUTHORIZED", "the rejection")
        assert live.state.message.startswith("https://127.0.0.1:")
        config.write_text(json.dumps(good))
        expected = f"The kubeconfig {config} has no context 'plane'; it has renamed. https://127"
        await wait_until(lambda: live.state.message.startswith(expected), "why it is not used")
        assert await live.read_contexts() == ("renamed",)
        await live.switch(context="renamed")
        await wait_until(lambda: live.state.phase.name == "LIVE", "the renamed context")
