"""A work directory has one owner at a time."""

import subprocess
import sys

import pytest

from lengthwise.common.errors import UserError
from lengthwise.train.machine import workdir


def test_a_second_process_is_refused_and_a_dead_one_holds_nothing(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path\n"
        "from lengthwise.train.machine.workdir import locked\n"
        f"with locked(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=str(holder.pid)), workdir.locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with workdir.locked(tmp_path):
        pass


def test_an_unwritable_directory_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="can't be written"),
        workdir.locked(tmp_path / "file" / "x"),
    ):
        pass
