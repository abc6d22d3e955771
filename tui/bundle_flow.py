"""From a serving to its incident bundle: the file, then the progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from servedeck.fleet.views import ServingView

if TYPE_CHECKING:
    from tui.screens.base import ActionScreen


def bundle_disabled_reason(screen: ActionScreen[Any], view: ServingView | None) -> str:
    """Why no bundle can be saved, in a sentence; "" if one can."""
    if view is None:
        return "There is no serving under the cursor."
    if screen.app_context.bundle_service is None:
        return "Not connected to a cluster."
    return ""


def save_bundle(screen: ActionScreen[Any], view: ServingView) -> None:
    """Ask for the file, and make the bundle."""
    from tui.screens.bundle import BundleScreen
    from tui.screens.file_dialog import FileDialog

    service = screen.app_context.bundle_service
    if service is None:
        return

    def on_path(path: Path | None) -> None:
        if path is not None:
            screen.app.push_screen(BundleScreen(service, view, path))

    dialog = FileDialog(
        f"Save an incident bundle of {view.key}",
        service.file_name(view),
        for_writing=True,
        hint=f"{service.estimate(view)} Secrets are redacted.",
    )
    screen.app.push_screen(dialog, on_path)
