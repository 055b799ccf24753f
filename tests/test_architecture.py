"""Imports go only down, in no circle; and the code keeps the shape it was given."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from llm_rotate.config.catalogue import built_in

PACKAGE = "llm_rotate"
ROOT = Path(__file__).parent.parent / PACKAGE

# From the top down. Rooms of one line do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("testing",),
    ("cli",),
    ("singleton",),
    ("lmclient",),
    ("client",),
    ("keys", "helpers"),
    ("arguments",),
    ("engine",),
    ("config",),
    ("providers", "stores", "strategies", "secrets"),
    ("core",),
    ("errors",),
    ("types",),
)
# (importer, imported) -> why it may look up.
UPWARD: dict[tuple[str, str], str] = {
    ("llm_rotate.cli.demo.scene", "llm_rotate.testing"): "the demo plays on the simulator",
    ("llm_rotate.client", "llm_rotate.lmclient.client"): "lm.client() makes one, when it is called",
}
# The package's own face names every room, for type checkers, and imports none when it runs.
FACE = PACKAGE
ABOVE_THE_FACE = ("testing", "cli")
# A clock, sleep, sockets and chance are the engine's alone.
ENGINES_OWN = frozenset({"httpx", "httpx2", "redis", "asyncio", "time", "random", "socket"})
# (module, imported) -> why it may have it.
LENT: dict[tuple[str, str], str] = {}
# A provider's name in a string of core/ -> why.
NAMED_IN_CORE: dict[tuple[str, str], str] = {
    ("llm_rotate.core.redact", "xai"): "how its keys begin, among those of many vendors",
}


@dataclass(frozen=True)
class Module:
    name: str
    is_package: bool
    lines: int
    tree: ast.Module = field(repr=False)

    @property
    def room(self) -> str:
        """The first name below the package; the package itself for its face."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else FACE


@cache
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, is_package, len(text.splitlines()), ast.parse(text))
    return found


