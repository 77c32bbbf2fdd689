"""The house keeps its measure: no circles, short modules, few parameters, simple functions."""

import ast
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "attnflow"
MODULES = sorted(SOURCE.rglob("*.py"))

MOST_LINES = 400
MOST_POSITIONAL = 7
MOST_COMPLEX = 20  # the aim is 15

BRANCHES = (ast.If, ast.For, ast.While, ast.IfExp, ast.ExceptHandler, ast.comprehension, ast.Assert)


def functions(module: Path) -> Iterator[ast.FunctionDef]:
    """Every function of a module, methods and inner ones too."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


def positional(function: ast.FunctionDef) -> int:
    """How many arguments may be given without their names."""
    given = [*function.args.posonlyargs, *function.args.args]
    return sum(argument.arg not in ("self", "cls") for argument in given)


def complexity(function: ast.FunctionDef) -> int:
    """McCabe's number of paths, each part of a condition counted."""
    nodes = list(ast.walk(function))
    conditions = sum(len(node.values) - 1 for node in nodes if isinstance(node, ast.BoolOp))
    return 1 + sum(isinstance(node, BRANCHES) for node in nodes) + conditions


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("attnflow", exclude_type_checking_imports=False)
    left = {
        module: graph.find_modules_directly_imported_by(module) - {"attnflow"}
        for module in graph.modules - {"attnflow"}
    }
    while free := [module for module, imported in left.items() if not imported & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"these import each other: {sorted(left)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_and_functions_are_of_a_size_to_read(module):
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    for function in functions(module):
        where = f"{module.relative_to(SOURCE)}:{function.lineno} {function.name}"
        if "cli" not in module.parts:  # there the parser passes every option by name
            assert positional(function) <= MOST_POSITIONAL, where
        assert complexity(function) <= MOST_COMPLEX, where
