"""Settings and manifests that cannot be used: errors of ours, never bare exceptions."""

import shutil

import pytest

from alignmlm.data.schedule import weight_parts
from alignmlm.data.store import MANIFEST, Store
from alignmlm.errors import ConfigError, DataError


def test_a_manifest_with_a_flipped_bit_that_is_no_utf_8_is_named(small_store, tmp_path):
    copy = shutil.copytree(small_store, tmp_path / "copy")
    damaged = bytearray((copy / MANIFEST).read_bytes())
    damaged[10] ^= 0x80
    (copy / MANIFEST).write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=r"manifest\.json"):
        Store(copy)


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused(weight):
    with pytest.raises(ConfigError, match="be positive"):
        weight_parts([weight, 1.0])


def test_the_error_of_a_bad_weight_names_the_setting_as_recipes_spell_it():
    with pytest.raises(ConfigError, match=r"languages\.weights = "):
        weight_parts([0.0, 1.0])
