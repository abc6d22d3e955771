from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck.cluster.http.bare import import_isolated


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package two deep that notes that it was run, with a module that needs a neighbour."""
    files = {
        "heavy/__init__.py": "from heavy import inner\nWHOLE = True",
        "heavy/inner/__init__.py": "from heavy.inner import light\nWHOLE = True",
        "heavy/inner/light.py": "from heavy.inner.neighbour import VALUE",
        "heavy/inner/neighbour.py": "VALUE = 7",
        "heavy/inner/needs.py": "from heavy import WHOLE",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield "heavy"
    for name in [name for name in sys.modules if name.partition(".")[0] == "heavy"]:
        del sys.modules[name]


def test_a_module_comes_without_its_packages_which_can_still_be_had_whole(heavy: str) -> None:
    assert import_isolated(f"{heavy}.inner.light").VALUE == 7
    assert not [name for name in sys.modules if name.startswith(heavy)]
    whole = __import__(f"{heavy}.inner.light")
    assert whole.WHOLE and whole.inner.WHOLE
    assert import_isolated(f"{heavy}.inner.light") is whole.inner.light


def test_a_module_that_needs_its_packages_gets_them(heavy: str) -> None:
    assert import_isolated(f"{heavy}.inner.needs").WHOLE
    assert sys.modules[heavy].WHOLE


@pytest.mark.parametrize("name", ["heavy.inner.none", "no_such_package.rest"])
def test_what_does_not_exist_is_an_import_error(heavy: str, name: str) -> None:
    with pytest.raises(ImportError):
        import_isolated(name)


def test_the_client_can_be_imported_whole_beside_its_bare_transport() -> None:
    code = (
        "import servedeck.cluster.http.transport, kubernetes_asyncio;"
        "from kubernetes_asyncio import client; client.CoreV1Api; client.rest.RESTClientObject"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
