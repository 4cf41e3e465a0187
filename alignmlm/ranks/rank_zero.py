"""Collective calls: rank 0 does the work, and if it fails every rank fails the same way."""

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

import torch

from alignmlm.errors import AlignMLMError
from alignmlm.storage.system_errors import storage_error

P = ParamSpec("P")
Result = TypeVar("Result")


def from_rank_zero(work: Callable[P, Result]) -> Callable[P, Result]:
    """A function for all ranks to call: rank 0 does the work, and each returns its result.

    The result must be picklable. An AlignMLMError on rank 0 is raised on every rank, and so is an
    OSError of its disk, as an AlignMLMError.
    """
    return partial(collective, work, True)


def on_rank_zero(work: Callable[P, Result]) -> Callable[P, Result | None]:
    """A function for all ranks to call: rank 0 does the work, and alone returns its result.

    For what cannot leave its process, such as locks and open files. The other ranks return None;
    errors are raised on every rank.
    """
    return partial(collective, work, False)


def collective(work: Callable[..., Any], shared: bool, /, *args: Any, **kwargs: Any) -> Any:
    """The result of rank 0's work, shared or for rank 0 alone; all ranks wait for it."""
    result, error = None, None
    if torch.distributed.get_rank() == 0:
        try:
            result = work(*args, **kwargs)
        except AlignMLMError as raised:
            error = raised
        except Exception as raised:
            if (error := storage_error(raised)) is None:
                raise
    message = [result if shared else None, error]
    torch.distributed.broadcast_object_list(message)
    if message[1] is not None:
        raise message[1]
    return message[0] if shared else result
