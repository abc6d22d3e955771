"""The YAML text of a gateway's settings, which anybody may have put into its ConfigMap.

The gateway and the dashboard read it alike. Text of any kind takes bounded time and memory.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_LENGTH = 16_384
"""Characters of a text; all settings of a gateway together take about 1,500."""
_MAX_DEPTH = 16
"""Of lists and mappings in each other; no setting has more than one."""
_MAX_NUMBER = 40
"""Characters of a number or a date. Python writes integers of up to 4,300 digits only
(sys.set_int_max_str_digits), and a float of more than 308 is infinite."""


class SettingsTextError(ValueError):
    """The text cannot be read; str() is the reason, as the end of a sentence without its full
    stop: "it is not YAML"."""


def parse_settings_text(text: str) -> dict[Any, Any]:
    """The settings by name; a key may be of any type that YAML has. A number or a date that cannot
    be made stays the text that it is. Raises SettingsTextError."""
    if len(text) > MAX_LENGTH:
        raise SettingsTextError(f"it has more than {MAX_LENGTH:,} characters")
    try:
        found = yaml.load(text, _Loader)  # noqa: S506 -- a safe loader
    except _RefusedError as error:
        raise SettingsTextError(str(error.problem)) from None
    # PyYAML raises the others for a value that its tag does not allow, as in `!!bool x`, and for an
    # escape of no character.
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
        raise SettingsTextError("it is not YAML") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SettingsTextError("it must have one setting a line, as in port: 8080")
    return found


class _RefusedError(yaml.MarkedYAMLError):
    """YAML that is not accepted; `problem` is the reason."""


class _Loader(yaml.SafeLoader):
    """Without aliases, a few of which can stand for gigabytes, and without deep nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _RefusedError(problem="it has an alias (*), in place of which write the value")
        if self._depth > _MAX_DEPTH:
            raise _RefusedError(problem="it is nested too deeply")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _construct_scalar(loader: _Loader, node: yaml.ScalarNode) -> Any:
    if len(node.value) > _MAX_NUMBER:
        return node.value
    try:
        return yaml.SafeLoader.yaml_constructors[node.tag](loader, node)
    except (ValueError, ArithmeticError, LookupError, AttributeError):
        return node.value


for _name in ("int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _construct_scalar)
