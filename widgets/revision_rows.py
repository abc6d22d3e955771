"""The revisions of a serving as rows of a table: the columns, and the cells of each."""

from __future__ import annotations

from servedeck.detail.rollout_text import changed_by, command_line, revision_label
from servedeck.serving.status.revisions import Revision
from widgets.columns import MARK, AgeCell, Column, Row

REVISION_COLUMNS = (
    Column("revision", "REVISION", min_width=10, max_width=14, priority=0),
    Column("age", "AGE", min_width=5, max_width=6, priority=3, align_right=True),
    Column("desired", "DESIRED", min_width=7, max_width=7, priority=4, align_right=True),
    Column("current", "CURRENT", min_width=7, max_width=7, priority=5, align_right=True),
    Column("ready", "READY", min_width=5, max_width=5, priority=1, align_right=True),
    Column("tag", "IMAGE", min_width=8, max_width=24, priority=2),
    Column("image", "IMAGE", min_width=16, max_width=60, priority=2),
    Column("change", "CHANGE", min_width=9, max_width=30, priority=4),
    Column("changed_by", "CHANGED BY", min_width=12, max_width=30, priority=6),
    Column("change_cause", "CHANGE CAUSE", min_width=12, max_width=50, priority=7),
    Column("arguments", "ARGUMENTS", min_width=20, max_width=60, priority=8),
)

WIDE_COLUMNS_FROM = 140
"""Width in cells from which on the whole image is shown."""


def hidden_revision_columns(width: int) -> frozenset[str]:
    """Of the two columns of the image, the one that is not shown in `width` cells."""
    return frozenset({"tag" if width >= WIDE_COLUMNS_FROM else "image"})


def revision_key(revision: Revision) -> str:
    """Identity of a revision's row: its ReplicaSet."""
    return revision.uid or "template"


def build_revision_row(revision: Revision, *, is_marked: bool) -> Row:
    """The row of a revision, cells in the order of REVISION_COLUMNS."""
    number, _, current = revision_label(revision).partition(" ")
    unready = revision.ready < revision.desired
    counts = "" if revision.desired or revision.current else "muted"
    return Row(
        revision_key(revision),
        (
            (
                (MARK if is_marked else "  ", "accent"),
                (number, "strong"),
                (f" {current}" if current else "", "accent"),
            ),
            AgeCell(revision.created),
            ((str(revision.desired), counts),),
            ((str(revision.current), counts),),
            ((str(revision.ready), "pending" if unready else counts),),
            image_tag(revision.image),
            revision.image,
            revision.change or "",
            ((changed_by(revision), "" if revision.changed_by else "muted"),),
            revision.change_cause,
            ((command_line(revision), "muted"),),
        ),
    )


def image_tag(image: str) -> str:
    """What distinguishes an image from another of its repository: its tag, or the start of its
    digest; the name if it has neither."""
    name, at, digest = image.partition("@")
    base = name.rpartition("/")[2]
    tag = base.partition(":")[2]
    if at:
        algorithm, _, value = digest.partition(":")
        short = f"{algorithm}:{value[:12]}"
        return f"{tag}@{short}" if tag else short
    return tag or base
