"""Contexts, clusters and users of a kubeconfig, and the in-cluster service account.

Source of the rules: kubernetes client-go tools/clientcmd (client_config.go, types.go).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from servedeck.atomic_file import require_regular_file
from servedeck.cluster.auth.kubeconfig_yaml import parse_bool, resolve_types
from servedeck.cluster.http.errors import ConfigError, describe_error
from servedeck.paths import expand_home
from servedeck.serving.text import one_line, truncate

IN_CLUSTER_NAME = "in-cluster"


@dataclass(frozen=True)
class ConnectionOptions:
    """Connection options from the command line or from a selection in the app."""

    kubeconfig: tuple[Path, ...] | None = None
    """Files of `--kubeconfig`; None: KUBECONFIG, else ~/.kube/config, else the service account."""
    context: str | None = None
    """None: the kubeconfig's current context."""
    namespace: str | None = None
    """None: the context's namespace, else "default"."""
    all_namespaces: bool = False
    readonly: bool = False
    """Reject all requests that could change something."""
    report_wait: Callable[[str], None] | None = field(default=None, compare=False, repr=False)
    """Called with what requests wait for, one sanitized sentence: what a credential plugin that
    runs for long does and says, with "" when it has ended, or that the server limits the rate."""


@dataclass(frozen=True)
class KubeconfigUser:
    """A user entry, with the file it comes from, to resolve relative paths."""

    name: str
    entry: Mapping[str, Any] = field(default_factory=dict)
    file: Path = Path()

    def get_str(self, key: str) -> str:
        return get_str(self.entry, key, f"user {self.name!r} in {self.file}")

    def get_path(self, key: str) -> Path | None:
        return _resolve_path(self.get_str(key), self.file)

    def get_pem(self, key: str) -> bytes:
        """Content of `key`-data or of the file `key`; the former has precedence, as in kubectl. b""
        if neither is set."""
        return _get_pem(self.entry, key, self.file, f"user {self.name!r}")

    def get_pem_path(self, key: str) -> Path | None:
        """The file that `get_pem` reads, if it does."""
        return None if self.get_str(f"{key}-data") else self.get_path(key)

    @property
    def impersonate_extra(self) -> dict[str, tuple[str, ...]]:
        """`as-user-extra`: extra attributes of the impersonated user."""
        extra = self.entry.get("as-user-extra") or {}
        where = f"as-user-extra of user {self.name!r} in {self.file}"
        if not isinstance(extra, dict):
            raise ConfigError(f"The {where} is not a mapping; give each name a list of values.")
        return {str(key): _to_str_tuple(value, where) for key, value in extra.items()}

    @property
    def impersonate_groups(self) -> tuple[str, ...]:
        """`as-groups`: groups to impersonate."""
        return _to_str_tuple(self.entry.get("as-groups"), f"as-groups of user {self.name!r}")


@dataclass(frozen=True)
class KubeconfigCluster:
    """A cluster entry."""

    name: str
    server: str
    file: Path = Path()
    certificate_authority: bytes = b""
    """Trusted CA certificates in PEM format; b"" for the system's."""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    compression_enabled: bool = True
    exec_config: Any = None
    """Configuration for the exec plugin, passed on unchanged, with the types of YAML."""
    certificate_authority_file: Path | None = None
    """File that `certificate_authority` was read from, if it was."""

    @property
    def may_get_credentials(self) -> bool:
        """Whether tokens, passwords and what plugins give are sent: not unencrypted to another
        machine, to which kubectl sends none either (clientcmd/client_config.go, ClientConfig)."""
        parts = urlsplit(self.server)
        return parts.scheme == "https" or is_loopback(parts.hostname or "")


@dataclass(frozen=True)
class KubeconfigContext:
    """Cluster, user and namespace of a context."""

    name: str
    cluster: KubeconfigCluster
    user: KubeconfigUser
    namespace: str


