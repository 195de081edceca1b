"""The modes of `main.py --mode`. Each imports what it uses, so that none waits for another's."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
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
    from lengthwise.app.checkpoint import Trained
    from lengthwise.app.huggingface.pretrained import Pretrained
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
    if mode in ("eval", "generate", "export") and read_config(directory) is None:
        from lengthwise.train.checkpoint.pretrained import named_folder

        experiment = load(config, None)
        if mode == "export" or named_folder(experiment.train.init_from) is None:
            raise UserError(
                f"--workdir={workdir} holds no run; train one first, or take the weights of a "
                "Hugging Face folder: --config=configs/huggingface.py:FOLDER"
            )
        return as_they_are(mode, experiment, directory)
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
            return generate(experiment, directory, trained_of(experiment, directory))
        if mode == "export":
            return export(experiment, directory)
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


def as_they_are(mode: str, experiment: RunConfig, workdir: Path) -> int:
    """Scores the weights of a Hugging Face folder, or generates from them, untrained here.

    Scores claim the work directory for their config, as a training does.
    """
    if mode == "generate":
        from lengthwise.app.huggingface.pretrained import Pretrained

        return generate(experiment, workdir, lambda: Pretrained(experiment, workdir))
    from lengthwise.app.session import Session

    Session.check(experiment)
    with locked(workdir):
        session = Session(experiment, open_store(experiment, workdir), workdir, follows_plan=False)
        session.claim()
        return session.score()


def trained_of(experiment: RunConfig, workdir: Path) -> Callable[[], Trained]:
    """Opens the checkpoint of a work directory when it is called."""

    def opened() -> Trained:
        from lengthwise.app.checkpoint import Trained

        return Trained(experiment, open_store(experiment, workdir), workdir)

    return opened


def export(experiment: RunConfig, workdir: Path) -> int:
    """Exports the checkpoint of a work directory to export.path."""
    from lengthwise.app.huggingface.export import export, new_folder

    new_folder(experiment.export.path)  # before the minutes that the rest may take
    path = export(experiment, trained_of(experiment, workdir)())
    print(f"exported: {path}")
    return 0


def generate(
    experiment: RunConfig, workdir: Path, opened: Callable[[], Trained | Pretrained]
) -> int:
    """Generates from the prompts of `generate`; prints the texts and saves them as a file.

    opened: gives the weights; called when the prompts are read.
    """
    from lengthwise.app.conversation import converse
    from lengthwise.eval.inference.generation import generate_texts, read_prompts, save_rows
    from lengthwise.eval.inference.start_token import UNTRAINED
    from lengthwise.eval.losses.methods import PLAIN, parts
    from lengthwise.model.decode import Sampling

    config = experiment.generate
    reads_terminal = not (config.prompt or config.prompts) and sys.stdin.isatty()
    if config.method not in ("", PLAIN):
        if reads_terminal:
            raise UserError(
                f"generate.method={config.method!r} goes by the length of a text, which that of a "
                "terminal has none of; give generate.prompt or generate.prompts"
            )
        parts(config.method, "generate.method")
    # Before the minutes that the rest may take.
    prompts = [] if reads_terminal else read_prompts(config)
    sampling = Sampling(
        config.temperature, config.top_k, config.top_p, config.min_p, config.repetition_penalty
    )
    trained = opened()
    tokenizer = trained.text_tokenizer()
    for prompt in prompts:
        if unknown := tokenizer.unknown(prompt):
            print(f"note: the tokenizer has no token for {unknown[0]!r} of the prompt {prompt!r}")
    start = trained.start_token
    longest = max(map(len, tokenizer.encode_batch(prompts)), default=0) + 1 + config.max_tokens
    setting = trained.setting(config.method, longest, "generate.method")
    model = trained.model.cached(setting)
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
