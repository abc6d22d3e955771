"""Import direction, and which modules may be loaded when."""

import ast
import importlib
import inspect
import subprocess
import sys
import textwrap
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from textual.app import App
from textual.driver import Driver
from textual.message import Message
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.widgets import Input, Static
from textual.worker import Worker

ROOT = Path(__file__).parents[1]

PRIVATE_TEXTUAL_MODULES = {
    "tui/internals/app_hooks.py",
    "tui/internals/driver.py",
    "tui/internals/textual_private.py",
}
"""The only modules that may use private parts of Textual."""

UI_FILES = sorted(
    file.relative_to(ROOT).as_posix()
    for package in ("tui", "widgets", "styles")
    for file in (ROOT / package).rglob("*.py")
)


def loaded_modules(statement: str) -> set[str]:
    """Names of the modules loaded in a fresh interpreter after `statement`."""
    script = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_imports_point_one_way() -> None:
    # In a process of its own: it disables the loggers that there are, which other tests read.
    code = (
        "from importlinter.cli import lint_imports as lint; raise SystemExit(lint(no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_import_cycle() -> None:
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


def test_the_first_paint_does_not_wait_for_the_metrics() -> None:
    # the list reads them after the servings
    loaded = loaded_modules("import tui.start")
    assert not {one for one in loaded if one.startswith(("servedeck.promql", "prometheus_client"))}
    assert "servedeck.metrics.fleet_reader" not in loaded


def test_help_needs_neither_the_screen_nor_the_client() -> None:
    assert not {"textual", "kubernetes_asyncio"} & loaded_modules("import servedeck.cli")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@cache
def private_names_of(cls: type) -> frozenset[str]:
    """Private methods and attributes that a class of Textual defines or sets, and its bases."""
    found: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.startswith("textual."):
            found |= {name for name in vars(base) if is_private(name)}
            found |= set_attributes(inspect.getsource(base))
    return frozenset(name for name in found if is_private(name))


def set_attributes(source: str) -> set[str]:
    """Attributes that the text of a class sets."""
    tree = ast.parse(textwrap.dedent(source))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


TEXTUAL_CLASSES = (App, Driver, Input, Message, ModalScreen, ScrollView, Static, Worker)


@pytest.mark.parametrize("file", [one for one in UI_FILES if one not in PRIVATE_TEXTUAL_MODULES])
def test_private_parts_of_textual_are_used_in_few_modules(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert imported_private_modules(tree) == set(), "move it to tui/internals/textual_private.py"
    theirs = frozenset[str]().union(*map(private_names_of, TEXTUAL_CLASSES))
    used = {
        (node.attr, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in theirs - own_names(tree)
        and ast.unparse(node.value) != "os"
    }
    assert used == set(), "move it to tui/internals/textual_private.py"


def imported_private_modules(tree: ast.AST) -> set[str]:
    """Modules and names below `textual` with a leading underscore that a file imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return {
        name
        for name in found
        if name.split(".")[0] == "textual" and any(map(is_private, name.split(".")))
    }


def own_names(tree: ast.AST) -> set[str]:
    """Attributes and methods that the file itself defines."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    } | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_a_use_of_a_private_part_is_found() -> None:
    sample = "from textual._wait import x\nfrom textual import _wait\nimport textual._wait"
    assert imported_private_modules(ast.parse(sample)) == {"textual._wait.x", "textual._wait"}
    assert {"_registry", "_driver", "_exit_renderables"} <= private_names_of(App)
    assert {"_dirty_widgets", "_layout_required", "_message_queue"} <= private_names_of(ModalScreen)
    assert "_task" in private_names_of(Worker)


@pytest.mark.parametrize("file", [one for one in UI_FILES if one not in PRIVATE_TEXTUAL_MODULES])
def test_no_class_replaces_a_private_part_of_textual_by_accident(file: str) -> None:
    # a method or an attribute of ours with a name that a class of Textual uses already
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    clashes = {
        f"{cls.__name__}.{name}"
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == module.__name__
        for name in own_private_names(cls)
        if name in private_names_of(cls)
    }
    assert clashes == set()


def own_private_names(cls: type) -> set[str]:
    """Private methods and attributes that the text of a class defines."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    assigned = {
        node.target.id if isinstance(node, ast.AnnAssign) else node.targets[0].id
        for node in tree.body[0].body
        if isinstance(node, ast.AnnAssign | ast.Assign)
        and isinstance(getattr(node, "target", None) or node.targets[0], ast.Name)
    }
    return {name for name in own_names(tree) | assigned if is_private(name)}
