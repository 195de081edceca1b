"""Files of arrays: whole, absent or broken, whatever breaks them."""

import numpy as np
import pytest

from lengthwise.app.bad_input.damage import DAMAGES
from lengthwise.common.array_file import BrokenArraysError, load_arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_broken_and_nothing_else(tmp_path, save):
    path = tmp_path / "x.npz"
    arrays = {"a": np.arange(50), "b": np.random.default_rng(0).normal(size=(9, 7))}
    save(path, **arrays)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for number in range(400):
        path.write_bytes(DAMAGES[number % len(DAMAGES)](rng, content)[1])
        try:
            found = load_arrays(path)
        except BrokenArraysError:
            continue
        for name in set(found) & set(arrays):
            np.testing.assert_array_equal(found[name], arrays[name])


def test_what_is_not_there_is_not_broken(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "x.npz")
