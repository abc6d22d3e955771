"""The cards of a serving's Overview, from its view and its workload."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from servedeck.detail.cards import Card, CardRow, SecretRef
from servedeck.detail.workload_rows import workload_rows
from servedeck.detail.workloads import as_deployment
from servedeck.fleet.views import ServingView
from servedeck.serving.accelerators import accelerator_display_name
from servedeck.serving.conventions import TRANSFORMER_CONTAINER
from servedeck.serving.objects.detection import CUSTOM_TEMPLATE
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.manifests import system_volumes
from servedeck.serving.objects.probe_text import PROBES_BY_FIELD, other_probe_text
from servedeck.serving.spec.env_file import contains_secret, looks_secret
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.text import format_count

CARD_TITLES = {
    "basic": "Basic Information",
    "container": "Container",
    "resources": "Resources",
    "command": "Command & Arguments",
    "env": "Environment Variables",
    "volumes": "Volumes",
    "transformer": "Transformer",
}
"""The cards with the serving's settings, in their order."""

_MAX_UNMANAGED_LENGTH = 1000
"""Of the value of a field that no card shows, in cells."""


def status_rows(
    view: ServingView, since: str = "", capacity: str = "", recovery: str = ""
) -> tuple[CardRow, ...]:
    """The card Status: what holds for the serving now. `since` says since when, and what changed
    before; `capacity` says where a Pod that is not scheduled would fit; `recovery` replaces the
    recovery step of the view."""
    ready = f"{view.ready}/{view.desired}"
    if view.failing:
        ready += f", {view.failing} failing"
    health = f"{view.status.glyph} {view.status.value}"
    if view.reason:
        health += f": {view.reason}"
    style_name = view.status.name.lower().replace("_", "-")
    rows = [
        CardRow("ready", "Ready Replicas", ready, note=view.rollout),
        CardRow("health", "Health", health, style_name=style_name),
    ]
    if view.message:
        rows.append(CardRow("reason", "Reason", view.message, style_name="strong"))
    if capacity:
        rows.append(CardRow("capacity", "Free Capacity", capacity))
    if since:
        rows.append(CardRow("since", "Since", since))
    if view.rollout_message:
        rows.append(
            CardRow("rollout_message", "Rollout", view.rollout_message, style_name="warning")
        )
    if step := recovery or view.recovery:
        rows.append(CardRow("recovery", "Recovery", step, style_name="accent"))
    rows.append(CardRow("autoscaler", "Auto Scaling", view.autoscaler or "off"))
    rows.append(CardRow("created", "Created", time=view.created))
    return tuple(rows)


def setting_cards(
    view: ServingView, workload: JsonObject | None, *, adopt_hint: str = ""
) -> tuple[Card, ...]:
    """The cards with the serving's settings. Without its workload (not read yet, or not allowed)
    they have what the list knows. `adopt_hint` says how to adopt it, where that is possible."""
    note = "" if view.owner or view.readonly_reason else adopt_hint
    if view.is_adopted:
        note = "adopted by servedeck"
    if workload is None:
        return tuple(_cards_from_view(view, note))
    imported = import_objects([as_deployment(workload)])
    cards = _cards_from_deployment(view, workload, imported, note)
    return tuple(
        card
        for card in cards
        if card.rows or view.key.is_deployment or card.key not in ("command", "transformer")
    )


def _cards_from_view(view: ServingView, origin_note: str) -> Iterator[Card]:
    yield Card(
        "basic",
        CARD_TITLES["basic"],
        (
            *_kind_rows(view),
            CardRow("name", "Service Name", view.key.name),
            CardRow("namespace", "Namespace", view.key.namespace),
            CardRow("description", "Description", view.description),
            CardRow("template", "Service Template", view.template),
            *_origin_rows(view, None, origin_note),
        ),
    )
    yield Card("container", CARD_TITLES["container"], (CardRow("image", "Image", view.image),))
    rows = []
    if view.accelerator:
        rows += [
            CardRow("accelerator", "Accelerator", view.accelerator),
            CardRow("accelerator_count", "Accelerator Count", str(view.accelerator_count)),
        ]
    rows.append(CardRow("replicas", "Replicas", str(view.desired)))
    yield Card("resources", CARD_TITLES["resources"], tuple(rows))


