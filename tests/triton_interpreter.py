"""Triton's interpreter before 3.7 with NumPy from 2.4 on, which makes no number of a 1-array.

A bound of a loop that is known only when a kernel runs is a tensor there, of one element and one
axis, and `int(array)` of it is a TypeError since NumPy 2.4. Triton 3.7 squeezes it first. Only the
interpreter is touched: compiled kernels have no NumPy in them.
"""

from importlib.metadata import PackageNotFoundError, version

NUMPY_IS_STRICT, TRITON_SQUEEZES = (2, 4), (3, 7)


def release(package: str) -> tuple[int, ...]:
    """The first two numbers of a package's version; none where it is not installed."""
    try:
        return tuple(int(part) for part in version(package).split(".")[:2])
    except PackageNotFoundError:
        return ()


def mend_interpreter() -> None:
    """Let loops run over bounds that are tensors, where this Triton and this NumPy cannot."""
    if not () < release("triton") < TRITON_SQUEEZES or release("numpy") < NUMPY_IS_STRICT:
        return
    from triton.runtime import interpreter

    original = interpreter._patch_lang_tensor

    def patched(tensor, scope):
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched
