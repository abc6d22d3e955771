"""The page, `servedeck describe` and a Pod's cards on objects of any shape and text: no exception,
no control character, no line wider than its place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from servedeck.cluster.watch import kinds
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.detail.cards import Card
from servedeck.detail.description import DescriptionWatch, description_json, format_description
from servedeck.detail.overview import setting_cards, status_rows
from servedeck.detail.pod_cards import pod_cards
from servedeck.fleet import view_json
from servedeck.fleet.fleet import Fleet
from servedeck.fleet.views import ServingView
from servedeck.serving.objects.records import Event
from servedeck.serving.text import sanitize
from tests.detail.hostile_objects import HostileServing, any_json, hostile_servings
from tests.detail.objects import live
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.fakes import NOW
from widgets.card_lines import card_lines
from widgets.card_view import CardLine
from widgets.pod_rows import pod_card_lines
from widgets.styled_line import line_width, plain_text

WIDTHS = (20, 80, 119, 200)


def make_fleet(serving: HostileServing) -> Fleet:
    fleet = Fleet()
    for kind, values in (
        (kinds.DEPLOYMENTS, [serving.deployment]),
        (kinds.REPLICA_SETS, [serving.replicaset]),
        (kinds.PODS, [serving.pod]),
        (kinds.EVENTS, serving.events),
    ):
        for value in values:
            fleet.apply(RecordChange(kind, "ADDED", decode(kind, value)))
    fleet.flush(NOW)
    return fleet


def decode(kind: ResourceKind, value: dict[str, Any]) -> Any:
    return RecordDecoder(kind.record_type).decode(json.dumps(value).encode()).record


def shown_view(fleet: Fleet) -> ServingView:
    """The serving as the list shows it; one that has become no serving at all as another one."""
    views = fleet.views()
    return views[0] if views else fakes.fleet()[0]


def assert_lines_fit(cards: Iterable[Card], max_value_lines: int = 1) -> None:
    """Every line of the cards is printable, and fits in each of the WIDTHS."""
    for card in cards:
        everything = [(card.key, row.key) for row in card.rows]
        secrets = dict.fromkeys(everything, "\x1b[1mse\ncret\u202e" * 9)
        for width in WIDTHS:
            for revealed in ((), everything):
                lines = card_lines(
                    card,
                    width,
                    NOW,
                    revealed=revealed,
                    secret_values=secrets if revealed else {},
                    max_value_lines=max_value_lines,
                )
                assert_fits(lines, width)


def assert_fits(lines: Iterable[CardLine], width: int) -> None:
    for line in lines:
        assert_is_plain(plain_text(line.line))
        assert line_width(line.line) <= width, (width, plain_text(line.line))


def assert_is_plain(text: str) -> None:
    """One line, without anything that controls a terminal."""
    assert "\n" not in text, repr(text)
    assert sanitize(text) == text, repr(text)


@given(hostile_servings())
def test_cards_of_a_serving(serving: HostileServing) -> None:
    view = shown_view(make_fleet(serving))
    deployment = live(serving.deployment).value
    assert_lines_fit([Card("status", "Status", status_rows(view, "since then"))])
    assert_lines_fit(setting_cards(view, deployment))
    assert_lines_fit(setting_cards(view, None))
    for width in WIDTHS:
        assert_fits(pod_card_lines(view, width, NOW, "p"), width)


@given(hostile_servings(), st.booleans())
def test_cards_of_a_pod(serving: HostileServing, has_node: bool) -> None:
    events: list[Event] = [decode(kinds.EVENTS, one) for one in serving.events]
    view = next(iter(shown_view(make_fleet(serving)).pods), None)
    node = live(serving.node) if has_node else None
    notes = {"node": "Cannot list nodes: needs list and watch on nodes."}
    found = pod_cards(live(serving.pod), node, events, NOW, view=view, notes=notes)
    assert_lines_fit(found)
    assert_lines_fit(found, max_value_lines=4)


@given(hostile_servings())
def test_description_as_text_and_json(serving: HostileServing) -> None:
    fleet = make_fleet(serving)
    view = shown_view(fleet)
    service = FakeDetailService(serving.deployment, serving.replicaset)
    service.put_events(*serving.events)
    watch = DescriptionWatch(service, view.key, lambda: None)
    description = watch.describe(view, fleet, NOW)
    for line in format_description(description, NOW):
        assert_is_plain(line)
    whole = {**view_json.serving_json(view), **description_json(description)}
    text = json.dumps(whole, indent=2)
    text.encode()
    assert json.loads(text)["name"] == view.key.name
    assert "\x1b" not in json.dumps(whole, ensure_ascii=False)


@given(any_json, any_json)
def test_cards_of_any_json(spec: Any, status: Any) -> None:
    for kind in ("Deployment", "Pod"):
        value = {"kind": kind, "metadata": {"name": "llm", "uid": "u"}, "spec": spec}
        if kind == "Pod":
            assert_lines_fit(pod_cards(live({**value, "status": status}), None, (), NOW))
        else:
            assert_lines_fit(setting_cards(fakes.fleet()[0], live(value).value))
