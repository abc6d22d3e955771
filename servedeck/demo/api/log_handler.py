"""GET pods/log. Source: kubernetes pkg/registry/core/pod/strategy.go,
pkg/kubelet/kubelet_pods.go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aiohttp import web

from servedeck.demo.api import status
from servedeck.demo.api.kubelet_api import KubeletApi, LogOptions
from servedeck.demo.api.request import ApiRequest, parse_bool, parse_int, parse_time
from servedeck.demo.api.status import StatusCause
from servedeck.demo.resources import NODES
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]


async def stream_log(
    store: ObjectStore, kubelet: KubeletApi, call: ApiRequest, request: web.BaseRequest
) -> web.StreamResponse:
    """Streams the lines as text/plain until they end or the client disconnects."""
    pod = store.get(call.resource, call.namespace, call.name)
    options, limit = _parse_options(store, call)
    container = _select_container(pod, call.query.get("container", ""))
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        return web.Response(status=204)
    if store.find(NODES, "", node) is None:
        raise status.not_found("", "pods", node)  # the real server says "pods" here, too
    _check_instance(pod, container, options)
    lines = kubelet.logs(pod, container, options)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    try:
        async for chunk in lines:
            if limit is not None:
                chunk, limit = chunk[:limit], limit - len(chunk)
            await response.write(chunk)
            if limit is not None and limit <= 0:
                break
    except ConnectionError:
        pass  # the client has disconnected
    return response


def _parse_options(store: ObjectStore, call: ApiRequest) -> tuple[LogOptions, int | None]:
    query = call.query
    tail, limit = parse_int(query, "tailLines"), parse_int(query, "limitBytes")
    seconds, since = parse_int(query, "sinceSeconds"), parse_time(query, "sinceTime")
    causes = []
    if tail is not None and tail < 0:
        causes.append(_invalid_option("tailLines", tail, "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        causes.append(_invalid_option("limitBytes", limit, "must be greater than 0"))
    if seconds is not None and since is not None:
        message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(StatusCause("FieldValueForbidden", message, "[]"))
    elif seconds is not None and seconds < 1:
        causes.append(_invalid_option("sinceSeconds", seconds, "must be greater than 0"))
    if causes:
        raise status.invalid("", "PodLogOptions", call.name, causes)
    if seconds is not None:
        since = store.clock.now() - timedelta(seconds=min(seconds, 10**9))
    options = LogOptions(
        follow=parse_bool(query, "follow"),
        previous=parse_bool(query, "previous"),
        since=since,
        tail=tail,
        timestamps=parse_bool(query, "timestamps"),
    )
    return options, limit


def _invalid_option(field: str, value: int, message: str) -> StatusCause:
    return StatusCause("FieldValueInvalid", f"Invalid value: {value}: {message}", field)


def _select_container(pod: Json, asked: str) -> str:
    name, spec = pod["metadata"]["name"], pod.get("spec") or {}
    main = [c["name"] for c in spec.get("containers") or ()]
    known = [*main, *(c["name"] for c in spec.get("initContainers") or ())]
    if asked:
        if asked not in known:
            raise status.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) == 1 and len(known) == 1:
        return str(main[0])
    annotated = (pod["metadata"].get("annotations") or {}).get(
        "kubectl.kubernetes.io/default-container"
    )
    if annotated in known:
        return str(annotated)
    choices = f"choose one of: [{' '.join(main)}]"
    if len(known) > len(main):
        choices += f" or one of the init containers: [{' '.join(known[len(main) :])}]"
    raise status.bad_request(f"a container name must be specified for pod {name}, {choices}")


def _check_instance(pod: Json, container: str, options: LogOptions) -> None:
    """StatusError 400 where the container has no instance whose log could be read."""
    found = pod.get("status") or {}
    statuses = [
        *(found.get("containerStatuses") or ()),
        *(found.get("initContainerStatuses") or ()),
    ]
    state = next((s for s in statuses if s.get("name") == container), None)
    named = f'container "{container}" in pod "{pod["metadata"]["name"]}"'
    if state is None:
        raise status.bad_request(f"{named} is waiting to start: ContainerCreating")
    now, last = state.get("state") or {}, (state.get("lastState") or {}).get("terminated")
    if options.previous:
        if last is None:
            raise status.bad_request(f"previous terminated {named} not found")
        return
    if now.get("running") is not None or now.get("terminated") is not None or last is not None:
        return
    reason = (now.get("waiting") or {}).get("reason", "")
    why = {
        "ErrImagePull": ": image can't be pulled",
        "ImagePullBackOff": ": trying and failing to pull image",
        "": " - no logs yet",
    }.get(reason, f": {reason}")
    raise status.bad_request(f"{named} is waiting to start{why}")