@dataclass(frozen=True)
class Kubeconfig:
    """The merged contexts, and the selected one."""

    files: tuple[Path, ...]
    context_names: tuple[str, ...]
    current_context: str
    """Name of the selected context; "" if none is selected."""
    context_namespaces: Mapping[str, str]
    """Namespace of each context, "default" if it sets none."""
    _clusters: Mapping[str, tuple[Mapping[str, Any], Path]] = field(repr=False)
    _users: Mapping[str, tuple[Mapping[str, Any], Path]] = field(repr=False)
    _contexts: Mapping[str, tuple[Mapping[str, Any], Path]] = field(repr=False)
    service_account_dir: Path | None = None
    """Directory of the service account, if that is used."""
    _environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def get_context(self, name: str | None = None) -> KubeconfigContext:
        """The named or the current context. Raises ConfigError if it is invalid."""
        if self.service_account_dir:
            return _in_cluster_context(self.service_account_dir, self._environ)
        context_name = name or self.current_context
        if not context_name:
            raise ConfigError(
                f"{self._label} names no current context; choose one with --context"
                f" ({_format_names(self.context_names)}) or run `kubectl config use-context`."
            )
        if context_name not in self._contexts:
            raise ConfigError(
                f"{self._label} has no context {context_name!r}; "
                f"it has {_format_names(self.context_names)}."
            )
        entry, file = self._contexts[context_name]
        where = f"context {context_name!r} in {file}"
        cluster = get_str(entry, "cluster", where)
        if cluster not in self._clusters:
            raise ConfigError(
                f"The {where} points to the cluster {cluster!r}, which {self._label} does not"
                f" have; it has {_format_names(tuple(self._clusters))}."
            )
        user = get_str(entry, "user", where)
        if user and user not in self._users:
            raise ConfigError(
                f"The {where} points to the user {user!r}, which {self._label} does not"
                f" have; it has {_format_names(tuple(self._users))}."
            )
        if problem := namespace_problem(self.context_namespaces[context_name]):
            raise ConfigError(f"The namespace of the {where} is wrong: {problem}")
        return KubeconfigContext(
            context_name,
            _parse_cluster(cluster, *self._clusters[cluster]),
            KubeconfigUser(user, *self._users[user]) if user else KubeconfigUser("", {}, file),
            self.context_namespaces[context_name],
        )

    def has_explicit_namespace(self, name: str) -> bool:
        """Whether the context sets a namespace explicitly."""
        if self.service_account_dir:
            return True
        entry, _ = self._contexts[name]
        return bool(entry.get("namespace"))

    def cluster_namespaces(self, name: str) -> tuple[str, ...]:
        """Namespaces that the contexts of the same cluster name, and that of the context itself."""
        own = self.context_namespaces.get(name, "default")
        if self.service_account_dir or name not in self._contexts:
            return (own,)
        cluster = self._contexts[name][0].get("cluster")
        others = (
            self.context_namespaces[other]
            for other, (entry, _) in self._contexts.items()
            if entry.get("cluster") == cluster and entry.get("namespace")
        )
        return tuple(dict.fromkeys((own, *others)))

    @property
    def _label(self) -> str:
        return f"The kubeconfig {':'.join(map(str, self.files))}"


# -- single entries -----------------------------------------------------------------------------


def _parse_cluster(name: str, entry: Mapping[str, Any], file: Path) -> KubeconfigCluster:
    where = f"cluster {name!r} in {file}"
    server = get_str(entry, "server", where)
    if server.endswith("://"):
        _check_server(server, where)
    server = server.rstrip("/")
    if not server:
        raise ConfigError(f"The {where} has no server; give its address, https://host:6443.")
    if "://" not in server:  # kubectl also infers the scheme
        server = (
            f"https://{server}"
            if get_str(entry, "certificate-authority", where)
            or entry.get("certificate-authority-data")
            else f"http://{server}"
        )
    scheme, separator, rest = server.partition("://")
    server = f"{scheme.lower()}{separator}{rest}"
    _check_server(server, where)
    insecure = get_bool(entry, "insecure-skip-tls-verify", where)
    ca = _get_pem(entry, "certificate-authority", file, where)
    if insecure and ca:
        raise ConfigError(
            f"The {where} sets both a certificate authority and insecure-skip-tls-verify; remove "
            f"one of them."
        )
    return KubeconfigCluster(
        name,
        server,
        file,
        ca,
        insecure,
        get_str(entry, "tls-server-name", where),
        get_str(entry, "proxy-url", where),
        not get_bool(entry, "disable-compression", where),
        _exec_extension(entry),
        None
        if entry.get("certificate-authority-data")
        else _resolve_path(get_str(entry, "certificate-authority", where), file),
    )


