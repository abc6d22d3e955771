"""Forms of kubeconfigs that kubectl reads, and mistakes that people make with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from servedeck.cluster.auth import oidc
from servedeck.cluster.auth.exec_plugin import ExecPlugin
from servedeck.cluster.auth.kubeconfig import ConnectionOptions, KubeconfigContext
from servedeck.cluster.auth.kubeconfig_loader import load_kubeconfig
from servedeck.cluster.auth.kubeconfig_yaml import PlainText, resolve_types
from servedeck.cluster.http.errors import ConfigError

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: a
clusters:
- name: c
  cluster: {server: "https://one:6443"}
users:
- name: u
  user: {token: s3cret}
contexts:
- name: a
  context: {cluster: c, user: u}
"""


def load(file: Path, content: str | bytes) -> KubeconfigContext:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_kubeconfig(ConnectionOptions((file,)), {}).get_context()


@pytest.mark.parametrize(
    "content",
    [
        KUBECONFIG + "---\n",
        KUBECONFIG + "---\n" + KUBECONFIG.replace("one", "two"),
        KUBECONFIG + "---\n{broken",
        "---\n" + KUBECONFIG + "...\n",
        KUBECONFIG.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + KUBECONFIG.encode(),
        json.dumps(yaml.safe_load(KUBECONFIG), indent="\t"),
        KUBECONFIG.replace("https://", "HTTPS://"),
    ],
    ids=["trailing", "two", "broken second", "end", "crlf", "bom", "json with tabs", "upper case"],
)
def test_what_kubectl_reads_is_read(tmp_path: Path, content: str | bytes) -> None:
    context = load(tmp_path / "config", content)
    assert context.cluster.server == "https://one:6443"
    assert context.user.get_str("token") == "s3cret"


@pytest.mark.parametrize(
    "value", [KUBECONFIG, "\n" + KUBECONFIG, json.dumps(yaml.safe_load(KUBECONFIG))]
)
def test_content_in_place_of_a_path_is_said_and_not_quoted(value: str) -> None:
    with pytest.raises(ConfigError, match="KUBECONFIG holds the content of a kubeconfig") as caught:
        load_kubeconfig(ConnectionOptions(), {"KUBECONFIG": value})
    assert "s3cret" not in str(caught.value)


def test_a_path_that_cannot_be_looked_at_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="File name too long") as caught:
        load_kubeconfig(ConnectionOptions((tmp_path / ("x" * 3000),)), {})
    assert len(str(caught.value)) < 400

    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)  # root may look into every directory
    with pytest.raises(
        ConfigError, match=r"Cannot read the kubeconfig /etc/kube/config: Permission"
    ):
        load_kubeconfig(ConnectionOptions(), {"KUBECONFIG": "/etc/kube/config"})


def test_a_context_is_never_taken_for_the_cluster_of_the_pod(tmp_path: Path) -> None:
    for name, content in (("token", "t"), ("ca.crt", "CA"), ("namespace", "team")):
        (tmp_path / name).write_text(content)
    environ = {"KUBECONFIG": "/gone/config", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    for context in (None, "", "in-cluster"):
        kubeconfig = load_kubeconfig(ConnectionOptions(context=context), environ, tmp_path)
        assert kubeconfig.get_context(context).cluster.server == "https://10.0.0.1:443"
    with pytest.raises(ConfigError, match=r"no context 'prod'.*looked for /gone/config"):
        load_kubeconfig(ConnectionOptions(context="prod"), environ, tmp_path)


# -- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("On", True),
        ("n", False),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("1_000", 1000),
        ("0x10", 16),
        ("010", 8),
        ("0o10", 8),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("06c3", "06c3"),
        ("09", 9.0),
        ("1.2.3", "1.2.3"),
        ("12:30:45", "12:30:45"),
        ("2020-01-01", "2020-01-01"),
        ("truely", "truely"),
        ("9" * 30, 1e30),
    ],
)
def test_scalars_without_quotes_have_the_type_that_they_look_like(
    text: str, expected: object
) -> None:
    resolved = resolve_types(PlainText(text))
    assert resolved == expected
    assert type(resolved) is type(expected)
    assert resolve_types(text) == text, "in quotes"


@pytest.mark.parametrize("flag", ["true", "True", "yes", "on"])
def test_a_plugin_gets_its_configuration_with_its_types(tmp_path: Path, flag: str) -> None:
    extension = "{audience: 06c3, port: 8443, on: true, text: '5', list: [1.5, no, ~]}"
    content = KUBECONFIG.replace(
        '"https://one:6443"',
        f'"https://one:6443", extensions: [{{name: other, extension: 1}},'
        f" {{name: client.authentication.k8s.io/exec, extension: {extension}}}]",
    ).replace(
        "{token: s3cret}",
        f"{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: x,"
        f" provideClusterInfo: {flag}}}}}",
    )
    context = load(tmp_path / "config", content)
    info = json.loads(ExecPlugin.from_user(context.user, context.cluster).exec_info)
    assert info["spec"]["cluster"]["config"] == {
        "audience": "06c3",
        "port": 8443,
        "true": True,
        "text": "5",
        "list": [1.5, False, None],
    }


def test_a_flag_that_is_none_is_a_one_line_error(tmp_path: Path) -> None:
    content = KUBECONFIG.replace(
        "{token: s3cret}",
        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x,"
        " provideClusterInfo: maybe}}",
    )
    context = load(tmp_path / "config", content)
    with pytest.raises(ConfigError, match=r"provideClusterInfo of the exec entry .* true or false"):
        ExecPlugin.from_user(context.user, context.cluster)


def test_a_renewed_login_leaves_all_other_values_as_they_were(tmp_path: Path) -> None:
    """YAML 1.1 takes some for octal or base 60 numbers, and for dates."""
    file = tmp_path / "config"
    content = """\
current-context: 0755
clusters:
- name: 12:30:45
  cluster: {server: "https://x", insecure-skip-tls-verify: true, extensions: [{name: x,
    extension: {port: 0x10, version: "1.30", since: 2020-01-01, empty: "", none: null}}]}
contexts:
- name: 0755
  context: {cluster: 12:30:45, user: 1234567, namespace: 0777}
users:
- name: 1234567
  user:
    auth-provider:
      name: oidc
      config: {client-id: 000123, id-token: old, refresh-token: old}
- name: other
  user: {token: 1e5, username: 2020-01-01, password: "1e5"}
"""
    user = load(file, content).user

    def events(text: str) -> list[tuple[Any, ...]]:
        """Each scalar, and whether it is in quotes."""
        return [
            (event.value, event.style is None)
            for event in yaml.parse(text)
            if isinstance(event, yaml.ScalarEvent)
        ]

    before = events(content)
    oidc._save_provider_config(user, {"id-token": "new", "refresh-token": "1_000"})
    after = events(file.read_text())
    assert [pair for pair in before if pair not in after] == [("old", True)] * 2
    assert [pair for pair in after if pair not in before] == [("new", False), ("1_000", False)]
    assert yaml.safe_load(file.read_text())["users"][1] == yaml.safe_load(content)["users"][1]
    assert load_kubeconfig(ConnectionOptions((file,)), {}).get_context().name == "0755"
