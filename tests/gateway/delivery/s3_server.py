"""As much of S3 as the gateway uses, in memory. It computes the signature of each request itself
and refuses one that is wrong."""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import md5, sha256
from urllib.parse import quote, unquote

from aiohttp import web

KEY_ID, KEY, REGION = "key-id", "key-of-a-test", "eu-test-1"


class S3Server:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        """By bucket and key."""
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[str] = []
        """The method of each, and the name of its query."""
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        what = next((name for name in request.query if name in _QUERIES), "")
        self.requests.append(f"{request.method} {what}".strip())
        if not _is_signed(request, body):
            return web.Response(
                status=403, text="<Error><Code>SignatureDoesNotMatch</Code></Error>"
            )
        if request.raw_path.startswith("/no-such-bucket"):
            return web.Response(status=404, text="<Error><Code>NoSuchBucket</Code></Error>")
        key = unquote(request.raw_path.partition("?")[0]).lstrip("/")
        if request.method == "POST" and what == "uploads":
            upload = f"upload-{len(self.uploads)}"
            self.uploads[upload] = {}
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        if request.method == "POST" and what == "uploadId":
            parts = self.uploads.pop(request.query["uploadId"])
            self.objects[key] = b"".join(parts[number] for number in sorted(parts))
            return _xml("CompleteMultipartUploadResult", f"<ETag>{_tag(body)}</ETag>")
        if request.method == "POST" and what == "delete":
            bucket = key.rstrip("/")
            names = re.findall(r"<Key>([^<]*)</Key>", body.decode())
            for name in names:
                self.objects.pop(f"{bucket}/{name}", None)
            deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
            return _xml("DeleteResult", deleted)
        if request.method == "PUT" and what == "uploadId":
            self.uploads[request.query["uploadId"]][int(request.query["partNumber"])] = body
            return web.Response(headers={"ETag": _tag(body)})
        if request.method == "PUT":
            self.objects[key] = body
            return web.Response(headers={"ETag": _tag(body)})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return web.Response(status=204)
        if what == "list-type":
            return self._list(key.rstrip("/"), request.query.get("prefix", ""))
        if key not in self.objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        return _get(request, self.objects[key])

    def _list(self, bucket: str, prefix: str) -> web.Response:
        found = {
            name.removeprefix(f"{bucket}/"): data
            for name, data in self.objects.items()
            if name.startswith(f"{bucket}/{prefix}")
        }
        items = "".join(
            f"<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{_tag(data)}</ETag><Size>{len(data)}</Size></Contents>"
            for name, data in sorted(found.items())
        )
        return _xml("ListBucketResult", f"<IsTruncated>false</IsTruncated>{items}")


_QUERIES = ("uploads", "uploadId", "list-type", "delete")


def _get(request: web.Request, data: bytes) -> web.Response:
    headers = {"ETag": _tag(data), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if asked is None:
        return web.Response(body=data, headers=headers)
    start, end = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    if start >= len(data):
        return web.Response(status=416)
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return web.Response(status=206, body=data[start : end + 1], headers=headers)


def _tag(data: bytes) -> str:
    return f'"{md5(data).hexdigest()}"'


def _xml(name: str, content: str) -> web.Response:
    return web.Response(text=f"<{name}>{content}</{name}>", content_type="application/xml")


def _is_signed(request: web.Request, body: bytes) -> bool:
    """AWS Signature Version 4, as in "Create a signed AWS API request"."""
    given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
        r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
        request.headers.get("authorization", ""),
    )
    if given is None or given[1] != KEY_ID or given[3] != REGION:
        return False
    payload = request.headers["x-amz-content-sha256"]
    if payload not in (sha256(body).hexdigest(), "UNSIGNED-PAYLOAD"):
        return False
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(request.query.items())
    )
    names = given[4].split(";")
    lines = [f"{name}:{request.headers[name].strip()}" for name in names]
    path = request.raw_path.partition("?")[0]
    canonical = "\n".join([request.method, path, query, *lines, "", given[4], payload])
    scope = f"{given[2]}/{REGION}/s3/aws4_request"
    digest = sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, digest])
    key = f"AWS4{KEY}".encode()
    for one in (given[2], REGION, "s3", "aws4_request"):
        key = hmac.digest(key, one.encode(), sha256)
    today = datetime.now(UTC)
    sent = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    is_recent = abs((today - sent).total_seconds()) < 900
    return is_recent and hmac.digest(key, text.encode(), sha256).hex() == given[5]


@asynccontextmanager
async def serve_s3() -> AsyncIterator[S3Server]:
    server = S3Server()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
