"""GET pods/exec without a terminal and without input. Sources: kubernetes
pkg/registry/core/pod/rest/subresources.go,
staging/src/k8s.io/kubelet/pkg/cri/streaming/remotecommand."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from servedeck.demo.api import channels, status
from servedeck.demo.api.kubelet_api import CommandOutput, ExecutableNotFoundError, KubeletApi
from servedeck.demo.api.request import ApiRequest, parse_bool
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]

_OUT, _ERR, _STATUS = 1, 2, 3


async def run_command(
    store: ObjectStore, kubelet: KubeletApi, call: ApiRequest, request: web.BaseRequest
) -> web.StreamResponse:
    """Runs the command, and sends its output and its exit code."""
    pod = store.get(call.resource, call.namespace, call.name)
    channels.check_node(store, pod)
    command = request.query.getall("command", [])
    if not command:
        raise status.bad_request("you must specify at least 1 command for this pod")
    if parse_bool(call.query, "tty"):
        raise status.bad_request("the demo cluster has no terminals")
    container = _select_container(pod, call.query.get("container", ""))
    websocket = await channels.open_channels(request, channels.V5, channels.V4)
    try:
        try:
            output = await kubelet.run_command(pod, container, command)
        except ExecutableNotFoundError as error:
            await _send_status(websocket, _not_found_status(str(error)))
        else:
            for channel, data in ((_OUT, output.out), (_ERR, output.err)):
                if data:
                    await channels.send(websocket, channel, data)
            await _send_status(websocket, _exit_status(output))
        await websocket.close()
    except ConnectionError:
        pass  # the client has disconnected
    return websocket


def _select_container(pod: Json, asked: str) -> str:
    """The container, which must be running."""
    name = pod["metadata"]["name"]
    known = [one["name"] for one in pod["spec"].get("containers") or ()]
    if asked and asked not in known:
        raise status.bad_request(f"container {asked} is not valid for pod {name}")
    chosen = asked or known[0]
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        if one.get("name") == chosen and (one.get("state") or {}).get("running") is not None:
            return str(chosen)
    raise status.internal(f'container not found ("{chosen}")')


async def _send_status(websocket: web.WebSocketResponse, body: Json) -> None:
    await channels.send(websocket, _STATUS, msgspec.json.encode(body))


def _exit_status(output: CommandOutput) -> Json:
    if output.exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    code = str(output.exit_code)
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": code}]},
    }


def _not_found_status(program: str) -> Json:
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "InternalError",
        "code": 500,
        "message": "Internal error occurred: error executing command in container: failed to exec "
        "in container: OCI runtime exec failed: exec failed: unable to start container process: "
        f'exec: "{program}": executable file not found in $PATH: unknown',
    }
