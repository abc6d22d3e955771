"""Settings: flags > environment > settings file > the cluster's ConfigMap > defaults."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from servedeck.atomic_file import require_regular_file

ENV_PREFIX = "SERVEDECK_"
PLATFORM_NAMESPACE = "servedeck-system"
PLATFORM_CONFIGMAP = "servedeck"
"""ConfigMap in which the platform's administrators configure endpoints for all operators. It may be
missing or forbidden."""
POD_DEFAULTS = (
    "model_cache_path",
    "fs_group",
    "node_selector",
    "tolerations",
    "runtime_class",
    "image_pull_secrets",
    "service_account",
)
"""Settings that are fields of a serving: what a new one has."""
PLATFORM_KEYS = (
    "endpoint_host",
    "endpoint_scheme",
    "route",
    "gateway",
    "ingress_class",
    "tls_secret",
    "model_cache",
    *POD_DEFAULTS,
    "prometheus_url",
    "prometheus_service",
    "grafana_url",
    "async_image",
    "async_store",
    "async_store_secret",
)

LOG_MEMORY_RANGE = (4, 4096)
"""Least and greatest value of `log_memory_mib`."""


class SettingsError(Exception):
    """A setting cannot be used; str() is one sentence with its place and the expected value."""

    exit_code = 2


@dataclass(frozen=True)
class Settings:
    """Settings of an operator or a platform."""

    context: str = ""
    """Context of the kubeconfig; the current one if empty."""
    namespace: str = ""
    """The one namespace to show."""
    all_namespaces: bool = False
    """Show all namespaces, regardless of `namespace`."""
    readonly: bool = False
    """Reject every change."""
    production_contexts: tuple[str, ...] = ()
    """Contexts in which a deletion asks for the typed name; `*` and `?` stand for any text."""
    favorites: tuple[str, ...] = ()
    """Namespaces of the keys 1 to 9; those with most servings if empty."""
    wide: bool = False
    """Start with all columns."""
    columns: tuple[str, ...] = ()
    """Columns to show besides the name; all that fit if empty."""
    column_widths: dict[str, int] = field(default_factory=dict)
    """Width in cells of a column, by its name."""
    filters: dict[str, str] = field(default_factory=dict)
    """Filters of the serving list by the name that the operator gives them."""
    theme: str = ""
    """Name of a theme; chosen for the terminal if empty."""
    keymap: dict[str, str] = field(default_factory=dict)
    """Keys by the id of their action."""
    endpoint_host: str = ""
    """Host of new routes, and of endpoint URLs if the route names none."""
    endpoint_scheme: Literal["", "https", "http"] = ""
    """Scheme of the URLs of HTTPRoutes and VirtualServices; that of the listener of their Gateway
    if empty, https if that is not known."""
    route: Literal["", "HTTPRoute", "VirtualService", "Ingress"] = ""
    """Kind of new routes; the first that the cluster has if empty."""
    gateway: str = ""
    """Gateway of new routes, namespace/name."""
    ingress_class: str = ""
    tls_secret: str = ""
    """Secret of a new Ingress's certificate."""
    model_cache: str = ""
    """PVC of downloaded models in each namespace; none if empty."""
    model_cache_path: str = ""
    """Of new servings, as the field of this name, as the settings that follow."""
    fs_group: str = ""
    node_selector: str = ""
    tolerations: str = ""
    runtime_class: str = ""
    image_pull_secrets: str = ""
    service_account: str = ""
    prometheus_url: str = ""
    """URL of Prometheus, or of what speaks its API."""
    prometheus_service: str = ""
    """Prometheus as a Service of the cluster, namespace/name:port, reached through the API server;
    not used with `prometheus_url`."""
    prometheus_token_file: str = ""
    """File with the bearer token for an explicit `prometheus_url`."""
    prometheus_headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Headers for an explicit `prometheus_url`, such as X-Scope-OrgID."""
    prometheus_ca_file: str = ""
    """File with the CA certificates of `prometheus_url`; the system's if empty."""
    prometheus_discovery: bool = True
    """Whether Prometheus is looked for among the Services of the cluster where none is named."""
    metric_names: dict[str, str] = field(default_factory=dict)
    """What custom inference servers call their metrics, by the metric: requests = "my_total"."""
    grafana_url: str = ""
    """URL of a dashboard of a serving; {namespace}, {name}, {from} and {to} stand for its own, and
    for the time that is shown, in milliseconds since the epoch."""
    async_image: str = ""
    """Image of the async gateways; servedeck-gateway of this version if empty."""
    async_store: str = ""
    """Valkey that keeps the tasks of the async gateways, valkey://host:port."""
    async_store_secret: str = ""
    """Secret with the password of that Valkey, namespace/name, or namespace/name/key for another
    key than "password"; none if empty."""
    async_admin_url: str = ""
    """URL of the admin port of an async gateway; {namespace} and {name} stand for the serving. The
    API server's Service proxy if empty. Not a key of the platform: a key of the gateway is sent
    there, and whoever may write the ConfigMap would receive those of all operators."""
    async_key_file: str = ""
    """File with the key that is sent to `async_admin_url`, with the same placeholders; that of the
    gateway's Secret if empty."""
    pod_metrics: bool = True
    """Whether the Pods' own /metrics is read where there is no Prometheus."""
    log_memory_mib: int = 64
    """Memory of a log's newest lines in MiB; older ones are compressed in a temporary file."""
    explicit_keys: frozenset[str] = field(default=frozenset(), compare=False)
    """Keys that were set explicitly, even to their default."""

    def is_production(self, context: str) -> bool:
        """Whether a context is one of `production_contexts`."""
        return any(_matches(context, one) for one in self.production_contexts)

    def with_platform_configmap(self, data: Mapping[str, str]) -> tuple[Settings, tuple[str, ...]]:
        """These settings, completed by the cluster's ConfigMap, and its errors. Flags, environment
        and file take precedence; only the platform's keys of the ConfigMap are used. An invalid
        value is ignored and reported in a sentence.
        """
        update: dict[str, Any] = {}
        wrong: list[str] = []
        for key in PLATFORM_KEYS:
            value = data.get(key, "").strip()
            if not value or key in self.explicit_keys:
                continue
            try:
                update |= _validate({key: value})
            except _InvalidSettingError as error:
                where = f"ConfigMap {PLATFORM_NAMESPACE}/{PLATFORM_CONFIGMAP}"
                wrong.append(_error_message(where, error))
        return replace(self, **update), tuple(wrong)


