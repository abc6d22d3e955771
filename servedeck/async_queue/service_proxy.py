"""Requests to a serving's async gateway through the API server's Service proxy, with its keys.

A kubeconfig is enough: the gateway's admin port has no route. It needs `get` (to act, `create`) on
`services/proxy`, and `get` on the gateway's Secret, which has the keys of that port, or on the
Secret with the view-key alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from servedeck.async_queue.errors import (
    AsyncQueueError,
    NotInstalledError,
    NotPermittedError,
    UnreachableError,
)
from servedeck.async_queue.gateway_keys import SecretKeys
from servedeck.async_queue.gateway_transport import (
    FEED_TIMEOUT,
    PREFIX,
    TIMEOUT,
    GatewayTransport,
    Params,
)
from servedeck.async_queue.problems import convert_problem
from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    InvalidResponseError,
    ReadOnlyError,
)
from servedeck.cluster.http.stream import ResponseStream
from servedeck.cluster.resources import SERVICE
from servedeck.serving.objects.async_routes import GATEWAY_PORT, async_gateway_name

_NO_CONNECTION = "error trying to reach service: "
"""How the API server begins to say why it has no connection to the Pod of a Service."""


class ServiceProxy(GatewayTransport):
    """Through the API server."""

    def __init__(self, connection: Connection, namespace: str, serving: str) -> None:
        self._connection = connection
        self._namespace = namespace
        self._name = async_gateway_name(serving)
        self._admin_name = f"{self._name}-admin"
        self._admin = self._service_path(self._admin_name) + PREFIX
        super().__init__(
            SecretKeys(connection, namespace, serving), f"{self._namespace}/{self._name}"
        )

    def _service_path(self, service: str) -> str:
        return f"{SERVICE.object_path(self._namespace, f'{service}:{GATEWAY_PORT}')}/proxy"

    async def _send(
        self,
        method: str,
        path: str,
        params: Params,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> ApiResponse:
        return await self._connection.request(
            method,
            self._admin + path,
            params=params,
            body=body,
            headers=headers,
            timeout=TIMEOUT,
        )

    def _open_stream(
        self, path: str, params: Params, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[ResponseStream]:
        return self._connection.stream(self._admin + path, params, FEED_TIMEOUT, headers)

    async def submit(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, content_type: str
    ) -> bytes:
        """A request to the port of the callers; the body of the answer."""
        try:
            response = await self._connection.request(
                method,
                self._service_path(self._name) + path,
                body=body,
                content_type=content_type,
                headers=headers,
                timeout=TIMEOUT,
            )
        except ClusterError as error:
            raise self._convert_for(error, self._name) from error
        return response.body

    # -- errors ---------------------------------------------------------------------------------

    def _convert(self, error: ClusterError) -> ClusterError:
        return self._convert_for(error, self._admin_name)

    def _convert_for(self, error: ClusterError, service: str) -> ClusterError:
        """What the API server says, in a Status with a reason, or the gateway, without."""
        if isinstance(error, (AsyncQueueError, ReadOnlyError)):
            return error
        if isinstance(error, InvalidResponseError):
            return self.too_old()
        if not isinstance(error, ApiError):
            return UnreachableError(str(error))
        where = f"Service {self._namespace}/{service}"
        if "no endpoints" in error.message or error.details.get("kind") == "endpoints":
            return UnreachableError(f"{where} leads to no Pod of the async gateway that is up.")
        if _NO_CONNECTION in error.message:
            reason = error.message.partition(_NO_CONNECTION)[2].rstrip(".")
            return UnreachableError(f"The async gateway behind {where} does not answer: {reason}.")
        if error.reason == "NotFound":
            return NotInstalledError(f"There is no {where}: the async queue is off.")
        if error.reason == "Forbidden":
            return NotPermittedError(
                f"Asking the async gateway needs get and create on services/proxy in namespace"
                f" {self._namespace}."
            )
        if error.reason:
            return UnreachableError(str(error))
        if (problem := convert_problem(error)) is not None:
            return problem
        if error.code in (401, 403):
            return NotPermittedError(
                f"The async gateway does not accept the key in {self._keys.description}; if the"
                " Secret was changed, it does within two minutes."
            )
        if error.code in (404, 405):
            return self.too_old()
        text = error.message.rstrip(".")
        return UnreachableError(f"The async gateway failed ({error.code}): {text or 'no reason'}.")
