from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.auth.kubeconfig_loader import load_kubeconfig
from servedeck.cluster.http.errors import ConfigError


def write_config(file: Path, **parts: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **parts}))
    return file


def cluster_entry(name: str, server: str = "https://one:6443", **more: Any) -> dict[str, Any]:
    return {"name": name, "cluster": {"server": server, **more}}


def user_entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "user": more}


def context_entry(name: str, cluster: str = "c", user: str = "u", **more: Any) -> dict[str, Any]:
    return {"name": name, "context": {"cluster": cluster, "user": user, **more}}


def write_valid_config(file: Path, **more: Any) -> Path:
    parts = {
        "clusters": [cluster_entry("c")],
        "users": [user_entry("u", token="t")],
        "contexts": [context_entry("a", namespace="team"), context_entry("b")],
        "current-context": "a",
    }
    return write_config(file, **(parts | more))


def test_first_file_wins_and_each_has_its_own_folder(tmp_path: Path) -> None:
    one = write_config(
        tmp_path / "one" / "config",
        clusters=[cluster_entry("c", "https://one", **{"certificate-authority": "ca.pem"})],
        contexts=[context_entry("a", namespace="first")],
    )
    two = write_config(
        tmp_path / "two" / "config",
        clusters=[cluster_entry("c", "https://two"), cluster_entry("d", "https://d")],
        users=[user_entry("u", tokenFile="../token")],
        contexts=[context_entry("a", namespace="second"), context_entry("b", "d")],
        **{"current-context": "a"},
    )
    (tmp_path / "one" / "ca.pem").write_text("CA")
    gone = tmp_path / "gone"
    config = load_kubeconfig(ConnectionOptions(), {"KUBECONFIG": f"{gone}:{one}::{two}:{one}"})
    assert config.files == (one, two)
    assert config.context_names == ("a", "b")
    here = config.get_context()
    assert (here.name, here.namespace) == ("a", "first")
    assert here.cluster.server == "https://one"
    assert here.cluster.certificate_authority == b"CA"
    path = here.user.get_path("tokenFile")
    assert path is not None
    assert path.resolve() == tmp_path / "token"
    assert config.get_context("b").cluster.server == "https://d"
    assert config.context_namespaces["b"] == "default"


def test_current_context_is_the_first_that_is_named(tmp_path: Path) -> None:
    one, two = (
        write_valid_config(tmp_path / "1"),
        write_valid_config(tmp_path / "2", **{"current-context": "b"}),
    )
    assert (
        load_kubeconfig(ConnectionOptions(), {"KUBECONFIG": f"{one}:{two}"}).current_context == "a"
    )
    assert (
        load_kubeconfig(ConnectionOptions(), {"KUBECONFIG": f"{two}:{one}"}).current_context == "b"
    )
    assert (
        load_kubeconfig(ConnectionOptions((one,), "b"), {"KUBECONFIG": str(two)}).current_context
        == "b"
    )


def test_home_is_looked_at_last(tmp_path: Path) -> None:
    write_valid_config(tmp_path / ".kube" / "config")
    assert load_kubeconfig(ConnectionOptions(), {"HOME": str(tmp_path)}).current_context == "a"


