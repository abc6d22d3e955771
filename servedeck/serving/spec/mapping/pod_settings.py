"""Where the settings of a serving's Pods are in the objects: node selector, tolerations, image pull
secrets, service account, runtime class, resource claims and the times of the probes.

An entry that the text of a field cannot say stays as it is, and is not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_list,
    as_mapping,
    as_str,
    child_mapping,
    mappings,
    merge_entries,
    set_or_remove,
)
from servedeck.serving.spec.mapping.resources import accelerator_toleration, read_accelerator
from servedeck.serving.spec.mapping.serving_objects import (
    FieldAccess,
    ServingObjects,
    pod_field,
)
from servedeck.serving.spec.pod_settings import (
    CLAIM_KINDS,
    EFFECTS,
    PROBE_TIMES,
    ResourceClaim,
    Toleration,
    is_word,
    parse_tolerations,
    probe_times,
    read_resource_claim,
    read_toleration,
)
from servedeck.serving.spec.spec_like import SpecLike

_API_TIMES = {"delay": 0, "period": 10, "timeout": 1, "failures": 3}
"""Of a probe without them (kubernetes pkg/apis/core/v1/defaults.go, SetDefaults_Probe)."""


def _merge(
    entries: Sequence[Any],
    text_of: Callable[[Any], str],
    wanted: Iterable[str],
    build: Callable[[str], Any],
) -> list[Any]:
    """The entries with those that have a text replaced by the wanted ones: an equal one stays as it
    is written, the others stay where they are."""
    texts = [text_of(one) for one in entries]
    places: dict[str, list[int]] = {}
    for at, text in enumerate(texts):
        places.setdefault(text, []).append(at)
    new: list[tuple[int | None, Any]] = []
    for text in wanted:
        if places.get(text):
            at = places[text].pop(0)
            new.append((at, entries[at]))
        else:
            new.append((None, build(text)))
    return merge_entries(entries, [bool(text) for text in texts], new)


# -- names --------------------------------------------------------------------------------------


def _write_service_account(
    objects: ServingObjects, current: SpecLike | None, wanted: SpecLike
) -> None:
    pod = objects.writable_pod_spec
    set_or_remove(pod, "serviceAccountName", wanted.service_account)
    if "serviceAccount" in pod:  # the deprecated alias, which the API server always writes
        set_or_remove(pod, "serviceAccount", wanted.service_account)


SERVICE_ACCOUNT = FieldAccess(
    lambda objects: (
        as_str(objects.pod_spec.get("serviceAccountName"))
        or as_str(objects.pod_spec.get("serviceAccount"))
    ),
    _write_service_account,
)
RUNTIME_CLASS = pod_field("runtimeClassName", "runtime_class")


def _secret_text(entry: Any) -> str:
    name = as_str(as_mapping(entry).get("name"))
    return name if is_word(name) else ""


def _write_pull_secrets(
    objects: ServingObjects, current: SpecLike | None, wanted: SpecLike
) -> None:
    pod = objects.writable_pod_spec
    present = as_list(pod.get("imagePullSecrets"))
    merged = _merge(present, _secret_text, wanted.image_pull_secrets, lambda name: {"name": name})
    set_or_remove(pod, "imagePullSecrets", merged)


PULL_SECRETS = FieldAccess(
    lambda objects: _texts(objects.pod_spec.get("imagePullSecrets"), _secret_text),
    _write_pull_secrets,
)


def _texts(entries: object, text_of: Callable[[Any], str]) -> list[str]:
    return [text for one in as_list(entries) if (text := text_of(one))]


# -- node selector ------------------------------------------------------------------------------


def _label_text(key: object, value: object) -> str:
    if not (isinstance(key, str) and isinstance(value, str)) or not key or "=" in key:
        return ""
    text = as_str(f"{key}={value}")
    return text if is_word(text) else ""


def _read_selector(objects: ServingObjects) -> list[str]:
    selector = as_mapping(objects.pod_spec, "nodeSelector")
    return [text for one in selector.items() if (text := _label_text(*one))]


def _write_selector(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    pod = objects.writable_pod_spec
    present = as_mapping(pod, "nodeSelector")
    kept = {key: value for key, value in present.items() if not _label_text(key, value)}
    texts = dict(one.partition("=")[::2] for one in wanted.node_selector)
    order = {key: texts[key] for key in present if key in texts}
    set_or_remove(pod, "nodeSelector", {**kept, **order, **texts})


NODE_SELECTOR = FieldAccess(_read_selector, _write_selector)


# -- tolerations --------------------------------------------------------------------------------

_TOLERATION_KEYS = {"key", "operator", "value", "effect", "tolerationSeconds"}


def toleration_text(entry: Any) -> str:
    """ "" for one that the field cannot say, such as one that compares numbers."""
    one = as_mapping(entry)
    if not one or set(one) - _TOLERATION_KEYS:
        return ""
    key, value, effect = (as_str(one.get(name)) for name in ("key", "value", "effect"))
    operator = as_str(one.get("operator")) or "Equal"
    seconds = one.get("tolerationSeconds")
    is_exists = operator == "Exists" and not value
    if not is_exists and not (operator == "Equal" and key):
        return ""
    if effect and effect not in EFFECTS:
        return ""
    number = as_int(seconds)
    if seconds is not None and (effect != "NoExecute" or number is None or number < 0):
        return ""
    text = str(Toleration(key, None if is_exists else value, effect, number))
    return text if is_word(text) and parse_tolerations(text) == (text,) else ""


def build_toleration(text: str) -> JsonObject:
    """The toleration of a word; one that cannot be read is a key."""
    one = read_toleration(text) or Toleration(text, None, "")
    found: JsonObject = {"key": one.key} if one.key else {}
    found["operator"] = "Exists" if one.value is None else "Equal"
    if one.value:  # the API server does not store an empty one
        found["value"] = one.value
    if one.effect:
        found["effect"] = one.effect
    if one.seconds is not None:
        found["tolerationSeconds"] = one.seconds
    return found


def _own_toleration(objects: ServingObjects, accelerator: str) -> str:
    """That of the accelerator, which servedeck adds by itself and which is not listed; "" for
    none."""
    if not accelerator or not objects.is_managed:
        return ""
    return toleration_text(accelerator_toleration(accelerator))


def _read_tolerations(objects: ServingObjects) -> list[str]:
    own = _own_toleration(objects, read_accelerator(objects))
    found = _texts(objects.pod_spec.get("tolerations"), toleration_text)
    return [one for one in found if one != own]


def _write_tolerations(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    pod = objects.writable_pod_spec
    own = _own_toleration(objects, wanted.accelerator)

    def text_of(entry: Any) -> str:
        text = toleration_text(entry)
        return "" if text == own else text

    words = [one for one in wanted.tolerations if one != own]
    present = as_list(pod.get("tolerations"))
    set_or_remove(pod, "tolerations", _merge(present, text_of, words, build_toleration))


def resolve_tolerations(
    objects: ServingObjects, before: SpecLike, wanted: SpecLike
) -> tuple[str, ...]:
    """The wanted tolerations of an existing serving. That of the accelerator is servedeck's own in
    its servings; in those of others it follows the accelerator where it is listed."""
    if own := _own_toleration(objects, wanted.accelerator):
        return tuple(one for one in wanted.tolerations if one != own)
    if before.accelerator == wanted.accelerator or before.tolerations != wanted.tolerations:
        return wanted.tolerations
    old, new = (
        toleration_text(accelerator_toleration(one.accelerator)) if one.accelerator else ""
        for one in (before, wanted)
    )
    if objects.is_managed or not old or old == new or old not in wanted.tolerations:
        return wanted.tolerations
    kept = [one for one in wanted.tolerations if one != old]
    return tuple(kept if not new or new in kept else [new, *kept])


TOLERATIONS = FieldAccess(_read_tolerations, _write_tolerations)


# -- resource claims ----------------------------------------------------------------------------


def _claim_text(entry: Any, names: set[str]) -> str:
    """The text of a Pod's claim that the inference server uses as a whole."""
    one = as_mapping(entry)
    name = as_str(one.get("name"))
    sources = [kind for kind, key in CLAIM_KINDS.items() if key in one]
    if name not in names or len(sources) != 1 or len(one) != 2:
        return ""
    text = str(ResourceClaim(name, sources[0], as_str(one.get(CLAIM_KINDS[sources[0]]))))
    return text if is_word(text) and "=" not in name else ""


