"""Imports point down, files and functions stay small, the kernels stand alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import HANG_S

RANKS = {
    "errors": 0, "registry": 0.5, "terminal": 1, "storage": 1, "quiet": 1, "draws": 1,
    "devices": 1, "compiling": 1,
    "artifacts": 2, "code_record": 2, "ranks": 2, "slurm": 3,
    "alignmlm_kernels": 1, "hostfile": 2, "doctor": 8,
    "languages": 2, "syntax": 3, "data": 4, "model_settings": 4, "corpus": 5,
    "language_embeddings": 4, "model": 5, "model_loading": 5,
    "interchange": 6, "tasks": 6, "objectives": 6, "probes": 6,
    "pretraining": 7, "evaluation": 7, "planning": 7, "studies": 8, "reporting": 8,
    "config": 9, "commands": 10, "guard": 10, "cli": 11,
}  # fmt: skip
ROOTS = [Path("alignmlm"), Path("kernels/alignmlm_kernels")]
FILES = sorted(path for root in ROOTS for path in root.rglob("*.py"))


def room(module: str) -> str | None:
    """The ranked room that a module lies in; None for other people's modules."""
    parts = module.split(".")
    if parts[0] == "alignmlm_kernels":
        return parts[0]
    return parts[1] if parts[0] == "alignmlm" and len(parts) > 1 else None


def imports(path: Path) -> set[str]:
    """Rooms that a file imports from, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(room(node.module))
        elif isinstance(node, ast.Import):
            found |= {room(alias.name) for alias in node.names}
    return {name for name in found if name}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_down(path):
    here = "alignmlm_kernels" if path.parts[0] == "kernels" else Path(*path.parts[1:2]).stem
    if here == "__init__":
        return
    wrong = {name for name in imports(path) - {here} if RANKS[name] >= RANKS[here]}
    assert not wrong, f"{path} imports {wrong}"


def test_every_room_has_a_rank():
    rooms = {path.stem for path in Path("alignmlm").iterdir() if path.suffix in ("", ".py")}
    assert rooms - {"__init__", "__pycache__", "py"} <= RANKS.keys()


def is_triton(function: ast.FunctionDef) -> bool:
    """Whether it is a kernel, which may be longer."""
    return any(ast.unparse(decorator) == "triton.jit" for decorator in function.decorator_list)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_are_small(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and not is_triton(node):
            statements = sum(isinstance(part, ast.stmt) for part in ast.walk(node)) - 1
            assert statements <= 40, f"{path}: {node.name} has {statements} statements"


def test_the_kernels_import_neither_triton_nor_the_heavy_libraries():
    heavy = "{'triton', 'deepspeed', 'transformers', 'alignmlm'} & sys.modules.keys()"
    code = f"import sys; sys.path.insert(0, 'kernels'); import alignmlm_kernels; assert not {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANG_S)