def test_numbers_and_words_stay_text(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(
        "clusters: [{name: 1, cluster: {server: 'https://x', insecure-skip-tls-verify: true}}]\n"
        "users: [{name: on, user: {token: 1e5}}]\n"
        "contexts: [{name: 2020-01-01, context: {cluster: 1, user: on, namespace: 0777}}]\n"
        "current-context: 2020-01-01\n"
    )
    here = load_kubeconfig(ConnectionOptions((file,)), {}).get_context()
    assert (here.name, here.namespace, here.user.get_str("token")) == ("2020-01-01", "0777", "1e5")
    assert here.cluster.insecure_skip_tls_verify is True


def test_data_wins_over_files(tmp_path: Path) -> None:
    data = base64.b64encode(b"DATA").decode()
    file = write_valid_config(
        tmp_path / "config",
        clusters=[
            cluster_entry(
                "c", **{"certificate-authority-data": data, "certificate-authority": "nope"}
            )
        ],
    )
    assert (
        load_kubeconfig(ConnectionOptions((file,)), {}).get_context().cluster.certificate_authority
        == b"DATA"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("{", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("just text", "is it another file?"),
        ("[1, 2]", "is it another file?"),
        ("clusters: 5\ncurrent-context: a", "not a list"),
        ("users: [{user: {}}]", "user without a name"),
        ("contexts: [{name: a, context: x}]", "not a mapping"),
        ("contexts: [{name: a, context: {namespace: [x]}}]", "not a string"),
        ("apiVersion: v1", "no current context"),
        ("current-context: a", "no context 'a'"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: c}}]", "cluster 'c', which"),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
            "clusters: [{name: c, cluster: {server: x}}]",
            "user 'u', which",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {}}]",
            "has no server",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: x, insecure-skip-tls-verify: maybe}}]",
            "enter true or false",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: x, certificate-authority: gone.pem}}]",
            "gone.pem",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: x, certificate-authority-data: abc}}]",
            "not base64",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://[::1'}}]",
            "is not an address such as",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://'}}]",
            "is not an address such as",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://host:99999'}}]",
            "is not an address such as",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://h ost'}}]",
            "is not an address such as",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'ftp://u:s3cr3t@x'}}]",
            "begins with ftp://",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'file:///s3cr3t'}}]",
            "begins with file://",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, "
            "namespace: '..'}}]\n"
            "clusters: [{name: c, cluster: {server: x}}]",
            "is not the name of a namespace",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, "
            "namespace: 'a/b'}}]\n"
            "clusters: [{name: c, cluster: {server: x}}]",
            "is not the name of a namespace",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, "
            "namespace: 'A'}}]\n"
            "clusters: [{name: c, cluster: {server: x}}]",
            "is not the name of a namespace",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, "
            "namespace: 'x?limit=1'}}]\n"
            "clusters: [{name: c, cluster: {server: x}}]",
            "is not the name of a namespace",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, "
            "namespace: '%2e%2e'}}]\n"
            "clusters: [{name: c, cluster: {server: x}}]",
            "is not the name of a namespace",
        ),
    ],
)
def test_broken_files_are_one_line_errors(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_kubeconfig(ConnectionOptions((file,)), {}).get_context()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_missing_files_are_reported(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(ConfigError, match=r"There is no kubeconfig .*gone; check the path"):
        load_kubeconfig(ConnectionOptions((gone,)), {})
    with pytest.raises(ConfigError, match="set KUBECONFIG"):
        load_kubeconfig(ConnectionOptions(), {"KUBECONFIG": f"{gone}:{gone}2"})
    with pytest.raises(ConfigError, match="There is no kubeconfig"):
        load_kubeconfig(ConnectionOptions(), {"HOME": str(tmp_path)}, tmp_path / "account")
    with pytest.raises(ConfigError, match="Cannot read the kubeconfig"):
        load_kubeconfig(ConnectionOptions((tmp_path,)), {})


def test_unknown_context_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no context 'z'; it has a, b\."):
        load_kubeconfig(
            ConnectionOptions((write_valid_config(tmp_path / "config"),), "z"), {}
        ).get_context()


def test_a_context_without_a_user(tmp_path: Path) -> None:
    file = write_valid_config(
        tmp_path / "config", contexts=[{"name": "a", "context": {"cluster": "c"}}]
    )
    assert load_kubeconfig(ConnectionOptions((file,)), {}).get_context().user.get_str("token") == ""


def test_the_in_cluster_service_account(tmp_path: Path) -> None:
    for name, content in (("token", "t"), ("ca.crt", "CA"), ("namespace", "team\n")):
        (tmp_path / name).write_text(content)
    environ = {
        "HOME": "/nonexistent",
        "KUBERNETES_SERVICE_HOST": "fd00::1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    here = load_kubeconfig(ConnectionOptions(), environ, tmp_path).get_context()
    assert here.cluster.server == "https://[fd00::1]:443"
    assert here.cluster.certificate_authority == b"CA"
    assert here.namespace == "team"
    assert here.user.get_path("tokenFile") == tmp_path / "token"
