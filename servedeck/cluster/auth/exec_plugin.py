"""Credential plugins: the `exec` entry of a kubeconfig user.

They run without a terminal, since servedeck uses it. Source: kubernetes client-go
plugin/pkg/client/auth/exec/exec.go, and the reference "client authentication (v1)".
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import yaml

from servedeck.cluster.auth.kubeconfig import KubeconfigCluster, KubeconfigUser, get_bool
from servedeck.cluster.auth.kubeconfig_yaml import load_first_document, to_builtins
from servedeck.cluster.auth.subprocess_runner import MAX_OUTPUT_BYTES, run_subprocess
from servedeck.cluster.http.client_certificate import find_pair_problem
from servedeck.cluster.http.errors import (
    ConfigError,
    CredentialsError,
    clean_message,
    describe_error,
)
from servedeck.logging_setup import redact
from servedeck.serving.text import one_line, sanitize, truncate

_API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_MAX_ERROR_CHARS, _MAX_ERROR_BYTES = 400, 20_000
"""Characters quoted from the end of a plugin's standard error, and bytes of it searched for
secrets."""
_MAX_QUOTED_CHARS = 50
"""Maximum number of characters quoted from a plugin's output."""
MAX_RUN_SECONDS = 900.0
"""Seconds in which a plugin must end. It may wait for a person; the codes of device logins are
valid for 10 to 15 minutes."""
NOTICE_SECONDS = 2.0
"""Seconds after which a running plugin is reported; it may wait for a person."""
_NOTICE_INTERVAL = 0.25
"""Seconds between two reports of what a plugin writes."""
_MAX_NOTICE_LINES = 6
"""Last lines of standard error among which the address is looked for that belongs to a code."""
_INTERACTIVE_MODES = ("", "Never", "IfAvailable", "Always")
_URL_PATTERN = re.compile(r"https?://\S+")
_URL_SECRET_PATTERN = re.compile(
    r"(//)[^/@?#]*(?=@)|([?&#][^=&]*(?:token|secret|passw)[^=&]*=)[^&]*", re.IGNORECASE
)
_PERSON_PATTERN = re.compile(
    r"\b(?:browser|visit|open|navigate|go to|enter"
    r"|(?<!status[ -])(?<!error[ -])(?<!exit[ -])(?<!response[ -])(?<!http[ -])code)\b",
    re.IGNORECASE,
)
"""A code that is to be entered, not one of a failure."""
_NETWORK_PATTERN = re.compile(
    r"no such host|dial tcp|i/o timeout|TLS handshake timeout|name resolution|connection refused"
    r"|network is unreachable|no route to host|could not connect to|connect timeout"
    r"|failed to establish a new connection|max retries exceeded|connection reset",
    re.IGNORECASE,
)
"""What Go, the AWS CLI, and Python's requests say of a server that they cannot reach."""


@dataclass(frozen=True)
class Credential:
    """Credentials of a request. Secret: excluded from `repr`, never logged."""

    authorization: str = ""
    """Value of the Authorization header, "" if none."""
    certificate: bytes = b""
    """Client certificate in PEM format; b"" if none."""
    private_key: bytes = b""
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Credential(expires={self.expires_at})"


