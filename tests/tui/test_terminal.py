import os
import re

import pytest
from rich.cells import cell_len

from tests.tui.terminal import CHANGE_REQUEST, PtyTerminal, run_app


@pytest.fixture
def opened():
    terminals: list[PtyTerminal] = []

    def open_(kind: str, size: tuple[int, int], env=None) -> PtyTerminal:
        terminal = run_app(kind, size, env)
        terminals.append(terminal)
        return terminal

    yield open_
    for terminal in terminals:
        terminal.close()


def test_nothing_is_written_while_nothing_changes(opened):
    terminal = opened("many", (120, 40))
    terminal.wait(lambda: "511 servings" in terminal.text, "the list")
    terminal.wait_until_idle()
    assert terminal.read(3.0) == b""


def test_a_changed_row_costs_few_bytes(opened):
    terminal = opened("changes", (120, 40))
    terminal.wait(lambda: "511 servings" in terminal.text, "the list")
    terminal.wait_until_idle()  # all that is drawn at the start
    for _ in range(4):
        terminal.press(CHANGE_REQUEST)
        assert 0 < len(terminal.wait_until_idle()) < 1_500


def test_a_move_draws_two_rows_and_no_more(opened):
    """How long a key takes is measured by benchmarks/; this holds what there is to draw."""
    terminal = opened("many", (120, 40))
    terminal.wait(lambda: "511 servings" in terminal.text, "the list")
    terminal.wait_until_idle()
    for key in "jkjjkk":
        terminal.press(key)
        assert 0 < len(terminal.wait_until_idle()) < 2_000


def test_status_and_filter_draw_what_differs_and_no_more(opened):
    terminal = opened("many", (120, 40))
    terminal.wait(lambda: "511 servings" in terminal.text, "the list")
    terminal.wait_until_idle()
    terminal.press(" ")
    assert 0 < len(terminal.wait_until_idle()) < 20_000
    terminal.press("q")
    assert 0 < len(terminal.wait_until_idle()) < 20_000
    terminal.press("/")
    assert 0 < len(terminal.wait_until_idle()) < 3_000


def test_leaving_restores_the_terminal(opened):
    terminal = opened("fleet", (80, 24))
    terminal.wait(lambda: "11 servings" in terminal.text, "the list")
    terminal.press("q")
    terminal.wait(terminal.has_exited, "the end")
    terminal.read_until_closed()
    for mode in (b"1049", b"1000", b"1006", b"2004"):
        assert terminal.raw.rindex(b"\x1b[?" + mode + b"l") > terminal.raw.rindex(
            b"\x1b[?" + mode + b"h"
        )
    assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")
    assert b"Traceback" not in terminal.raw


def test_no_color_sends_no_color_and_the_cursor_is_still_seen(opened):
    terminal = opened("fleet", (80, 24), {"NO_COLOR": "1"})
    terminal.wait(lambda: "11 servings" in terminal.text, "the list")
    terminal.wait_until_idle()
    sent = {
        int(code)
        for sequence in re.findall(rb"\x1b\[([0-9;]*)m", terminal.raw)
        for code in sequence.split(b";")
        if code
    }
    assert not [code for code in sent if 30 <= code <= 38 or 40 <= code <= 48 or code >= 90]
    assert 7 in sent


def test_sixteen_colors_send_only_those(opened):
    terminal = opened("fleet", (80, 24), {"TERM": "xterm-16color", "COLORTERM": ""})
    terminal.wait(lambda: "11 servings" in terminal.text, "the list")
    terminal.wait_until_idle()
    assert not re.search(rb"\x1b\[[0-9;]*[34]8;[25]", terminal.raw)
    assert re.search(rb"\x1b\[[0-9;]*(3[1-6]|9[1-6])", terminal.raw)


ALLOWED_SEQUENCES = re.compile(
    rb"\x1b\[[0-9;]*m"  # colors
    rb"|\x1b\[[0-9;]*H"  # the place of a strip
    rb"|\x1b\[\?[0-9]+[hl]|\x1b\[\?[0-9]+\$p"  # modes, at the start and the end
    rb"|\x1b\[[<>][0-9]*u"  # the keyboard protocol
    rb"|\x1b\]22;[a-z]*\x07"  # the shape of the mouse pointer
)