def _check_server(server: str, where: str) -> None:
    """Raises ConfigError unless it is the address of a web server. The address may have a token in
    it, so that it is not quoted."""
    try:
        parts = urlsplit(server)
        valid = bool(parts.hostname) and parts.port != 0 and " " not in one_line(server)
    except ValueError:
        valid, scheme = False, ""
    else:
        scheme = parts.scheme
    if scheme and scheme not in ("http", "https"):
        raise ConfigError(
            f"The server of the {where} begins with {scheme[:20]}://; use https://, or http://."
        )
    if not valid:
        raise ConfigError(
            f"The server of the {where} is not an address such as https://host:6443; correct it."
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def without_user(server: str) -> str:
    """The address without the user and the password that it may have."""
    parts = urlsplit(server)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


_NAMESPACE_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_namespace_name(name: str) -> bool:
    """Whether a namespace can have this name (RFC 1123 label)."""
    return _NAMESPACE_PATTERN.fullmatch(name) is not None


def namespace_problem(name: str) -> str:
    """A sentence on a name that no namespace can have; "" for others."""
    if is_namespace_name(name):
        return ""
    return (
        f"{truncate(name, 80)!r} is not the name of a namespace: these have lower-case letters,"
        " digits and hyphens, 63 at most; correct it."
    )


def _exec_extension(entry: Mapping[str, Any]) -> Any:
    """The extension that client-go passes to plugins (client.authentication.k8s.io/exec)."""
    for extension in entry.get("extensions") or ():
        if (
            isinstance(extension, dict)
            and extension.get("name") == "client.authentication.k8s.io/exec"
        ):
            return resolve_types(extension.get("extension"))
    return None


def _in_cluster_context(folder: Path, environ: Mapping[str, str]) -> KubeconfigContext:
    """Source: client-go rest/config.go, InClusterConfig."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    if ":" in host:
        host = f"[{host}]"
    cluster = KubeconfigCluster(
        IN_CLUSTER_NAME,
        f"https://{host}:{port}",
        folder / "ca.crt",
        _read_bytes(folder / "ca.crt", "the Pod's service account"),
        certificate_authority_file=folder / "ca.crt",
    )
    user = KubeconfigUser("the Pod's service account", {"tokenFile": "token"}, folder / "token")
    return KubeconfigContext(IN_CLUSTER_NAME, cluster, user, service_account_namespace(folder))


def service_account_namespace(service_account_dir: Path) -> str:
    file = service_account_dir / "namespace"
    return (file.read_text("utf-8").strip() if file.is_file() else "") or "default"


def get_str(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{key} of the {where} is not a string; fix the file.")
    return value.strip()


def _to_str_tuple(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"The {where} is not a list of strings; fix the file.")
    return tuple(map(str, value))


def get_bool(entry: Mapping[str, Any], key: str, where: str) -> bool:
    text = get_str(entry, key, where)
    flag = parse_bool(text) if text else False
    if flag is None:
        raise ConfigError(f"{key} of the {where} is {text.lower()!r}; enter true or false.")
    return flag


def _resolve_path(path: str, file: Path) -> Path | None:
    """The path, resolved relative to the directory of `file`."""
    return file.absolute().parent / expand_home(Path(path)) if path else None


def _get_pem(entry: Mapping[str, Any], key: str, file: Path, where: str) -> bytes:
    data = get_str(entry, f"{key}-data", where)
    if data:
        try:
            return base64.b64decode(data, validate=False)
        except (binascii.Error, ValueError) as error:
            raise ConfigError(
                f"{key}-data of the {where} is not base64 ({error}); fix the file."
            ) from error
    path = _resolve_path(get_str(entry, key, where), file)
    return _read_bytes(path, f"the {where}") if path else b""


def _read_bytes(path: Path, source: str) -> bytes:
    try:
        require_regular_file(path)
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"Cannot read {path}, which {source} names: {describe_error(error)}"
        ) from error


def _format_names(names: Sequence[str], max_names: int = 8) -> str:
    """The first `max_names` names, for a message."""
    if not names:
        return "none"
    more = f" and {len(names) - max_names} more" if len(names) > max_names else ""
    return ", ".join(names[:max_names]) + more
