"""Settings: flags > environment > settings file > the cluster's ConfigMap > defaults."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "SERVEDECK_"
PLATFORM_NAMESPACE = "servedeck-system"
PLATFORM_CONFIGMAP = "servedeck"
"""ConfigMap in which whoever runs the platform tells every operator's servedeck where endpoints
are. It may be missing, and may be forbidden."""
PLATFORM_KEYS = (
    "endpoint_host",
    "endpoint_scheme",
    "route",
    "gateway",
    "ingress_class",
    "tls_secret",
    "model_cache",
)


class SettingsError(Exception):
    """A setting cannot be used; str() is one sentence that names its place and what to write."""

    exit_code = 2


class Settings(BaseModel):
    """What an operator or a platform can choose. `model_fields_set` names what was chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: str = Field(
        default="", description="context of the kubeconfig; its current one where empty"
    )
    namespace: str = Field(default="", description="the one namespace to show")
    all_namespaces: bool = Field(
        default=False, description="show all namespaces, whatever `namespace` is"
    )
    readonly: bool = Field(default=False, description="refuse every change")
    favourites: tuple[str, ...] = Field(
        default=(), max_length=9, description="namespaces of the keys 1 to 9; by name where empty"
    )
    wide: bool = Field(default=False, description="start with all columns")
    columns: tuple[str, ...] = Field(default=(), description="columns to show, in this order")
    theme: str = Field(default="", description="name of a theme; the default one where empty")
    keymap: dict[str, str] = Field(default={}, description="keys by the id of their action")
    endpoint_host: str = Field(
        default="", description="host of endpoint URLs where no route names one"
    )
    endpoint_scheme: Literal["https", "http"] = Field(default="https", description="their scheme")
    route: Literal["", "HTTPRoute", "VirtualService", "Ingress"] = Field(
        default="", description="kind of new routes; the first that the cluster has where empty"
    )
    gateway: str = Field(default="", description="Gateway of new routes, namespace/name")
    ingress_class: str = Field(default="", description="class of new Ingresses")
    tls_secret: str = Field(default="", description="Secret of a new Ingress's certificate")
    model_cache: str = Field(
        default="", description="PVC of downloaded models in each project; none where empty"
    )

    def with_platform(self, data: Mapping[str, str]) -> tuple[Settings, tuple[str, ...]]:
        """These settings, completed by the cluster's ConfigMap, and what is wrong with that one.

        What flags, environment or file chose stays; of the ConfigMap only the platform's keys
        count. A value that cannot be used is left out and named in a sentence.
        """
        update: dict[str, str] = {}
        wrong: list[str] = []
        for key in PLATFORM_KEYS:
            value = data.get(key, "").strip()
            if not value or key in self.model_fields_set:
                continue
            try:
                Settings.model_validate({key: value})
            except ValidationError as error:
                where = f"ConfigMap {PLATFORM_NAMESPACE}/{PLATFORM_CONFIGMAP}"
                wrong.append(_sentence(where, error))
            else:
                update[key] = value
        return self.model_copy(update=update), tuple(wrong)


def settings_file() -> Path:
    """Where the settings file is looked for: $XDG_CONFIG_HOME/servedeck/settings.toml."""
    from platformdirs import user_config_path  # only needed once, and not by those who import us

    return user_config_path("servedeck") / "settings.toml"


def load(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Settings:
    """The settings in force, but for the ConfigMap's.

    `flags` holds what the command line named, None for what it did not. Raises SettingsError.
    """
    file = settings_file() if file is None else file
    values: dict[str, Any] = {}
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    for layer in (_from_file(file), _from_environment(environ), given):
        if "namespace" in layer:  # one namespace means that one, whatever lower places say
            values.pop("all_namespaces", None)
        values |= layer
    return Settings.model_validate(values)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"Cannot read {file}: {why}; mend or remove it.") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}; mend that line.") from error
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    try:
        # Strict: "true" in quotation marks is a mistake that would pass unseen elsewhere.
        Settings.model_validate(values, strict=True)
    except ValidationError as error:
        raise SettingsError(_sentence(str(file), error)) from error
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Variables SERVEDECK_<KEY>; lists are divided by commas. Tables cannot be given here."""
    values: dict[str, Any] = {}
    for key, field in Settings.model_fields.items():
        text = environ.get(PREFIX + key.upper(), "").strip()
        if not text or field.annotation == dict[str, str]:
            continue
        value: Any = text
        if field.annotation == tuple[str, ...]:
            value = tuple(part.strip() for part in text.split(",") if part.strip())
        try:
            Settings.model_validate({key: value})
        except ValidationError as error:
            raise SettingsError(_sentence("Environment", error, PREFIX)) from error
        values[key] = value
    return values


def _sentence(where: str, error: ValidationError, prefix: str = "") -> str:
    """The first thing that is wrong, and what to write instead."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    top = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, Settings.model_fields, 1)
        known = ", ".join(Settings.model_fields)
        mend = f"did you mean {near[0]}?" if near else f"there are {known}."
        return f"{where}: there is no setting {key}; {mend}"
    if prefix:
        key = prefix + top.upper()
    return f"{where}: {key} must be {_expected(top)}, not {_given(first['input'])}."


def _expected(key: str) -> str:
    annotation = Settings.model_fields[key].annotation
    if annotation is bool:
        return "true or false"
    if annotation is str:
        return 'a text, "..."'
    if annotation == tuple[str, ...]:
        most = " of at most 9 texts" if key == "favourites" else " of texts"
        return f'a list{most}, ["a", "b"]'
    if annotation == dict[str, str]:
        return f'a table of texts, [{key}] with lines name = "value"'
    return " or ".join(f'"{choice}"' for choice in get_args(annotation) if choice)


def _given(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
