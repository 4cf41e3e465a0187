import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "kernels" / "alignmlm_kernels"
RANKS = {
    "alignmlm": 0,  # __init__.py: the version
    "alignmlm.errors": 0,
    "alignmlm.files": 1,
    "alignmlm.draws": 1,
    "alignmlm.terminal": 1,
    "alignmlm_kernels": 1,
    "alignmlm.languages": 2,
    "alignmlm.data": 3,
    "alignmlm.model": 4,
    "alignmlm.objectives": 5,
    "alignmlm.alignment": 5,
    "alignmlm.pretraining": 6,
    "alignmlm.evaluation": 6,
    "alignmlm.studies": 7,
    "alignmlm.reporting": 7,
    "alignmlm.config": 8,
    "alignmlm.cli": 9,
}
LINES, STATEMENTS = 400, 40
FILES = sorted([*(ROOT / "alignmlm").rglob("*.py"), *KERNELS.rglob("*.py")])
Function = ast.FunctionDef | ast.AsyncFunctionDef


def file_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    base = ROOT if (ROOT / "alignmlm") in path.parents else ROOT / "kernels"
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def package_of(module: str) -> str:
    """The part of the house that a module or an imported name belongs to."""
    parts = module.split(".")
    if parts[0] == "alignmlm_kernels":
        return "alignmlm_kernels"
    two = ".".join(parts[:2])
    is_part = (ROOT / "alignmlm" / parts[-1 if len(parts) == 1 else 1]).is_dir() or (
        len(parts) > 1 and (ROOT / "alignmlm" / f"{parts[1]}.py").is_file()
    )
    return two if len(parts) > 1 and is_part else "alignmlm"


def imports_of(path: Path) -> Iterator[str]:
    """Everything of ours that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] in ("alignmlm", "alignmlm_kernels"))


def functions_of(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, Function):
            yield node


def is_triton(function: Function) -> bool:
    """Whether a function is the body of a Triton kernel, which may be longer."""
    return any("jit" in ast.unparse(decorator) for decorator in function.decorator_list)


def statements(function: Function) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "kernels")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_walk_finds_imports_inside_functions(tmp_path):
    path = tmp_path / "some.py"
    path.write_text("def f():\n    from alignmlm.data.text import words_of\n    import alignmlm.cli\n")
    assert list(imports_of(path)) == ["alignmlm.data.text.words_of", "alignmlm.cli"]


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_every_module_has_a_rank(path):
    assert package_of(module_of(path)) in RANKS


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_a_module_imports_lower_ranks_or_its_own_package_only(path):
    own = package_of(module_of(path))
    wrong = [
        name
        for name in imports_of(path)
        if package_of(name) != own and RANKS[package_of(name)] >= RANKS[own]
    ]
    assert not wrong, f"{own} (rank {RANKS[own]}) may not import {wrong}"


@pytest.mark.parametrize("path", sorted(KERNELS.rglob("*.py")), ids=file_id)
def test_the_kernels_never_import_the_rest(path):
    assert [name for name in imports_of(path) if package_of(name) != "alignmlm_kernels"] == []


def test_importing_the_kernels_brings_neither_triton_nor_deepspeed_nor_transformers():
    code = """
import sys
before = set(sys.modules)
import torch, jaxtyping
with_torch = set(sys.modules)
import alignmlm_kernels
heavy = {"triton", "deepspeed", "transformers"}
print(sorted(heavy & {name.split(".")[0] for name in set(sys.modules) - with_torch}))
"""
    assert run_python(code) == "[]"


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_a_file_has_at_most_400_lines(path):
    assert len(path.read_text("utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_a_function_has_at_most_40_statements(path):
    sizes = {f.name: statements(f) for f in functions_of(path) if not is_triton(f)}
    assert {name: size for name, size in sizes.items() if size > STATEMENTS} == {}


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_a_triton_body_stays_alone_in_its_file(path):
    kernels = [function.name for function in functions_of(path) if is_triton(function)]
    assert len(kernels) <= 1
