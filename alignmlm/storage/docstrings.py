"""Docstrings read from source files, so that --help can show them without importing anything."""

import ast
import sys
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path


@cache
def docstrings(module: str) -> dict[str, str]:
    """Docstrings of a module by name: functions, classes, and fields ("Class.field", on one line).

    The docstring of a field is the string that stands under it. Without the source there are none.
    """
    spec = find_spec(module) if module not in sys.modules else None
    file = spec.origin if spec else getattr(sys.modules.get(module), "__file__", None)
    if file is None or not Path(file).is_file():
        return {}
    texts: dict[str, str] = {}
    for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            texts[node.name] = ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            texts |= {f"{node.name}.{name}": text for name, text in field_docstrings(node).items()}
    return texts


def field_docstrings(definition: ast.ClassDef) -> dict[str, str]:
    """The string under each annotated field of a class, on one line."""
    body = definition.body
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
