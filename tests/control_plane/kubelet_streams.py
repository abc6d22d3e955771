"""What a kubelet does with WebSockets: `v4.channel.k8s.io`, for ports and commands of Pods.

Sources: kubernetes staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go,
remotecommand/websocket.go, and the frames of RFC 6455.
"""

from __future__ import annotations

import base64
import hashlib
import json
import select
import socket
import struct
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

PROTOCOL = "v4.channel.k8s.io"
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_CHUNK_BYTES = 32 << 10


class CommandResult(NamedTuple):
    """What a command prints, and its exit code."""

    out: bytes = b""
    err: bytes = b""
    exit_code: int = 0


class ChannelSocket:
    """The server's end of a WebSocket whose messages begin with the number of their channel."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer the handshake. Raises ValueError if the client asks for another protocol."""
        asked = handler.headers.get("Sec-WebSocket-Protocol", "").split(",")
        if handler.headers.get("Upgrade", "").lower() != "websocket" or PROTOCOL not in asked:
            raise ValueError(f"no WebSocket of {PROTOCOL}: {asked}")
        key = handler.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID).digest()).decode()
        handler.send_response(101)
        handler.send_header("Upgrade", "websocket")
        handler.send_header("Connection", "Upgrade")
        handler.send_header("Sec-WebSocket-Accept", accept)
        handler.send_header("Sec-WebSocket-Protocol", PROTOCOL)
        handler.end_headers()
        handler.close_connection = True
        self._socket: Any = handler.connection
        self._reader = handler.rfile

    def send(self, channel: int, payload: bytes) -> None:
        self._send_frame(_BINARY, bytes((channel,)) + payload)

    def close(self) -> None:
        self._send_frame(_CLOSE, struct.pack(">H", 1000))

    def _send_frame(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes((0x80 | kind,))
        if size < 126:
            head += bytes((size,))
        elif size < 1 << 16:
            head += struct.pack(">BH", 126, size)
        else:
            head += struct.pack(">BQ", 127, size)
        self._socket.sendall(head + payload)

    def receive(self) -> tuple[int, bytes] | None:
        """Channel and payload of the next message; None at the end. Pings are answered."""
        while True:
            first, second = self._read(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", self._read(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._read(8))
            mask = self._read(4)
            masked = self._read(size)
            repeated = (mask * (size // 4 + 1))[:size]
            payload = (int.from_bytes(masked, "big") ^ int.from_bytes(repeated, "big")).to_bytes(
                size, "big"
            )
            match first & 0x0F:
                case 8:
                    return None
                case 9:
                    self._send_frame(_PONG, payload)
                case 2 if payload:
                    return payload[0], payload[1:]

    def _read(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise ConnectionError("the client has disconnected")
        return bytes(data)

    def has_input(self, other: socket.socket) -> tuple[bool, bool]:
        """Wait; whether the client, and whether `other`, has something to read."""
        buffered = bool(self._socket.pending()) or bool(_peek(self._reader))
        if buffered:
            return True, False
        ready, _, _ = select.select((self._socket, other), (), ())
        return self._socket in ready, other in ready


def _peek(reader: Any) -> bytes:
    """What the buffered reader has already, without reading more."""
    before = reader.raw._sock.gettimeout()
    reader.raw._sock.settimeout(0.0)
    try:
        return bytes(reader.peek(1))
    except (BlockingIOError, OSError):
        return b""
    finally:
        reader.raw._sock.settimeout(before)


def serve_port(channels: ChannelSocket, port: int, target: tuple[str, int] | None) -> None:
    """Forward to `target`, where the container's process listens; None for nothing that does."""
    number = port.to_bytes(2, "little")
    channels.send(0, number)
    channels.send(1, number)
    if target is None:
        text = f"error forwarding port {port} to pod x, uid : failed to execute portforward in "
        text += f'network namespace "x": dial tcp4 127.0.0.1:{port}: connect: connection refused'
        channels.send(1, text.encode())
        channels.close()
        return
    with socket.create_connection(target) as process:
        while True:
            from_client, from_process = channels.has_input(process)
            if from_client:
                if (message := channels.receive()) is None:
                    return
                process.sendall(message[1])
            if from_process:
                try:
                    data = process.recv(_CHUNK_BYTES)
                except OSError as error:
                    channels.send(1, f"error forwarding port {port}: read: {error}".encode())
                    data = b""
                if not data:
                    channels.close()
                    return
                channels.send(0, data)


def serve_command(channels: ChannelSocket, result: CommandResult | None) -> None:
    """Send the result of a command; None for a program that the image does not have."""
    status: dict[str, Any] = {"metadata": {}, "status": "Success"}
    if result is None:
        message = "Internal error occurred: exec: executable file not found in $PATH"
        status |= {"status": "Failure", "reason": "InternalError", "message": message, "code": 500}
    else:
        channels.send(1, b"")  # tells the client that the connection is open
        for channel, data in ((1, result.out), (2, result.err)):
            for at in range(0, len(data), _CHUNK_BYTES):
                channels.send(channel, data[at : at + _CHUNK_BYTES])
        if result.exit_code:
            causes = [{"reason": "ExitCode", "message": str(result.exit_code)}]
            status |= {
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "message": "command terminated with non-zero exit code",
                "details": {"causes": causes},
            }
    channels.send(3, json.dumps(status).encode())
    channels.close()
