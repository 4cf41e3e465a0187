"""Checks of arguments and results against their annotations, in the process of the tests.

Shapes are checked only in modules that have any, for that takes ten times as long.
"""

from pathlib import Path

from beartype import BeartypeConf, BeartypeDecorPlace
from beartype.claw import beartype_packages
from jaxtyping import install_import_hook

ROOTS = {"alignmlm": Path("alignmlm"), "alignmlm_kernels": Path("kernels/alignmlm_kernels")}


def modules_with(text: str) -> list[str]:
    """The modules of ours whose code has a text."""
    files = [path for root in ROOTS.values() for path in sorted(root.rglob("*.py"))]
    chosen = [path for path in files if text in path.read_text("utf-8")]
    parts = [path.with_suffix("").parts[path.parts[0] == "kernels" :] for path in chosen]
    return [".".join(names).removesuffix(".__init__") for names in parts]


def check_calls() -> None:
    """Check all calls of modules that are imported from now on.

    Left out: modules with types that only a type checker imports.
    """
    conf = BeartypeConf(
        claw_is_pep526=False,
        claw_decor_place_func=BeartypeDecorPlace.FIRST,  # within decorators of torch and numba
        claw_skip_package_names=tuple(modules_with("TYPE_CHECKING")),
    )
    beartype_packages(tuple(ROOTS), conf=conf)
    install_import_hook(modules_with("from jaxtyping import"), "beartype.beartype")
