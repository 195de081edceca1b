"""Devices that jax can't use, and a libtpu of another jax: one line with one advice."""

import re
from importlib import metadata
from pathlib import Path

import jax
import pytest

from lengthwise.common.errors import UserError
from lengthwise.train.machine import devices
from lengthwise.train.plan.planner import topology_devices

PLANS = Path(__file__).parents[3] / "docs" / "plans" / "README.md"


@pytest.fixture
def libtpu(monkeypatch):
    """Makes a version of libtpu the installed one, None none; jax wants 0.0.42.*."""

    def install(version):
        def version_of(name):
            assert name == "libtpu"
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(devices.metadata, "version", version_of)
        monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)

    requirements = ["numpy>=2.0", 'libtpu==0.0.42.*; extra == "tpu"']
    monkeypatch.setattr(devices.metadata, "requires", lambda name: requirements)
    return install


@pytest.mark.parametrize("version", ["0.0.50.1", "0.0.4", "0.0.420.1"])
def test_a_libtpu_of_another_jax_is_refused_before_it_compiles(libtpu, version):
    libtpu(version)
    with pytest.raises(UserError) as error:
        topology_devices("v5e:2x2")
    line = str(error.value)
    assert f"libtpu {version} is that of another jax" in line
    assert f"jax {jax.__version__} needs 0.0.42.*" in line
    # The advice of the page, word for word.
    (command,) = re.findall(r"pip install .*'", line)
    assert command == "pip install --no-deps --target .libtpu 'libtpu==0.0.42.*'"
    assert f"    {command}\n" in PLANS.read_text()


@pytest.mark.parametrize("version", ["0.0.42.1", "0.0.42.3", None])
def test_its_own_libtpu_is_not(libtpu, version):
    libtpu(version)
    assert devices.other_libtpu() is None


@pytest.mark.parametrize(("version", "says"), [("0.0.50.1", "another jax"), (None, "in use")])
def test_devices_that_jax_cannot_use_are_one_line(libtpu, monkeypatch, version, says):
    def no_backend():
        raise RuntimeError("Unable to initialize backend 'tpu':\nthe TPU is in use")

    libtpu(version)
    monkeypatch.setattr(jax, "default_backend", no_backend)
    with pytest.raises(UserError) as error:
        devices.platform()
    line = str(error.value)
    assert "\n" not in line
    assert "Unable to initialize backend 'tpu'" in line
    assert says in line
    assert "JAX_PLATFORMS=cpu" in line
