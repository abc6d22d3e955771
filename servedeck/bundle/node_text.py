"""The nodes of a serving's Pods as text: conditions, taints, and how much of them is requested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from servedeck.bundle.reader import ClusterReader
from servedeck.cluster import resources
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.serving.accelerators import is_accelerator
from servedeck.serving.capacity import node_capacities
from servedeck.serving.node_usage import NodeUsage
from servedeck.serving.objects.records import Node
from servedeck.serving.pod_requests import PodRequests
from servedeck.serving.quantity import format_quantity
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.text import cell_width, one_line, sanitize

_SHOWN_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")
_BINARY = ("memory", "ephemeral-storage")


async def read_node_pods(reader: ClusterReader, node: str) -> list[JsonObject] | None:
    """The Pods of all namespaces on a node, from which follows what is requested of it; None if
    they may not be listed, which is remembered."""
    path = resources.POD.collection_path(None)
    params = {"fieldSelector": f"spec.nodeName={node}"}
    what = f"Requested resources of Node {node}"
    try:
        answer = await reader.call(lambda: reader.connection.get_json(path, params))
    except ApiError as error:
        reason = str(error)
        if error.code == 403:
            reason = "Not allowed: needs list on pods in all namespaces."
        reader.add_problem(what, reason)
        return None
    except ClusterError as error:
        reader.add_problem(what, str(error))
        return None
    return mappings(answer.get("items"))


def format_node(node: JsonObject, pods: Sequence[JsonObject] | None) -> list[str]:
    """The lines of one node. `pods` are those on it, None if they are not known."""
    spec, status = as_mapping(node, "spec"), as_mapping(node, "status")
    lines = [f"Node {as_str(as_mapping(node, 'metadata').get('name'))}"]
    lines.append(f"  Scheduling: {'cordoned' if spec.get('unschedulable') else 'allowed'}")
    taints = [_taint_text(one) for one in mappings(spec.get("taints"))]
    lines.append(f"  Taints:     {', '.join(taints) or 'none'}")
    info = as_mapping(status, "nodeInfo")
    if kubelet := as_str(info.get("kubeletVersion")):
        system = as_str(info.get("osImage")) or "unknown system"
        lines.append(f"  Kubelet:    {kubelet}, {system}, kernel {info.get('kernelVersion', '?')}")
    lines += ["  Conditions", *_table(_condition_rows(status))]
    lines += ["  Resources", *_table(_resource_rows(node, pods))]
    return [one_line_indented(line) for line in lines]


def one_line_indented(line: str) -> str:
    """A line that may contain anything, on one line."""
    return sanitize(line).replace("\n", " ").rstrip()


def _taint_text(taint: Mapping[str, Any]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{as_str(taint.get('key'))}{value}:{as_str(taint.get('effect'))}"


def _condition_rows(status: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield ("TYPE", "STATUS", "SINCE", "REASON", "MESSAGE")
    for one in mappings(status.get("conditions")):
        keys = ("type", "status", "lastTransitionTime", "reason", "message")
        yield tuple(one_line(as_str(one.get(key))) or "-" for key in keys)


def _resource_rows(
    node: JsonObject, pods: Sequence[JsonObject] | None
) -> Iterator[tuple[str, ...]]:
    yield ("RESOURCE", "ALLOCATABLE", "REQUESTED BY PODS")
    record = _convert(node, Node)
    if record is None:
        return
    requests = [one for pod in pods or () if (one := _convert(pod, PodRequests)) is not None]
    (capacity,) = node_capacities([record], NodeUsage(requests).by_node)
    for key, total in capacity.allocatable.items():
        if key not in _SHOWN_RESOURCES and not is_accelerator(key):
            continue
        used = "not known" if pods is None else _amount(key, total - capacity.free[key])
        yield key, _amount(key, total), used


def _convert(value: JsonObject, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, RecursionError):
        return None


def _amount(key: str, value: Fraction) -> str:
    return format_quantity(value, binary=key in _BINARY)


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = list(rows)
    widths = [max(map(cell_width, column)) for column in zip(*cells, strict=True)]
    return [
        "    "
        + "  ".join(
            cell + " " * (width - cell_width(cell)) for cell, width in zip(row, widths, strict=True)
        )
        for row in cells
    ]
