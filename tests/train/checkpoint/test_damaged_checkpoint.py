"""A checkpoint that changed on disk is found out, whatever file changed, and not gone on from."""

import shutil

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.checkpoint.damage import DamagedCheckpointError
from lengthwise.train.step.checksum import array_checksum, named_checksums
from tests.train.checkpoint.test_checkpoint import abstract, assert_same, state
from tests.train.runs import rows, steps_on_disk


def flip(path, where, bit=0):
    """One bit of a file, at a share of its length."""
    content = bytearray(path.read_bytes())
    content[min(int(where * len(content)), len(content) - 1)] ^= 1 << bit
    path.write_bytes(content)


def files_of(directory, step):
    return sorted(p for p in (directory / str(step)).rglob("*") if p.is_file() and p.stat().st_size)


def test_any_flipped_bit_is_found_or_changes_nothing(tmp_path, capsys):
    saved, host = state(3, size=8192), {"data_step": 3, "stopping": {"best_score": 1.5}}
    checkpoints = Checkpoints(tmp_path / "whole")
    checkpoints.save(3, saved, host, None)
    checkpoints.close()
    found = []
    for number, path in enumerate(files_of(tmp_path / "whole", 3)):
        for where in (0.1, 0.5, 0.9):
            copy = tmp_path / f"{number}-{where}"
            shutil.copytree(tmp_path / "whole", copy / "checkpoints")
            flip(copy / "checkpoints" / path.relative_to(tmp_path / "whole"), where, number % 7)
            broken = Checkpoints(copy / "checkpoints")
            try:
                for step in broken.steps():
                    assert_same(broken.restore(step, abstract(saved)), saved)
                    assert broken.host(step).items() >= host.items()
            except DamagedCheckpointError as error:
                found.append(str(error))
            finally:
                broken.close()
            if (copy / "damaged").exists():
                found.append(capsys.readouterr().err)
    assert len(found) >= 12  # the arrays, the description and the score at the least
    # Of the files, only those of small numbers have checksums of their own.
    assert sum("differ from what was saved" in message for message in found) >= 3
    assert all("checkpoint 3 is damaged" in message for message in found)


def test_a_missing_file_is_damage_too(tmp_path):
    saved = state(3)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, saved, {}, None)
    checkpoints.wait()
    shutil.rmtree(tmp_path / "3" / "state" / "d")
    with pytest.raises(DamagedCheckpointError, match="checkpoint 3 is damaged"):
        checkpoints.restore(3, abstract(saved))
    checkpoints.close()


def damage(workdir, step):
    """Flips bits all over the arrays."""
    for path in files_of(workdir / "checkpoints", step):
        if path.parent.name == "d" and path.stat().st_size > 1000:
            for where in (0.2, 0.4, 0.6, 0.8):
                flip(path, where)


def test_a_run_goes_on_from_the_checkpoint_before_and_says_so(tmp_path, start, capsys):
    start(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
    damage(tmp_path / "damaged", 12)
    capsys.readouterr()
    assert start(tmp_path / "damaged").reason == "finished"
    printed = capsys.readouterr()
    assert "warning: " in printed.err
    assert "checkpoint 12 is damaged" in printed.err
    assert "resuming at step 8 of 12" in printed.out
    assert steps_on_disk(tmp_path / "damaged") == steps_on_disk(tmp_path / "whole")
    losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("whole", "damaged")]
    assert losses[0] == losses[1]
    (kept,) = (tmp_path / "damaged" / "damaged").iterdir()
    assert kept.name.startswith("12-")


def test_where_none_is_whole_nothing_is_touched(tmp_path, start):
    start(tmp_path)
    on_disk = steps_on_disk(tmp_path)
    for step in on_disk:
        damage(tmp_path, step)
    with pytest.raises(UserError, match=r"no checkpoint is whole.*12 is damaged.*8 is damaged"):
        start(tmp_path)
    assert steps_on_disk(tmp_path) == on_disk


checksum_of = jax.jit(array_checksum)


@settings(max_examples=50)
@given(
    st.sampled_from([np.float32, np.int32]),
    st.integers(0, 2**31),
    st.integers(0, 59),
    st.integers(0, 31),
)
def test_a_checksum_changes_with_every_bit(dtype, seed, number, bit):
    bits = np.random.default_rng(seed).integers(0, 2**32, (3, 4, 5), np.uint32)
    # Without numbers that are none: they need not keep their bits.
    before = np.where(bits >> 23 & 0xFF == 0xFF, np.uint32(0), bits)
    after = before.copy()
    after.reshape(-1)[number] ^= np.uint32(1 << bit)
    if after.reshape(-1)[number] >> 23 & 0xFF == 0xFF:
        return
    assert checksum_of(before.view(dtype)) != checksum_of(after.view(dtype))


def test_a_checksum_knows_where_numbers_stand_and_not_on_which_device(tmp_path):
    array = np.arange(48, dtype=np.float32).reshape(16, 3)
    assert checksum_of(array) != checksum_of(array[::-1].copy())
    spread = state(1, size=16)
    whole = jax.tree.map(lambda x: jax.device_put(np.asarray(x)), spread)
    assert named_checksums(spread) == named_checksums(whole)
    assert set(named_checksums(spread)) >= {"params.layer.w"}
