"""An action, and the keys of those that have many."""

from __future__ import annotations

from dataclasses import dataclass

DIGIT_KEYS = "0,1,2,3,4,5,6,7,8,9"
SECTION_KEYS = "1,2,3,4,5,6,7"
"""Keys of the review's sections, of which there are seven at most."""
TAB_KEYS = "1,2,3,4,5,6,7,8,9"
"""Keys of the tabs of a serving's page; those after `TAB_COUNT` say that there is no such tab."""
TAB_COUNT = 8
"""Tabs of a serving's page."""
POD_KEYS = "1,2,3,4,5,6,7,8,9,a,b,d,e,f,i,m,n,o,r,s,t,u,v,x,y,z"
"""Keys that open the log of the n-th Pod in a status; none of them scrolls or closes it."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that the operator can do, and where."""

    id: str
    """Scope and name, "servings.logs", as the keymap of the settings has it."""
    keys: str
    """Keys as Textual names them, comma separated; the first one is shown."""
    label: str
    """One or two words for the footer."""
    help: str
    """One sentence for the help and the command line."""
    footer_order: int = 0
    """Place in the footer, the smallest first; 0 is not shown there."""
    command: str = ""
    """Equivalent command of the command line, "q"."""
    passes_key: bool = False
    """Whether the key that was pressed is passed to the action."""
    bound_by_widget: bool = False
    """The focused widget binds it; the entry is for the footer and the help only."""

    @property
    def can_be_remapped(self) -> bool:
        """Whether the keymap of the settings may name it: it has keys of its own that mean the same
        thing."""
        return not (self.bound_by_widget or self.passes_key)

    @property
    def scope(self) -> str:
        """Screen or widget where it can be done; "app" is everywhere."""
        return self.id.partition(".")[0]

    @property
    def name(self) -> str:
        return self.id.partition(".")[2]
