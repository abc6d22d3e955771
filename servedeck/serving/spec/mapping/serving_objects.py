"""The objects of one serving, as the fields read and write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from servedeck.serving.conventions import FIELD_MANAGER, MANAGED_BY_LABEL, TRANSFORMER_CONTAINER
from servedeck.serving.json_copy import copy_json
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    as_str,
    child_mapping,
    mappings,
    set_or_remove,
)
from servedeck.serving.spec.templates.base import SpecLike


@dataclass(slots=True)
class ServingObjects:
    """Decoded JSON: of any shape for reading; for writing, as an API server returned it."""

    deployment: JsonObject
    services: list[JsonObject] = field(default_factory=list)
    """Those that select its Pods."""
    routes: list[JsonObject] = field(default_factory=list)
    container_index: int = 0
    """Position of the inference server among the containers."""
    scalers: list[JsonObject] = field(default_factory=list)
    """ScaledObjects and HorizontalPodAutoscalers of the Deployment, without those that KEDA makes
    of ScaledObjects."""
    policies: list[JsonObject] = field(default_factory=list)
    """DestinationRules of its Services, BackendTrafficPolicies of its routes."""
    engines: Engines = field(default_factory=Engines)
    """What acts on them in the cluster."""
    template: str = ""
    """The template, if it is known other than by the objects: another image alone does not make it
    another template."""

    @property
    def all(self) -> list[JsonObject]:
        return [
            self.deployment,
            *self.services,
            *self.routes,
            *self.scalers,
            *self.policies,
        ]

    @property
    def metadata(self) -> Mapping[str, Any]:
        return as_mapping(self.deployment, "metadata")

    @property
    def is_managed(self) -> bool:
        """Whether the Deployment has servedeck's labels."""
        return as_mapping(self.metadata, "labels").get(MANAGED_BY_LABEL) == FIELD_MANAGER

    @property
    def pod_spec(self) -> Mapping[str, Any]:
        return as_mapping(self.deployment, "spec", "template", "spec")

    @property
    def pod_labels(self) -> Mapping[str, Any]:
        return as_mapping(self.deployment, "spec", "template", "metadata", "labels")

    @property
    def containers(self) -> list[Any]:
        return mappings(self.pod_spec.get("containers"))

    @property
    def long_running_containers(self) -> list[Any]:
        """The main containers and the sidecar containers (init containers that keep running)."""
        init = mappings(self.pod_spec.get("initContainers"))
        return [*self.containers, *(one for one in init if one.get("restartPolicy") == "Always")]

    @property
    def container(self) -> Mapping[str, Any]:
        """The inference server's container; {} if there is none."""
        found = self.containers
        return found[self.container_index] if self.container_index < len(found) else {}

    @property
    def transformer(self) -> Mapping[str, Any]:
        """The transformer's container; {} if there is none."""
        return next(
            (one for one in self.containers if one.get("name") == TRANSFORMER_CONTAINER), {}
        )

    # -- for writing ----------------------------------------------------------------------------

    def copy(self) -> ServingObjects:
        """The same objects, of which every part may be changed."""
        return replace(
            self,
            deployment=copy_json(self.deployment),
            services=copy_json(self.services),
            routes=copy_json(self.routes),
            scalers=copy_json(self.scalers),
            policies=copy_json(self.policies),
        )

    @property
    def writable_pod_spec(self) -> JsonObject:
        spec = child_mapping(self.deployment, "spec")
        return child_mapping(child_mapping(spec, "template"), "spec")

    @property
    def writable_container(self) -> JsonObject:
        found: JsonObject = self.containers[self.container_index]
        return found


Reader = Callable[[ServingObjects], Any]
"""Value of a field, as the spec accepts it; None if it is absent."""
Writer = Callable[[ServingObjects, "SpecLike | None", SpecLike], None]
"""Changes the objects from one spec, as read from them, to another; from None in new objects. Only
called if the value of the field differs."""


class FieldAccess(NamedTuple):
    read: Reader
    write: Writer


def read_only_field(read: Reader) -> FieldAccess:
    """A field that identifies the serving and is never changed in an object."""
    return FieldAccess(read, lambda objects, current, wanted: None)


def deployment_annotation(name: str, attribute: str) -> FieldAccess:
    """A field that is an annotation of the Deployment."""
    return _metadata_entry("annotations", name, attribute)


def deployment_label(name: str, attribute: str) -> FieldAccess:
    """A field that is a label of the Deployment, and none of its Pods."""
    return _metadata_entry("labels", name, attribute)


def _metadata_entry(part: str, name: str, attribute: str) -> FieldAccess:
    def write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
        metadata = child_mapping(objects.deployment, "metadata")
        entries = child_mapping(metadata, part)
        set_or_remove(entries, name, getattr(wanted, attribute))
        set_or_remove(metadata, part, entries)

    return FieldAccess(lambda objects: as_str(as_mapping(objects.metadata, part).get(name)), write)


def deployment_field(key: str, attribute: str, parse: Callable[[object], Any]) -> FieldAccess:
    """A field of the Deployment's spec. `parse` converts the JSON value, to None if it is none."""

    def write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
        value = getattr(wanted, attribute)
        spec = child_mapping(objects.deployment, "spec")
        spec[key] = value

    return FieldAccess(
        lambda objects: parse(as_mapping(objects.deployment, "spec").get(key)), write
    )


def pod_field(key: str, attribute: str, parse: Callable[[object], Any] = as_str) -> FieldAccess:
    """A field of the Pods' spec; an empty value removes it."""

    def write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
        set_or_remove(objects.writable_pod_spec, key, getattr(wanted, attribute))

    return FieldAccess(lambda objects: parse(objects.pod_spec.get(key)), write)


def container_field(
    key: str, attribute: str, parse: Callable[[object], Any] = as_str
) -> FieldAccess:
    """A field of the inference server's container; an empty value removes it."""

    def write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
        set_or_remove(objects.writable_container, key, getattr(wanted, attribute))

    return FieldAccess(lambda objects: parse(objects.container.get(key)), write)
