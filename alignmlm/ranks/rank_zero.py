"""Work that rank 0 does for all ranks."""

from collections.abc import Callable
from typing import Any

import torch

from alignmlm.errors import AlignMLMError
from alignmlm.storage.system_errors import storage_error


def on_first_rank(work: Callable[[], Any]) -> Any:
    """The result of rank 0's work, on every rank; if it failed, every rank fails the same way.

    Raises:
        AlignMLMError: raised by the work; a disk's OSError becomes one.
    """
    shared: list[Any] = [None, None]
    if torch.distributed.get_rank() == 0:
        try:
            shared = [work(), None]
        except AlignMLMError as error:
            shared = [None, error]
        except Exception as error:
            if (fault := storage_error(error)) is None:
                raise
            shared = [None, fault]
    torch.distributed.broadcast_object_list(shared)
    if shared[1] is not None:
        raise shared[1]
    return shared[0]
