"""A response on its way to the store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from servedeck.gateway.delivery.spool import Spool, TooLargeError
from servedeck.gateway.object_stores import open_objects
from servedeck.gateway.objects import ObjectStoreError


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    return directory


async def test_a_large_body_is_not_held_in_memory(tmp_path: Path, temporary: Path) -> None:
    objects = open_objects(f"file:{tmp_path}/objects")
    assert objects is not None
    spool = Spool(objects, 1000, 1 << 24)
    parts = [os.urandom(100_000) for _ in range(20)]
    for part in parts:
        await spool.add(part)
    assert sum(map(len, spool._parts)) < 500_000
    # a file without a name ends with the process that is killed
    assert len(list(temporary.iterdir())) == (0 if Path("/proc/self/fd").is_dir() else 1)
    assert spool._file is not None
    content = await spool.store("task/result-1")
    assert (content.data, content.size) == (b"", 2_000_000)
    assert b"".join([one async for one in objects.read(content.object)]) == b"".join(parts)
    spool.close()
    assert not list(temporary.iterdir())


async def test_without_an_object_store_nothing_is_written(temporary: Path) -> None:
    spool = Spool(None, 10, 1 << 24)
    for _ in range(20):
        await spool.add(b"x" * 100_000)
    assert not list(temporary.iterdir())
    content = await spool.store("task/result-1")
    assert (len(content.data), content.object) == (2_000_000, "")


@pytest.mark.parametrize("sizes", [[], [5], [100_000] * 3, [300_000, 7], [300_000, 0, 30, 1]])
@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("has_objects", [False, True])
async def test_the_end_of_a_body_is_read(
    tmp_path: Path, sizes: list[int], is_stored: bool, has_objects: bool
) -> None:
    objects = open_objects(f"file:{tmp_path}/objects") if has_objects else None
    spool = Spool(objects, 1000, 1 << 24)
    body = b""
    for size in sizes:
        part = os.urandom(size)
        body += part
        await spool.add(part)
    if is_stored:
        await spool.store("task/result-1")
    for limit in (1, 8, 50, 20_000, 1_000_000):
        assert spool.tail(limit) == body[-limit:]
    spool.close()


async def test_the_limit_is_kept() -> None:
    spool = Spool(None, 10, 5)
    await spool.add(b"12345")
    with pytest.raises(TooLargeError):
        await spool.add(b"6")


async def test_it_can_be_stored_after_a_failure(tmp_path: Path) -> None:
    objects = open_objects(f"file:{tmp_path}/objects")
    assert objects is not None
    spool = Spool(objects, 10, 1 << 24)
    await spool.add(b"x" * 600_000)
    await spool.add(b"y")
    with pytest.raises(ObjectStoreError):
        await spool.store("not a name")
    await spool.store("task/result-1")
    stored = b"".join([one async for one in objects.read("task/result-1")])
    assert stored == b"x" * 600_000 + b"y"
    spool.close()
