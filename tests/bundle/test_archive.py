"""The archive: its limit, its paths, and the file that it is written to."""

from __future__ import annotations

import gzip
import io
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from servedeck import atomic_file
from servedeck.atomic_file import NewFile
from servedeck.bundle.archive import ArchiveCanceledError, ArchiveWriter, safe_part
from tests.bundle.archive_files import read_archive

TIME = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_files_are_read_back_with_their_sizes() -> None:
    output = io.BytesIO()
    archive = ArchiveWriter(output, "chat-llama", 1 << 20, TIME)
    archive.add("a.txt", b"one")
    archive.add(f"{'d' * 150}/{'f' * 150}.log", b"two")
    archive.close()
    output.seek(0)
    assert list(read_archive(output).values()) == [b"one", b"two"]
    assert [entry.size for entry in archive.entries] == [3, 3]


@pytest.mark.parametrize("sizes", [[5_000] * 30, [1] * 100, [100_000, 20_000, 1]])
def test_the_archive_is_never_larger_than_its_limit(sizes: list[int]) -> None:
    limit = 128 << 10
    output = io.BytesIO()
    archive = ArchiveWriter(output, "n" * 200, limit, TIME)
    for number, size in enumerate(sizes):
        if size <= archive.remaining:
            archive.add(f"{'p' * 150}/{number}", b"x" * size)
        else:
            with pytest.raises(ValueError, match="does not fit"):
                archive.add(str(number), b"x" * size)
    archive.close()
    assert archive.entries
    assert len(gzip.decompress(output.getvalue())) <= limit


def test_what_is_reserved_is_not_used_until_it_is_given_back() -> None:
    archive = ArchiveWriter(io.BytesIO(), "d", 128 << 10, TIME)
    before = archive.remaining
    archive.reserve(10 << 10)
    assert archive.remaining == before - (10 << 10)
    archive.reserve(-(10 << 10))
    assert archive.remaining == before


def test_a_canceled_archive_ends_in_the_middle_of_a_file() -> None:
    archive = ArchiveWriter(io.BytesIO(), "d", 1 << 20, TIME)
    archive.cancel()
    with pytest.raises(ArchiveCanceledError):
        archive.add("a", b"x" * 100_000)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("llama-6b8f-9qk2x", "llama-6b8f-9qk2x"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a\N{ROCKET}b\n", "a_b_"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_name_is_one_part_of_a_path(name: str, part: str) -> None:
    assert safe_part(name) == part


# -- the file ---------------------------------------------------------------------------------


def test_a_new_file_appears_when_it_is_complete_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a \N{ROCKET}.tar.gz"
    new = NewFile(path, overwrite=False)
    new.file.write(b"content")
    assert not path.exists()
    new.commit()
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_discarded_file_leaves_nothing(tmp_path: Path) -> None:
    new = NewFile(tmp_path / "a", overwrite=False)
    new.file.write(b"content")
    new.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_unless_it_is_to_be_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(FileExistsError):
        NewFile(path, overwrite=False)
    new = NewFile(path, overwrite=True)
    new.file.write(b"new")
    new.commit()
    assert path.read_text() == "new"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(atomic_file.os, "link", no_links)
    path = tmp_path / "a"
    new = NewFile(path, overwrite=False)
    path.write_text("of another process")
    with pytest.raises(FileExistsError):
        new.commit()
    new.discard()
    assert path.read_text() == "of another process"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_links_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(atomic_file.os, "link", no_links)
    new = NewFile(tmp_path / "a", overwrite=False)
    new.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
