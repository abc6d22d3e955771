from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from servedeck.cluster.auth.kubeconfig import Target, load
from servedeck.cluster.http.errors import ConfigError


def write(file: Path, **parts: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **parts}))
    return file


def cluster(name: str, server: str = "https://one:6443", **more: Any) -> dict[str, Any]:
    return {"name": name, "cluster": {"server": server, **more}}


def user(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "user": more}


def context(name: str, cluster: str = "c", user: str = "u", **more: Any) -> dict[str, Any]:
    return {"name": name, "context": {"cluster": cluster, "user": user, **more}}


def whole(file: Path, **more: Any) -> Path:
    parts = {
        "clusters": [cluster("c")],
        "users": [user("u", token="t")],
        "contexts": [context("a", namespace="team"), context("b")],
        "current-context": "a",
    }
    return write(file, **(parts | more))


def test_first_file_wins_and_each_has_its_own_folder(tmp_path: Path) -> None:
    one = write(
        tmp_path / "one" / "config",
        clusters=[cluster("c", "https://one", **{"certificate-authority": "ca.pem"})],
        contexts=[context("a", namespace="first")],
    )
    two = write(
        tmp_path / "two" / "config",
        clusters=[cluster("c", "https://two"), cluster("d", "https://d")],
        users=[user("u", tokenFile="../token")],
        contexts=[context("a", namespace="second"), context("b", "d")],
        **{"current-context": "a"},
    )
    (tmp_path / "one" / "ca.pem").write_text("CA")
    gone = tmp_path / "gone"
    config = load(Target(), {"KUBECONFIG": f"{gone}:{one}::{two}:{one}"})
    assert config.files == (one, two)
    assert config.contexts == ("a", "b")
    here = config.context()
    assert (here.name, here.namespace) == ("a", "first")
    assert here.cluster.server == "https://one"
    assert here.cluster.ca == b"CA"
    path = here.user.path("tokenFile")
    assert path is not None
    assert path.resolve() == tmp_path / "token"
    assert config.context("b").cluster.server == "https://d"
    assert config.namespaces["b"] == "default"


def test_current_context_is_the_first_that_is_named(tmp_path: Path) -> None:
    one, two = whole(tmp_path / "1"), whole(tmp_path / "2", **{"current-context": "b"})
    assert load(Target(), {"KUBECONFIG": f"{one}:{two}"}).current == "a"
    assert load(Target(), {"KUBECONFIG": f"{two}:{one}"}).current == "b"
    assert load(Target((one,), "b"), {"KUBECONFIG": str(two)}).current == "b"


def test_home_is_looked_at_last(tmp_path: Path) -> None:
    whole(tmp_path / ".kube" / "config")
    assert load(Target(), {"HOME": str(tmp_path)}).current == "a"


def test_numbers_and_words_stay_text(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(
        "clusters: [{name: 1, cluster: {server: 'https://x', insecure-skip-tls-verify: true}}]\n"
        "users: [{name: on, user: {token: 1e5}}]\n"
        "contexts: [{name: 2020-01-01, context: {cluster: 1, user: on, namespace: 0777}}]\n"
        "current-context: 2020-01-01\n"
    )
    here = load(Target((file,)), {}).context()
    assert (here.name, here.namespace, here.user.text("token")) == ("2020-01-01", "0777", "1e5")
    assert here.cluster.insecure is True


def test_data_wins_over_files(tmp_path: Path) -> None:
    data = base64.b64encode(b"DATA").decode()
    file = whole(
        tmp_path / "config",
        clusters=[
            cluster("c", **{"certificate-authority-data": data, "certificate-authority": "nope"})
        ],
    )
    assert load(Target((file,)), {}).context().cluster.ca == b"DATA"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("{", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("just text", "is it another file?"),
        ("[1, 2]", "is it another file?"),
        ("clusters: 5\ncurrent-context: a", "not a list"),
        ("users: [{user: {}}]", "user without a name"),
        ("contexts: [{name: a, context: x}]", "not a mapping"),
        ("contexts: [{name: a, context: {namespace: [x]}}]", "not a text"),
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
            "write true or false",
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
    ],
)
def test_broken_files_are_said_in_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(Target((file,)), {}).context()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_missing_files_are_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(ConfigError, match=r"There is no kubeconfig .*gone; check the path"):
        load(Target((gone,)), {})
    with pytest.raises(ConfigError, match="set KUBECONFIG"):
        load(Target(), {"KUBECONFIG": f"{gone}:{gone}2"})
    with pytest.raises(ConfigError, match="There is no kubeconfig"):
        load(Target(), {"HOME": str(tmp_path)}, tmp_path / "account")
    with pytest.raises(ConfigError, match="Cannot read the kubeconfig"):
        load(Target((tmp_path,)), {})


def test_unknown_context_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no context 'z'; it has a, b\."):
        load(Target((whole(tmp_path / "config"),), "z"), {}).context()


def test_no_user_is_fine(tmp_path: Path) -> None:
    file = whole(tmp_path / "config", contexts=[{"name": "a", "context": {"cluster": "c"}}])
    assert load(Target((file,)), {}).context().user.text("token") == ""


def test_account_of_a_pod(tmp_path: Path) -> None:
    for name, content in (("token", "t"), ("ca.crt", "CA"), ("namespace", "team\n")):
        (tmp_path / name).write_text(content)
    environ = {
        "HOME": "/nonexistent",
        "KUBERNETES_SERVICE_HOST": "fd00::1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    here = load(Target(), environ, tmp_path).context()
    assert here.cluster.server == "https://[fd00::1]:443"
    assert here.cluster.ca == b"CA"
    assert here.namespace == "team"
    assert here.user.path("tokenFile") == tmp_path / "token"
