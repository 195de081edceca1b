"""Executables are there before they are needed, and one that fails holds up nothing."""

import threading

import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.interruption import Interruption, interruptible
from lengthwise.common.trees import build
from lengthwise.train.config import LoopConfig
from lengthwise.train.programs.compiled import CompiledSteps, resolve_compile_mode


def test_behind_waits_for_the_first_alone():
    release = threading.Event()

    def compile_one(key):
        if key != "first":
            assert release.wait(30)
        return key.upper()

    with CompiledSteps(compile_one, ["first", "second", "third"], ahead=False) as steps:
        assert steps["first"] == "FIRST"
        release.set()
        assert steps["third"] == "THIRD"
        assert len(steps) == 3


def test_ahead_has_all_when_it_is_made():
    done = []
    with CompiledSteps(lambda key: done.append(key), [3, 1, 2], ahead=True):
        assert done == [3, 1, 2]


def test_an_error_comes_at_once_and_drops_the_rest():
    started, release = [], threading.Event()

    def compile_one(key):
        started.append(key)
        if key == 64:
            raise UserError(f"bucket {key} does not fit")
        release.wait(30)

    with pytest.raises(UserError, match="bucket 64"):
        CompiledSteps(compile_one, [64, *range(9)], ahead=True)
    assert len(started) <= 2  # the one that was being compiled is not waited for
    release.set()


def test_neither_who_waits_nor_the_end_is_held_up_by_a_compilation():
    release = threading.Event()

    def compile_one(key):
        assert key == "first" or release.wait(30)

    def give_up():
        raise Interruption

    with (
        CompiledSteps(compile_one, ["first", "second"], ahead=False) as steps,
        pytest.raises(Interruption),
        interruptible(give_up),
    ):
        steps["second"]
    assert not release.is_set()
    release.set()


def test_an_error_behind_comes_when_its_step_is_needed():
    def compile_one(key):
        if key == 2:
            raise UserError("bucket 2 does not fit")
        return key

    with CompiledSteps(compile_one, [1, 2], ahead=False) as steps:
        assert steps[1] == 1
        with pytest.raises(UserError, match="bucket 2"):
            steps[2]


def test_modes():
    assert resolve_compile_mode("auto", "cpu") == "behind"
    assert resolve_compile_mode("auto", "tpu") == "ahead"
    assert resolve_compile_mode("behind", "gpu") == "behind"
    with pytest.raises(UserError, match="auto, ahead, behind"):
        build(LoopConfig, {"compile": "later"}, "train")