def _cards_from_deployment(
    view: ServingView, workload: JsonObject, imported: ImportedServing, origin_note: str
) -> Iterator[Card]:
    spec, objects = imported.spec, imported.objects
    rows = tuple(_basic_rows(view, workload, imported, origin_note))
    yield Card("basic", CARD_TITLES["basic"], rows)
    if rows := tuple(workload_rows(workload)):
        yield Card("workload", view.kind, rows)
    yield Card("container", CARD_TITLES["container"], tuple(_container_rows(imported)))
    yield Card("resources", CARD_TITLES["resources"], tuple(_resource_rows(spec)))
    yield Card("command", CARD_TITLES["command"], tuple(_command_rows(spec, objects.container)))
    yield Card(
        "env",
        CARD_TITLES["env"],
        tuple(_env_rows(objects.container)),
        "No environment variables.",
    )
    yield Card(
        "volumes",
        CARD_TITLES["volumes"],
        tuple(_volume_rows(imported)),
        "No volumes are mounted.",
    )
    yield Card(
        "transformer",
        CARD_TITLES["transformer"],
        tuple(transformer_rows(spec, objects.transformer)),
        "No transformer.",
    )


# -- the cards --------------------------------------------------------------------------------


def _kind_rows(view: ServingView) -> Iterator[CardRow]:
    if not view.key.is_deployment:
        yield CardRow("kind", "Kind", view.kind, note="shown read-only")


def _origin_rows(
    view: ServingView, workload: JsonObject | None, origin_note: str
) -> Iterator[CardRow]:
    """Who made it and who reverts changes of it, and what could not be read. `origin_note` says
    whether another tool's Deployment is adopted, or how to adopt it."""
    if view.owner:
        yield CardRow("owner", "Owner", view.owner, note="its controller reverts changes")
    metadata = as_mapping(workload, "metadata")
    release = as_str(as_mapping(metadata, "annotations").get(_HELM_RELEASE))
    manager = as_str(as_mapping(metadata, "labels").get("app.kubernetes.io/managed-by"))
    if release or not view.managed:
        name = f"Helm release {release}" if release else manager or "another tool"
        if not (release or origin_note):
            name += ", not servedeck"
        note = "" if view.managed else origin_note
        yield CardRow("origin", "Created by", name, style_name="muted", note=note)
    if view.managed:
        return
    unknown = []
    if view.template == CUSTOM_TEMPLATE:
        unknown.append("which inference server it runs")
    if not view.model:
        unknown.append("its model")
    if unknown:
        yield CardRow("unknown", "Not recognized", " and ".join(unknown), style_name="warning")


_HELM_RELEASE = "meta.helm.sh/release-name"


def _basic_rows(
    view: ServingView, workload: JsonObject, imported: ImportedServing, origin_note: str
) -> Iterator[CardRow]:
    spec = imported.spec
    yield from _kind_rows(view)
    for name in ("name", "namespace", "description"):
        yield _field_row(spec, name)
    for name in ("objectives", "revision_of"):
        if getattr(spec, name):
            yield _field_row(spec, name)
    yield CardRow("template", FIELDS["template"].label, view.template)
    yield from _origin_rows(view, workload, origin_note)
    if imported.unmanaged_fields:
        count = format_count(len(imported.unmanaged_fields), "field")
        yield CardRow(
            "unmanaged",
            "Other settings",
            f"{count} that the cards do not show",
            whole_value="\n".join(
                one.describe(_MAX_UNMANAGED_LENGTH) for one in imported.unmanaged_fields
            ),
            style_name="muted",
        )


