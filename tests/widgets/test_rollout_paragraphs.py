"""Differences between revisions as text, and the cells of their rows."""

from __future__ import annotations

import pytest

from servedeck.serving.objects.field_changes import MASK, FieldChange
from servedeck.serving.status.revisions import read_revisions
from tests.serving.revision_factory import deployment, replicaset, template
from widgets.revision_rows import (
    REVISION_COLUMNS,
    build_revision_row,
    hidden_revision_columns,
    image_tag,
)
from widgets.rollout_paragraphs import difference_paragraphs, difference_text, focus_difference
from widgets.styled_line import plain_text

PATH = ".spec.containers[server]"


def lines(*changes: FieldChange) -> list[str]:
    paragraphs = difference_paragraphs("From 1 to 2", changes)
    return [text for one in paragraphs if (text := plain_text(one.line))]


def test_each_field_has_its_old_and_its_new_value():
    assert lines(
        FieldChange(f"{PATH}.image", "a:1", "a:2"),
        FieldChange(f"{PATH}.env[A].value", "none", "1"),
        FieldChange(f"{PATH}.tty", "true", "none"),
    ) == [
        "From 1 to 2",
        "spec.containers[server].image",
        "  - a:1",
        "  + a:2",
        "spec.containers[server].env[A].value",
        "  + 1",
        "spec.containers[server].tty",
        "  - true",
    ]


def test_changed_arguments_are_together():
    assert lines(
        FieldChange(f"{PATH}.args[2]", "1", "2"), FieldChange(f"{PATH}.args[5]", "none", "--b")
    ) == [
        "From 1 to 2",
        "spec.containers[server].args",
        "  - [2] 1",
        "  + [2] 2",
        "  + [5] --b",
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [(MASK, "the masked value differs"), ("a b", "only white space differs")],
)
def test_a_difference_that_is_not_visible_is_told(value: str, why: str):
    found = lines(FieldChange(f"{PATH}.env[A].value", value, value))
    assert found[-1] == f"  ~ {value}  ({why})"


def test_equal_revisions():
    assert lines()[-1] == "The Pod templates are equal."


def test_long_values_are_cut_to_what_differs_and_copied_whole():
    old, new = f"{'a' * 200} one {'b' * 200}", f"{'a' * 200} two {'b' * 200}"
    shown = focus_difference(old, new)
    assert all(len(one) < 80 and one[0] == one[-1] == "…" for one in shown)
    assert "one" in shown[0]
    assert "two" in shown[1]
    text = difference_text("From 1 to 2", [FieldChange(".a", old, new)])
    assert text == f"From 1 to 2\na\n  - {old}\n  + {new}"


@pytest.mark.parametrize(
    ("old", "new"),
    [("short", "shorter"), ("none", "x" * 500), ("x" * 99, "y" * 99)],
)
def test_what_is_short_or_new_stays_whole(old: str, new: str):
    assert focus_difference(old, new) == (old, new)


def test_an_addition_in_a_long_value():
    old = "a" * 300
    shown_old, shown_new = focus_difference(old, old[:150] + "X" + old[150:])
    assert "X" in shown_new
    assert "X" not in shown_old
    assert focus_difference(old, old + "X")[1].endswith("aX")
    assert focus_difference("X" + old, old)[0].startswith("Xa")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("vllm/vllm-openai:v0.11.0", "v0.11.0"),
        ("registry.example.com:5000/team/vllm", "vllm"),
        ("registry.example.com:5000/team/vllm:v1", "v1"),
        (f"vllm/vllm-openai@sha256:{'0123456789ab' * 5}", "sha256:0123456789ab"),
        (f"vllm/vllm-openai:v1@sha256:{'0123456789ab' * 5}", "v1@sha256:0123456789ab"),
        ("", ""),
    ],
)
def test_the_tag_or_the_digest_of_an_image(image: str, expected: str):
    assert image_tag(image) == expected


def test_one_of_the_columns_of_the_image_is_shown():
    assert hidden_revision_columns(80) == {"image"}
    assert hidden_revision_columns(200) == {"tag"}


def test_the_row_of_a_revision():
    current, before = read_revisions(
        deployment(2, template("i:2")),
        [replicaset(2, template("i:2"), pods=2, ready=1), replicaset(1, template("i:1"))],
    )
    keys = [column.key for column in REVISION_COLUMNS]
    cells = dict(zip(keys, build_revision_row(current, is_marked=True).cells, strict=True))
    assert plain_text(cells["revision"]) == "* 2 current"
    assert cells["ready"] == (("1", "pending"),)
    cells = dict(zip(keys, build_revision_row(before, is_marked=False).cells, strict=True))
    assert plain_text(cells["revision"]) == "  1"
    assert cells["ready"] == (("0", "muted"),)
    assert plain_text(cells["arguments"]) == "--model m"
