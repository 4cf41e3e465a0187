"""tests/checked_calls.py is in force."""

import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from alignmlm.languages.dictionary import derived_pairs
from alignmlm.tasks.task import check_name


def test_an_argument_of_another_type_is_an_error():
    with pytest.raises(BeartypeCallHintViolation):
        check_name(5)


def test_an_array_of_another_shape_is_an_error():
    with pytest.raises(TypeCheckError):
        list(derived_pairs(np.zeros((2, 2), np.int64), np.zeros((2, 2), np.int64)))
