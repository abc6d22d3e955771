"""CPU and memory of the containers of Pods, from metrics.k8s.io.

Source: https://github.com/kubernetes/metrics/blob/master/pkg/apis/metrics/v1beta1/types.go.
"""

from __future__ import annotations

import msgspec

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import InvalidResponseError
from servedeck.cluster.resources import Resource
from servedeck.metrics.platform_queries import CPU_CORES, MEMORY_BYTES
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.exposition import Sample
from servedeck.serving.quantity import parse_quantity

POD_METRICS = Resource("PodMetrics", "pods", "metrics.k8s.io", "v1beta1")
MAX_BYTES = 8 << 20


class _Usage(msgspec.Struct, frozen=True):
    cpu: str = ""
    memory: str = ""


class _Container(msgspec.Struct, frozen=True):
    name: str = ""
    usage: _Usage = _Usage()


class _Metadata(msgspec.Struct, frozen=True):
    name: str = ""


class _PodMetrics(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    containers: list[_Container] = []


class _List(msgspec.Struct, frozen=True):
    items: list[_PodMetrics] = []


async def read_pod_resources(
    connection: Connection, target: MetricsTarget
) -> dict[str, list[Sample]]:
    """The samples of the Pods of a target, by the Pod's name. Raises ClusterError where the cluster
    has no such API, or it may not be read."""
    wanted = {one.name for one in target.pods}
    body = await connection.get(POD_METRICS.collection_path(target.namespace), max_bytes=MAX_BYTES)
    try:
        items = msgspec.json.decode(body, type=_List).items
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidResponseError("The server answered with no list of PodMetrics.") from error
    return {
        one.metadata.name: [sample for each in one.containers for sample in _samples(each)]
        for one in items
        if one.metadata.name in wanted
    }


def _samples(container: _Container) -> list[Sample]:
    labels = (("container", container.name),)
    found: list[Sample] = []
    for name, text in ((CPU_CORES, container.usage.cpu), (MEMORY_BYTES, container.usage.memory)):
        try:
            found.append(Sample(name, labels, float(parse_quantity(text))))
        except ValueError:
            continue  # of this one nothing is known
    return found
