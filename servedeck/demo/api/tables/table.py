"""Objects as meta.k8s.io/v1 Table, which kubectl prints. The columns are those of kubernetes
pkg/printers/internalversion/printers.go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from servedeck.demo.api.tables import other_printers as others
from servedeck.demo.api.tables import scaler_printers as scalers
from servedeck.demo.api.tables import workload_printers as workloads
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
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
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    INGRESSCLASSES,
    INGRESSES,
    JOBS,
    LEASES,
    LIMITRANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATIONCONTROLLERS,
    RESOURCEQUOTAS,
    ROLE_BINDINGS,
    SCALED_OBJECTS,
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


def _make_layout(names: str, cells: CellsFunction | None = None) -> TableLayout:
    """`names` is comma-separated; "+" marks a wide column, "#" a number, "@" a date, "?" a bool.
    Without `cells` the rows only have name and age."""
    columns = []
    for raw in names.split(","):
        name = raw.lstrip("".join(_TYPES) + "+")
        kind = _TYPES.get(raw[0], "string")
        columns.append(
            TableColumn(name, kind, "name" if name == "Name" else "", raw.startswith("+"), name)
        )
    return TableLayout(tuple(columns), cells or _name_and_age_cells(columns))


def _name_and_age_cells(columns: Sequence[TableColumn]) -> CellsFunction:
    """For kinds that nothing in the demo runs or shows."""
    placeholders = {"integer": 0, "boolean": False}

    def cells(obj: Json, now: datetime) -> list[Any]:
        known = {"Name": workloads.name(obj), "Age": workloads.age(obj, now)}
        return [
            known.get(column.name, placeholders.get(column.type, workloads.UNKNOWN))
            for column in columns
        ]

    return cells


def _pod_cells(obj: Json, now: datetime) -> list[Any]:
    """By the rule of the dashboard itself, so this Table is no evidence that the rule is right."""
    record = msgspec.convert(obj, Pod)
    found = pods.pod_columns(record)
    return [
        workloads.name(obj),
        found.ready,
        found.status,
        pods.format_restarts(found, now),
        workloads.age(obj, now),
        workloads.lookup(obj, "status.podIP") or workloads.NONE,
        workloads.lookup(obj, "spec.nodeName") or workloads.NONE,
        workloads.lookup(obj, "status.nominatedNodeName") or workloads.NONE,
        workloads.readiness_gates(obj),
    ]


_LAYOUTS: dict[Resource, TableLayout] = {
    PODS: _make_layout(
        "Name,Ready,Status,Restarts,Age,+IP,+Node,+Nominated Node,+Readiness Gates", _pod_cells
    ),
    DEPLOYMENTS: _make_layout(
        "Name,Ready,Up-to-date,Available,Age,+Containers,+Images,+Selector", workloads.deployment
    ),
    REPLICA_SETS: _make_layout(
        "Name,#Desired,#Current,#Ready,Age,+Containers,+Images,+Selector", workloads.replicaset
    ),
    REPLICATIONCONTROLLERS: _make_layout(
        "Name,#Desired,#Current,#Ready,Age,+Containers,+Images,+Selector", workloads.replicaset
    ),
    STATEFULSETS: _make_layout("Name,Ready,Age,+Containers,+Images"),
    DAEMONSETS: _make_layout(
        "Name,#Desired,#Current,#Ready,#Up-to-date,#Available,Node Selector,Age,+Containers,"
        "+Images,+Selector"
    ),
    JOBS: _make_layout("Name,Status,Completions,Duration,Age,+Containers,+Images,+Selector"),
    CRONJOBS: _make_layout(
        "Name,Schedule,Timezone,?Suspend,#Active,Last Schedule,Age,+Containers,+Images,+Selector"
    ),
    NODES: _make_layout(
        "Name,Status,Roles,Age,Version,+Internal-IP,+External-IP,+OS-Image,+Kernel-Version,"
        "+Container-Runtime",
        workloads.node,
    ),
    NAMESPACES: _make_layout("Name,Status,Age", workloads.namespace),
    SERVICES: _make_layout(
        "Name,Type,Cluster-IP,External-IP,Port(s),Age,+Selector", others.service
    ),
    ENDPOINTS: _make_layout("Name,Endpoints,Age", others.endpoints),
    ENDPOINTSLICES: _make_layout("Name,AddressType,Ports,Endpoints,Age", others.endpointslice),
    EVENTS: _make_layout(
        "Last Seen,Type,Reason,Object,+Subobject,+Source,Message,+First Seen,+Count,+Name",
        others.event,
    ),
    EVENTS_V1: _make_layout(
        "Last Seen,Type,Reason,Object,+Subobject,+Source,Message,+First Seen,+Count,+Name",
        others.event,
    ),
    CONFIGMAPS: _make_layout("Name,Data,Age", others.configmap),
    SECRETS: _make_layout("Name,Type,Data,Age", others.secret),
    SERVICEACCOUNTS: _make_layout("Name,Age", workloads.name_and_age),
    LIMITRANGES: _make_layout("Name,@Created At", workloads.name_and_created),
    CUSTOMRESOURCEDEFINITIONS: _make_layout("Name,@Created At", workloads.name_and_created),
    RESOURCEQUOTAS: _make_layout("Name,Request,Limit,Age", others.resource_quota),
    PERSISTENTVOLUMECLAIMS: _make_layout(
        "Name,Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,"
        "+VolumeMode",
        others.pvc,
    ),
    PERSISTENTVOLUMES: _make_layout(
        "Name,Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,"
        "VolumeAttributesClass,Reason,Age,+VolumeMode"
    ),
    STORAGECLASSES: _make_layout(
        "Name,Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age"
    ),
    INGRESSES: _make_layout("Name,Class,Hosts,Address,Ports,Age"),
    NETWORK_POLICIES: _make_layout("Name,Pod-Selector,Age", others.network_policy),
    POD_DISRUPTION_BUDGETS: _make_layout(
        "Name,Min Available,Max Unavailable,#Allowed Disruptions,Age", others.disruption_budget
    ),
    ROLE_BINDINGS: _make_layout(
        "Name,Role,Age,+Users,+Groups,+ServiceAccounts", others.role_binding
    ),
    INGRESSCLASSES: _make_layout("Name,Controller,Parameters,Age"),
    HORIZONTAL_POD_AUTOSCALERS: _make_layout(
        "Name,Reference,Targets,MinPods,MaxPods,Replicas,Age", scalers.autoscaler
    ),
    BACKEND_TRAFFIC_POLICIES: _make_layout("Name,Age", workloads.name_and_age),
    LEASES: _make_layout("Name,Holder,Age", scalers.lease),
    HTTP_ROUTES: _make_layout("Name,Hostnames,Age", others.httproute),
    INFERENCE_POOLS: _make_layout("Name,Age", workloads.name_and_age),
    GATEWAYS: _make_layout("Name,Class,Address,Programmed,Age", others.gateway),
    SCALED_OBJECTS: _make_layout(
        "Name,ScaleTargetKind,ScaleTargetName,Min,Max,Ready,Active,Age", others.scaledobject
    ),
}
_DEFAULT_LAYOUT = _make_layout("Name,@Created At", workloads.name_and_created)


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
