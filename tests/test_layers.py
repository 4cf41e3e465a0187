"""Imports point down, files and functions stay small, the kernels stand alone."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.limits import HANG_S

RANKS = {
    "errors": 0, "shipped": 0.5, "console": 1, "storage": 1, "numerics": 1,
    "alignmlm_kernels": 1, "ranks": 2, "artifacts": 2.5,
    "languages": 2, "syntax": 3, "data": 4, "models": 5, "corpus": 5,
    "interchange": 6, "tasks": 6, "objectives": 6, "probes": 6,
    "pretraining": 7, "evaluation": 7, "planning": 7, "studies": 8, "reporting": 8, "doctor": 8,
    "config": 9, "commands": 10, "cli": 11,
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


EVALUATION = ("examples", "scores", "fine_tuning")  # each imports those before it
CALLERS = {"evaluate", "selection", "retrieval", "language_counts"}  # of all three


@pytest.mark.parametrize("name", EVALUATION)
def test_the_rooms_of_evaluation_import_earlier_ones_alone(name):
    later = CALLERS.union(EVALUATION[EVALUATION.index(name) + 1 :])
    for path in sorted(Path("alignmlm/evaluation", name).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not later.intersection(node.module.split(".")[2:3]), f"{path}: {node.module}"


def module_of(path: Path) -> str:
    """The dotted name of a file's module."""
    parts = path.with_suffix("").parts[path.parts[0] == "kernels" :]
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES}


def imported_at_once(path: Path) -> set[str]:
    """Modules of ours that a file imports when it is imported itself."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}": node.module for alias in node.names}
            found |= {name if name in MODULES else module for name, module in whole.items()}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & MODULES) - {module_of(path)}


def test_no_modules_import_each_other_in_a_circle():
    graph = {module_of(path): imported_at_once(path) for path in FILES}
    while free := [name for name, found in graph.items() if not found]:
        graph = {n: found.difference(free) for n, found in graph.items() if n not in free}
    assert not graph, "these import each other, or those that do"


TEST_API = {  # used by tests alone, for the reason that is given
    "reference_batch": "the specification of batches",
    "reorder": "the specification of orders on tokens",
    "write_conllu": "writes the trees that tests read",
    "yields": "the definition that is_projective is held to",
    "read_parallel_lines": "of a Python caller with parallel text of its own",
    "base_sentences": "of a Python caller",
    "file_probe": "of a Python caller with a dictionary file",
    "retrieval_percent": "of a Python caller",
    "sentence_vectors": "of a Python caller",
    "alignment_statistics": "of the kernels, for models split over ranks",
    "add_alignment_gradient": "of the kernels, for models split over ranks",
    "vocabulary_parallel_loss": "of the kernels, for models split over ranks",
}
OVERRIDDEN = {  # called by a library
    "convert", "shell_complete", "format_options", "format_commands", "get_command",
    "resolve_command", "on_epoch_end", "on_step_end", "on_train_begin", "on_broken_pipe",
    "readinto", "_apply", "do_GET", "log_message", "handle_error", "get_train_dataloader",
    "compute_loss",
}  # fmt: skip


def names_used(tree: ast.AST) -> Iterator[str]:
    """Names that code uses; of texts those after a colon, as in "runs:train_command"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.rpartition(":")[2] if ":" in node.value else ""


def test_no_function_is_called_by_tests_alone():
    used: Counter[str] = Counter()
    defined = []
    for path in (*FILES, Path("train.py"), *Path("benchmarks").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        used.update(names_used(tree))
        if path in FILES:
            nodes = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
            defined += [(node.name, Counter(names_used(node))[node.name]) for node in nodes]
    dead = {name for name, own in defined if used[name] <= own and not name.startswith("__")}
    assert dead - OVERRIDDEN - TEST_API.keys() == set()
    assert dead >= TEST_API.keys(), "these have callers: take them out of TEST_API"


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
