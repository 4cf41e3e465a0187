"""Triton's interpreter before 3.7 with NumPy from 2.4 on, which makes no number of a 1-array.

A bound of a loop that is known only when a kernel runs is a tensor there, of one element and one
axis, and `int(array)` of it is a TypeError since NumPy 2.4. Triton 3.7 squeezes it first.

Triton 3.9 makes 32-bit integers of a truth value that meets a block (`columns < n & (slot >= 0)`),
and then refuses them as a mask. Only the interpreter is touched: compiled kernels have no NumPy.
"""

from importlib.metadata import PackageNotFoundError, version

NUMPY_IS_STRICT, TRITON_SQUEEZES, TRITON_WIDENS = (2, 4), (3, 7), (3, 9)


def release(package: str) -> tuple[int, ...]:
    """The first two numbers of a package's version; none where it is not installed."""
    try:
        return tuple(int(part) for part in version(package).split(".")[:2])
    except PackageNotFoundError:
        return ()


def keep_truth_values() -> None:
    """Let a truth value that meets a block stay one, where this Triton makes an integer of it."""
    if release("triton") < TRITON_WIDENS:
        return
    import numpy as np
    from triton.runtime import interpreter

    original = interpreter.InterpreterBuilder.create_splat

    def patched(self, shape, value):
        block = original(self, shape, value)
        if value.data.dtype == np.bool_:
            block.data = block.data.astype(np.bool_)
        return block

    interpreter.InterpreterBuilder.create_splat = patched


def mend_interpreter() -> None:
    """Let loops run over bounds that are tensors, where this Triton and this NumPy cannot."""
    keep_truth_values()
    if not () < release("triton") < TRITON_SQUEEZES or release("numpy") < NUMPY_IS_STRICT:
        return
    from triton.runtime import interpreter

    original = interpreter._patch_lang_tensor

    def patched(tensor, scope):
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched
