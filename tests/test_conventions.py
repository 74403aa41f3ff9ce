"""Conventions of the code that no linter knows."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import lsweep
from lsweep.engine import loop

PACKAGE = Path(lsweep.__file__).parent
TREES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
# What turns a configuration into a sweep, a training or a script; everything below takes a table of it, or values.
SET_UP = ("api", "cli", "config", "slurm", "engine.curvature", "engine.job", "engine.setup")
SET_UP += ("evaluate.problem", "training.train")


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def annotations(function: ast.FunctionDef) -> Iterator[str]:
    given = function.args
    for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
        if argument.annotation is not None:
            yield ast.unparse(argument.annotation)


def test_below_the_set_up_nothing_takes_the_whole_configuration() -> None:
    takers = [
        f"lsweep.{module}.{function.name}"
        for module, tree in TREES.items()
        if not module.startswith(SET_UP)
        for function in functions(tree)
        if any(re.search(r"\bConfig\b", annotation) for annotation in annotations(function))
    ]
    assert takers == []


def test_the_loop_has_few_parameters() -> None:
    assert len(inspect.signature(loop.run).parameters) <= 6


def test_nobody_asks_an_evaluator_for_what_it_does_not_declare() -> None:
    evaluators = ("evaluator", "inner", "exact", "joint", "sampled")
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
                asked = ast.unparse(node.args[0])
                assert not any(word in asked for word in evaluators), f"lsweep.{module}: {ast.unparse(node)}"
