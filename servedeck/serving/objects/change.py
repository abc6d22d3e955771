"""The objects of an existing serving after an edit: only what the edit changes, in their own
shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from servedeck.serving.conventions import TEMPLATE_LABEL
from servedeck.serving.objects.change_checks import check_change
from servedeck.serving.objects.earlier_objects import (
    EarlierObject,
    find_lost_rules,
    restore_rules,
    with_earlier_objects,
)
from servedeck.serving.objects.import_objects import (
    ImportedServing,
    import_objects,
    read_spec,
)
from servedeck.serving.objects.missing_objects import RelatedObjects, build_missing_objects
from servedeck.serving.objects.port_checks import WrittenChange
from servedeck.serving.objects.probe_text import other_probe_text
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.objects.stopped_replicas import note_stopped_replicas
from servedeck.serving.spec.absent_defaults import find_asked_defaults
from servedeck.serving.spec.issues import Issue, error
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.mapping.auto_scaling import refresh_triggers
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.spec.mapping.pod_settings import resolve_tolerations
from servedeck.serving.spec.mapping.probes import resolve_startup_seconds
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.mapping.transformer import change_predictor_url, default_port
from servedeck.serving.spec.mapping.volumes import resize_shared_memory
from servedeck.serving.spec.pod_setting_rules import (
    validate_liveness_times,
    validate_readiness_times,
)
from servedeck.serving.spec.pod_settings import POD_SETTINGS
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.spec.temperature_policy import TEMPERATURE_FIELDS

_PROBE_PATHS = {"readiness_times": "readiness_path", "liveness_times": "liveness_path"}
"""The paths of the probes by the fields of their times."""


class ObjectKey(NamedTuple):
    """Kind and name of an object in the namespace of the serving."""

    kind: str
    name: str

    @classmethod
    def of(cls, obj: Mapping[str, object]) -> ObjectKey:
        return cls(as_str(obj.get("kind")), as_str(as_mapping(obj, "metadata").get("name")))


@dataclass(frozen=True, slots=True)
class ObjectChange:
    live: tuple[JsonObject, ...]
    """The objects as they are."""
    changed: tuple[JsonObject, ...]
    """The same objects in the same order as they are wanted, then those to create."""
    changed_fields: tuple[str, ...]
    """Names of the fields that differ."""
    issues: tuple[Issue, ...]
    """Fields that do not have their wanted value after the change, what it leaves dangling, and
    missing objects that are not created."""
    unchecked: tuple[str, ...] = ()
    """What is not known about missing objects, in sentences."""
    removed: frozenset[ObjectKey] = frozenset()
    """Those of the live objects that are deleted; in `changed` they are as they are."""

    @property
    def restarts_pods(self) -> bool:
        """Whether one of the changed fields is part of the Pods."""
        return any(FIELDS[name].restarts for name in self.changed_fields)


def change_objects(
    current: ImportedServing,
    wanted: ServingSpec,
    platform: PlatformSettings | None = None,
    related: RelatedObjects | None = None,
    *,
    create_missing: bool = True,
    unwritten: Mapping[str, JsonObject] | None = None,
    earlier: Sequence[EarlierObject] = (),
) -> ObjectChange:
    """The objects of `current` with the fields of `wanted` that differ. Without a difference they
    are unchanged, whoever made them; but the objects of `unwritten` (by uid), which an earlier save
    did not write, get all that differs from the Deployment given with each, and those of `earlier`
    are as they were before, save for what the fields of `wanted` say of them. `platform` is for the
    parts that a serving of servedeck lacks (a Service, a route): with `create_missing` they are
    created again unless `related` says why not."""
    before = _spec_with_template(current, wanted.template)
    wanted = resolve_open_fields(current, wanted)
    changed_fields = tuple(name for name in FIELDS if _differs(name, before, wanted))
    start = with_earlier_objects(current, wanted, earlier)
    objects = start.objects.copy()
    start_spec = _spec_with_template(start, wanted.template) if earlier else before
    written = set()
    for name in changed_fields:
        write = FIELDS[name].access.write
        if write not in written and _differs(name, start_spec, wanted):
            written.add(write)
            write(objects, start_spec, wanted)
    restore_rules(objects, current.objects, earlier)
    _finish_objects(objects, current, wanted, unwritten or {})
    if "replicas" in changed_fields:
        note_stopped_replicas(objects.deployment, before.replicas, wanted.replicas)
    issues: tuple[Issue, ...] = ()
    if changed_fields:
        resize_shared_memory(objects, before, wanted)
        if "template" in changed_fields:
            refresh_triggers(objects, wanted)
        change_predictor_url(objects, before, wanted)
        read = read_spec(replace(objects, template=wanted.template))
        change = WrittenChange(current.objects, objects, before, wanted, changed_fields, read)
        issues = tuple(check_change(change))
    lost = find_lost_rules(current.objects, earlier)
    issues = (*issues, *(error("load_balancing", one) for one in lost))
    live = tuple(current.objects.all)
    after = {ObjectKey.of(one): one for one in objects.all}
    kept = {ObjectKey.of(one) for one in live}
    changed = (
        *(after.get(ObjectKey.of(one), one) for one in live),
        *(one for key, one in after.items() if key not in kept),
    )
    removed = frozenset(kept - set(after))
    if not create_missing:
        return ObjectChange(live, changed, changed_fields, issues, removed=removed)
    missing = build_missing_objects(
        objects, wanted, platform or PlatformSettings(), related or RelatedObjects()
    )
    return ObjectChange(
        live,
        (*changed, *missing.objects),
        changed_fields,
        (*issues, *missing.issues),
        tuple(missing.unchecked),
        removed,
    )


def _finish_objects(
    objects: ServingObjects,
    current: ImportedServing,
    wanted: ServingSpec,
    unwritten: Mapping[str, JsonObject],
) -> None:
    """Change the unwritten objects from what fits the Deployment given with each to what fits the
    wanted spec: between the Deployment as it is now and the wanted spec there may be no difference
    left."""
    for uid, deployment in unwritten.items():
        others = current.objects.all[1:]
        before = import_objects((deployment, *others), current.objects.engines)
        change = change_objects(before, wanted, create_missing=False)
        changed = [one for one in change.changed if object_uid(one) == uid]
        for some in (objects.services, objects.routes, objects.scalers, objects.policies):
            some[:] = [changed[0] if changed and object_uid(one) == uid else one for one in some]


def object_uid(obj: Mapping[str, object]) -> str:
    """metadata.uid, "" for none."""
    return as_str(as_mapping(obj, "metadata").get("uid"))


def _spec_with_template(current: ImportedServing, template: str) -> ServingSpec:
    """The spec of the objects, read with the wanted template if they can be. Without a label the
    template is guessed: that another image is guessed differently is not another template."""
    objects = current.objects
    labels = (as_mapping(objects.metadata, "labels"), objects.pod_labels)
    if current.spec.template == template or any(TEMPLATE_LABEL in one for one in labels):
        return current.spec
    spec = read_spec(replace(objects, template=template))
    return spec if spec.template == template else current.spec


def resolve_open_fields(current: ImportedServing, wanted: ServingSpec) -> ServingSpec:
    """The wanted spec with the ports, the rollout and the start-up time that it leaves open: those
    of the existing serving, also if they are unknown, or the default of a new transformer or of the
    first endpoint; and with its auto scaling, load balancing and temperature policy, if nothing was
    given for them: a file that was written before them does not turn them off. All checks of a
    change need them."""
    before = _spec_with_template(current, wanted.template)
    if wanted.inference_port is None:
        wanted = wanted.replace(inference_port=before.inference_port)
    if not wanted.rollout:
        wanted = wanted.replace(rollout=before.rollout)
    for names in (SCALING_FIELDS, LOAD_BALANCING_FIELDS, TEMPERATURE_FIELDS, ("startup_path",)):
        if not wanted.model_fields_set.intersection(names):
            wanted = wanted.replace(**{one: getattr(before, one) for one in names})
    if wanted.startup_seconds == 0 and wanted.startup_path:
        wanted = wanted.replace(startup_path="")  # without the probe nothing asks it
    wanted = _resolve_pod_settings(current, before, wanted)
    startup_seconds = resolve_startup_seconds(current.objects, before, wanted)
    if startup_seconds != wanted.startup_seconds:
        wanted = wanted.replace(startup_seconds=startup_seconds)
    transformer = wanted.transformer
    if transformer is not None and before.transformer is not None:
        # What a file does not give for the transformer that there is stays as it is.
        left_open = {"cpu", "memory"} - transformer.model_fields_set
        kept = {one: getattr(before.transformer, one) for one in left_open}
        transformer = transformer.model_copy(update=kept)
        wanted = wanted.replace(transformer=transformer)
    if transformer is None or transformer.port is not None:
        return wanted
    port = before.transformer.port if before.transformer is not None else default_port(wanted)
    return wanted.replace(transformer=transformer.model_copy(update={"port": port}))


def _resolve_pod_settings(
    current: ImportedServing, before: ServingSpec, wanted: ServingSpec
) -> ServingSpec:
    given = wanted.model_fields_set
    changes: dict[str, object] = {
        name: getattr(before, name) for name in POD_SETTINGS if name not in given
    }
    for name, path in _PROBE_PATHS.items():
        goes = not getattr(wanted, f"effective_{path}") and (
            getattr(wanted, path) is not None
            or not other_probe_text(current.objects.container, path)
        )
        # They go with the probe, also where the same file is applied again.
        if goes and (getattr(wanted, path) == "" or getattr(wanted, name) == getattr(before, name)):
            changes[name] = ()
    changes = {name: one for name, one in changes.items() if one != getattr(wanted, name)}
    wanted = wanted.replace(**changes) if changes else wanted
    wanted = wanted.without_system_env()  # the path of the cache is known now
    tolerations = resolve_tolerations(current.objects, before, wanted)
    if tolerations != wanted.tolerations:
        wanted = wanted.replace(tolerations=tolerations)
    return wanted


def find_dropped_times(
    before: ServingSpec, given: ServingSpec, resolved: ServingSpec
) -> list[Issue]:
    """Warnings about times that `given` has for a probe that there is not. `resolved` is without
    them, as there is nothing to write them to."""
    dropped = {
        name: times
        for name in _PROBE_PATHS
        if (times := getattr(given, name))
        and times != getattr(before, name)
        and not getattr(resolved, name)
    }
    spec = resolved.replace(**dropped)
    found = (*validate_readiness_times(spec), *validate_liveness_times(spec))
    return [one for one in found if one.field in dropped]


def _differs(name: str, before: ServingSpec, wanted: ServingSpec) -> bool:
    """Whether a field is to be written. The default of a probe's path depends on the template;
    another default may be wanted where there is nothing."""
    effective = f"effective_{name}"
    if getattr(before, name) != getattr(wanted, name) or name in find_asked_defaults(
        before, wanted
    ):
        return True
    return hasattr(before, effective) and getattr(before, effective) != getattr(wanted, effective)
