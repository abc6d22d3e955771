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

_PROGRAM = re.compile(r"(?:^|(?<=&& )|(?<=\| )|(?<=: ))(?:kubectl|servedeck)(?= )")
"""The first word of each command, which a sentence has after a colon."""


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
        return cls(context, str(files[0]) if files else "")

    @property
    def words(self) -> tuple[str, ...]:
        """The options, sanitized, each on one line."""
        found = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        found += ["--context", self.context] if self.context else []
        return tuple(one_line(sanitize(one)) for one in found)

    def add_to(self, text: str) -> str:
        """The commands of kubectl and servedeck, or the sentence with one, with the options."""
        options = shlex.join(self.words)
        return _PROGRAM.sub(lambda found: f"{found[0]} {options}".rstrip(), text)
