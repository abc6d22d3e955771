from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.fleet.query import (
    SORT_COLUMNS,
    QueryError,
    count_by_status,
    parse_query,
    parse_selector_query,
    sort_views,
    toggle_status,
)
from servedeck.fleet.views import ServingView
from servedeck.serving.status.status import Status
from tests.fleet.factories import pod_view, serving_view

LLAMA = serving_view(
    "team-a/llama",
    status=Status.ERROR,
    reason="OOMKilled",
    model="meta-llama/Llama-3.1-8B-Instruct",
    template="vllm",
    labels={"app": "chat", "tier": "gold"},
    accelerator="NVIDIA GPU",
    image="vllm/vllm-openai:v0.10.0",
    message="inference-server exceeded its memory limit",
    rollout="updating 1/3",
    pods=(
        pod_view("llama-5d-x", node="gpu-1", reason="OOMKilled", status="CrashLoopBackOff"),
        pod_view("llama-5d-y", reason="exit code 3", message="server ended", status="Error"),
    ),
)
QWEN = serving_view(
    "team-b/qwen", status=Status.READY, model="Qwen/Qwen3", labels={"app": "code"}, template="vllm"
)
EXAONE = serving_view("team-ab/exaone", status=Status.PENDING, template="furiosa-llm")
IDLE = serving_view("lab/idle", status=Status.SCALED_DOWN, labels={"app": "chat"})
ALL_VIEWS = [LLAMA, QWEN, EXAONE, IDLE]


def matching_names(text: str) -> str:
    return " ".join(view.key.name for view in parse_query(text).filter(ALL_VIEWS))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "llama qwen exaone idle"),
        ("   ", "llama qwen exaone idle"),
        ("LLAMA", "llama"),
        ("vllm", "llama qwen"),
        ("vllm qwen", "qwen"),
        ("oom", "llama"),
        ("!vllm", "exaone idle"),
        ("!vllm !idle", "exaone"),
        ("team-a/", "llama"),
        ("nvidia", "llama"),
        ('"nvidia gpu"', "llama"),
        ('"qwen gpu"', ""),
        ("status:error", "llama"),
        ("status:err,pend", "llama exaone"),
        ("!status:ready", "llama exaone idle"),
        ("status:scaled-down", "idle"),
        ("status:scaleddown", "idle"),
        ('status:"scaled down"', "idle"),
        ("status:", "llama qwen exaone idle"),
        ("status:error,", "llama"),
        ("ns:team", "llama qwen exaone"),
        ("ns:team-a", "llama exaone"),
        ("ns:=team-a", "llama"),
        ("namespace:=team-a,lab", "llama idle"),
        ("!ns:=team-a", "qwen exaone idle"),
        ("project:lab", "idle"),
        ("ns:", "llama qwen exaone idle"),
        ("node:gpu-1", "llama"),
        ("pod:5d", "llama"),
        ("reason:oomk", "llama"),
        ("image:v0.10", "llama"),
        ("crashloop", "llama"),
        ("!CrashLoop", "qwen exaone idle"),
        ("exceeded", "llama"),
        ('"exit code 3"', "llama"),
        ("updating", "llama"),
        ("gpu-1", "llama"),
        ("vllm/vllm-openai:v0", "llama"),
        ('"x gpu-1 crash"', ""),
        ("reason:crashloop", "llama"),
        ('image:"vllm-openai:v0"', "llama"),
        ("model:qwen,llama", "llama qwen"),
        ("-l app=chat", "llama idle"),
        ("-l app==chat", "llama idle"),
        ("-l app!=chat", "qwen exaone"),
        ("-l app", "llama qwen idle"),
        ("-l !app", "exaone"),
        ("-l app=chat,tier=gold", "llama"),
        ("-l app=chat,!tier", "idle"),
        ("-l app in (chat, code)", "llama qwen idle"),
        ("-l app in (code),app", "qwen"),
        ("-l app notin (chat)", "qwen exaone"),
        ("-l app=chat status:error", "llama"),
        ("status:scaled -l app in (chat, code)", "idle"),
        ("-l app=chat -l tier", "llama"),
        ("-lab", ""),
    ],
)
def test_a_filter_shows(text: str, shown: str) -> None:
    assert matching_names(text) == shown


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("staus:error", "There is no field staus; the fields are ns, name, status"),
        ("status:broken", "No status begins with 'broken'; the statuses are error, degraded"),
        ("status:crash", "To search the status of a Pod, type reason:crash."),
        ('"open', "A quotation mark is not closed"),
        ("-l", "is not a valid label selector; use key=value"),
        ("-l app=(x)", "is not a valid label selector at"),
        ("-l !app=x", "is not a valid label selector"),
        ("-l app=a,", "is not a valid label selector"),
        ("-l app=a b:c", "There is no field b"),
    ],
)
def test_a_text_that_is_no_filter_says_what_to_type(text: str, sentence: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "status", "after"),
    [
        ("", Status.ERROR, "status:error"),
        ("status:error", Status.ERROR, ""),
        ("status:ready llama", Status.SCALED_DOWN, "status:scaled-down llama"),
        ('"a b" status:pend', Status.PENDING, 'status:pending "a b"'),
        ("-l app=chat status:error", Status.ERROR, "-l app=chat"),
        ("-l app in (chat, code)", Status.READY, "status:ready -l app in (chat, code)"),
        ("status:error llama", None, "llama"),
        ('"open', Status.ERROR, 'status:error "open'),
    ],
)
def test_a_status_is_put_into_a_filter_and_taken_out_again(
    text: str, status: Status | None, after: str
) -> None:
    assert toggle_status(text, status) == after


