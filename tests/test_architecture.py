"""Import direction, and which modules may be loaded when."""

import subprocess
import sys
from graphlib import TopologicalSorter

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def loaded_modules(statement: str) -> set[str]:
    """Names of the modules loaded in a fresh interpreter after `statement`."""
    script = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_imports_point_one_way() -> None:
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS


def test_no_import_circle() -> None:
    # imports under TYPE_CHECKING count: a part that names its whole cannot be read without it
    graph = grimp.build_graph("servedeck", "tui", "widgets", "styles", cache_dir=None)
    imports = {
        module: graph.find_modules_directly_imported_by(module) - parents(module)
        for module in graph.modules
    }
    TopologicalSorter(imports).prepare()  # raises CycleError with the circle


def parents(module: str) -> set[str]:
    """Packages of a module, whose __init__ may import it."""
    parts = module.split(".")
    return {".".join(parts[:at]) for at in range(1, len(parts))}


@pytest.mark.parametrize(
    "module",
    [
        "servedeck.serving.objects.records",
        "servedeck.cluster.watch.reflector",
        "servedeck.fleet.session",
    ],
)
def test_the_core_runs_without_textual(module: str) -> None:
    assert not {"textual", "rich"} & loaded_modules(f"import {module}")


def test_the_first_paint_does_not_wait_for_the_client() -> None:
    # it is imported in a thread after the first frame
    assert not {"aiohttp", "kubernetes_asyncio"} & loaded_modules("import tui.app")


def test_the_connection_to_the_api_server_does_not_load_kubernetes_asyncio() -> None:
    # its 900 model classes cost 0.2 s until every serving has its status, and 38 MiB
    assert "kubernetes_asyncio" not in loaded_modules("import servedeck.cluster.http.transport")


@pytest.mark.parametrize(
    "module", ["tui.app", "servedeck.cluster.access", "servedeck.cluster.auth.oidc"]
)
def test_httpx_is_loaded_only_to_renew_a_login(module: str) -> None:
    # the list never needs it, and it takes 0.1 s
    assert not {"httpx", "httpcore", "anyio"} & loaded_modules(f"import {module}")


def test_the_first_paint_does_not_wait_for_pydantic() -> None:
    # saves 0.1 s: without any settings there is nothing to validate
    start = "import tui.start; from servedeck import config; config.load_settings({}, {}, __file)"
    here = "from pathlib import Path; __file = Path('no-such-file')"
    assert not {"pydantic", "kubernetes_asyncio"} & loaded_modules(f"{here}; {start}")


def test_help_needs_neither_the_screen_nor_the_client() -> None:
    assert not {"textual", "kubernetes_asyncio"} & loaded_modules("import servedeck.cli")
