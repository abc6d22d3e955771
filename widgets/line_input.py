"""A one-line input after a prompt, with room for one sentence about what was typed."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingsMap
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widget import Widget
from textual.widgets import Input

from servedeck.serving.text import one_line, sanitise
from widgets.lines import Bar

EDITING = {
    key: bindings[0].action for key, bindings in BindingsMap(Input.BINDINGS).key_to_bindings.items()
}
"""Keys that move the cursor or change the text -> what they do."""


class PlainInput(Input):
    """An input that takes keys in the order in which they come, and no escapes or control
    characters from what is pasted."""

    def __init__(self, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(placeholder=placeholder, compact=True, select_on_focus=False, id=id)
        self.cursor_blink = False

    async def _on_key(self, event: events.Key) -> None:
        # Textual runs a binding once the key has gone up through all parents; letters of the same
        # packet overtake it then, and a backspace takes away what was typed after it.
        if action := EDITING.get(event.key):
            event.stop()
            event.prevent_default()
            await self.run_action(action)

    def _on_paste(self, event: events.Paste) -> None:
        # Textual calls the handler of Input after this one, which takes the text.
        event.text = one_line(sanitise(event.text))


class LineInput(Widget):
    """Prompt and input on one line, a problem under it while there is one."""

    DEFAULT_CSS = """
    LineInput {
        height: auto;
        & > Horizontal { height: 1; }
        & Horizontal > Bar { width: 3; }
        & PlainInput { width: 1fr; }
        & > #problem { display: none; }
    }
    """
    input = query_one(PlainInput)

    def __init__(self, prompt: str, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._prompt = prompt
        self._placeholder = placeholder

    def compose(self) -> ComposeResult:
        prompt = Bar()
        prompt.set_lines(((" ", ""), (self._prompt, "key")))
        with Horizontal():
            yield prompt
            yield PlainInput(self._placeholder)
        yield Bar(id="problem")

    @property
    def text(self) -> str:
        return self.input.value

    def show_problem(self, sentence: str) -> None:
        """Show the sentence under the input; "" shows none."""
        problem = self.query_one("#problem", Bar)
        line = ((" ! ", "warning"), (sentence, "warning")) if sentence else ()
        problem.set_text(line, most=3, hanging=3)
