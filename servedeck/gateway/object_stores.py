"""Object stores: a directory, or a bucket of S3 or of a server that speaks like it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from servedeck.gateway.objects import ObjectMissingError, ObjectStore, ObjectStoreError

if TYPE_CHECKING:
    from obstore import GetOptions

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}/[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_PART_BYTES = 1 << 20
_UPLOAD_PART_BYTES = 8 << 20
_UPLOADS = 2
"""Parts of one object that are uploaded at once: they are in memory until then."""
_STAGING_SUFFIX = re.compile(r".+#\d+\Z")
"""Files that LocalStore writes before it renames them; it does not list them."""


def open_objects(setting: str, serving: str = "") -> ObjectStore | None:
    """The object store of the setting `objects`, in it the folder of the serving (namespace/name),
    as each gateway deletes what none of its tasks refers to; None for "".

    S3 takes its credentials, region and endpoint from the usual variables (AWS_ACCESS_KEY_ID,
    AWS_REGION, AWS_ENDPOINT_URL, …); AWS_ALLOW_HTTP=true permits an endpoint without TLS. Its
    multipart uploads that a killed gateway left unfinished are for the bucket's lifecycle rules to
    remove. A server that cannot delete many objects at once needs AWS_DISABLE_BULK_DELETE=true.
    Raises ObjectStoreError.
    """
    if not setting:
        return None
    kind, _, rest = setting.partition(":")
    if kind == "file":
        return _Files(Path(rest) / serving)
    if kind == "s3" and rest.startswith("//"):
        bucket, _, prefix = rest.removeprefix("//").partition("/")
        if bucket:
            return _Bucket(bucket, f"{prefix.strip('/')}/{serving}".strip("/"))
    raise ObjectStoreError(f"{setting} is neither file:DIRECTORY nor s3://BUCKET/PREFIX.")


class _Objects:
    """What files and buckets have in common."""

    def __init__(self, store: LocalStore | S3Store, where: str) -> None:
        self._store = store
        self._where = where

    async def put(self, name: str, body: bytes | Path) -> None:
        _check(name)
        with self._errors("written"):
            await self._store.put_async(
                name, body, chunk_size=_UPLOAD_PART_BYTES, max_concurrency=_UPLOADS
            )

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        _check(name)
        if end is not None and end <= start:
            return
        options: GetOptions = {}
        if end is not None:
            options = {"range": (start, end)}
        elif start:
            options = {"range": {"offset": start}}
        with self._errors("read"):
            found = await self._store.get_async(name, options=options)
            async for part in found.stream(min_chunk_size=_PART_BYTES):
                yield bytes(part)

    async def delete(self, names: Iterable[str]) -> None:
        names = list(names)
        for name in names:
            _check(name)
        if names:
            with self._errors("deleted"):
                await self._delete(names)

    async def _delete(self, names: list[str]) -> None:
        # One that is not there is no error, but a bucket that is not there is.
        await self._store.delete_async(names)

    async def older(self, seconds: float) -> AsyncIterator[str]:
        before = time.time() - seconds
        with self._errors("listed"):
            async for page in self._store.list_async(chunk_size=200):
                for one in page:
                    if one["last_modified"].timestamp() <= before and _NAME.match(one["path"]):
                        yield one["path"]

    def _is_store_missing(self, error: FileNotFoundError) -> bool:
        """Whether it is not the object alone that is not there."""
        return "NoSuchBucket" in str(error)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """The text of an error may have a signed URL in it: only its kind is reported."""
        try:
            yield
        except FileNotFoundError as error:
            if self._is_store_missing(error):
                raise ObjectStoreError(f"There is no {self._where}.") from None
            raise ObjectMissingError(f"The object is not in the {self._where}.") from None
        except (BaseError, OSError, ValueError) as error:
            raise ObjectStoreError(
                f"An object could not be {what} in the {self._where} ({type(error).__name__})."
            ) from error


class _Files(_Objects):
    def __init__(self, directory: Path) -> None:
        try:
            store = LocalStore(directory.absolute(), automatic_cleanup=True, mkdir=True)
        except (BaseError, OSError, ValueError) as error:
            raise ObjectStoreError(
                f"The directory {directory} of objects cannot be made ({type(error).__name__})."
            ) from error
        super().__init__(store, f"directory {directory}")
        self._directory = directory.absolute()

    async def put(self, name: str, body: bytes | Path) -> None:
        await super().put(name, body)
        with self._errors("written"):
            await asyncio.to_thread(self._sync, name)

    async def older(self, seconds: float) -> AsyncIterator[str]:
        with self._errors("listed"):
            await asyncio.to_thread(self._remove_unfinished, time.time() - seconds)
        async for name in super().older(seconds):
            yield name

    async def _delete(self, names: list[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                await self._store.delete_async(name)

    def _is_store_missing(self, error: FileNotFoundError) -> bool:
        return not self._directory.is_dir()

    def _sync(self, name: str) -> None:
        """The rename made it whole, not yet safe from a power cut."""
        file = self._directory / name
        for path in (file, file.parent, self._directory):
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)

    def _remove_unfinished(self, before: float) -> None:
        for path in self._directory.glob("*/*"):
            if _STAGING_SUFFIX.match(path.name):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime <= before:
                        path.unlink()


class _Bucket(_Objects):
    def __init__(self, bucket: str, prefix: str) -> None:
        try:
            store = S3Store(
                bucket,
                prefix=prefix or None,
                client_options={
                    "connect_timeout": "5s",
                    "timeout": "60s",
                    # our own options replace those of the environment
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
                },
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
            )
        except (BaseError, ValueError) as error:
            raise ObjectStoreError(
                f"The bucket {bucket} cannot be used ({type(error).__name__})."
            ) from error
        super().__init__(store, f"bucket {bucket}")


def _check(name: str) -> None:
    if not _NAME.match(name):
        raise ObjectStoreError("The name of an object must be <task id>/<what>.")