def endpoint_text(imported: ImportedServing, field: str) -> str:
    """The path that a probe asks, or what it does in place of that; "" without a probe."""
    spec = imported.spec
    paths = {
        "readiness_path": spec.effective_readiness_path,
        "liveness_path": spec.effective_liveness_path,
        "startup_path": spec.startup_path,
    }
    return other_probe_text(imported.objects.container, field) or paths[field]


def _container_rows(imported: ImportedServing) -> Iterator[CardRow]:
    spec, objects = imported.spec, imported.objects
    yield CardRow("container", "Container", as_str(objects.container.get("name")))
    yield _field_row(spec, "image")
    yield _field_row(spec, "inference_port")
    for name in PROBES_BY_FIELD:
        text = endpoint_text(imported, name)
        if text or name != "startup_path":  # it is that of another probe
            yield CardRow(name, FIELDS[name].label, text)
    yield CardRow(
        "startup_seconds",
        FIELDS["startup_seconds"].label,
        format_value(spec.startup_seconds or None),
    )
    init = mappings(objects.pod_spec.get("initContainers"))
    others = [
        one
        for at, one in enumerate(objects.containers)
        if at != objects.container_index and one.get("name") != TRANSFORMER_CONTAINER
    ]
    for label, containers in (("Sidecar", others), ("Init Container", init)):
        for one in containers:
            name = as_str(one.get("name"))
            is_sidecar = one.get("restartPolicy") == "Always"
            yield CardRow(
                f"{label}.{name}",
                "Sidecar" if is_sidecar else label,
                name,
                note=as_str(one.get("image")),
            )


def _resource_rows(spec: ServingSpec) -> Iterator[CardRow]:
    for name in ("cpu", "cpu_limit", "memory", "memory_limit"):
        if getattr(spec, name) is not None or name in ("cpu", "memory"):
            yield _quantity_row(spec, name)
    label = FIELDS["accelerator"].label
    if spec.accelerator:
        name = accelerator_display_name(spec.accelerator)
        note = spec.accelerator if name != spec.accelerator else ""
        yield CardRow("accelerator", label, name, note=note)
        yield _field_row(spec, "accelerator_count")
    else:
        yield CardRow("accelerator", label, "None")
    yield _field_row(spec, "replicas")
    if spec.rollout:
        yield _field_row(spec, "rollout")


def _command_rows(spec: ServingSpec, container: Mapping[str, Any]) -> Iterator[CardRow]:
    for field in spec.template_definition.fields:
        value = format_value(spec.settings.get(field.name))
        if value:
            is_default = spec.settings.get(field.name) == field.default
            yield CardRow(
                f"settings.{field.name}", field.label, value, note="default" if is_default else ""
            )
    for key, label in (("command", "Command"), ("args", "Arguments")):
        words = container.get(key)
        if isinstance(words, list) and words:
            text = shlex.join(map(str, words))
            yield CardRow(key, label, text, looks_secret=contains_secret(text))
        elif key == "command":
            yield CardRow(key, label, "", note="the image's own")


def _env_rows(container: Mapping[str, Any], prefix: str = "") -> Iterator[CardRow]:
    """A row is identified by the name of its variable and by its Secret, not by its position: a
    value that is shown must stay masked elsewhere when the list changes. No name has a "="."""
    for at, one in enumerate(mappings(container.get("envFrom"))):
        for kind in ("secretRef", "configMapRef"):
            if kind in one:
                noun = "Secret" if kind == "secretRef" else "ConfigMap"
                name = as_str(as_mapping(one, kind).get("name"))
                yield CardRow(
                    f"{prefix}=from{at}",
                    f"every key of {noun}",
                    name,
                    note=as_str(one.get("prefix")),
                )
    known: set[str] = set()
    for at, one in enumerate(mappings(container.get("env"))):
        row = _env_row(one, prefix)
        if row.key in known:  # a variable that is defined twice; the last one holds
            row = replace(row, key=f"{row.key}={at}")
        known.add(row.key)
        yield row


