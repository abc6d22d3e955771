"""HTTP paths of the readiness and liveness probes, and the time that the start-up probe allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.serving.spec.mapping.container_ports import HANDLERS
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    child_mapping,
)
from servedeck.serving.spec.mapping.ports import server_target
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates.base import SpecLike

STARTUP_PERIOD_SECONDS = 10
STARTUP_FAILURE_THRESHOLD = 180
DEFAULT_STARTUP_SECONDS = STARTUP_PERIOD_SECONDS * STARTUP_FAILURE_THRESHOLD
"""30 minutes to load the model, for large ones; the liveness probe starts after that."""
_PULL_SECONDS = 1800
"""Scheduling and a long image pull, before the start-up probe begins to count."""


def _read(objects: ServingObjects, probe: str) -> str | None:
    """The path; "" without a probe, None for a probe of another kind (a command, a TCP port)."""
    found = as_mapping(objects.container, probe)
    if not found:
        return ""
    return as_str(as_mapping(found, "httpGet").get("path")) or None


def _is_other_kind(objects: ServingObjects, probe: str) -> bool:
    found = as_mapping(objects.container, probe)
    return bool(found) and not as_mapping(found, "httpGet").get("path")


def startup_probe_path(spec: SpecLike) -> str:
    """The startup probe protects the liveness probe, or the readiness probe if there is none; it
    asks the endpoint of that one if it has none of its own."""
    return spec.startup_path or spec.effective_liveness_path or spec.effective_readiness_path


def _write_readiness(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    if _is_other_kind(objects, "readinessProbe") and wanted.readiness_path is None:
        return
    path = wanted.effective_readiness_path
    _write(objects, "readinessProbe", path, wanted, period=5, failures=3)
    _write_startup_path(objects, current, wanted)


def _write_liveness(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    if _is_other_kind(objects, "livenessProbe") and wanted.liveness_path is None:
        return
    path = wanted.effective_liveness_path
    _write(objects, "livenessProbe", path, wanted, period=10, failures=6)
    _write_startup_path(objects, current, wanted)


def _write_startup_path(
    objects: ServingObjects, current: SpecLike | None, wanted: SpecLike
) -> None:
    """The start-up probe follows the others where it did before."""
    present = as_mapping(objects.container, "startupProbe", "httpGet").get("path")
    if current is None or not present or present != startup_probe_path(current):
        return
    _write_startup_probe(objects, wanted)


def _write_startup_probe(objects: ServingObjects, wanted: SpecLike) -> None:
    _write(
        objects,
        "startupProbe",
        startup_probe_path(wanted),
        wanted,
        period=STARTUP_PERIOD_SECONDS,
        failures=STARTUP_FAILURE_THRESHOLD,
    )


def _read_startup_path(objects: ServingObjects) -> str:
    """The path, also if it is that of another probe; "" without a probe or for one of another
    kind."""
    return _read(objects, "startupProbe") or ""


def _write_own_startup_path(
    objects: ServingObjects, current: SpecLike | None, wanted: SpecLike
) -> None:
    present = as_mapping(objects.container, "startupProbe")
    if not present or (_is_other_kind(objects, "startupProbe") and not wanted.startup_path):
        return  # the start-up time makes one
    _write_startup_probe(objects, wanted)


# -- start-up time ------------------------------------------------------------------------------


def _read_startup_seconds(objects: ServingObjects) -> int | None:
    """0 for no start-up probe; None where there is no endpoint either, and the first one may bring
    it."""
    if probe := as_mapping(objects.container, "startupProbe"):
        return startup_probe_seconds(probe)
    has_endpoint = any(_read(objects, one) for one in ("readinessProbe", "livenessProbe"))
    return 0 if has_endpoint else None


def startup_probe_seconds(probe: Mapping[str, Any]) -> int:
    """Seconds from a container's start to the last failure that its start-up probe, of any kind,
    allows; what is absent is the API's default (kubernetes pkg/apis/core/v1/defaults.go,
    SetDefaults_Probe)."""
    period = _positive(probe.get("periodSeconds")) or 10
    failures = _positive(probe.get("failureThreshold")) or 3
    return _positive(probe.get("initialDelaySeconds")) + period * failures


def _positive(value: object) -> int:
    """A positive 32-bit integer, as those of a probe are; 0 for anything else."""
    number = as_int(value) or 0
    return number if 0 < number < 2**31 else 0


def resolve_startup_seconds(
    objects: ServingObjects, before: SpecLike, wanted: SpecLike
) -> int | None:
    """The start-up time of an existing serving after a change from `before`; 0 or None for no
    start-up probe. What `wanted` leaves open stays, but goes with the last endpoint; the first
    endpoint of a serving of servedeck brings the default, so that the liveness probe waits for the
    model."""
    seconds, present = wanted.startup_seconds, before.startup_seconds
    path = startup_probe_path(wanted)
    is_first = bool(path) and not startup_probe_path(before)
    if seconds is None and present:
        return present if path or _is_other_kind(objects, "startupProbe") else 0
    if not (seconds or present) and not (is_first and objects.is_managed):
        return present  # there is none, and none is added
    return DEFAULT_STARTUP_SECONDS if seconds is None else seconds


def _write_startup_seconds(
    objects: ServingObjects, current: SpecLike | None, wanted: SpecLike
) -> None:
    container = objects.writable_container
    path = startup_probe_path(wanted)
    seconds = wanted.startup_seconds
    if current is None and seconds is None and path:
        seconds = DEFAULT_STARTUP_SECONDS
    if not seconds:
        container.pop("startupProbe", None)
        return
    if not as_mapping(container, "startupProbe"):
        if not path:
            return
        container["startupProbe"] = build_http_probe(
            path,
            server_target(objects, wanted),
            STARTUP_PERIOD_SECONDS,
            STARTUP_FAILURE_THRESHOLD,
        )
    _set_startup_seconds(container["startupProbe"], seconds)
    if current is not None and objects.is_managed:
        _raise_progress_deadline(objects, current, wanted)


def _set_startup_seconds(probe: JsonObject, seconds: int) -> None:
    """Change the number of failures, and the period only where it does not divide the time."""
    delay = _positive(probe.get("initialDelaySeconds"))
    if delay >= seconds:
        del probe["initialDelaySeconds"]
        delay = 0
    period = _positive(probe.get("periodSeconds")) or STARTUP_PERIOD_SECONDS
    rest = seconds - delay
    period = next(one for one in (period, STARTUP_PERIOD_SECONDS, 5, 1) if rest % one == 0)
    probe["periodSeconds"] = period
    probe["failureThreshold"] = rest // period


def progress_deadline_seconds(spec: SpecLike) -> int:
    """progressDeadlineSeconds of a new serving: start-up and half an hour for scheduling and the
    image, at least an hour. With the Deployment's default of 10 minutes the rollout of a model that
    is still loading would fail."""
    return max(spec.startup_seconds or 0, DEFAULT_STARTUP_SECONDS) + _PULL_SECONDS


def _raise_progress_deadline(objects: ServingObjects, current: SpecLike, wanted: SpecLike) -> None:
    """A rollout must not fail before the start-up probe does. A deadline that somebody else has
    set stays if it is long enough."""
    body = child_mapping(objects.deployment, "spec")
    present = as_int(body.get("progressDeadlineSeconds")) or 600
    needed = progress_deadline_seconds(wanted)
    if present < needed or present == progress_deadline_seconds(current):
        body["progressDeadlineSeconds"] = needed


# -- writing ------------------------------------------------------------------------------------


def _write(
    objects: ServingObjects, probe: str, path: str, wanted: SpecLike, *, period: int, failures: int
) -> None:
    container = objects.writable_container
    present = as_mapping(container, probe)
    if not path:
        container.pop(probe, None)
    elif target := as_mapping(present, "httpGet"):
        target["path"] = path  # type: ignore[index]
    else:
        built = build_http_probe(path, server_target(objects, wanted), period, failures)
        # of a probe of another kind, the times stay, also those that it leaves to the API server
        kept = {key: value for key, value in present.items() if key not in (*HANDLERS, "exec")}
        container[probe] = {"httpGet": built["httpGet"], **kept} if present else built


def build_http_probe(path: str, port: str | int, period: int, failures: int) -> JsonObject:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


READINESS_PATH = FieldAccess(lambda objects: _read(objects, "readinessProbe"), _write_readiness)
LIVENESS_PATH = FieldAccess(lambda objects: _read(objects, "livenessProbe"), _write_liveness)
STARTUP_PATH = FieldAccess(_read_startup_path, _write_own_startup_path)
STARTUP_SECONDS = FieldAccess(_read_startup_seconds, _write_startup_seconds)
