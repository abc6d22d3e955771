"""HTTP paths of the readiness and liveness probes."""

from __future__ import annotations

from servedeck.serving.spec.mapping.container_ports import HANDLERS
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.spec.mapping.ports import server_target
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates.base import SpecLike

STARTUP_PERIOD_SECONDS = 10
STARTUP_FAILURE_THRESHOLD = 180
"""30 minutes to load the model, for large ones; the liveness probe starts after that."""


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
    """The startup probe protects the liveness probe, or the readiness probe if there is none."""
    return spec.effective_liveness_path or spec.effective_readiness_path


def _write_readiness(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    if _is_other_kind(objects, "readinessProbe") and wanted.readiness_path is None:
        return
    path = wanted.effective_readiness_path
    _write(objects, "readinessProbe", path, wanted, period=5, failures=3)
    _write_startup(objects, current, wanted)


def _write_liveness(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    if _is_other_kind(objects, "livenessProbe") and wanted.liveness_path is None:
        return
    path = wanted.effective_liveness_path
    _write(objects, "livenessProbe", path, wanted, period=10, failures=6)
    _write_startup(objects, current, wanted)


def _write_startup(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    """The startup probe follows the others where it did before. In a serving that servedeck did not
    create, none is added."""
    present = as_mapping(objects.container, "startupProbe", "httpGet").get("path") or ""
    if current is not None:
        follows = present == startup_probe_path(current)
        if not follows or not (present or objects.is_managed):
            return
    _write(
        objects,
        "startupProbe",
        startup_probe_path(wanted),
        wanted,
        period=STARTUP_PERIOD_SECONDS,
        failures=STARTUP_FAILURE_THRESHOLD,
    )


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
        # of a probe of another kind, the delays and limits stay
        kept = {key: value for key, value in present.items() if key not in (*HANDLERS, "exec")}
        container[probe] = {**built, **kept}


def build_http_probe(path: str, port: str | int, period: int, failures: int) -> JsonObject:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


READINESS_PATH = FieldAccess(lambda objects: _read(objects, "readinessProbe"), _write_readiness)
LIVENESS_PATH = FieldAccess(lambda objects: _read(objects, "livenessProbe"), _write_liveness)