class _ExecCredentialStatus(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _ExecCredentialStatus | None = None


@dataclass(frozen=True)
class ExecPlugin:
    """The validated `exec` entry of a user."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    api_version: str
    install_hint: str
    exec_info: str
    """Value of KUBERNETES_EXEC_INFO, JSON."""

    @classmethod
    def from_user(cls, user: KubeconfigUser, cluster: KubeconfigCluster) -> ExecPlugin:
        """Parse the entry. Raises ConfigError if it is invalid."""
        where = f"exec entry of user {user.name!r} in {user.file}"
        entry = user.entry["exec"]
        if not isinstance(entry, dict) or not isinstance(entry.get("command"), str):
            raise ConfigError(f"The {where} has no command; fix the kubeconfig.")
        version = str(entry.get("apiVersion"))
        if version not in _API_VERSIONS:
            raise ConfigError(
                f"The {where} has apiVersion {version!r}; use {_API_VERSIONS[0]} (newer versions"
                " of the plugin support it)."
            )
        command = str(entry["command"])
        mode = entry.get("interactiveMode") or ""
        if mode not in _INTERACTIVE_MODES:
            raise ConfigError(
                f"The {where} has interactiveMode {truncate(str(mode), _MAX_QUOTED_CHARS)!r}; use"
                " Never, IfAvailable or Always."
            )
        if mode == "Always":
            raise ConfigError(
                f"The plugin {command!r} of user {user.name!r} needs a terminal (interactiveMode: "
                f"Always), and servedeck runs plugins without one; log in another way, or set it to"
                " IfAvailable."
            )
        if os.sep in command:  # relative to the kubeconfig; a bare name is searched in PATH
            command = str(user.file.absolute().parent / command)
        return cls(
            command,
            _parse_args(entry.get("args"), where),
            _parse_env(entry.get("env"), where),
            version,
            str(entry.get("installHint") or ""),
            _exec_info_json(
                version, cluster, with_cluster=get_bool(entry, "provideClusterInfo", where)
            ),
        )

    async def run(
        self,
        limit: float = MAX_RUN_SECONDS,
        on_notice: Callable[[str], None] = lambda _notice: None,
    ) -> Credential:
        """Run the plugin for at most `limit` seconds. Raises CredentialsError if it returns no
        credential.

        `on_notice` is called with a sentence on what it does and its last lines once it has run for
        `NOTICE_SECONDS`, and whenever these change: it may wait for a login in a browser.
        """
        environ = {**os.environ, **self.env, "KUBERNETES_EXEC_INFO": self.exec_info}
        name = os.path.basename(self.command)  # noqa: PTH119 - a command, not always a path
        if shutil.which(self.command, path=environ.get("PATH")) is None:
            raise CredentialsError(
                f"The credential plugin {self.command!r} is not installed or cannot be run."
                f" {self.install_hint or 'Install it, or use another user in the kubeconfig.'}"
            )
        async with _reported(name, on_notice) as on_stderr:
            code, output, errors = await run_subprocess(
                (self.command, *self.args),
                environ,
                limit,
                f"The credential plugin {name!r}",
                on_stderr,
            )
        if code:
            raise PluginFailedError(
                f"The credential plugin {name!r} failed with exit code {code}"
                f"{_format_stderr(errors)}; run it by hand to see more.",
                errors,
            )
        credential = self._parse_credential(output, name)
        if credential.certificate:
            # As in client-go, what cannot be used is no credential: the plugin is run again.
            try:
                problem = await asyncio.to_thread(
                    find_pair_problem, credential.certificate, credential.private_key
                )
            except OSError as error:
                raise CredentialsError(
                    f"The client certificate of the credential plugin {name!r} cannot be loaded"
                    f" through a temporary file: {describe_error(error)}"
                ) from error
            if problem:
                raise CredentialsError(
                    f"The credential plugin {name!r} returned a client certificate and a key that"
                    f" cannot be used ({problem}); log in again, or run it by hand to see its"
                    " output."
                )
        return credential

    def _parse_credential(self, output: bytes, name: str) -> Credential:
        label = f"The credential plugin {name!r}"
        if len(output) >= MAX_OUTPUT_BYTES:
            raise CredentialsError(
                f"{label} wrote more than {MAX_OUTPUT_BYTES >> 20} MiB, which is not an "
                f"ExecCredential; run it by hand to see its output."
            )
        try:
            exec_credential = _decode_credential(output)
        except (msgspec.DecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
            # The problem of YAML has a part of the output, which may be the token.
            reason = str(error) if isinstance(error, msgspec.DecodeError) else "it is not YAML"
            raise CredentialsError(
                f"{label} did not write an ExecCredential ({reason}); run it by hand to see its "
                f"output."
            ) from error
        if exec_credential.api_version != self.api_version:
            raise CredentialsError(
                f"{label} answered with apiVersion "
                f"{truncate(exec_credential.api_version, _MAX_QUOTED_CHARS) or '(none)'},"
                f" but the kubeconfig sets {self.api_version}; use the same in both."
            )
        status = exec_credential.status or _ExecCredentialStatus()
        certificate, key = status.client_certificate_data, status.client_key_data
        if bool(certificate) != bool(key):
            raise CredentialsError(
                f"{label} returned a client certificate without its key, or a key without its "
                f"certificate; both are needed."
            )
        if not status.token and not certificate:
            raise CredentialsError(
                f"{label} returned neither a token nor a certificate; log in again."
            )
        return Credential(
            f"Bearer {status.token}" if status.token else "",
            (certificate or "").encode(),
            (key or "").encode(),
            parse_expiry(status.expiration_timestamp, label),
        )


def _decode_credential(output: bytes) -> _ExecCredential:
    """The ExecCredential in JSON, or in YAML or after a byte order mark, which client-go's decoder
    takes as well. Raises msgspec.DecodeError for other text, and what `load_first_document`
    raises."""
    try:
        return msgspec.json.decode(output, type=_ExecCredential)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if output.lstrip()[:1] in (b"", b"{"):
            raise
        document = load_first_document(output)
        if not isinstance(document, dict):
            raise
        return msgspec.convert(to_builtins(document), _ExecCredential)


class PluginFailedError(CredentialsError):
    """A plugin ended with an exit code other than 0, after it wrote `stderr`."""

    def __init__(self, message: str, stderr: bytes) -> None:
        super().__init__(message)
        text = stderr[-_MAX_ERROR_BYTES:].decode("utf-8", "replace")
        words = _URL_PATTERN.sub("", text)
        self.asked_a_person = words != text and bool(_PERSON_PATTERN.search(words))
        """Whether it asked to log in at an address, as far as its words tell."""
        self.lacked_network = bool(_NETWORK_PATTERN.search(text))
        """Whether it did not reach its server, as far as its words tell: a plugin that asked nobody
        may take long for that."""


@asynccontextmanager
async def _reported(
    name: str, on_notice: Callable[[str], None]
) -> AsyncIterator[Callable[[bytes], None]]:
    """Report a plugin that runs for long, within the context. Yields what takes the end of its
    standard error."""
    tail, changed = b"", asyncio.Event()

    def on_stderr(end: bytes) -> None:
        nonlocal tail
        tail = end
        changed.set()

    async def report() -> None:
        await asyncio.sleep(NOTICE_SECONDS)
        last = ""
        while True:
            changed.clear()
            notice = _describe_wait(name, tail)
            if notice != last:
                on_notice(notice)
                last = notice
            await changed.wait()
            await asyncio.sleep(_NOTICE_INTERVAL)

    task = asyncio.create_task(report(), name="servedeck plugin notice")
    try:
        yield on_stderr
    finally:
        task.cancel()
        await asyncio.wait([task])


def _describe_wait(name: str, stderr: bytes) -> str:
    """A sentence on a plugin that runs, with its last line. A code follows the line with the
    address where it is entered, which is then quoted too."""
    text = stderr.decode("utf-8", "replace").replace("\r", "\n")
    lines = [line for each in text.split("\n") if (line := one_line(sanitize(each)).strip())]
    lines = lines[-_MAX_NOTICE_LINES:]
    at = max((n for n, line in enumerate(lines) if _URL_PATTERN.search(line)), default=-1)
    said = " ".join(lines[at:])
    if not said:
        return f"The credential plugin {name!r} is running; it may wait for a login in a browser."
    return clean_message(f"The credential plugin {name!r} is running and says: {_mask(said)}")


def _mask(text: str) -> str:
    """`text` without secrets, but with the whole addresses that are to be opened."""
    urls = [_URL_SECRET_PATTERN.sub(r"\1\2[hidden]", url) for url in _URL_PATTERN.findall(text)]
    parts = [redact(part) for part in _URL_PATTERN.split(text)]
    return "".join(part + url for part, url in zip(parts, [*urls, ""], strict=True))


def _format_stderr(stderr: bytes) -> str:
    # Redact before truncating: the key of a secret may precede the quoted part.
    text = clean_message(
        redact(stderr[-_MAX_ERROR_BYTES:].decode("utf-8", "replace"))[-_MAX_ERROR_CHARS:]
    )
    return f": {text.rstrip('.')}" if text else ""


def _parse_args(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ConfigError(f"args of the {where} is not a list; fix the kubeconfig.")
    return tuple(str(item) for item in value)


def _parse_env(value: object, where: str) -> dict[str, str]:
    environ: dict[str, str] = {}
    for item in value if isinstance(value, list) else ():
        if not isinstance(item, dict) or not item.get("name"):
            raise ConfigError(f"env of the {where} has an item without a name; fix it.")
        environ[str(item["name"])] = str(item.get("value") or "")
    return environ


def _exec_info_json(version: str, cluster: KubeconfigCluster, *, with_cluster: bool) -> str:
    spec: dict[str, Any] = {"interactive": False}
    if with_cluster:
        fields = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            "certificate-authority-data": cluster.certificate_authority,
            "proxy-url": cluster.proxy_url,
            "disable-compression": not cluster.compression_enabled,
            "config": cluster.exec_config,
        }
        spec["cluster"] = {key: value for key, value in fields.items() if value}
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    return msgspec.json.encode(info).decode()


def parse_expiry(text: str | None, source: str) -> datetime | None:
    """Parse an RFC 3339 time; None if empty. Raises CredentialsError, with a message that starts
    with `source`, if it is invalid."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise CredentialsError(
            f"{source} gave the expiry time {truncate(text, _MAX_QUOTED_CHARS)!r}, which is not"
            " RFC 3339; log in again."
        )
    return time
