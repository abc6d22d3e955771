"""A fake kubelet: serves the API server's requests for container logs, ports and commands over
HTTPS."""

from __future__ import annotations

import ssl
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.control_plane.kubelet_streams import (
    ChannelSocket,
    CommandResult,
    serve_command,
    serve_port,
)


@dataclass
class ContainerLog:
    """Log lines of one container instance with timestamps; `ended` once the container has
    terminated."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False


class FakeKubelet:
    """Serves /containerLogs/<namespace>/<pod>/<container> with follow, previous, tailLines,
    timestamps and sinceTime, from the lines passed to `write`; /portForward/<namespace>/<pod>, to
    the processes in `processes`; and /exec/<namespace>/<pod>/<container>, with the results in
    `commands`.

    The certificate is the API server's own: both are 127.0.0.1, and it does not verify kubelets
    unless a CA is configured.
    """

    def __init__(self, certificates: Path) -> None:
        self._logs: dict[tuple[str, str, str, bool], ContainerLog] = defaultdict(ContainerLog)
        self._changed = threading.Condition()
        self.processes: dict[tuple[str, str, int], tuple[str, int]] = {}
        """Namespace, Pod and port -> address where the process listens."""
        self.commands: dict[tuple[str, ...], CommandResult] = {}
        """Words of a command -> its result."""
        self.requests: list[str] = []
        """Paths of the requests for ports and commands."""
        self._closed = False
        kubelet = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                kubelet._handle_request(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "apiserver.crt", certificates / "apiserver.key")
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def write(
        self,
        namespace: str,
        pod: str,
        *lines: str,
        container: str = "inference-server",
        previous: bool = False,
    ) -> None:
        """Append lines to the log of the current or the previous instance of a container."""
        with self._changed:
            log = self._logs[namespace, pod, container, previous]
            for line in lines:
                at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
                log.lines.append((at, line))
            self._changed.notify_all()

    def end_log(self, namespace: str, pod: str, container: str = "inference-server") -> None:
        """The instance terminates: its log becomes the previous one, and the streams of followers
        end."""
        with self._changed:
            log = self._logs.pop((namespace, pod, container, False), ContainerLog())
            log.ended = True
            self._logs[namespace, pod, container, True] = log
            self._changed.notify_all()

    def _handle_request(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        parts = url.path.strip("/").split("/")
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if parts[0] in ("portForward", "exec"):
            self._handle_stream(handler, parts, parse_qs(url.query))
            return
        if len(parts) != 4 or parts[0] != "containerLogs":
            handler.send_error(404)
            return
        key = (parts[1], parts[2], parts[3], query.get("previous") == "true")
        with self._changed:
            log = self._logs[key] if not key[3] else self._logs.get(key)
        if log is None:
            text = f'previous terminated container "{parts[3]}" in pod "{parts[2]}" not found'
            handler.send_response(400)
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text.encode())
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            self._send_log(handler, log, query)
        except OSError:
            handler.close_connection = True  # the client has disconnected

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

    def _send_log(
        self, handler: BaseHTTPRequestHandler, log: ContainerLog, query: dict[str, str]
    ) -> None:
        since = query.get("sinceTime", "")
        with self._changed:
            at = len(log.lines)
            first = next((i for i, line in enumerate(log.lines) if line[0] >= since), at)
            if "tailLines" in query:
                first = max(first, at - int(query["tailLines"]))
        while True:
            with self._changed:
                lines = log.lines[first:]
                first += len(lines)
                over = log.ended or self._closed or query.get("follow") != "true"
                if not lines and not over:
                    self._changed.wait(5)
                    continue
            stamps = query.get("timestamps") == "true"
            text = "".join(f"{time} {line}\n" if stamps else f"{line}\n" for time, line in lines)
            if lines:
                data = text.encode("utf-8", "surrogateescape")
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            if over:
                handler.wfile.write(b"0\r\n\r\n")
                return
