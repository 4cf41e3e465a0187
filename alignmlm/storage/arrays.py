"""NumPy files, refused if their header promises more data than the file holds."""

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from alignmlm.errors import DataError

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_array(file: BinaryIO, path: Path) -> np.ndarray:
    """The next array of an open .npy file; its size is compared with the file's before it is read.

    Raises:
        DataError: no array, or one that the file is too short for.
    """
    start = file.tell()
    try:
        shape, _, dtype = HEADERS[npy.read_magic(file)](file)
        needed = math.prod(shape) * dtype.itemsize
        if needed > (left := path.stat().st_size - file.tell()):
            raise ValueError(f"{left} bytes are left of {needed}")
        file.seek(start)
        return np.load(file, allow_pickle=False)
    except (ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path} is damaged: {error!r:.200}") from error


def read_npy(path: Path) -> np.ndarray:
    """The one array of a .npy file.

    Raises:
        DataError: it holds none, or is too short.
    """
    with path.open("rb") as file:
        return read_array(file, path)
