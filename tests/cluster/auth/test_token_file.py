"""Token files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from servedeck.cluster.auth.credentials import CredentialManager
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.auth.kubeconfig_loader import load_kubeconfig
from servedeck.cluster.http.errors import ApiError, ClusterError, CredentialsError
from tests.cluster.auth.credential_fixtures import TokenCheckingServer, connected_as
from tests.cluster.fake_api_server import write_kubeconfig


async def test_token_file_that_changes_is_read_again(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("one\n")
    token_checking_api.accepted_tokens = {"one"}
    async with connected_as(
        token_checking_api, tmp_path, {"tokenFile": "token", "token": "old"}
    ) as connection:
        await connection.get("/fine")
        token_checking_api.accepted_tokens = {"two"}
        (tmp_path / "token").write_text("two\n")
        await connection.get("/fine")
        assert token_checking_api.seen_tokens == ["one", "one", "two"], (
            "a rejected token is read again at once"
        )
        (tmp_path / "token").unlink()
        token_checking_api.accepted_tokens = set()
        with pytest.raises(CredentialsError, match="Cannot read the token file"):
            await connection.get("/fine")


async def test_token_file_is_read_again_after_a_while(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    now = 0.0
    file = write_kubeconfig(tmp_path / "config", "https://x", {"tokenFile": "token"})
    credentials = CredentialManager(
        load_kubeconfig(ConnectionOptions((file,)), {}).get_context(), lambda: now
    )
    assert (await credentials.current()).authorization == "Bearer one"
    (tmp_path / "token").write_text("two")
    assert (await credentials.current()).authorization == "Bearer one"
    now = 11.0
    assert (await credentials.current()).authorization == "Bearer two"


async def test_rejected_token_is_tried_once(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    async with connected_as(token_checking_api, tmp_path, {"token": "wrong"}) as connection:
        with pytest.raises(ApiError, match="does not accept the credentials of user 'me'"):
            await connection.get("/fine")
    assert token_checking_api.seen_tokens == ["wrong"]


@pytest.mark.parametrize("entry", ["tokenFile", "client-key"])
async def test_a_pipe_without_a_writer_is_an_error(
    token_checking_api: TokenCheckingServer, tmp_path: Path, entry: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    user = {entry: "pipe"} | ({"client-certificate": "pipe"} if entry == "client-key" else {})
    with pytest.raises(ClusterError, match="it is not a regular file"):
        async with connected_as(token_checking_api, tmp_path, user) as connection:
            await connection.get("/version")
