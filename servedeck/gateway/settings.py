"""Settings of one gateway: a file (YAML, as a ConfigMap mounts it), then flags of the command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from servedeck.serving.settings_text import SettingsTextError, parse_settings_text

KIB, MIB = 1 << 10, 1 << 20
HOUR, DAY = 3600.0, 86400.0

Role = Literal["all", "accept", "deliver"]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

Seconds = Annotated[float, Meta(gt=0, le=366 * DAY)]
Port = Annotated[int, Meta(ge=0, le=65535)]
HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?\Z")]


class GatewaySettingsError(Exception):
    """Settings that cannot be used; str() has one line for each, with its name."""

    exit_code = 2


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a gateway, made by `make_settings`. Durations are in seconds, sizes in bytes.

    Not of pydantic, as the rest of servedeck's: that takes 13 MiB of each process."""

    serving: Annotated[str, Meta(pattern=rf"^{_LABEL}/{_LABEL}\Z")]
    """namespace/name"""
    role: Role = "all"
    """accept: answers callers and operators; deliver: makes the requests to the inference server.
    Two processes on one Valkey serve better than one of both."""
    store: Annotated[str, Meta(pattern=r"^(sqlite:.+|(valkey|redis)s?://.+)\Z")] = (
        "sqlite:servedeck-gateway.db"
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
    wait_replicas: Annotated[int, Meta(ge=0, le=10)] = 0
    """Replicas of Valkey that must have a task before it is accepted; fewer answer 503."""
    objects: Annotated[str, Meta(pattern=r"^(|file:.+|s3://.+)\Z")] = ""
    """Where bodies over `inline_bytes` are kept: file:DIRECTORY or s3://BUCKET[/PREFIX], in it each
    serving in a folder of its own (NAMESPACE/NAME); "" keeps all in the store. Credentials of S3
    come from the usual AWS_ variables."""
    upstreams: tuple[str, ...] = ()
    """URLs of the inference server's replicas; "" finds the Pods of `service`."""
    service: Annotated[str, Meta(pattern=r"^(|[^/:]+/[^/:]+:[^/:]+)\Z")] = ""
    """namespace/name:port of the inference server's Service, whose EndpointSlices are watched."""
    secret_file: Path | None = None
    """At least 32 random bytes: ids, owners and the encryption of credentials come from it. All
    processes on a store need the same. Without it one is made beside a SQLite file."""
    host: str = "0.0.0.0"  # noqa: S104 - in a Pod, whose NetworkPolicy decides who may connect
    port: Port = 8080
    """Of callers; 0 chooses a free one."""
    admin_host: str = "0.0.0.0"  # noqa: S104
    admin_port: Port = 8081
    """Of operators and of Prometheus; no route leads to it."""
    admin_key_file: Path | None = None
    """Key of the header X-Servedeck-Key that may do everything on the admin port. Without it, only
    callers from this host may. Read again when it has changed, as is `view_key_file`."""
    view_key_file: Path | None = None
    """Key that may read there, but for bodies."""
    public_path: Annotated[str, Meta(pattern=r"^(|(/[A-Za-z0-9._~-]+)+)\Z")] = ""
    """Path of the serving's endpoint, as in /project/name, where a route removes it; URLs in
    answers begin with it."""

    max_depth: Annotated[int, Meta(ge=1, le=100_000_000)] = 1000
    """Pending tasks; another one is answered with 429."""
    max_body_bytes: Annotated[int, Meta(ge=1, le=1 << 30)] = 8 * MIB
    max_result_bytes: Annotated[int, Meta(ge=1, le=1 << 30)] = 16 * MIB
    inline_bytes: Annotated[int, Meta(ge=0, le=64 * MIB)] = 256 * KIB
    lifetime: Seconds = 6 * HOUR
    """From being accepted to the deadline; a request may ask for less, not for more."""
    attempt_timeout: Seconds = 900.0
    """Of one attempt; a request may ask for less."""
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    backoff: Seconds = 5.0
    """Before the second attempt; doubled for each further one. Up to half of it is left out at
    random; a Retry-After makes it longer, never shorter."""
    max_backoff: Seconds = 300.0
    """Also the longest Retry-After that is honoured, and that spares the Pod that sends it."""
    keep_completed: Seconds = DAY
    """For how long a completed or cancelled task can be fetched."""
    keep_failed: Seconds = 7 * DAY
    concurrency: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Tasks in progress of all Pods together; 0 for no limit but that of each Pod."""
    pod_concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 4
    lease: Seconds = 60.0
    """After which the tasks of a worker that was lost are given to another."""
    drain: Annotated[float, Meta(ge=0, le=HOUR)] = 0.0
    """For how long running tasks may end after SIGTERM; then they are handed back at once."""
    max_wait: Seconds = 60.0
    """The longest `Prefer: wait`."""
    callback_hosts: tuple[HostName, ...] = ()
    """Hosts, or host:port, that may be notified of an end; none by default."""
    callback_secret_file: Path | None = None
    """Key of the signatures of callbacks."""
    owner_header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")] = (
        "authorization"
    )
    """Header that identifies callers; where a proxy authenticates them, the one that it
    sets (and removes from what callers send)."""
    service_authorization_file: Path | None = None
    """Value of Authorization for requests that an operator tries again, as the caller's own is
    deleted when its task ends."""

    @property
    def namespace(self) -> str:
        return self.serving.partition("/")[0]

    @property
    def name(self) -> str:
        return self.serving.partition("/")[2]


def make_settings(values: Mapping[str, object]) -> GatewaySettings:
    """Raises GatewaySettingsError."""
    types = _types()
    found: dict[str, object] = {}
    problems: list[str] = []
    for name, value in values.items():
        if name not in types:
            problems.append(f"{name} is no setting.")
            continue
        try:
            found[name] = msgspec.convert(value, types[name], strict=False, dec_hook=_decode_path)
        except msgspec.ValidationError:
            problems.append(f"{name} {_wanted(name, types[name])}.")
    if "serving" not in values:
        problems.append("serving is not set; give it in the file or by its flag.")
    if problems:
        raise GatewaySettingsError("\n".join(problems))
    settings = GatewaySettings(**found)  # type: ignore[arg-type]
    if problem := next(_contradictions(settings), ""):
        raise GatewaySettingsError(f"{problem}.")
    return settings


def load_settings(file: Path | None, flags: Mapping[str, object]) -> GatewaySettings:
    """Raises GatewaySettingsError."""
    values: dict[str, object] = {}
    if file is not None:
        try:
            loaded = parse_settings_text(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise GatewaySettingsError(f"{file}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise GatewaySettingsError(f"{file} cannot be read: it is not UTF-8.") from None
        except SettingsTextError as error:
            raise GatewaySettingsError(f"{file} cannot be read: {error}.") from None
        values.update({str(name): value for name, value in loaded.items()})
    values.update(flags)
    return make_settings(values)


def _contradictions(settings: GatewaySettings) -> Iterator[str]:
    if settings.store.startswith("sqlite:") and settings.role != "all":
        yield "a sqlite store has one process: role must be all"
    if settings.store_key_file is not None and settings.store_certificate_file is None:
        yield "store_key_file needs store_certificate_file"
    if not settings.store.startswith(("valkeys:", "rediss:")):
        for name in ("store_ca_file", "store_certificate_file"):
            if getattr(settings, name) is not None:
                yield f"{name} needs a store with TLS, as in valkeys://host"
    if not settings.upstreams and not settings.service:
        yield "upstreams or service must say where the inference server is"
    for number, one in enumerate(settings.upstreams, 1):
        if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", one):
            # not repeated, as it may have a password in it
            yield f"upstreams: URL {number} is not one such as http://host:8000"
    if settings.callback_hosts and settings.callback_secret_file is None:
        yield "callback_hosts needs callback_secret_file"


_WANTED = {
    "serving": "must be NAMESPACE/NAME",
    "role": "must be all, accept or deliver",
    "store": "must be sqlite:FILE or valkey://HOST:PORT",
    "objects": "must be file:DIRECTORY or s3://BUCKET/PREFIX",
    "upstreams": "must be URLs",
    "service": "must be NAMESPACE/NAME:PORT",
    "host": "must be an address",
    "admin_host": "must be an address",
    "owner_header": "must be the name of a header",
    "public_path": "must be a path such as /project/name",
    "callback_hosts": "must have names of hosts, such as hooks.example.com or 10.0.0.7:8443",
}
"""What settings must be that are neither numbers nor files."""


def _wanted(name: str, type_: object) -> str:
    if name in _WANTED:
        return _WANTED[name]
    limits = next((one for one in get_args(type_) if isinstance(one, Meta)), None)
    if limits is None:
        return "must be the path of a file"
    kind = "a whole number" if get_args(type_)[0] is int else "a number"
    if limits.gt is not None:
        return f"must be {kind} over {limits.gt}, and at most {limits.le:.0f}"
    return f"must be {kind} from {limits.ge} to {limits.le:.0f}"


def _types() -> dict[str, object]:
    return get_type_hints(GatewaySettings, include_extras=True)


def _decode_path(type_: type, value: object) -> object:
    if type_ is Path and isinstance(value, str | Path):
        return Path(value)
    raise ValueError("not a path")
