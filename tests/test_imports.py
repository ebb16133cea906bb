"""Imports run one way and in no circle, those inside functions included."""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import innersight

ROOT = Path(innersight.__file__).parent


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(module: str, path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules that a module imports anywhere but for type checking."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            base = base if node.level else node.module or ""
            within = [f"{base}.{alias.name}" for alias in node.names]
            names |= {name if name in known else base for name in within}
    return {name for name in names if name in known and name not in (module, "innersight")}


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from statements(child)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: imported(name, path, known) for name, path in known.items()}


def test_no_circle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1][::-1])}")


def test_nothing_imports_upward(graph: dict[str, set[str]]) -> None:
    file = ROOT.parent.parent / "pyproject.toml"
    if not file.is_file():
        pytest.skip("the order of the rooms stands in pyproject.toml, which an installed package lacks")
    contracts = tomllib.loads(file.read_text())["tool"]["importlinter"]["contracts"]
    order = next(one["layers"] for one in contracts if one["name"] == "Imports run one way")
    level = {room.strip(): at for at, rooms in enumerate(order) for room in rooms.split("|")}
    wrong = []
    for name, others in graph.items():
        for other in others:
            above, below = room(name), room(other)
            if above not in (below, "innersight") and level[below] <= level[above]:
                wrong.append(f"{name} -> {other}")
    assert not wrong


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_what_counts_as_an_import(tmp_path: Path) -> None:
    package = tmp_path / "innersight"
    (package / "a").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "a" / "__init__.py").write_text("from .b import x\n")
    (package / "a" / "b.py").write_text("def f():\n    from innersight.a.c import y\n    import innersight.d\n")
    (package / "a" / "c.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import innersight.d\nfrom innersight.a import b\n"
    )
    (package / "d.py").write_text("class C:\n    def g(self):\n        from ..innersight import d\n        import os\n")
    known = modules(package)
    found = {name: imported(name, path, known) for name, path in known.items()}
    assert found["innersight.a"] == {"innersight.a.b"}
    assert found["innersight.a.b"] == {"innersight.a.c", "innersight.d"}
    assert found["innersight.a.c"] == {"innersight.a.b"}
    assert found["innersight.d"] == set()
    with pytest.raises(CycleError):
        TopologicalSorter(found).prepare()
