from textual.app import App, ComposeResult

from styles.themes import DARK, DEFAULT_VARIABLES
from widgets.footer import KeyFooter, KeyHint
from widgets.styled_line import STYLE_CLASSES, plain_text

HINTS = [
    KeyHint("a.logs", "l", "logs"),
    KeyHint("a.connect", "c", "connect", disabled=True),
    KeyHint("a.filter", "/", "filter"),
    KeyHint("app.help", "?", "help"),
]


class FooterApp(App[None]):
    COMPONENT_CLASSES = STYLE_CLASSES
    CSS_PATH = ["../../styles/base.tcss"]

    def __init__(self) -> None:
        super().__init__()
        self.pressed: list[str] = []
        self.register_theme(DARK)
        self.theme = DARK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULT_VARIABLES)

    def compose(self) -> ComposeResult:
        yield KeyFooter()

    def on_mount(self) -> None:
        self.query_one(KeyFooter).set_hints(HINTS)

    def on_key_footer_pressed(self, message: KeyFooter.Pressed) -> None:
        self.pressed.append(message.action)

    def footer_text(self) -> str:
        return "".join(plain_text(line) for line in self.query_one(KeyFooter).lines)


async def test_the_last_hints_are_hidden_first_except_help():
    app = FooterApp()
    async with app.run_test(size=(80, 3)) as pilot:
        await pilot.pause()
        assert app.footer_text().split() == [
            "l",
            "logs",
            "c",
            "connect",
            "/",
            "filter",
            "?",
            "help",
        ]
        await pilot.resize_terminal(20, 3)
        await pilot.pause()
        assert app.footer_text().split() == ["l", "logs", "?", "help"]


async def test_a_click_presses_the_hint_under_the_mouse():
    app = FooterApp()
    async with app.run_test(size=(80, 3)) as pilot:
        await pilot.pause()
        await pilot.click(KeyFooter, offset=(app.footer_text().index("logs"), 0))
        await pilot.pause()
        assert app.pressed == ["a.logs"]


async def test_the_most_important_hint_that_fits_is_shown_where_the_first_is_too_wide():
    app = FooterApp()
    async with app.run_test(size=(20, 3)) as pilot:
        hints = [
            KeyHint("a.request", "enter", "test request"),
            KeyHint("a.close", "esc", "close"),
            KeyHint("app.help", "?", "help"),
        ]
        app.query_one(KeyFooter).set_hints(hints)
        await pilot.pause()
        assert app.footer_text() == " esc close  ? help"
