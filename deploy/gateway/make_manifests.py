"""Writes gateway.yaml: what servedeck makes for the serving llama in namespace team-a."""

from __future__ import annotations

from pathlib import Path

import yaml

from servedeck import __version__
from servedeck.serving.async_limits import AsyncQueueSettings
from servedeck.serving.objects.async_gateway import AsyncPlatform, build_async_gateway

HEADER = """\
# The async gateway of one serving, as servedeck makes it (`make manifests`). To use it by hand see
# kustomization.yaml.
"""


def main() -> None:
    platform = AsyncPlatform(
        image=f"servedeck-gateway:{__version__}",
        store="valkey://valkey.servedeck-system:6379",
    )
    objects = build_async_gateway("team-a", "llama", platform, AsyncQueueSettings())
    text = yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=100)
    Path(__file__).with_name("gateway.yaml").write_text(HEADER + text, encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a block, and everything in full."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)

if __name__ == "__main__":
    main()