def test_the_text_that_is_searched_is_made_once_for_a_view() -> None:
    view = serving_view("team-a/llama", pods=(pod_view("llama-5d-x"),))
    assert view.search_text is view.search_text
    assert view == serving_view("team-a/llama", pods=(pod_view("llama-5d-x"),))


def test_a_selector_that_stands_alone_may_not_be_followed_by_words() -> None:
    assert matching_names("-l app in chat") == ""
    with pytest.raises(QueryError, match="Unexpected 'in chat' after a requirement"):
        parse_selector_query("app in chat")


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    try:
        query = parse_query(text)
    except QueryError as error:
        assert str(error).endswith((".", ")"))
    else:
        query.filter(ALL_VIEWS)


def sorted_names(
    column: str = "", reverse: bool = False, views: list[ServingView] = ALL_VIEWS
) -> str:
    return " ".join(view.key.name for view in sort_views(views, column, reverse))


def test_what_fails_comes_first_by_default_whatever_order_it_came_in() -> None:
    assert sorted_names() == "llama exaone qwen idle"
    assert sorted_names(views=ALL_VIEWS[::-1]) == "llama exaone qwen idle"


def test_equal_values_are_ordered_by_namespace_and_name_both_ways() -> None:
    views = [serving_view(f"{ns}/{name}") for ns in "ba" for name in ("y", "x")]
    for reverse in (False, True):
        keys = [str(view.key) for view in sort_views(views, "template", reverse)]
        assert keys == ["a/x", "a/y", "b/x", "b/y"]


def test_every_column_sorts_both_ways() -> None:
    for column in SORT_COLUMNS:
        there, back = sort_views(ALL_VIEWS, column), sort_views(ALL_VIEWS, column, reverse=True)
        assert sorted(map(id, there)) == sorted(map(id, back)) == sorted(map(id, ALL_VIEWS))
    assert sorted_names("name") == "exaone idle llama qwen"
    assert sorted_names("name", reverse=True) == "qwen llama idle exaone"
    assert sorted_names("namespace") == "idle llama exaone qwen"


def test_age_sorts_the_youngest_first_and_the_unknown_last() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old = serving_view("a/old", created=now - timedelta(days=9))
    young = serving_view("a/young", created=now)
    unknown = serving_view("a/unknown", created=None)
    assert sorted_names("age", views=[unknown, old, young]) == "young old unknown"


def test_ready_sorts_by_share_and_scaled_down_last() -> None:
    none, half, full = (
        serving_view(f"a/{name}", ready=ready, desired=2)
        for name, ready in (("none", 0), ("half", 1), ("full", 2))
    )
    down = serving_view("a/down", ready=0, desired=0)
    assert sorted_names("ready", views=[down, full, half, none]) == "none half full down"


def test_counts_name_every_status_in_order() -> None:
    counted = count_by_status(ALL_VIEWS)
    assert list(counted) == list(Status)
    assert counted[Status.ERROR] == counted[Status.SCALED_DOWN] == 1
    assert counted[Status.DEGRADED] == 0
