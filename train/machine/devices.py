"""The devices that jax finds, and libtpu, which must be the one of the installed jax."""

import fnmatch
import re
from importlib import metadata

import jax

from lengthwise.common.errors import UserError, one_line

_PIN = re.compile(r"libtpu==([0-9.]+\*?)")


def platform() -> str:
    """The platform of the devices: "cpu", "tpu" ...

    Raises:
      UserError: jax can't use them.
    """
    try:
        return jax.default_backend()
    except RuntimeError as error:
        reasons = [one_line(error)[:300], other_libtpu() or ""]
        raise UserError(
            f"jax can't use the devices of this machine: {'; '.join(filter(None, reasons))}; "
            "JAX_PLATFORMS=cpu computes on the CPU"
        ) from error


def libtpu_pin() -> str:
    """Version of libtpu that goes with the installed jax, such as 0.0.42.*."""
    for requirement in metadata.requires("jax") or ():
        if pin := _PIN.match(requirement):
            return pin.group(1)
    return "*"


def libtpu_advice() -> str:
    """How to get it where there is no TPU, as docs/plans/README.md has it."""
    return (
        f"pip install --no-deps --target .libtpu 'libtpu=={libtpu_pin()}' and set "
        "PYTHONPATH=.libtpu (docs/plans/README.md)"
    )


def other_libtpu() -> str | None:
    """Sentence on an installed libtpu of another jax, with the way out; None where it is not so."""
    try:
        installed = metadata.version("libtpu")
    except metadata.PackageNotFoundError:
        return None
    if fnmatch.fnmatch(installed, libtpu_pin()):
        return None
    return (
        f"libtpu {installed} is that of another jax, and jax {jax.__version__} needs "
        f"{libtpu_pin()}: {libtpu_advice()}"
    )
