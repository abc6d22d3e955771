"""The options with which a command that is shown or copied names its cluster: another shell, or the
same one later, may have another current context."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servedeck.cluster.auth.kubeconfig import IN_CLUSTER_NAME
from servedeck.serving.text import one_line, sanitize

_PROGRAM = re.compile(
    r"(?:^|(?<=&& )|(?<=\| ))(?:kubectl|servedeck)(?= )"  # the first word of each command
    r"|(?<=: )kubectl(?= -n )"  # a command in a sentence, and not what others wrote
)


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """Those of kubectl, which servedeck has, too."""

    context: str = ""
    """"" while it is unknown, and for the service account of a Pod, which has no kubeconfig."""
    kubeconfig: str = ""
    """The file that the command line gave; "" for those of the environment."""

    @classmethod
    def of(cls, context: str, files: Sequence[Path] | None) -> CommandOptions:
        """Those of a connection; None for the files of the environment."""
        context = "" if context == IN_CLUSTER_NAME else context
        # another shell may be in another directory
        return cls(context, str(files[0].absolute()) if files else "")

    @property
    def words(self) -> tuple[str, ...]:
        """The options as a program gets them."""
        found = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        return (*found, "--context", self.context) if self.context else tuple(found)

    @property
    def shown_words(self) -> tuple[str, ...]:
        """The options for the screen, without control characters."""
        return tuple(one_line(sanitize(one)) for one in self.words)

    def add_to(self, text: str) -> str:
        """The commands of kubectl and servedeck, or the sentence with one, with the options."""
        options = shlex.join(self.shown_words)
        return _PROGRAM.sub(lambda found: f"{found[0]} {options}".rstrip(), text)
