"""The cards of a serving's settings: inference server, auto scaling, traffic, transformer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from servedeck.changes.async_queue.state import why_not_available
from servedeck.changes.form_fields import applies
from servedeck.changes.load_balancing_checks import rules_to_pool
from servedeck.changes.setting_checks import NO_CONTROLLER, check_settings
from servedeck.detail.cards import Card, CardRow
from servedeck.detail.overview import endpoint_text, transformer_rows
from servedeck.detail.settings_watch import ServingSettings
from servedeck.serving.async_limits import LIMITS, summarize_limits, value_of
from servedeck.serving.conventions import FIELD_MANAGER
from servedeck.serving.objects.async_gateway import (
    SETTINGS_KEY,
    find_settings_problems,
    read_async_settings,
)
from servedeck.serving.objects.owners import find_gitops_owner
from servedeck.serving.objects.probe_text import PROBES_BY_FIELD
from servedeck.serving.objects.traffic_split import TrafficRule
from servedeck.serving.spec import load_balancing, scaling, temperature_policy
from servedeck.serving.spec.choice_details import choice_detail
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.mapping.auto_scaling import HPA_KIND, SCALED_OBJECT_KIND, find_scaler
from servedeck.serving.spec.mapping.inference_pools import own_pools, picker_text, pool_backends
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.spec.mapping.load_balancing import find_policy
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.mapping.system_volumes import cache_path, read_shared_memory
from servedeck.serving.spec.pod_settings import POD_SETTINGS
from servedeck.serving.spec.spec import FIELDS, Section, ServingSpec
from servedeck.serving.temperature import (
    TEMPERATURE_ANNOTATION,
    TemperaturePolicyError,
    parse_policy,
)
from servedeck.serving.text import one_line, sanitize

_UNREAD = "settings that cannot be read"
"""Of an async queue, in place of its limits."""

CARD_TITLES = {
    "server": "Inference Server",
    "scaling": "Auto Scaling",
    "traffic": "Traffic Management",
    "queue": "Async Queue",
    "transformer": "Transformer",
}
"""In their order."""
QUEUE_ROW, SPLIT_ROW = "async_queue", "traffic_split"
"""Keys of rows that have a dialog of their own."""

_SERVER_FIELDS = tuple(
    name
    for name in (
        "replicas",
        "readiness_path",
        "liveness_path",
        "startup_path",
        "startup_seconds",
        "rollout",
        *POD_SETTINGS,
    )
    if name in FIELDS
)
_TARGET_FIELDS = frozenset({"f:scaleTargetRef", "f:host", "f:targetRef", "f:targetRefs"})
"""Fields of autoscalers and policies that say what they are for, in managedFields."""


@dataclass(frozen=True, slots=True)
class KeyHints:
    """Keys as they are shown; "" where the action is not possible."""

    queue: str = ""
    """Turns the async queue on."""
    split: str = ""
    """Shows the division of the requests."""
    limits: str = ""
    """Changes the limits of the async queue."""


def settings_cards(
    settings: ServingSettings, now: datetime, hints: KeyHints | None = None
) -> tuple[Card, ...]:
    """The cards; each row has the name of its field as key, where it is one of a serving. `now` is
    the time of the cluster."""
    hints = hints or KeyHints()
    cards = {
        "server": _server_rows(settings),
        "scaling": _scaling_rows(settings),
        "traffic": _traffic_rows(settings, now, hints),
        "queue": _queue_rows(settings),
        "transformer": _transformer_rows(settings),
    }
    return tuple(
        Card(key, CARD_TITLES[key], rows)
        for key, found in cards.items()
        if (rows := tuple(found)) or key != "queue"
    )


def edited_path(card: str, row: str) -> str:
    """Path of the field of the edit form that a row shows; "" if it shows none."""
    if card == "transformer":
        is_field = any(one.name == row for one in FIELDS["transformer"].inputs)
        return f"transformer.{row}" if is_field else "transformer.env"
    return row if row in FIELDS else ""


# -- the inference server -----------------------------------------------------------------------


def _server_rows(settings: ServingSettings) -> Iterator[CardRow]:
    spec = settings.imported.spec
    scaler = find_scaler(settings.imported.objects)
    for name in _SERVER_FIELDS:
        row = _field_row(spec, name)
        if name == "replicas" and scaler is not None:
            row = replace(row, note=f"set by {_title(scaler)}")
        elif name in PROBES_BY_FIELD:
            none = "" if name == "startup_path" else "none"  # it is that of another probe
            row = replace(row, value=endpoint_text(settings.imported, name) or none)
        elif name == "startup_seconds":
            row = replace(row, value=format_value(getattr(spec, name) or None))
        elif name == "shared_memory":
            row = replace(row, value=format_value(read_shared_memory(settings.imported.objects)))
        elif name == "model_cache_path":
            row = replace(row, value=one_line(sanitize(cache_path(settings.imported.objects))))
        if row.value or name not in ("rollout", "startup_path", *POD_SETTINGS):
            yield row


# -- auto scaling -------------------------------------------------------------------------------


def _scaling_rows(settings: ServingSettings) -> Iterator[CardRow]:
    objects, spec = settings.imported.objects, settings.imported.spec
    if (scaler := find_scaler(objects)) is None:
        yield _switch_row(settings, "auto_scaling", _scaling_obstacle(settings))
        return
    kind = spec.auto_scaling
    row = _field_row(spec, "auto_scaling")
    if kind in scaling.TRIGGERS:
        yield replace(row, note=choice_detail("auto_scaling", kind))
    else:
        yield replace(row, value=_title(scaler), note=_made_by(scaler))
        yield CardRow(
            "kept_metrics",
            "Metrics",
            "Shown below, and kept. Only Min Replicas, Max Replicas and Scale-in Delay can be "
            "changed here.",
            style_name="muted",
            is_sentence=True,
        )
    yield from _field_rows(spec, Section.AUTO_SCALING)
    if len(objects.scalers) > 1:
        yield _warning_row("scalers", "Conflict", _scaling_obstacle(settings))
    yield from _owner_rows("scaler_owner", scaler)


def _scaling_obstacle(settings: ServingSettings) -> str:
    """Why auto scaling cannot be turned on, or is not known, in a sentence; "" if it can."""
    for kind in (SCALED_OBJECT_KIND, HPA_KIND):
        if missing := settings.unlisted.get(kind):
            return one_line(missing)
    if not settings.is_complete or settings.has_keda is None:
        return ""
    objects, spec = settings.imported.objects, settings.imported.spec
    # Where Prometheus is, is looked up only for a plan.
    known = replace(objects, engines=replace(objects.engines, prometheus_url="-"))
    wanted = next(one for one in scaling.TRIGGERS if one != spec.auto_scaling)
    return _first_error(known, spec, spec.replace(auto_scaling=wanted), "auto_scaling")


# -- traffic ------------------------------------------------------------------------------------


def _traffic_rows(settings: ServingSettings, now: datetime, hints: KeyHints) -> Iterator[CardRow]:
    yield from _load_balancing_rows(settings)
    yield from _temperature_rows(settings, now)
    yield from _queue_switch_rows(settings, hints)
    yield from _split_rows(settings, hints)
    for kind, text in settings.unlisted.items():
        if kind not in (SCALED_OBJECT_KIND, HPA_KIND):
            yield _warning_row(f"unlisted.{kind}", "Permission", text)


def _load_balancing_rows(settings: ServingSettings) -> Iterator[CardRow]:
    objects, spec = settings.imported.objects, settings.imported.spec
    policy = find_policy(objects)
    if spec.load_balancing == load_balancing.OFF:
        yield _switch_row(settings, "load_balancing", _balancing_obstacle(settings))
    elif spec.load_balancing == load_balancing.CUSTOM and policy is not None:
        made_by = _made_by(policy)
        yield replace(
            _field_row(spec, "load_balancing"),
            value=f"settings of {_title(policy)}",
            note=made_by,
        )
    else:
        note = choice_detail("load_balancing", spec.load_balancing)
        yield replace(_field_row(spec, "load_balancing"), note=note)
    if applies("load_balancing_header", _switches(spec)):
        yield _field_row(spec, "load_balancing_header")
    for pool in own_pools(objects):
        if backends := pool_backends(objects.routes, [pool]):
            value = rules_to_pool(objects, pool) or _title(pool)
            yield CardRow("pool", "Pool", value, note=picker_text(pool))
            yield from _owner_rows("route_owner", backends[0].route)
            break
    if policy is not None:
        yield from _owner_rows("policy_owner", policy)


def _balancing_obstacle(settings: ServingSettings) -> str:
    if not settings.is_complete:
        return ""
    objects, spec = settings.imported.objects, settings.imported.spec
    first, *found = (
        _first_error(
            objects,
            spec,
            spec.replace(load_balancing=one),
            "load_balancing",
            settings.unlisted,
        )
        for one in (load_balancing.ROUND_ROBIN, load_balancing.PREFIX_AWARE)
    )
    return first if all(found) else ""


def _temperature_rows(settings: ServingSettings, now: datetime) -> Iterator[CardRow]:
    spec = settings.imported.spec
    has_controller = settings.has_controller(now)
    if spec.temperature_policy == temperature_policy.OFF:
        obstacle = NO_CONTROLLER if has_controller is False else ""
        yield _switch_row(settings, "temperature_policy", obstacle)
        if problem := _annotation_problem(settings.workload):
            yield _warning_row("temperature_annotation", "Annotation", problem)
        return
    note = choice_detail("temperature_policy", spec.temperature_policy)
    yield replace(_field_row(spec, "temperature_policy"), note=note)
    yield from (
        _field_row(spec, name)
        for name in temperature_policy.TEMPERATURE_FIELDS[1:]
        if applies(name, _switches(spec))
    )
    if has_controller is False:
        yield _warning_row("controller", "Controller", NO_CONTROLLER)


def _annotation_problem(workload: JsonObject) -> str:
    """What is wrong with the policy of the annotation, in a sentence; "" for nothing."""
    annotations = as_mapping(workload, "metadata", "annotations")
    try:
        parse_policy(as_str(annotations.get(TEMPERATURE_ANNOTATION)))
    except TemperaturePolicyError as error:
        return f"{str(error).rstrip('.')} (annotation {TEMPERATURE_ANNOTATION})."
    return ""


def _queue_switch_rows(settings: ServingSettings, hints: KeyHints) -> Iterator[CardRow]:
    gateway = settings.gateway
    if gateway is None:
        note = f"{hints.queue} turns it on" if hints.queue else ""
        yield CardRow(QUEUE_ROW, "Async Queue", "off", note=note)
        return
    limits, note = "on", _title(gateway)
    if (config_map := settings.gateway_settings) is not None:
        is_known = not find_settings_problems(config_map)
        text = summarize_limits(read_async_settings(config_map)) if is_known else _UNREAD
        limits = f"on: {text}"
    if hints.limits:
        note = f"{note}, {hints.limits} changes the limits"
    yield CardRow(QUEUE_ROW, "Async Queue", limits, note=note, is_sentence=True)
    if problem := why_not_available(gateway):
        yield _warning_row("gateway", "Gateway", problem)


def _queue_rows(settings: ServingSettings) -> Iterator[CardRow]:
    """The settings of the gateway; none without one."""
    if settings.gateway is None:
        return
    if settings.gateway_settings is None:
        yield _warning_row("queue_settings", "Settings", "Its ConfigMap is missing or hidden.")
        return
    problems = find_settings_problems(settings.gateway_settings)
    if SETTINGS_KEY in problems:
        yield _warning_row("queue_settings", "Settings", problems[SETTINGS_KEY])
        return
    read = read_async_settings(settings.gateway_settings)
    for one in LIMITS.values():
        if problem := problems.get(one.name):
            yield _warning_row(one.name, one.label, problem)
            continue
        yield CardRow(one.name, one.label, one.format(value_of(read, one.name)), note=one.meaning)


def _split_rows(settings: ServingSettings, hints: KeyHints) -> Iterator[CardRow]:
    traffic = settings.traffic
    note = f"{hints.split} changes it" if hints.split else ""
    divided = [one.rule for one in traffic.rules if len(one.rule.backends) > 1]
    shown: list[TrafficRule] = divided or list(traffic.received)
    if shown:
        yield CardRow(SPLIT_ROW, "Traffic Split", shown[0].shares, note=note)
        others = [one for one in shown[1:] if one.shares != shown[0].shares]
        for at, one in enumerate(others):
            yield CardRow(f"{SPLIT_ROW}{at}", "", f"{one.shares} of {one.label}")
    elif traffic.problem and settings.is_complete:
        yield _unavailable_row(SPLIT_ROW, "Traffic Split", traffic.problem)
    else:
        yield CardRow(SPLIT_ROW, "Traffic Split", "off", note=note)
    for at, text in enumerate(traffic.conditions):
        yield _warning_row(f"route{at}", "Route", text)


# -- the transformer ----------------------------------------------------------------------------


def _transformer_rows(settings: ServingSettings) -> Iterator[CardRow]:
    imported = settings.imported
    if imported.spec.transformer is None:
        yield CardRow("image", "Image", note="no transformer")
        return
    yield from transformer_rows(imported.spec, imported.objects.transformer)


# -- rows ---------------------------------------------------------------------------------------


def _field_row(spec: ServingSpec, name: str) -> CardRow:
    value = one_line(sanitize(format_value(getattr(spec, name))))
    return CardRow(name, FIELDS[name].label, value)


def _field_rows(spec: ServingSpec, section: Section) -> Iterator[CardRow]:
    """The fields of a section that apply, but for the switch, which is the first one."""
    names = [name for name, one in FIELDS.items() if one.section is section]
    return (_field_row(spec, name) for name in names[1:] if applies(name, _switches(spec)))


def _switches(spec: ServingSpec) -> Mapping[str, str]:
    return {
        "auto_scaling": spec.auto_scaling,
        "load_balancing": spec.load_balancing,
        "temperature_policy": spec.temperature_policy,
    }


def _switch_row(settings: ServingSettings, name: str, obstacle: str) -> CardRow:
    """A setting that is off, or why it cannot be turned on."""
    if obstacle:
        return _unavailable_row(name, FIELDS[name].label, obstacle)
    return _field_row(settings.imported.spec, name)


def _unavailable_row(key: str, label: str, reason: str) -> CardRow:
    return CardRow(key, label, f"not available: {reason}", style_name="muted", is_sentence=True)


def _warning_row(key: str, label: str, text: str) -> CardRow:
    return CardRow(key, label, text, style_name="warning", is_sentence=True)


def _owner_rows(key: str, obj: JsonObject) -> Iterator[CardRow]:
    """Who takes a change of the object back."""
    if (owner := find_gitops_owner(obj)) is not None:
        yield _warning_row(key, "Managed by", owner.revert_warning)


def _made_by(obj: JsonObject) -> str:
    """ "made by kubectl-client-side-apply"; "" if nobody has left a name. That is the manager of
    what the object is for: the first entry is not the oldest one, as the API server sorts those of
    apply before all others (apimachinery pkg/util/managedfields, sortEncodedManagedFields)."""
    if (owner := find_gitops_owner(obj)) is not None:
        return f"made by {owner.name}"
    entries = [
        one
        for one in mappings(as_mapping(obj, "metadata").get("managedFields"))
        if not one.get("subresource") and one.get("manager")
    ]
    makers = [
        one for one in entries if _TARGET_FIELDS & as_mapping(one, "fieldsV1", "f:spec").keys()
    ]
    names = [as_str(one.get("manager")) for one in makers or entries]
    found = next((one for one in names if one != FIELD_MANAGER), next(iter(names), ""))
    return one_line(sanitize(f"made by {found}")) if found else ""


def _title(obj: Mapping[str, Any]) -> str:
    name = as_str(as_mapping(obj, "metadata").get("name"))
    return one_line(sanitize(f"{as_str(obj.get('kind'))} {name}"))


def _first_error(
    objects: ServingObjects,
    before: ServingSpec,
    wanted: ServingSpec,
    field: str,
    unlisted: Collection[str] = (),
) -> str:
    found = errors(list(check_settings(objects, before, wanted, unlisted)))
    return next((one.message for one in found if one.field == field), "")
