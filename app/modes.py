"""The modes of `main.py --mode`. Each imports what it uses, so that none waits for another's."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from lengthwise.app.store import open_store
from lengthwise.common.errors import UserError
from lengthwise.configs.base import RunConfig
from lengthwise.configs.resolve import from_saved, load
from lengthwise.configs.saved_config import FREE_IN_SCORING, check_config, read_config
from lengthwise.data.store.token_store import summary
from lengthwise.train.machine.processes import is_first_process
from lengthwise.train.machine.workdir import locked

if TYPE_CHECKING:
    from lengthwise.app.session import Session


def run(mode: str, config: ConfigDict, workdir: str) -> int:
    """Runs one mode in `workdir`; returns the exit status.

    Raises:
      UserError: a mistake of the user, as a message with the way out.
    """
    directory = Path(workdir)
    if mode == "plan":
        from lengthwise.train.plan.planner import plan
        from lengthwise.train.programs.execution import PLAN

        experiment = load(config, None)
        directory.mkdir(parents=True, exist_ok=True)
        return plan(experiment, experiment.data, directory / PLAN)
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
        _print_changes(check_config(directory, experiment.resolved, FREE_IN_SCORING))
        if mode == "generate":
            return generate(experiment, directory)
        from lengthwise.app.session import Session

        # What was trained stays what it was; only the scoring may be asked for anew.
        scored = dataclasses.replace(
            from_saved(saved),
            data=experiment.data,
            tracking=experiment.tracking,
            eval=experiment.eval,
            # How it is computed may be another: no other field of these may differ.
            model=experiment.model,
            mesh=experiment.mesh,
        )
        # A plan is for the devices of the training; any others may score.
        Session.check(scored)
        store = open_store(scored, directory)
        return Session(scored, store, directory, follows_plan=False).score()


@contextlib.contextmanager
def training_session(config: ConfigDict, workdir: Path) -> Iterator[Session]:
    """Opens a run for training; its work directory is locked meanwhile.

    Raises:
      UserError: what the user can put right.
    """
    from lengthwise.app.session import Session

    with locked(workdir):
        experiment = load(config, read_config(workdir))
        _print_changes(check_config(workdir, experiment.resolved))
        Session.check(experiment)  # before the minutes that the corpus may take
        store = open_store(experiment, workdir)
        yield Session(experiment, store, workdir, follows_plan=True)


def _print_changes(lines: list[str]) -> None:
    for line in lines:
        print(f"config: {line} (saved -> now)")


def generate(experiment: RunConfig, workdir: Path) -> int:
    """Generates from the prompts of `generate`; prints the texts and saves them as a file."""
    from lengthwise.app.checkpoint import Trained
    from lengthwise.app.conversation import converse
    from lengthwise.eval.inference.generation import generate_texts, read_prompts, save_rows
    from lengthwise.eval.inference.scorer import Setting
    from lengthwise.eval.inference.start_token import UNTRAINED
    from lengthwise.model.decode import Sampling

    config = experiment.generate
    reads_terminal = not (config.prompt or config.prompts) and sys.stdin.isatty()
    # Before the minutes that the rest may take.
    prompts = [] if reads_terminal else read_prompts(config)
    sampling = Sampling(
        config.temperature, config.top_k, config.top_p, config.min_p, config.repetition_penalty
    )
    trained = Trained(experiment, open_store(experiment, workdir), workdir)
    tokenizer = trained.text_tokenizer()
    for prompt in prompts:
        if unknown := tokenizer.unknown(prompt):
            print(f"note: the tokenizer has no token for {unknown[0]!r} of the prompt {prompt!r}")
    model, start = trained.model.cached(Setting()), trained.start_token
    if not start.trained and not all(map(len, tokenizer.encode_batch(prompts))):
        print(f"note: prompts without a token begin behind an end of text: {UNTRAINED}")
    print(f"checkpoint {trained.step}, trained on rows of up to {trained.l_train:,} tokens")
    if reads_terminal:
        texts = converse(model, tokenizer, config, sampling, start)
    else:
        texts = generate_texts(model, tokenizer, prompts, config, sampling, start)
        for row in texts:
            print(f"--- {row['prompt']!r}\n{row['text']}")
    rows = [{"checkpoint_step": trained.step, **row} for row in texts]
    if is_first_process() and rows:
        print(f"generated: {save_rows(workdir / 'generate', rows)}")
    return 0
