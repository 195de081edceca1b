"""No room for a checkpoint: one line, and with room the run goes on as if nothing had been."""

import os
import re
import resource
import subprocess
import sys

import pytest

from tests.app.runs import ROOT, errors_in, losses, steps_on_disk


def goes_on(lengthwise, workdir, arguments, undisturbed):
    """Started again with room, the run ends as one whose disk was never full."""
    status, out, errors = lengthwise(*arguments)
    assert status == 0, errors
    assert re.search(r"resuming at step [1-9]", out)
    assert losses(workdir) == undisturbed


@pytest.fixture
def undisturbed(lengthwise, unscored, start, tmp_path):
    config, _, *rest = start
    workdir = tmp_path / "undisturbed"
    assert lengthwise(config, f"--workdir={workdir}", *rest)[0] == 0
    return losses(workdir)


def test_files_that_may_not_grow(refused, lengthwise, undisturbed, start, tmp_path):
    """The limit on a file's size fails a save as a full disk does, without a disk to fill."""
    assert lengthwise(*start, "--config.phase.steps=8")[0] == 0
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, unlimited[1]))
    try:
        found = refused(*start)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "could not be written (File too large); step 8 is the last good one; make" in found
    assert steps_on_disk(tmp_path / "run")[-1] == 8
    goes_on(lengthwise, tmp_path / "run", start, undisturbed)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 8 MB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount command here: {error}")
    if mounted.returncode:
        pytest.skip(f"may not mount a small file system here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk(lengthwise, undisturbed, start, small_disk):
    """In a process of its own, whose stderr holds all that libraries print on their way out."""
    workdir = small_disk / "run"
    config, _, *rest = start
    arguments = (config, f"--workdir={workdir}", *rest)
    assert lengthwise(*arguments, "--config.phase.steps=8")[0] == 0
    room = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(room.f_bavail * room.f_frsize - 64_000))  # for the log alone
    found = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments, "--config.train.eval_every=0"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    lines = errors_in(found.stderr)
    assert len(lines) == 1, lines
    (line,) = lines
    assert line.startswith("error: ")
    assert "could not be written (No space left on device); step 8 is the last good one" in line
    assert steps_on_disk(workdir)[-1] == 8
    filler.unlink()
    goes_on(lengthwise, workdir, arguments, undisturbed)
