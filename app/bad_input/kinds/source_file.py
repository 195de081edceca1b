"""A file of a source that was cut, changed, emptied, removed, or has another's name."""

from pathlib import Path

import numpy as np

from lengthwise.app.bad_input.case import KINDS, Case
from lengthwise.app.bad_input.containers import CHECKED, FORMS, write_texts
from lengthwise.app.bad_input.corpus import check_texts, prepared
from lengthwise.app.bad_input.damage import damaged


@KINDS.register("source files")
def source_file(seed: int, folder: Path) -> Case:
    """Preparing a damaged file. What has checksums gives the documents that were written."""
    rng = np.random.default_rng(seed)
    form = str(rng.choice(FORMS))
    texts = [rng.bytes(int(rng.integers(1, 200))).hex() for _ in range(9)]
    path, settings = write_texts(folder, form, texts)
    documents = texts[:1] if form.startswith("txt") else texts
    doubled = ["".join(documents * 2)] if form.startswith("txt") else documents * 2
    allowed = [documents]
    if rng.random() < 0.2:  # another's name, as after a download that unpacked it, or didn't
        path = path.rename(folder / f"x.{rng.choice(FORMS)}")
        settings["path"], what = str(path), f"named {path.name}"
    else:
        what, content = damaged(rng, path.read_bytes())
        path.write_bytes(content)
        if "twice" in what:  # frames of packed files may follow each other
            allowed.append(doubled)

    def run() -> None:
        store = prepared(folder, **settings)
        if form in CHECKED:
            check_texts(store, *allowed)

    return Case(f"{form} {what}", run)
