from textual.app import App

from widgets.text_view import Lines, Paragraph


class Harness(App[None]):
    CSS = "Lines { width: 30; height: 5; }"

    def compose(self):
        yield Lines()

    @property
    def text(self) -> Lines:
        return self.query_one(Lines)

    def shown(self) -> list[str]:
        strips = self.screen._compositor.render_strips(self.size)
        return [strip.text[:29].rstrip() for strip in strips[:5]]


def paragraphs(*texts):
    return [Paragraph(((text, ""),)) for text in texts]


async def test_what_was_set_while_it_was_hidden_is_what_is_shown():
    async with Harness().run_test(size=(40, 10)) as pilot:
        app = pilot.app
        app.text.set_paragraphs(paragraphs("one", "two", "three"))
        await pilot.pause()
        assert app.shown() == ["one", "two", "three", "", ""]
        app.text.display = False
        await pilot.pause()
        app.text.set_paragraphs(paragraphs("four", "five"))
        app.text.display = True
        await pilot.pause()
        assert app.shown() == ["four", "five", "", "", ""]
        assert app.text.virtual_size.height == 2
