"""A fake kubelet: serves the API server's requests for container logs, ports and commands over
HTTPS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.control_plane.kubelet_logs import (
    DEFAULT_CONTAINER,
    ContainerLog,
    KubeletLogs,
    LogError,
    send_error,
)
from tests.control_plane.kubelet_streams import (
    ChannelSocket,
    CommandResult,
    serve_command,
    serve_port,
)


class FakeKubelet:
    """Serves /containerLogs/<namespace>/<pod>/<container>, from `logs`; /portForward/<namespace>/
    <pod>, to the processes in `processes`; and /exec/<namespace>/<pod>/<container>, with the
    results in `commands`.

    The certificate is the API server's own: both are 127.0.0.1, and it does not verify kubelets
    unless a CA is configured.
    """

    def __init__(self, certificates: Path) -> None:
        self.logs = KubeletLogs()
        self.processes: dict[tuple[str, str, int], tuple[str, int]] = {}
        """Namespace, Pod and port -> address where the process listens."""
        self.commands: dict[tuple[str, ...], CommandResult] = {}
        """Words of a command -> its result."""
        self.requests: list[str] = []
        """Paths of the requests for ports and commands."""
        self._connections: set[socket.socket] = set()
        kubelet = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                kubelet._connections.add(self.connection)

            def finish(self) -> None:
                kubelet._connections.discard(self.connection)
                super().finish()

            def do_GET(self) -> None:
                kubelet._handle_request(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._handler = Handler
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificates / "apiserver.crt", certificates / "apiserver.key")
        self.port = 0
        self._server = self._bind()
        self.port = self._server.server_address[1]
        self.start()

    def _bind(self) -> ThreadingHTTPServer:
        """A server on `port` (0: any) that refuses connections until `start`."""
        server = ThreadingHTTPServer(
            ("127.0.0.1", self.port), self._handler, bind_and_activate=False
        )
        server.daemon_threads = True
        server.request_queue_size = 512
        server.server_bind()
        return server

    def start(self) -> None:
        """Accept connections."""
        self._server.server_activate()
        self._server.socket = self._tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and refuse new ones until `start`: the kubelet is down, or its node
        is not reachable. The port stays reserved."""
        self._shut_down()
        self._server = self._bind()

    def close(self) -> None:
        if self._thread.is_alive():
            self._shut_down()
        else:
            self._server.server_close()

    def _shut_down(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.logs.cut_all(clean=False)
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def log(self, namespace: str, pod: str, container: str = DEFAULT_CONTAINER) -> ContainerLog:
        """The log of a container."""
        return self.logs.container(namespace, pod, container)

    def write(
        self,
        namespace: str,
        pod: str,
        *lines: str,
        container: str = DEFAULT_CONTAINER,
        previous: bool = False,
    ) -> None:
        """Append lines to the log of the current or the previous instance of a container."""
        self.log(namespace, pod, container).write(*lines, previous=previous)

    def end_log(self, namespace: str, pod: str, container: str = DEFAULT_CONTAINER) -> None:
        """The instance terminates: its log becomes the previous one, and the streams of followers
        end. The next line is one of the next instance."""
        self.log(namespace, pod, container).crash()

    def _handle_request(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        parts = url.path.strip("/").split("/")
        if parts[0] in ("portForward", "exec"):
            self._handle_stream(handler, parts, parse_qs(url.query))
        elif len(parts) == 4 and parts[0] == "containerLogs":
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            self.log(*parts[1:]).serve(handler, query)
        else:
            send_error(handler, LogError(404, "404 page not found"))

    def _handle_stream(
        self, handler: BaseHTTPRequestHandler, parts: list[str], query: dict[str, list[str]]
    ) -> None:
        self.requests.append("/".join(parts))
        try:
            channels = ChannelSocket(handler)
            if parts[0] == "exec":
                serve_command(channels, self.commands.get(tuple(query["command"])))
            else:
                port = int(query["port"][0])
                serve_port(channels, port, self.processes.get((parts[1], parts[2], port)))
        except ValueError as error:
            handler.send_error(400, str(error))
        except OSError:
            pass  # the client has disconnected
        handler.close_connection = True
