from textual.app import App, ComposeResult

from styles.themes import DARK, DEFAULTS
from widgets.footer import Hint, KeyBar
from widgets.styled_line import plain

HINTS = [
    Hint("a.logs", "l", "logs"),
    Hint("a.connect", "c", "connect", off=True),
    Hint("a.filter", "/", "filter"),
    Hint("app.help", "?", "help"),
]


class Harness(App[None]):
    CSS_PATH = ["../../styles/base.tcss"]

    def __init__(self) -> None:
        super().__init__()
        self.pressed: list[str] = []
        self.register_theme(DARK)
        self.theme = DARK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULTS)

    def compose(self) -> ComposeResult:
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(KeyBar).set_hints(HINTS)

    def on_key_bar_pressed(self, message: KeyBar.Pressed) -> None:
        self.pressed.append(message.action)

    def text(self) -> str:
        return "".join(plain(line) for line in self.query_one(KeyBar).lines)


async def test_hints_give_way_from_the_end_but_help_stands():
    app = Harness()
    async with app.run_test(size=(80, 3)) as pilot:
        await pilot.pause()
        assert app.text().split() == ["l", "logs", "c", "connect", "/", "filter", "?", "help"]
        await pilot.resize_terminal(20, 3)
        await pilot.pause()
        assert app.text().split() == ["l", "logs", "?", "help"]


async def test_a_click_presses_the_hint_under_the_mouse():
    app = Harness()
    async with app.run_test(size=(80, 3)) as pilot:
        await pilot.pause()
        await pilot.click(KeyBar, offset=(app.text().index("logs"), 0))
        await pilot.pause()
        assert app.pressed == ["a.logs"]
