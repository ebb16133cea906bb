"""What keeps the house easy to find one's way in: one class of a name, short files, few parameters."""

import ast
from collections import defaultdict
from pathlib import Path

import innersight

ROOT = Path(innersight.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def test_no_two_public_classes_have_one_name() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    assert len(found) > 100
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_no_function_takes_more_than_twelve_parameters() -> None:
    functions = [
        (path.relative_to(ROOT), node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    counts = {
        f"{path}: {node.name}": len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
        for path, node in functions
    }
    assert {name: count for name, count in counts.items() if count > 12} == {}


def test_no_file_has_more_than_400_lines() -> None:
    own = [*FILES, *(ROOT / "web" / "static").rglob("*.js")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in own}
    assert {path: length for path, length in lengths.items() if length > 400} == {}