def imported(module: Module, known: dict[str, Module]) -> Iterator[str]:
    """Every module that an import anywhere in ``module`` names, inside functions too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            place = origin(module, node)
            for alias in node.names:
                whole = f"{place}.{alias.name}"
                yield whole if whole in known else place


def origin(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    up = node.level - 1 if module.is_package else node.level
    base = parts[: len(parts) - up]
    return ".".join([*base, node.module] if node.module else base)


def inner_imports(known: dict[str, Module]) -> dict[str, set[str]]:
    return {
        name: {other for other in imported(module, known) if other in known and other != name}
        for name, module in known.items()
        if name != FACE
    }


def height(room: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room in rooms)


def upward(known: dict[str, Module]) -> list[str]:
    return [
        f"{name} imports {other}"
        for name, others in inner_imports(known).items()
        for other in sorted(others)
        if (name, other) not in UPWARD and not may_see(known[name].room, known[other].room)
    ]


def may_see(room: str, other: str) -> bool:
    if other == FACE:
        return room in ABOVE_THE_FACE
    return room == other or height(room) < height(other)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Each import cycle once, as the way around it."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in done:
            for other in sorted(graph.get(name, ())):
                walk(other, [*way, name])
            done.add(name)

    for name in sorted(graph):
        walk(name, [])
    return found


def module_of(name: str, source: str) -> Module:
    return Module(name, False, len(source.splitlines()), ast.parse(source))


# -- imports


def test_every_room_has_its_layer():
    rooms = {module.room for module in modules().values()} - {FACE}
    assert rooms <= {room for rooms in LAYERS for room in rooms}


def test_imports_go_only_down():
    assert upward(modules()) == []


def test_no_import_cycle():
    """But for the one way back that is listed above."""
    graph = inner_imports(modules())
    assert cycles({name: others - set(way_back(name)) for name, others in graph.items()}) == []


def way_back(name: str) -> list[str]:
    return [other for importer, other in UPWARD if importer == name]


def test_only_the_engine_and_what_stands_on_it_has_a_clock_sockets_and_chance():
    below = {room for rooms in LAYERS[height("engine") + 1 :] for room in rooms}
    found = [
        f"{name} imports {other}"
        for name, module in modules().items()
        if module.room in below
        for other in imported(module, modules())
        if other.split(".")[0] in ENGINES_OWN and (name, other) not in LENT
    ]
    assert found == []


def test_the_face_imports_no_room_when_it_runs():
    """What is under TYPE_CHECKING is for type checkers alone."""
    for name in (PACKAGE, f"{PACKAGE}.testing"):
        module = modules()[name]
        running = [node for node in module.tree.body if not isinstance(node, ast.If)]
        bare = Module(name, True, 0, ast.Module(running, []))
        assert not [other for other in imported(bare, modules()) if other in modules()]


def test_exceptions_are_still_needed():
    """An exception whose reason is gone goes too."""
    graph = inner_imports(modules())
    assert all(other in graph[name] for name, other in UPWARD)
    assert all(other in set(imported(modules()[name], modules())) for name, other in LENT)
    assert set(NAMED_IN_CORE) <= set(names_in_core())


# -- the test itself: it sees what it is there to see


@pytest.mark.parametrize(
    "source",
    [
        "from ..engine import clock",
        "from ..engine.clock import RealClock",
        "import llm_rotate.engine.clock",
        "def f():\n    from llm_rotate.engine import clock",
        "from .. import client",
    ],
)
def test_an_upward_import_is_seen_however_it_is_written(source):
    known = {**modules(), "llm_rotate.core.new": module_of("llm_rotate.core.new", source)}
    assert len(upward(known)) == len(upward(modules())) + 1


def test_a_cycle_is_seen_inside_functions_too():
    known = {
        "llm_rotate.core.a": module_of("llm_rotate.core.a", "from .b import x"),
        "llm_rotate.core.b": module_of(
            "llm_rotate.core.b", "def f():\n    from . import c\n    return c"
        ),
        "llm_rotate.core.c": module_of("llm_rotate.core.c", "import llm_rotate.core.a"),
    }
    assert len(cycles(inner_imports(known))) == 1


# -- provider names


def provider_names() -> set[str]:
    return {*built_in(), "gemini", "bedrock", "azure", "vertex", "claude", "gpt"}


def names_in_core() -> list[tuple[str, str]]:
    return [
        (name, provider)
        for name, module in modules().items()
        if module.room == "core"
        for text in strings(module.tree)
        for provider in sorted(provider_names())
        if provider in text.lower()
    ]


def strings(tree: ast.Module) -> Iterator[str]:
    """String constants that are no docstrings."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documents:
            value = node.value
            if isinstance(value, bytes):
                value = value.decode("latin-1")
            if isinstance(value, str):
                yield value


def test_core_names_no_provider():
    assert set(names_in_core()) == set(NAMED_IN_CORE)


# -- shape

LONGEST_FUNCTION = 60  # lines without the docstring
LONGEST_MODULE = 500
MEDIAN_FUNCTION = 10
NINETIETH_FUNCTION = 30
MOST_PARAMETERS = 7
# Public faces: their parameters are the reference's. Below them seven are the most.
FACES = (
    "client",
    "errors",
    "helpers.chat_batches",
    "helpers.contents",
    "helpers.embeddings",
    "helpers.transcriptions",
    "lmclient.client",
    "lmclient.limiter",
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for module in modules().values():
        yield from functions_in(module.tree, module.name)


def functions_in(node: ast.AST, place: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        name = f"{place}.{child.name}" if hasattr(child, "name") else place
        if isinstance(child, Function):
            yield name, child
        yield from functions_in(child, name)


def length(function: Function) -> int:
    """Lines from ``def`` to the end, the docstring not counted."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def parameters(function: Function) -> int:
    given = function.args
    names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_functions_are_short():
    lengths = sorted(length(function) for _, function in functions())
    assert statistics.median(lengths) <= MEDIAN_FUNCTION
    assert statistics.quantiles(lengths, n=10)[-1] <= NINETIETH_FUNCTION
    assert [n for n, function in functions() if length(function) > LONGEST_FUNCTION] == []


def test_modules_are_small():
    assert [m.name for m in modules().values() if m.lines > LONGEST_MODULE] == []


def test_few_parameters_below_the_public_faces():
    faces = tuple(f"{PACKAGE}.{face}" for face in FACES)
    many = [
        name
        for name, function in functions()
        if parameters(function) > MOST_PARAMETERS and not name.startswith(faces)
    ]
    assert many == []
