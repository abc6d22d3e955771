from __future__ import annotations

from textual.app import App, ComposeResult

from widgets.review_list import ReviewEntry, ReviewList


class ReviewApp(App[None]):
    def compose(self) -> ComposeResult:
        yield ReviewList()


def make_entries(count: int) -> list[ReviewEntry]:
    return [
        ReviewEntry(((f"line {at}", ""),), path=f"f{at}" if at % 2 else "") for at in range(count)
    ]


async def test_the_cursor_goes_over_what_leads_somewhere_and_stays_on_its_field() -> None:
    async with ReviewApp().run_test(size=(40, 10)) as pilot:
        review = pilot.app.query_one(ReviewList)
        review.focus()
        review.set_entries(make_entries(9))
        await pilot.press("down", "down")
        assert review.path == "f3"
        review.set_entries([ReviewEntry((("new", ""),)), *make_entries(9)])
        assert review.path == "f3"
        await pilot.press("up")
        assert review.path == "f1"


async def test_lines_between_two_fields_are_scrolled_through_not_skipped() -> None:
    async with ReviewApp().run_test(size=(40, 10)) as pilot:
        review = pilot.app.query_one(ReviewList)
        review.focus()
        text = [ReviewEntry(((f"text {at}", ""),)) for at in range(40)]
        review.set_entries(
            [ReviewEntry((("first", ""),), path="a"), *text, ReviewEntry((("x", ""),), path="b")]
        )
        await pilot.press("down", "down")
        assert review.path == "a"
        assert review.scroll_offset.y == 1
        for _ in range(40):
            await pilot.press("down")
        assert review.path == "b"
