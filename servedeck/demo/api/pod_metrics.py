"""metrics.k8s.io: CPU and memory of Pods, which metrics-server reads from the nodes.

Source: https://github.com/kubernetes/metrics/blob/master/pkg/apis/metrics/v1beta1/types.go
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from servedeck.demo.api import selectors, status
from servedeck.demo.api.kubelet_api import KubeletApi
from servedeck.demo.api.read_handlers import list_response
from servedeck.demo.api.request import ApiRequest, parse_list_options, response_format
from servedeck.demo.api.tables.table import make_table, partial_metadata
from servedeck.demo.resources import POD_METRICS, PODS
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]


def read_pod_metrics(store: ObjectStore, kubelet: KubeletApi, call: ApiRequest) -> Json:
    """The PodMetrics of one Pod, or a PodMetricsList, or a Table of them. A Pod without any has no
    PodMetrics: StatusError 404."""
    form = response_format(call)
    if call.name:
        pod = store.find(PODS, call.namespace, call.name)
        found = None if pod is None else _metrics_of(kubelet, pod)
        if found is None:
            raise status.not_found(POD_METRICS.group, POD_METRICS.plural, call.name)
        if form.kind == "table":
            now = store.clock.now()
            return make_table(POD_METRICS, [found], {}, now, include=form.include)
        return partial_metadata(found) if form.kind == "partial" else found
    options = parse_list_options(call, watch=False)
    matches = selectors.object_matcher(POD_METRICS, options.label_selector, options.field_selector)
    items = [
        found
        for pod in store.list(PODS, call.namespace)
        if (matches is None or matches(pod)) and (found := _metrics_of(kubelet, pod)) is not None
    ]
    return list_response(store, call, form, items, {})


def _metrics_of(kubelet: KubeletApi, pod: Json) -> Json | None:
    usages = kubelet.usage(pod)
    if not usages:
        return None
    meta = pod["metadata"]
    time = datetime.fromtimestamp(usages[0].time, UTC)
    own: Json = {"name": meta["name"], "namespace": meta["namespace"]}
    own["creationTimestamp"] = f"{time:%Y-%m-%dT%H:%M:%SZ}"
    if meta.get("labels"):
        own["labels"] = meta["labels"]
    return {
        "kind": POD_METRICS.kind,
        "apiVersion": POD_METRICS.api_version,
        "metadata": own,
        "timestamp": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "window": f"{usages[0].window:.0f}s",
        "containers": [
            {
                "name": one.container,
                "usage": {
                    "cpu": f"{round(one.cpu * 1e9)}n",
                    "memory": f"{one.memory // 1024}Ki",
                },
            }
            for one in usages
        ],
    }
