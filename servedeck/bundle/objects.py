"""The objects of a serving: found, read and redacted."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from servedeck.bundle.reader import ClusterReader
from servedeck.bundle.redaction import Redactor
from servedeck.cluster import resources
from servedeck.cluster.resources import RESOURCES_BY_KIND, Resource
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.detail.object_text import format_masked, without_folded_fields
from servedeck.detail.object_watch import LiveObject, ObjectQuery, ObjectWatch
from servedeck.detail.serving_object_refs import ServingObjectRef, list_object_refs, object_queries
from servedeck.detail.workloads import as_deployment, workload_resource
from servedeck.fleet.views import ServingView
from servedeck.serving.objects.pod_references import pod_references
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.yaml_text import object_text

FIND_SECONDS = 10.0
"""Seconds to wait for the lists in which the objects are sought."""

MAX_PODS = 1_000
MAX_NODES = 100
"""Objects of which more are left out, the failing Pods first."""


class StoredObject(NamedTuple):
    """An object that was read, compressed: of 1,000 Pods 3 MB instead of 15."""

    kind: str
    name: str
    compressed: bytes

    @property
    def value(self) -> JsonObject:
        """Its fields, neither sanitized nor redacted."""
        value: JsonObject = json.loads(zlib.decompress(self.compressed))
        return value


class ServingObjects:
    """The objects of one serving."""

    def __init__(self) -> None:
        self.stored: list[StoredObject] = []
        self.read_secrets: tuple[str, ...] = ()
        """Names of the Secrets that its Pods name and whose values are known to the redactor."""
        self.unread_secrets: tuple[str, ...] = ()
        """Those whose values could not be read, and so are not redacted as such."""

    def of_kind(self, kind: str) -> Iterator[StoredObject]:
        """The objects of a kind."""
        return (one for one in self.stored if one.kind == kind)


async def read_objects(
    reader: ClusterReader, view: ServingView, redactor: Redactor
) -> ServingObjects:
    """Read the objects of a serving and the nodes of its Pods, and let the redactor know their
    secret values and those of the Secrets that they name. What cannot be read is a problem of the
    reader."""
    found = ServingObjects()
    refs = await _find_refs(reader, view)
    pods = [ref for ref in refs if ref.kind == "Pod"]
    for ref in pods[MAX_PODS:]:
        reader.add_problem(
            f"Pod {ref.name}", f"Only the first {MAX_PODS:,} Pods are in the bundle."
        )
    left_out = set(pods[MAX_PODS:])
    refs = [ref for ref in refs if ref not in left_out]
    namespace = view.key.namespace
    secrets = dict.fromkeys(ref.name for ref in refs if ref.kind == "Secret")
    wanted = [(RESOURCES_BY_KIND[ref.kind], ref.name) for ref in refs if ref.kind != "Secret"]
    nodes = list(dict.fromkeys(pod.node for pod in view.pods if pod.node))
    for name in nodes[MAX_NODES:]:
        reader.add_problem(f"Node {name}", f"Only the first {MAX_NODES} are in the bundle.")
    wanted += [(resources.NODE, name) for name in nodes[:MAX_NODES]]
    for at in range(0, len(wanted), 50):  # not a task for each of thousands of Pods at once
        part = wanted[at : at + 50]
        values = await asyncio.gather(
            *(reader.get_object(resource, namespace, name) for resource, name in part)
        )
        for (resource, name), value in zip(part, values, strict=True):
            if value is None:
                continue
            try:
                stored = await asyncio.to_thread(_store, resource, name, value, redactor)
            except RecursionError:
                reader.add_problem(f"{resource.kind} {name}", "It is nested too deep.")
                continue
            found.stored.append(stored)
            secrets |= dict.fromkeys(_named_secrets(resource, value))
    await _read_secrets(reader, namespace, found, tuple(secrets), redactor)
    return found


def _store(resource: Resource, name: str, value: JsonObject, redactor: Redactor) -> StoredObject:
    redactor.learn_from(value)
    return StoredObject(resource.kind, name, zlib.compress(json.dumps(value).encode()))


async def _find_refs(reader: ClusterReader, view: ServingView) -> list[ServingObjectRef]:
    """The objects of the serving by name."""
    key = view.key
    workload = workload_resource(key)
    value = await reader.get_object(workload, key.namespace, key.name)
    deployment = None if value is None else as_deployment(value)
    queries = object_queries(key, deployment)
    if reader.lost:
        return list_object_refs(key, view, deployment, {})
    watches = await _list_objects(reader, queries)
    found: dict[Resource, Sequence[LiveObject]] = {}
    for query, watch in zip(queries, watches, strict=True):
        found[query.resource] = watch.objects
        if sentence := watch.missing_permission:
            reader.add_problem(f"{query.resource.kind}s of the serving", sentence)
        elif not watch.is_settled:
            reader.add_problem(
                f"{query.resource.kind}s of the serving",
                "The API server did not list them in time.",
            )
    return list_object_refs(key, view, deployment, found)


async def _list_objects(reader: ClusterReader, queries: Sequence[ObjectQuery]) -> list[ObjectWatch]:
    """Watches of the queries that have listed their objects, or could not; closed."""
    changed = asyncio.Event()
    service = ClusterDetailService(lambda: reader.connection)
    watches = [watch for query in queries if (watch := service.watch_objects(query, changed.set))]
    try:
        async with asyncio.timeout(min(FIND_SECONDS, reader.seconds_left)):
            while not all(watch.is_settled for watch in watches):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        pass  # what is not listed is reported
    finally:
        await asyncio.gather(*(watch.close() for watch in watches))
    return watches


def _named_secrets(resource: Resource, value: JsonObject) -> Iterable[str]:
    """Secrets that a Pod, or the Pods of a ReplicaSet, name."""
    if resource is resources.POD:
        return pod_references(as_mapping(value, "spec")).secrets
    if resource is resources.REPLICA_SET:
        return pod_references(as_mapping(value, "spec", "template", "spec")).secrets
    return ()


async def _read_secrets(
    reader: ClusterReader,
    namespace: str,
    found: ServingObjects,
    names: tuple[str, ...],
    redactor: Redactor,
) -> None:
    known, unread = [], []
    for name in names:
        secret = await reader.get_object(resources.SECRET, namespace, name)
        if secret is not None:
            redactor.add_secret(secret)
            known.append(name)
        elif (resources.SECRET, name) not in reader.absent:
            unread.append(name)
    found.read_secrets, found.unread_secrets = tuple(known), tuple(unread)


def redacted_yaml(stored: StoredObject, redactor: Redactor) -> str:
    """The YAML of an object without its managed fields and the annotation of `kubectl apply`. A
    comment in its first line says how many values are masked. Raises RecursionError for an object
    that is nested hundreds of levels deep."""
    redacted, count = redactor.object(without_folded_fields(stored.value))
    text = object_text(redacted)
    if count:
        text = f"# {format_masked(count)} here: do not apply this file.\n{text}"
    return text
