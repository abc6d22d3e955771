"""What must hold before the store writes: the namespace, the version and the uid.

Sources: kubernetes apiserver pkg/registry/generic/registry/store.go, pkg/storage/errors.go and
plugin/pkg/admission/namespace/lifecycle.
"""

from __future__ import annotations

from servedeck.demo.api import status
from servedeck.demo.resources import Resource
from servedeck.demo.store.objects import Json


def check_namespace(
    resource: Resource, name: str, namespace_name: str, namespace: Json | None
) -> None:
    """StatusError 404 where the namespace of a new object does not exist, 403 where it is being
    deleted."""
    if namespace is None:
        raise status.not_found("", "namespaces", namespace_name)
    if "deletionTimestamp" not in namespace["metadata"]:
        return
    error = status.forbidden(
        resource.group,
        resource.plural,
        name,
        f"unable to create new content in namespace {namespace_name} because it is being "
        "terminated",
    )
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace_name} is being terminated",
        "field": "metadata.namespace",
    }
    error.details = (error.details or {}) | {"causes": [cause]}
    raise error


def check_current(resource: Resource, meta: Json, old: Json) -> None:
    """StatusError 409 where an update names another uid or version than the stored object has.
    `meta` and `old` are metadata."""
    uid, version = meta.get("uid"), meta.get("resourceVersion")
    if uid and uid != old["uid"]:
        raise status.conflict(
            resource.group,
            resource.plural,
            old["name"],
            f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/"
            f"{old.get('namespace', '')}/{old['name']}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in "
            f"object meta: {old['uid']}",
        )
    if version and version != old["resourceVersion"]:
        raise status.conflict(resource.group, resource.plural, old["name"])


def check_delete_preconditions(resource: Resource, old: Json, uid: str, version: str) -> None:
    """StatusError 409 where a DELETE names another uid or version than the stored object has."""
    meta = old["metadata"]
    for label, wanted, actual, why in (
        ("UID", uid, meta["uid"], "deleted and then recreated"),
        ("ResourceVersion", version, meta["resourceVersion"], "modified"),
    ):
        if wanted and wanted != actual:
            raise status.conflict(
                resource.group,
                resource.kind,
                meta["name"],
                f"the {label} in the precondition ({wanted}) does not match the {label} in "
                f"record ({actual}). The object might have been {why}",
            )