def _whole_claims(container: Mapping[str, Any]) -> set[str]:
    """Names of the claims that a container uses without choosing one of their requests."""
    claims = mappings(as_mapping(container, "resources").get("claims"))
    return {as_str(one.get("name")) for one in claims if set(one) == {"name"}}


def _read_claims(objects: ServingObjects) -> list[str]:
    names = _whole_claims(objects.container)
    return _texts(objects.pod_spec.get("resourceClaims"), lambda one: _claim_text(one, names))


def _write_claims(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    pod, container = objects.writable_pod_spec, objects.writable_container
    before = {one.partition("=")[0] for one in _read_claims(objects)}
    after = {one.partition("=")[0] for one in wanted.resource_claims}
    others = [*objects.containers, *mappings(pod.get("initContainers"))]
    shared = {
        as_str(one.get("name"))
        for other in others
        if other is not container
        for one in mappings(as_mapping(other, "resources").get("claims"))
    }

    def text_of(entry: Any) -> str:
        text = _claim_text(entry, before)
        name = text.partition("=")[0]
        return "" if name in shared and name not in after else text

    present = as_list(pod.get("resourceClaims"))
    free = {as_str(as_mapping(one).get("name")) for one in present} - before
    words = [one for one in wanted.resource_claims if one.partition("=")[0] not in free]
    set_or_remove(pod, "resourceClaims", _merge(present, text_of, words, _build_claim))
    resources = child_mapping(container, "resources")
    used = as_list(resources.get("claims"))
    kept = [one for one in used if as_mapping(one).get("name") not in before - after]
    names = {as_mapping(one).get("name") for one in kept}
    added = [
        {"name": name}
        for one in wanted.resource_claims
        if (name := one.partition("=")[0]) not in names
    ]
    set_or_remove(resources, "claims", [*kept, *added])
    set_or_remove(container, "resources", resources)


def _build_claim(text: str) -> JsonObject:
    claim = read_resource_claim(text) or ResourceClaim(text, "template", "")
    return {"name": claim.name, CLAIM_KINDS[claim.kind]: claim.source}


RESOURCE_CLAIMS = FieldAccess(_read_claims, _write_claims)


# -- times of probes ----------------------------------------------------------------------------


def _times_access(field: str, probe: str) -> FieldAccess:
    """Of a probe of any kind."""

    def read(objects: ServingObjects) -> list[str]:
        found = as_mapping(objects.container, probe)
        return [f"{name}={_read_time(found, name)}" for name in PROBE_TIMES] if found else []

    def write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
        found = as_mapping(objects.container, probe)
        for name, seconds in probe_times(field, getattr(wanted, field)).items():
            if found and _read_time(found, name) != seconds:
                found[PROBE_TIMES[name]] = seconds  # type: ignore[index]

    return FieldAccess(read, write)


def _read_time(probe: Mapping[str, Any], name: str) -> int:
    number = as_int(probe.get(PROBE_TIMES[name])) or 0
    return number if 0 < number < 2**31 else _API_TIMES[name]


READINESS_TIMES = _times_access("readiness_times", "readinessProbe")
LIVENESS_TIMES = _times_access("liveness_times", "livenessProbe")
