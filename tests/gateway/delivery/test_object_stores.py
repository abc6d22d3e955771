"""The same promises of a directory and of a bucket."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.gateway.object_stores import open_objects
from servedeck.gateway.objects import ObjectMissingError, ObjectStore, ObjectStoreError
from tests.gateway.delivery.s3_server import KEY, KEY_ID, REGION, S3Server, serve_s3


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Server]:
    async with serve_s3() as server:
        for name, value in {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ALLOW_HTTP": "true",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["file", "s3"])
async def objects(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> ObjectStore:
    setting = f"file:{tmp_path}/objects" if request.param == "file" else "s3://bucket/some/prefix"
    store = open_objects(setting)
    assert store is not None
    return store


async def read(objects: ObjectStore, name: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([part async for part in objects.read(name, start, end)])


@pytest.mark.parametrize("size", [0, 1, 70_000, 20_000_000])
@pytest.mark.parametrize("from_file", [False, True])
async def test_what_was_put_is_read(
    objects: ObjectStore, tmp_path: Path, size: int, from_file: bool
) -> None:
    data = os.urandom(size)
    file = tmp_path / "body"
    file.write_bytes(data)
    await objects.put("task/what", file if from_file else data)
    assert await read(objects, "task/what") == data
    if size > 1:
        assert await read(objects, "task/what", 10, 50_000) == data[10:50_000]
        assert await read(objects, "task/what", size - 5) == data[-5:]
        assert await read(objects, "task/what", 5, 5) == b""


async def test_a_large_object_is_read_in_parts(objects: ObjectStore) -> None:
    await objects.put("task/what", b"x" * 20_000_000)
    sizes = [len(part) async for part in objects.read("task/what")]
    assert len(sizes) > 1


async def test_another_put_replaces(objects: ObjectStore) -> None:
    await objects.put("task/what", b"long and old")
    await objects.put("task/what", b"new")
    assert await read(objects, "task/what") == b"new"


async def test_what_is_deleted_is_missing(objects: ObjectStore) -> None:
    await objects.put("task/one", b"1")
    await objects.put("task/two", b"2")
    await objects.delete(["task/one", "task/never"])
    with pytest.raises(ObjectMissingError):
        await read(objects, "task/one")
    assert await read(objects, "task/two") == b"2"
    await objects.delete(["task/two"])
    await objects.put("task/one", b"again")
    assert await read(objects, "task/one") == b"again"


async def test_old_objects_are_listed(objects: ObjectStore) -> None:
    await objects.put("a/one", b"1")
    await objects.put("b/two", b"2")
    assert sorted([name async for name in objects.older(-60)]) == ["a/one", "b/two"]
    assert [name async for name in objects.older(1e9)] == []


BAD_NAMES = [
    "",
    "task",
    "../task/x",
    "task/../x",
    "task/..",
    "/task/x",
    "task/x/y",
    "task/x\n",
    "a b/c",
]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_name_cannot_lead_elsewhere(objects: ObjectStore, name: str) -> None:
    with pytest.raises(ObjectStoreError):
        await objects.put(name, b"x")
    with pytest.raises(ObjectStoreError):
        await read(objects, name)
    with pytest.raises(ObjectStoreError):
        await objects.delete([name])


async def test_objects_are_under_the_prefix(s3: S3Server) -> None:
    s3.objects["bucket/other/task/what"] = b"not ours"
    objects = open_objects("s3://bucket/some/prefix")
    assert objects is not None
    await objects.put("task/what", b"x")
    assert s3.objects["bucket/some/prefix/task/what"] == b"x"
    assert [name async for name in objects.older(1)] == ["task/what"]


async def test_a_server_can_be_asked_to_delete_one_by_one(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DISABLE_BULK_DELETE", "true")
    objects = open_objects("s3://bucket")
    assert objects is not None
    await objects.put("task/one", b"1")
    await objects.delete(["task/one", "task/never"])
    assert not s3.objects
    assert s3.requests.count("DELETE") == 2


async def test_a_bucket_that_is_missing_is_an_error(s3: S3Server) -> None:
    # a task is not lost by a setting that is wrong
    objects = open_objects("s3://no-such-bucket")
    assert objects is not None
    for call in (objects.delete(["task/one"]), read(objects, "task/one")):
        with pytest.raises(ObjectStoreError) as caught:
            await call
        assert not isinstance(caught.value, ObjectMissingError)


async def test_a_directory_that_is_missing_is_an_error(tmp_path: Path) -> None:
    objects = open_objects(f"file:{tmp_path}/objects")
    assert objects is not None
    (tmp_path / "objects").rmdir()
    with pytest.raises(ObjectStoreError) as caught:
        await read(objects, "task/one")
    assert not isinstance(caught.value, ObjectMissingError)


async def test_a_large_file_is_uploaded_in_parts(s3: S3Server, tmp_path: Path) -> None:
    objects = open_objects("s3://bucket")
    assert objects is not None
    file = tmp_path / "body"
    file.write_bytes(b"x" * 20_000_000)
    await objects.put("task/what", file)
    assert s3.requests.count("PUT uploadId") > 1
    assert len(s3.objects["bucket/task/what"]) == 20_000_000


async def test_a_wrong_key_is_an_error_without_details(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    objects = open_objects("s3://bucket")
    assert objects is not None
    with pytest.raises(ObjectStoreError) as caught:
        await objects.put("task/what", b"x")
    assert "http" not in str(caught.value)
    assert not s3.objects


async def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    objects = open_objects(f"file:{tmp_path}/objects")
    assert objects is not None
    with pytest.raises(ObjectStoreError):
        await objects.put("task/what", tmp_path / "no such file")
    with pytest.raises(ObjectMissingError):
        await read(objects, "task/what")


async def test_unfinished_files_are_removed(tmp_path: Path) -> None:
    objects = open_objects(f"file:{tmp_path}/objects")
    assert objects is not None
    await objects.put("task/what", b"x")
    unfinished = tmp_path / "objects/task/result#3"
    unfinished.write_bytes(b"half")
    assert [name async for name in objects.older(60)] == []
    assert unfinished.exists()
    assert [name async for name in objects.older(-60)] == ["task/what"]
    assert not unfinished.exists()


def test_other_settings(tmp_path: Path) -> None:
    assert open_objects("") is None
    (tmp_path / "file").write_text("")
    for setting in ("s3:bucket", "s3://", "gs://bucket", f"file:{tmp_path}/file/below"):
        with pytest.raises(ObjectStoreError):
            open_objects(setting)