LIST, ALL = "space status", "w goes back"
KEY_SEQUENCE = (
    *(("j", LIST), (" ", "esc close"), *[("\x1b[6~", "esc close")] * 8, ("G", ""), ("q", LIST)),
    *(("c", "Connect to"), ("G", ""), ("q", LIST)),
    *(("\r", "Overview"), ("G", ""), ("]", "Overview"), ("[", "Overview"), ("q", LIST)),
    *(
        ("l", "h since"),
        ("w", ""),
        ("w", ""),
        ("g", ""),
        ("p", ""),
        ("T", ""),
        ("v", ""),
        ("H", ""),
    ),
    *(("z", ""), ("m", ""), ("e", ""), ("q", LIST)),
    *(("w", ALL), ("\x1b[C", ""), ("\x1b[C", ""), ("w", LIST)),
    *(("/", "enter apply"), ("red", "/ red"), ("\r", LIST), ("o", ""), (">", ""), (">", "")),
    *((":", "Commands"), ("\x1b", LIST)),
    *(("\x0b", "Context"), ("\x1b", LIST), ("N", "Namespace"), ("\x1b", LIST)),
    *(("?", "Serving list"), ("q", LIST), ("1", LIST)),
)
"""Keys, and what the screen shows afterwards."""

FORM_KEYS = (
    *(("0", LIST), ("n", "Service Name"), ("llama\t", ""), (" ", "AA[red]"), ("\x1b", "Namespace")),
    *(("team-a", "> team-a"), ("\r", "Create a serving"), ("\x0e", "Model")),
    *(("m" * 300, ""), ("\x1b[6~", "Add Volume"), ("\r", "AA[red]"), ("\x1b", "PVC")),
    *(("\x0e", "Deploying will"), ("y", ""), ("y", ""), ("y", ""), ("\x13", "")),
    *(("\x13", "was created"), ("\x1b", "Close the form"), ("d", LIST)),
)
"""The create form from its first field to a deploy that is rejected halfway."""


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
@pytest.mark.parametrize("key_sequence", [KEY_SEQUENCE, FORM_KEYS], ids=["list", "form"])
def test_hostile_texts_are_harmless_on_every_screen(opened, size, key_sequence):
    terminal = opened("hostile", size)
    terminal.wait(lambda: "stale" in terminal.text, "the list")
    for keys, sign in key_sequence:
        terminal.press(keys)
        terminal.wait(lambda sign=sign: sign in terminal.text, sign)
        terminal.wait_until_idle()
    if key_sequence is KEY_SEQUENCE:
        assert b"Last lines" in terminal.raw
    assert b"AA[red]BB[/foo]CC" in terminal.raw
    rest = ALLOWED_SEQUENCES.sub(b"", terminal.raw)
    assert b"\x1b" not in rest
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]", rest)
    text = terminal.raw.decode("utf-8")  # no half characters, no surrogates
    assert not re.search("[\x80-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", text)
    assert "Traceback" not in text
    for line in terminal.lines:
        assert cell_len(line) == size[0]


def test_an_unhandled_exception_shows_no_values_and_restores_the_terminal(opened):
    terminal = opened("fault", (120, 40))
    terminal.wait(terminal.has_exited, "the end")
    terminal.read_until_closed()
    assert b"\x1b[?1049l" in terminal.raw, "the alternate screen is left"
    after = terminal.raw.rpartition(b"\x1b[?1049l")[2]
    assert b"Traceback" in after and b"LookupError" in after
    assert b"crashed" in after
    for secret in (b"hf_of_a_local", b"abcdefghij", b"\x1b]52"):
        assert secret not in after
    assert os.waitid(os.P_PID, terminal.pid, os.WEXITED | os.WNOWAIT).si_status == 1


@pytest.mark.parametrize("keys", [":\r\r\r", ":\x1b[B\r\r", "\x0b\r\r\r", "?qq:\r\r\x1b"])
def test_keys_that_come_in_one_burst_do_not_crash_the_app(opened, keys):
    terminal = opened("fleet", (80, 24))
    terminal.wait(lambda: "11 servings" in terminal.text, "the list")
    terminal.press(keys)
    terminal.wait_until_idle()
    assert b"Traceback" not in terminal.raw
    assert "StackError" not in terminal.text


@pytest.mark.parametrize("opens", ["", "/"])
def test_text_pasted_without_marks_presses_no_keys(opened, opens):
    terminal = opened("fleet", (80, 24))
    terminal.wait(lambda: "11 servings" in terminal.text, "the list")
    terminal.press(opens)
    expected = "At most 1,000 characters" if opens else "The pasted text is ignored"
    if opens:
        terminal.wait(lambda: "status:error" in terminal.text, "the filter")
    terminal.press(("q9 c l n C 0" * 10 + "\r") * 1300)  # 157 kB
    terminal.wait(lambda: expected in terminal.text, expected, 60)
    assert "11 servings" in terminal.text
    terminal.press("llama" if opens else "/llama")
    terminal.wait(lambda: "3 of 11 servings" in terminal.text, "the filter", 60)
