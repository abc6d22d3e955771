"""Formats of what credential plugins print."""

from __future__ import annotations

from pathlib import Path

import pytest

from servedeck.cluster.auth.exec_plugin import Credential, ExecPlugin
from servedeck.cluster.auth.kubeconfig import KubeconfigCluster, KubeconfigUser
from servedeck.cluster.http.errors import CredentialsError
from tests.cluster.auth.credential_fixtures import API_VERSION, make_exec_user, write_script

YAML_CREDENTIAL = f"""\
apiVersion: {API_VERSION}
kind: ExecCredential
status:
  token: 1e5
  expirationTimestamp: 2999-01-01T00:00:00Z
"""
JSON_CREDENTIAL = (
    f'{{"apiVersion": "{API_VERSION}", "kind": "ExecCredential", "status": {{"token": "1e5",'
    ' "expirationTimestamp": "2999-01-01T00:00:00.123456789Z"}}'
)


async def run(tmp_path: Path, output: bytes) -> Credential:
    (tmp_path / "output").write_bytes(output)
    script = write_script(tmp_path / "plugin", f"cat {tmp_path}/output")
    user = KubeconfigUser("me", make_exec_user(script), tmp_path / "config")
    return await ExecPlugin.from_user(user, KubeconfigCluster("c", "https://x")).run()


@pytest.mark.parametrize(
    "output",
    [
        JSON_CREDENTIAL.encode(),
        b"\xef\xbb\xbf" + JSON_CREDENTIAL.encode(),
        b"\n\t " + JSON_CREDENTIAL.encode() + b"\n\n",
        YAML_CREDENTIAL.encode(),
        b"# from the cache\n---\n" + YAML_CREDENTIAL.encode(),
        YAML_CREDENTIAL.replace("\n", "\r\n").encode(),
    ],
)
async def test_json_and_yaml_are_read_as_by_kubectl(tmp_path: Path, output: bytes) -> None:
    credential = await run(tmp_path, output)
    assert credential.authorization == "Bearer 1e5"
    assert credential.expires_at is not None


@pytest.mark.parametrize(
    "output",
    [
        b"Logged in as s3cret",
        b"- s3cret",
        b"token: s3cret: x",
        b"\x00s3cret",
        b"[" * 100_000,
        b"{s3cret}",
        b"",
        f"apiVersion: {API_VERSION}\nstatus: [s3cret]".encode(),
    ],
)
async def test_other_output_is_a_one_line_error_without_it(tmp_path: Path, output: bytes) -> None:
    with pytest.raises(CredentialsError, match="did not write an ExecCredential") as caught:
        await run(tmp_path, output)
    assert "s3cret" not in str(caught.value)
