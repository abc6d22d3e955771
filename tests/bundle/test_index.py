"""The index page: hostile texts, long tables, sizes."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from servedeck.bundle.archive import ArchiveEntry
from servedeck.bundle.index import IndexContent, build_index
from servedeck.bundle.index_texts import describe_limits
from servedeck.bundle.options import BundleOptions
from servedeck.bundle.reader import Problem
from servedeck.detail.cards import CardRow
from servedeck.detail.description import Description
from servedeck.serving.status.timeline import TimelineEntry, TimelineKind
from servedeck.serving.text import format_size
from tests.tui import fakes
from tests.tui.fakes import NOW

HOSTILE = '<script>alert(1)</script> <img src=x onerror=y> "quoted" & \x1b[31mred \u202e\x00'


class Page(HTMLParser):
    """Names of the elements, links and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def content(**changes: object) -> IndexContent:
    view = fakes.fleet()[0]
    description = Description(view, (CardRow("health", "Health", "Error"),), (), None, (), (), ())
    made = IndexContent(description, "prod", NOW, "Limits.", (), (), (), ())
    return replace(made, **changes)  # type: ignore[arg-type]


def test_no_text_becomes_an_element() -> None:
    view = fakes.fleet()[0]
    pods = tuple(replace(one, message=HOSTILE, reason=HOSTILE, node=HOSTILE) for one in view.pods)
    entry = TimelineEntry(NOW, TimelineKind.SCALE, HOSTILE, observed=True)
    description = Description(
        replace(view, pods=pods),
        (CardRow("health", HOSTILE, HOSTILE, note=HOSTILE),),
        (),
        None,
        (),
        (entry,),
        (),
    )
    plain = Page(build_index(content()))
    page = build_index(
        content(
            description=description,
            context=HOSTILE,
            limits=HOSTILE,
            files=[ArchiveEntry('logs/"><script>.log', 1)],
            problems=[Problem(HOSTILE, HOSTILE)],
            warnings=[HOSTILE],
            redaction=[HOSTILE],
        )
    )
    found = Page(page)
    assert set(found.elements) <= {*plain.elements, "a", "td", "li", "p", "thead", "tbody"}
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert found.text.count("<script>alert(1)</script>") >= 10
    assert [unquote(link) for link in found.links] == ['logs/"><script>.log']


def test_long_tables_end_and_say_where_the_rest_is() -> None:
    files = [ArchiveEntry(f"logs/{number}.log", 1) for number in range(30)]
    problems = [Problem(f"Pod {number}", "Why.") for number in range(30)]
    page = build_index(content(files=files, problems=problems), max_rows=10)
    assert page.count('href="logs/') == 10
    assert page.count("Why.") == 10
    assert "20 more files: see the archive." in page
    assert "20 more entries: see errors.txt." in page


def test_a_pod_links_its_yaml_if_it_is_there() -> None:
    name = fakes.fleet()[0].pods[0].name
    path = f"objects/Pod-{name}.yaml"
    assert f'<a href="{path}">{name}</a>' not in build_index(content())
    assert f'<a href="{path}">{name}</a>' in build_index(content(files=[ArchiveEntry(path, 1)]))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
    ],
)
def test_a_size(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (BundleOptions(), "of each log the last 10,000 lines."),
        (BundleOptions(tail_lines=None), "of each log as much as fits."),
        (BundleOptions(tail_lines=None, tail_bytes=2 << 20), "of each log the last 2Mi."),
        (BundleOptions(since=600.0), "of each log the last 10,000 lines of the last 10m."),
    ],
)
def test_the_limits(options: BundleOptions, text: str) -> None:
    assert describe_limits(options) == f"At most 100Mi before compression and 2m; {text}"
