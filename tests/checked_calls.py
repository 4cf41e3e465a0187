"""Checks of arguments and results against their annotations, in the process of the tests.

jaxtyping checks shapes too, but its checks take ten times as long as beartype's, so that it is used
only where there are shapes.
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
    """Check all calls of modules that are imported from now on."""
    unresolved = modules_with("TYPE_CHECKING")  # beartype alone insists on importing their types
    conf = BeartypeConf(
        claw_is_pep526=False,
        claw_decor_place_func=BeartypeDecorPlace.FIRST,  # within decorators of torch and numba
        claw_skip_package_names=tuple(unresolved),
    )
    beartype_packages(tuple(ROOTS), conf=conf)
    install_import_hook([*modules_with("from jaxtyping import"), *unresolved], "beartype.beartype")
