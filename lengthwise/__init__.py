"""Lengthwise under one name, in a clone and installed.

In a clone the rooms `data`, `model`, `train`, `eval` ... stand at the top, beside this folder, and
are imported as `lengthwise.data` ...; an installed package has them inside this folder. Either way
a module has one name, and nothing called `data` or `eval` stands among other packages.
"""

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
if not (_FOLDER / "data").is_dir():
    __path__ = [str(_FOLDER), str(_FOLDER.parent)]
