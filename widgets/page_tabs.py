"""The tabs of a page that are chosen with keys as well as with the mouse."""

from __future__ import annotations

from textual.widgets import TabbedContent, TabPane, Tabs


class PageTabs(TabbedContent):
    """Drops messages that are no longer true. Textual's TabbedContent shows the tab that a message
    names, however late it is handled: after another tab was chosen, that one was left again for the
    one before it."""

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        if event.tab.id != event.tabs.active:
            event.stop()
            event.prevent_default()

    def on_tab_pane_focused(self, event: TabPane.Focused) -> None:
        if not event.tab_pane.has_focus_within:
            event.stop()
            event.prevent_default()