_FIELD_TYPES = {
    key: kind for key, kind in get_type_hints(Settings).items() if key != "explicit_keys"
}


class _InvalidSettingError(Exception):
    """The first error: its path, pydantic's error type, and the given value."""

    def __init__(self, path: tuple[int | str, ...], error_type: str, value: object) -> None:
        super().__init__(path, error_type, value)
        self.path, self.error_type, self.value = path, error_type, value


def _validate(values: Mapping[str, Any], *, strict: bool = False) -> dict[str, Any]:
    """The values in their types. Raises _InvalidError."""
    if not values:
        return {}
    # Without settings there is nothing to check, and the first frame need not wait for the import
    # of pydantic (0.1 s).
    from pydantic import ConfigDict, Field, ValidationError, create_model

    fields: dict[str, Any] = {key: (kind, None) for key, kind in _FIELD_TYPES.items()}
    fields["favorites"] = (_FIELD_TYPES["favorites"], Field(default=None, max_length=9))
    least, most = LOG_MEMORY_RANGE
    fields["log_memory_mib"] = (int, Field(default=None, ge=least, le=most))
    model = create_model("Settings", __config__=ConfigDict(extra="forbid"), **fields)
    try:
        read = model.model_validate(values, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _InvalidSettingError(first["loc"], first["type"], first["input"]) from None
    return {key: getattr(read, key) for key in values}


def _matches(text: str, pattern: str) -> bool:
    """Whether `pattern` fits, in which `*` and `?` stand for any text; brackets, which names of
    contexts may have, stand for themselves."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def settings_path() -> Path:
    """Path of the settings file: $XDG_CONFIG_HOME/servedeck/settings.toml."""
    from platformdirs import user_config_path  # only needed here

    return user_config_path("servedeck") / "settings.toml"


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    path: Path | None = None,
) -> Settings:
    """The settings without those of the ConfigMap. `flags` contains the command line's values, None
    for absent ones. Raises SettingsError.
    """
    path = settings_path() if path is None else path
    values: dict[str, Any] = {}
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    for layer in (_read_file(path), _read_environment(environ), given):
        if "namespace" in layer:  # a namespace overrides `all_namespaces` of lower-priority sources
            values.pop("all_namespaces", None)
        values |= layer
    return Settings(**values, explicit_keys=frozenset(values))


_MANY_MATCHES = 100


def _read_file(path: Path) -> dict[str, Any]:
    try:
        require_regular_file(path)
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"Cannot read {path}: {why}; fix or delete it.") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}; fix that line.") from error
    except RecursionError as error:
        where = _line_with_most(text, r"[\[{]")
        raise SettingsError(
            f"{path} has lists or tables nested too deeply; fix {where}."
        ) from error
    except ValueError as error:
        where = _line_with_most(text, r"\d")
        raise SettingsError(f"{path} has a number that is too long; fix {where}.") from error
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    try:
        # Strict: otherwise a quoted "true" would be accepted silently.
        return _validate(values, strict=True)
    except _InvalidSettingError as error:
        raise SettingsError(_error_message(str(path), error)) from error


def _line_with_most(text: str, pattern: str) -> str:
    """ "line 3", the one with most matches, where it alone has so many that the parser gives up,
    which does not say where; else "it"."""
    counts = [len(re.findall(pattern, line)) for line in text.splitlines()]
    most = max(counts)
    return f"line {1 + counts.index(most)}" if most > _MANY_MATCHES else "it"


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Variables SERVEDECK_<KEY>; lists are separated by commas. Tables are not supported here."""
    values: dict[str, Any] = {}
    for key, kind in _FIELD_TYPES.items():
        text = environ.get(ENV_PREFIX + key.upper(), "").strip()
        if not text or kind in (dict[str, str], dict[str, int]):
            continue
        value: Any = text
        if kind == tuple[str, ...]:
            value = tuple(part.strip() for part in text.split(",") if part.strip())
        try:
            values |= _validate({key: value})
        except _InvalidSettingError as error:
            raise SettingsError(_error_message("Environment", error, ENV_PREFIX)) from error
    return values


def _error_message(where: str, error: _InvalidSettingError, prefix: str = "") -> str:
    """The error, and the expected value."""
    key = ".".join(map(str, error.path))
    top = str(error.path[0])
    if error.error_type == "extra_forbidden":
        near = difflib.get_close_matches(key, _FIELD_TYPES, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(_FIELD_TYPES)}."
        return f"{where}: unknown setting {key}; {hint}"
    if prefix:
        key = prefix + top.upper()
    return f"{where}: {key} must be {_describe_expected(top)}, not {_format_value(error.value)}."


def _describe_expected(key: str) -> str:
    kind = _FIELD_TYPES[key]
    if kind is bool:
        return "true or false"
    if kind is int:
        return f"a whole number from {LOG_MEMORY_RANGE[0]} to {LOG_MEMORY_RANGE[1]}"
    if kind is str:
        return 'a string, "..."'
    if kind == tuple[str, ...]:
        most = " of at most 9 strings" if key == "favorites" else " of strings"
        return f'a list{most}, ["a", "b"]'
    if kind == dict[str, str]:
        return f'a table of strings, [{key}] with lines name = "value"'
    if kind == dict[str, int]:
        return f"a table of whole numbers, [{key}] with lines name = 20"
    return " or ".join(f'"{choice}"' for choice in get_args(kind) if choice)


def _format_value(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
