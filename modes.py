"""What `main.py --mode` names, and the token store that every mode begins with."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from ml_collections import ConfigDict

from data.config import DataConfig
from data.contamination import LIST
from data.prepare import prepare
from data.store_builder import build_locally
from data.store_summary import summary
from data.token_store import TokenStore
from errors import UserError
from eval.generation import read_prompts, save_rows, written_texts
from eval.scorer import Setting
from experiment import Experiment, load
from plan.planner import plan
from session import Session
from task_session import TaskSession
from text_session import TextSession
from train.execution import PLAN
from train.processes import first, first_alone
from train.workdir import FREE_IN_SCORING, check_config, locked, read_config
from trained import Trained


def run(mode: str, config: ConfigDict, workdir: str) -> int:
    """Runs one mode in `workdir`; returns the exit status.

    Raises:
      UserError: what the user can put right.
    """
    directory = Path(workdir)
    if mode == "plan":
        experiment = load(config, None)
        directory.mkdir(parents=True, exist_ok=True)
        return plan(experiment.train, experiment.data, directory / PLAN)
    if mode == "train":
        with training_session(config, directory) as session:
            return session.train_and_score()
    if mode in ("eval", "generate") and read_config(directory) is None:
        raise UserError(f"--workdir={workdir} holds no run; train one first")
    with locked(directory):
        experiment = load(config, read_config(directory))
        if mode == "prepare":
            for line in summary(open_store(experiment, directory)):
                print(line)
            return 0
        saved = read_config(directory)
        assert saved is not None
        check_config(directory, experiment.resolved, FREE_IN_SCORING)
        if mode == "generate":
            return write_on(experiment, directory)
        # What was trained stays what it was; only the scoring may be asked for anew.
        resolved = {**saved, "eval": experiment.resolved["eval"]}
        scored = dataclasses.replace(experiment, resolved=resolved)
        # A plan is for the devices of the training; any others may score.
        kind = session_of(scored)
        kind.check(scored)
        return kind(scored, open_store(scored, directory), directory, follows_plan=False).score()


@contextlib.contextmanager
def training_session(config: ConfigDict, workdir: Path) -> Iterator[Session]:
    """A run that is to be trained; its work directory is held meanwhile.

    Raises:
      UserError: what the user can put right.
    """
    with locked(workdir):
        experiment = load(config, read_config(workdir))
        check_config(workdir, experiment.resolved)
        kind = session_of(experiment)
        kind.check(experiment)  # before the minutes that the corpus may take
        store = open_store(experiment, workdir)
        yield kind(experiment, store, workdir, follows_plan=True)


def session_of(experiment: Experiment) -> type[Session]:
    """What trains and scores on the corpus of the config."""
    return TaskSession if experiment.data.sources[0].source == "task" else TextSession


def write_on(experiment: Experiment, workdir: Path) -> int:
    """Prints what a checkpoint writes behind the prompts of `generate`, and keeps it as a file."""
    config = experiment.generate
    prompts = read_prompts(config)  # before the minutes that the rest may take
    sampling = config.sampling
    trained = Trained(experiment, open_store(experiment, workdir), workdir)
    written = written_texts(
        trained.model.cached(Setting()), trained.text_tokenizer(), prompts, config, sampling
    )
    for row in written:
        print(f"--- {row['prompt']!r}\n{row['text']}")
    rows = [{"checkpoint_step": trained.step, **row} for row in written]
    if first():
        print(f"generated: {save_rows(workdir / 'generate', rows)}")
    return 0


def open_store(
    experiment: Experiment,
    workdir: Path,
    build: Callable[[DataConfig, Path], None] = build_locally,
) -> TokenStore:
    """The token store, made by `build` when missing."""
    directory = Path(experiment.store) if experiment.store else workdir / "store"
    store = first_alone(lambda: prepare(experiment.data, directory, build))
    manifest = store.manifest
    print(
        f"corpus: {manifest.source}; {manifest.num_documents:,} documents, "
        f"{manifest.num_tokens:,} tokens, fingerprint {manifest.corpus_fingerprint}"
    )
    if experiment.data.verify:
        print(f"corpus: checksums of {len(manifest.shards):,} shards agree")
    for reason, count in manifest.skipped.items():
        print(f"corpus: skipped {count:,} documents: {reason}")
    for name, overlap in manifest.contamination.items():
        print(
            f"contamination: {name}: {overlap['contaminated']:,} of {overlap['documents']:,} "
            f"documents contaminated, {overlap['too_short']:,} too short to check, "
            f"{overlap['found']:.2%} of all n-grams are in the training text "
            f"({directory / LIST} lists the documents)"
        )
    return store
