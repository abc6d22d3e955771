from textual.app import App

from widgets.text_view import Paragraph, TextView


class TextViewApp(App[None]):
    CSS = "TextView { width: 30; height: 5; }"

    def compose(self):
        yield TextView()

    @property
    def text_view(self) -> TextView:
        return self.query_one(TextView)

    def visible_lines(self) -> list[str]:
        strips = self.screen._compositor.render_strips(self.size)
        return [strip.text[:29].rstrip() for strip in strips[:5]]


def make_paragraphs(*texts):
    return [Paragraph(((text, ""),)) for text in texts]


async def test_what_was_set_while_it_was_hidden_is_what_is_shown():
    async with TextViewApp().run_test(size=(40, 10)) as pilot:
        app = pilot.app
        app.text_view.set_paragraphs(make_paragraphs("one", "two", "three"))
        await pilot.pause()
        assert app.visible_lines() == ["one", "two", "three", "", ""]
        app.text_view.display = False
        await pilot.pause()
        app.text_view.set_paragraphs(make_paragraphs("four", "five"))
        app.text_view.display = True
        await pilot.pause()
        assert app.visible_lines() == ["four", "five", "", "", ""]
        assert app.text_view.virtual_size.height == 2


def test_a_long_span_of_a_paragraph_is_cut():
    paragraph = Paragraph((("Command ", "muted"), ("a" * 9, "")), indent=8)
    assert paragraph.cut(9) is paragraph
    assert paragraph.cut(8) == Paragraph((("Command ", "muted"), ("a" * 7 + "…", "")), indent=8)