def _env_row(variable: Mapping[str, Any], prefix: str) -> CardRow:
    name = as_str(variable.get("name"))
    key = prefix + name
    source = as_mapping(variable, "valueFrom")
    if not source:
        value = as_str(variable.get("value"))
        return CardRow(key, name, value, looks_secret=looks_secret(name, value))
    secret, config_map = as_mapping(source, "secretKeyRef"), as_mapping(source, "configMapKeyRef")
    if secret:
        ref = SecretRef(as_str(secret.get("name")), as_str(secret.get("key")))
        optional = ", optional" if secret.get("optional") is True else ""
        note = f"Secret {ref.name}, key {ref.key}{optional}"
        return CardRow(f"{key}={ref.name}/{ref.key}", name, note=note, secret=ref)
    if config_map:
        where = f"{as_str(config_map.get('name'))}, key {as_str(config_map.get('key'))}"
        return CardRow(key, name, note=f"ConfigMap {where}")
    field = as_mapping(source, "fieldRef")
    if field:
        return CardRow(key, name, note=f"field {as_str(field.get('fieldPath'))} of the Pod")
    resource = as_mapping(source, "resourceFieldRef")
    return CardRow(key, name, note=f"{as_str(resource.get('resource')) or 'unknown source'}")


def _volume_rows(imported: ImportedServing) -> Iterator[CardRow]:
    objects = imported.objects
    volumes = {as_str(one.get("name")): one for one in mappings(objects.pod_spec.get("volumes"))}
    system = {one.name for one in system_volumes(imported.spec, imported.platform)}
    for at, mount in enumerate(mappings(objects.container.get("volumeMounts"))):
        name = as_str(mount.get("name"))
        notes = [as_str(mount.get("mountPath"))]
        if sub_path := as_str(mount.get("subPath")):
            notes.append(f"subPath {sub_path}")
        if mount.get("readOnly") is True:
            notes.append("read-only")
        if name in system:
            notes.append("system default")
        volume = volumes.get(name, {})
        yield CardRow(f"{at}", name, describe_volume(volume), note=", ".join(filter(None, notes)))


def describe_volume(volume: Mapping[str, Any]) -> str:
    """The volume's source: "PVC datasets", "emptyDir Memory 1Gi"."""
    claim = as_mapping(volume, "persistentVolumeClaim")
    if claim:
        return f"PVC {as_str(claim.get('claimName'))}"
    empty = as_mapping(volume, "emptyDir")
    if "emptyDir" in volume:
        medium, limit = as_str(empty.get("medium")), as_str(empty.get("sizeLimit"))
        return " ".join(filter(None, ("emptyDir", medium, limit and f"up to {limit}")))
    for kind, noun, key in (
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", "secretName"),
        ("hostPath", "hostPath", "path"),
        ("nfs", "NFS", "server"),
        ("csi", "CSI", "driver"),
    ):
        source = as_mapping(volume, kind)
        if source:
            return f"{noun} {as_str(source.get(key))}"
    return next((key for key in volume if key != "name"), "")


def transformer_rows(spec: ServingSpec, container: Mapping[str, Any]) -> Iterator[CardRow]:
    """Its image, port, requests, command and variables; none without one."""
    transformer = spec.transformer
    if transformer is None:
        return
    yield CardRow("image", "Image", transformer.image)
    port = "" if transformer.port is None else str(transformer.port)
    yield CardRow("port", "Port", port)
    for name, label in (("cpu", "CPU"), ("memory", "Memory")):
        amount = format_value(getattr(transformer, name))
        yield CardRow(name, label, amount, note="" if amount else "no request")
    yield CardRow("command", "Command", format_value(transformer.command))
    yield from _env_rows(container, "env.")


def _quantity_row(spec: ServingSpec, name: str) -> CardRow:
    """The amount; a limit of 0 in a spec means that the container has none."""
    value = getattr(spec, name)
    if name.endswith("_limit") and value is not None and not value.value:
        return CardRow(name, FIELDS[name].label, note="no limit")
    return _field_row(spec, name)


def _field_row(spec: ServingSpec, name: str) -> CardRow:
    return CardRow(name, FIELDS[name].label, format_value(getattr(spec, name)))
