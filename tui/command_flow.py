"""From a container to a command in it: the prompt, then its output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servedeck.cluster.exec import CommandTarget
from servedeck.fleet.views import PodView
from tui.container_shell import Container

if TYPE_CHECKING:
    from tui.screens.base import ActionScreen

MAX_HISTORY = 100
"""Commands that are offered again while servedeck runs. They are never saved."""


def not_running_reason(container: Container, pod: PodView) -> str:
    """Why nothing can be run in the container of the Pod, in a sentence; "" if it runs."""
    found = [one for one in pod.containers if one.name == container.name]
    if found and found[0].state != "Running":
        return f"The container {container.name} does not run."
    return ""


def ask_command(screen: ActionScreen[Any], container: Container) -> None:
    """Ask for a command, and run it."""
    from tui.screens.command_output import CommandOutputScreen
    from tui.screens.command_prompt import CommandPrompt

    app = screen.app_context
    service = app.change_service
    if service is None:
        return
    target = CommandTarget(*container)

    def entered(text: str | None) -> None:
        if not text:
            return
        history = [one for one in app.command_history if one != text]
        app.command_history[:] = [*history, text][-MAX_HISTORY:]
        output = CommandOutputScreen(service, target, text, app.command_options)
        screen.app.push_screen(output, closed)

    def closed(again: bool | None) -> None:
        if again:
            ask_command(screen, container)

    screen.app.push_screen(CommandPrompt(target), entered)
