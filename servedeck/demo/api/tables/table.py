"""Objects as meta.k8s.io/v1 Table, which kubectl prints. The columns are those of kubernetes
pkg/printers/internalversion/printers.go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from servedeck.demo.api.tables import other_printers as m
from servedeck.demo.api.tables import workload_printers as c
from servedeck.demo.resources import (
    AUTOSCALERS,
    CONFIGMAPS,
    CRONJOBS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    EVENTS_V1,
    GATEWAYS,
    HTTPROUTES,
    INGRESSCLASSES,
    INGRESSES,
    JOBS,
    LEASES,
    LIMITRANGES,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    RESOURCEQUOTAS,
    SCALEDOBJECTS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
    Resource,
)
from servedeck.serving.objects.records import Pod
from servedeck.serving.status import pods

Json = dict[str, Any]
CellsFunction = Callable[[Json, datetime], list[Any]]


class TableColumn(NamedTuple):
    """One column; `wide` ones are only shown by `-o wide`."""

    name: str
    type: str = "string"
    format: str = ""
    wide: bool = False
    description: str = ""

    def definition(self) -> Json:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": int(self.wide),
        }


class TableLayout(NamedTuple):
    columns: tuple[TableColumn, ...]
    cells: CellsFunction


_TYPES = {"#": "integer", "@": "date", "?": "boolean"}


def _make_layout(names: str, cells: CellsFunction) -> TableLayout:
    """`names` is comma-separated; "+" marks a wide column, "#" a number, "@" a date, "?" a bool."""
    columns = []
    for raw in names.split(","):
        name = raw.lstrip("".join(_TYPES) + "+")
        kind = _TYPES.get(raw[0], "string")
        columns.append(
            TableColumn(name, kind, "name" if name == "Name" else "", raw.startswith("+"), name)
        )
    return TableLayout(tuple(columns), cells)


def _pod_cells(obj: Json, now: datetime) -> list[Any]:
    record = msgspec.convert(obj, Pod)
    found = pods.columns(record)
    return [
        c.name(obj),
        found.ready,
        found.status,
        pods.restarts_text(found, now),
        c.age(obj, now),
        c.lookup(obj, "status.podIP") or c.NONE,
        c.lookup(obj, "spec.nodeName") or c.NONE,
        c.lookup(obj, "status.nominatedNodeName") or c.NONE,
        c.readiness_gates(obj),
    ]


_LAYOUTS: dict[Resource, TableLayout] = {
    PODS: _make_layout(
        "Name,Ready,Status,Restarts,Age,+IP,+Node,+Nominated Node,+Readiness Gates", _pod_cells
    ),
    DEPLOYMENTS: _make_layout(
        "Name,Ready,Up-to-date,Available,Age,+Containers,+Images,+Selector", c.deployment
    ),
    REPLICASETS: _make_layout(
        "Name,#Desired,#Current,#Ready,Age,+Containers,+Images,+Selector", c.replicaset
    ),
    REPLICATIONCONTROLLERS: _make_layout(
        "Name,#Desired,#Current,#Ready,Age,+Containers,+Images,+Selector", c.replicaset
    ),
    STATEFULSETS: _make_layout("Name,Ready,Age,+Containers,+Images", c.statefulset),
    DAEMONSETS: _make_layout(
        "Name,#Desired,#Current,#Ready,#Up-to-date,#Available,Node Selector,Age,+Containers,"
        "+Images,+Selector",
        c.daemonset,
    ),
    JOBS: _make_layout("Name,Status,Completions,Duration,Age,+Containers,+Images,+Selector", c.job),
    CRONJOBS: _make_layout(
        "Name,Schedule,Timezone,?Suspend,#Active,Last Schedule,Age,+Containers,+Images,+Selector",
        c.cronjob,
    ),
    NODES: _make_layout(
        "Name,Status,Roles,Age,Version,+Internal-IP,+External-IP,+OS-Image,+Kernel-Version,"
        "+Container-Runtime",
        c.node,
    ),
    NAMESPACES: _make_layout("Name,Status,Age", c.namespace),
    SERVICES: _make_layout("Name,Type,Cluster-IP,External-IP,Port(s),Age,+Selector", m.service),
    ENDPOINTS: _make_layout("Name,Endpoints,Age", m.endpoints),
    ENDPOINTSLICES: _make_layout("Name,AddressType,Ports,Endpoints,Age", m.endpointslice),
    EVENTS: _make_layout(
        "Last Seen,Type,Reason,Object,+Subobject,+Source,Message,+First Seen,+Count,+Name", m.event
    ),
    EVENTS_V1: _make_layout(
        "Last Seen,Type,Reason,Object,+Subobject,+Source,Message,+First Seen,+Count,+Name", m.event
    ),
    CONFIGMAPS: _make_layout("Name,Data,Age", m.configmap),
    SECRETS: _make_layout("Name,Type,Data,Age", m.secret),
    SERVICEACCOUNTS: _make_layout("Name,Age", c.name_and_age),
    LIMITRANGES: _make_layout("Name,@Created At", c.name_and_created),
    CUSTOMRESOURCEDEFINITIONS: _make_layout("Name,@Created At", c.name_and_created),
    RESOURCEQUOTAS: _make_layout("Name,Request,Limit,Age", m.resource_quota),
    PERSISTENTVOLUMECLAIMS: _make_layout(
        "Name,Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,"
        "+VolumeMode",
        m.pvc,
    ),
    PERSISTENTVOLUMES: _make_layout(
        "Name,Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,"
        "VolumeAttributesClass,Reason,Age,+VolumeMode",
        m.persistent_volume,
    ),
    STORAGECLASSES: _make_layout(
        "Name,Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age", m.storageclass
    ),
    INGRESSES: _make_layout("Name,Class,Hosts,Address,Ports,Age", m.ingress),
    INGRESSCLASSES: _make_layout("Name,Controller,Parameters,Age", m.ingressclass),
    AUTOSCALERS: _make_layout("Name,Reference,Targets,MinPods,MaxPods,Replicas,Age", m.autoscaler),
    LEASES: _make_layout("Name,Holder,Age", m.lease),
    HTTPROUTES: _make_layout("Name,Hostnames,Age", m.httproute),
    GATEWAYS: _make_layout("Name,Class,Address,Programmed,Age", m.gateway),
    SCALEDOBJECTS: _make_layout(
        "Name,ScaleTargetKind,ScaleTargetName,Min,Max,Ready,Active,Age", m.scaledobject
    ),
}
_DEFAULT_LAYOUT = _make_layout("Name,@Created At", c.name_and_created)


def make_table(
    resource: Resource,
    objects: Iterable[Json],
    meta: Json,
    now: datetime,
    *,
    include: str = "Metadata",
    columns: bool = True,
) -> Json:
    """A Table of the objects. `include`: what each row carries, "Metadata", "Object" or "None".
    `columns`: a watch sends the column definitions only with its first event."""
    layout = _LAYOUTS.get(resource, _DEFAULT_LAYOUT)
    rows = []
    for obj in objects:
        row: Json = {"cells": layout.cells(obj, now)}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = partial_metadata(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [column.definition() for column in layout.columns]
        if columns
        else None,
        "rows": rows,
    }


def partial_metadata(obj: Json) -> Json:
    """An object as PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }
