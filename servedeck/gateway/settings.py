"""Settings of one gateway: a file (YAML, as a ConfigMap mounts it), then flags of the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import Field

KIB, MIB = 1 << 10, 1 << 20
HOUR, DAY = 3600.0, 86400.0

Role = Literal["all", "accept", "deliver"]

Seconds = Annotated[float, Field(gt=0, le=366 * DAY)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$")]


class GatewaySettingsError(Exception):
    """Settings that cannot be used; str() has one line for each, with its name."""

    exit_code = 2


class GatewaySettings(pydantic.BaseModel):
    """All settings of a gateway. Durations are in seconds, sizes in bytes."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    serving: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    """namespace/name"""
    role: Role = "all"
    """accept: answers callers and operators; deliver: makes the requests to the inference server.
    Two processes on one Valkey serve better than one of both."""
    store: str = Field(
        default="sqlite:servedeck-gateway.db", pattern=r"^(sqlite:.+|(valkey|redis)s?://.+)$"
    )
    """sqlite:PATH (then the role is "all"), or valkey://[user:password@]host[:port][/db], valkeys://
    with TLS. The password is better given by `store_password_file`."""
    store_password_file: Path | None = None
    store_ca_file: Path | None = None
    """CA certificates (PEM) that valkeys:// trusts instead of the system's."""
    store_certificate_file: Path | None = None
    """The gateway's own certificate (PEM), for a server that asks for one."""
    store_key_file: Path | None = None
    """Its key, if that is not in the same file."""
    store_timeout: Seconds = 5.0
    """After which a command of the store counts as not answered."""
    wait_replicas: int = Field(default=0, ge=0, le=10)
    """Replicas of Valkey that must have a task before it is accepted; fewer answer 503."""
    objects: str = Field(default="", pattern=r"^(|file:.+|s3://.+)$")
    """Where bodies over `inline_bytes` are kept: file:DIRECTORY or s3://BUCKET[/PREFIX], in it each
    serving in a folder of its own (NAMESPACE/NAME); "" keeps all in the store. Credentials of S3
    come from the usual AWS_ variables."""
    upstreams: tuple[str, ...] = ()
    """URLs of the inference server's replicas; "" finds the Pods of `service`."""
    service: str = ""
    """namespace/name:port of the inference server's Service, whose EndpointSlices are watched."""
    secret_file: Path | None = None
    """At least 32 random bytes: ids, owners and the encryption of credentials come from it. All
    processes on a store need the same. Without it one is made beside a SQLite file."""
    host: str = "0.0.0.0"  # noqa: S104 - in a Pod, whose NetworkPolicy decides who may connect
    port: int = Field(default=8080, ge=0, le=65535)
    """Of callers; 0 chooses a free one."""
    admin_host: str = "0.0.0.0"  # noqa: S104
    admin_port: int = Field(default=8081, ge=0, le=65535)
    """Of operators and of Prometheus; no route leads to it."""
    admin_key_file: Path | None = None
    """Key of the header X-Servedeck-Key that may do everything on the admin port. Without it, only
    callers from this host may."""
    view_key_file: Path | None = None
    """Key that may read there, but for bodies."""
    public_path: str = Field(default="", pattern=r"^(|(/[A-Za-z0-9._~-]+)+)$")
    """Path of the serving's endpoint, as in /project/name, where a route removes it; URLs in
    answers begin with it."""

    max_depth: int = Field(default=1000, ge=1, le=100_000_000)
    """Pending tasks; another one is answered with 429."""
    max_body_bytes: int = Field(default=8 * MIB, ge=1, le=1 << 30)
    max_result_bytes: int = Field(default=16 * MIB, ge=1, le=1 << 30)
    inline_bytes: int = Field(default=256 * KIB, ge=0, le=64 * MIB)
    lifetime: Seconds = 6 * HOUR
    """From being accepted to the deadline; a request may ask for less, not for more."""
    attempt_timeout: Seconds = 900.0
    """Of one attempt; a request may ask for less."""
    max_attempts: int = Field(default=3, ge=1, le=100)
    backoff: Seconds = 5.0
    """Before the second attempt; doubled for each further one, with full jitter."""
    max_backoff: Seconds = 300.0
    """Also the longest Retry-After that is honoured."""
    keep_completed: Seconds = DAY
    """For how long a completed or cancelled task can be fetched."""
    keep_failed: Seconds = 7 * DAY
    concurrency: int = Field(default=0, ge=0, le=100_000)
    """Tasks in progress of all Pods together; 0 for no limit but that of each Pod."""
    pod_concurrency: int = Field(default=4, ge=1, le=10_000)
    lease: Seconds = 60.0
    """After which the tasks of a worker that was lost are given to another."""
    drain: float = Field(default=0.0, ge=0, le=HOUR)
    """For how long running tasks may end after SIGTERM; then they are handed back at once."""
    max_wait: Seconds = 60.0
    """The longest `Prefer: wait`."""
    callback_hosts: tuple[HostName, ...] = ()
    """Hosts, or host:port, that may be notified of an end; none by default."""
    callback_secret_file: Path | None = None
    """Key of the signatures of callbacks."""
    owner_header: str = Field(
        default="authorization", pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"
    )
    """Header that identifies callers; where a proxy authenticates them, the one that it
    sets (and removes from what callers send)."""
    service_authorization_file: Path | None = None
    """Value of Authorization for requests that an operator tries again, as the caller's own is
    deleted when its task ends."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> GatewaySettings:
        if self.store.startswith("sqlite:") and self.role != "all":
            raise ValueError("a sqlite store has one process: role must be all")
        if self.store_key_file is not None and self.store_certificate_file is None:
            raise ValueError("store_key_file needs store_certificate_file")
        if not self.store.startswith(("valkeys:", "rediss:")):
            for name in ("store_ca_file", "store_certificate_file"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} needs a store with TLS, as in valkeys://host")
        if not self.upstreams and not self.service:
            raise ValueError("upstreams or service must say where the inference server is")
        for number, one in enumerate(self.upstreams, 1):
            if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", one):
                # not repeated, as it may have a password in it
                raise ValueError(f"upstreams: URL {number} is not one such as http://host:8000")
        if self.callback_hosts and self.callback_secret_file is None:
            raise ValueError("callback_hosts needs callback_secret_file")
        return self

    @property
    def namespace(self) -> str:
        return self.serving.partition("/")[0]

    @property
    def name(self) -> str:
        return self.serving.partition("/")[2]


def load_settings(file: Path | None, flags: dict[str, object]) -> GatewaySettings:
    """Raises GatewaySettingsError."""
    values: dict[str, object] = {}
    if file is not None:
        try:
            loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise GatewaySettingsError(f"{file}: {error.strerror}.") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise GatewaySettingsError(f"{file} is not YAML.") from None
        if loaded is not None and not isinstance(loaded, dict):
            raise GatewaySettingsError(f"{file} must have one setting a line, as in port: 8080.")
        values.update(loaded or {})
    values.update(flags)
    try:
        return GatewaySettings.model_validate(values)
    except pydantic.ValidationError as error:
        raise GatewaySettingsError("\n".join(map(_describe, error.errors()))) from None


_EXPECTED = {
    "serving": "must be NAMESPACE/NAME",
    "store": "must be sqlite:FILE or valkey://HOST:PORT",
    "objects": "must be file:DIRECTORY or s3://BUCKET/PREFIX",
    "owner_header": "must be the name of a header",
    "public_path": "must be a path such as /project/name",
    "callback_hosts": "must have names of hosts, such as hooks.example.com or 10.0.0.7:8443",
}
"""What a setting must be, for those whose pattern would say it."""


def _describe(error: object) -> str:
    assert isinstance(error, dict)
    name = ".".join(str(one) for one in error["loc"])
    kind = error["type"]
    if kind == "missing":
        return f"{name} is not set; give it in the file or by its flag."
    if kind == "extra_forbidden":
        return f"{name} is no setting."
    if kind == "string_pattern_mismatch" and (wanted := _EXPECTED.get(str(error["loc"][0]))):
        return f"{name} {wanted}."
    message = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    return f"{name}: {message}." if name else f"{message}."
