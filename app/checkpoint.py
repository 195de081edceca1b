"""Restored checkpoint of a work directory, ready to run on any input."""

import contextlib
from pathlib import Path
from typing import Any

import jax

from lengthwise.app.method import setting_by_name
from lengthwise.app.scoring import Checkpoint, Subject
from lengthwise.common.errors import UserError
from lengthwise.configs.base import RunConfig
from lengthwise.data.store.token_store import TokenStore
from lengthwise.data.store.tokenizers import IdsTokenizer, Tokenizer
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.scorer import Setting
from lengthwise.train.checkpoint.average import average_params, steps_to_average
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.checkpoint.pretrained import named_folder
from lengthwise.train.loop.restore import read_host_state
from lengthwise.train.loop.start import initial_weights
from lengthwise.train.machine.compilation_cache import enable_compilation_cache
from lengthwise.train.machine.devices import platform
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup


def step_to_score(experiment: RunConfig, checkpoints: Checkpoints, workdir: Path) -> int:
    """Step of the checkpoint that eval.checkpoint names. Raises UserError: there is none."""
    best = experiment.eval.checkpoint == "best"
    step = checkpoints.best_step() if best else None
    step = checkpoints.latest_step() if step is None else step  # a run without scores has no best
    if step is None:
        raise UserError(f"--workdir={workdir} holds no checkpoint; train first")
    return step


def params_to_score(
    experiment: RunConfig, setup: Setup, checkpoints: Checkpoints, step: int
) -> Any:
    """Weights of a checkpoint, or the mean over those up to it that eval.average asks for."""
    abstract, count = setup.blueprint.abstract_params, experiment.eval.average
    if count == 1:
        return checkpoints.restore_params(step, abstract)
    steps = steps_to_average(checkpoints.steps(), step, count)
    print(f"scored: the mean of the weights of checkpoints {', '.join(map(str, steps))}")
    return average_params(checkpoints, steps, abstract)


def scored_checkpoint(
    experiment: RunConfig, setup: Setup, checkpoints: Checkpoints, workdir: Path
) -> Checkpoint:
    """The checkpoint that eval.checkpoint names; before the first one, the weights of the Hugging
    Face folder that train.init_from names, at step 0.

    Raises UserError: there is neither.
    """
    if checkpoints.latest_step() is None and named_folder(experiment.train.init_from):
        return Checkpoint(0, initial_weights(setup), {})
    step = step_to_score(experiment, checkpoints, workdir)
    host = read_host_state(setup, checkpoints, step)
    params = params_to_score(experiment, setup, checkpoints, step)
    return Checkpoint(step, params, host)


class Trained:
    """The weights of a locked work directory that `scored_checkpoint` names.

    Raises:
      UserError: there are none.
    """

    def __init__(self, experiment: RunConfig, store: TokenStore, workdir: Path):
        platform()  # where there is none, an error of the user
        phases = Phases(
            experiment.phases,
            store,
            experiment.resolved_seeds,
            workdir,
            verify=experiment.data.verify,
        )
        print(enable_compilation_cache(experiment.train.compilation_cache, workdir))
        setup = Setup(experiment, phases, jax.devices())
        with contextlib.closing(Checkpoints(workdir / "checkpoints")) as checkpoints:
            checkpoint = scored_checkpoint(experiment, setup, checkpoints, workdir)
        subject = Subject(experiment, store, phases, setup)
        inference = subject.inference(experiment.eval, longest=0)
        self.start_token, self.scored_text = subject.start_token, subject.scored_text
        self.step = checkpoint.step
        self.l_train = phases.l_train
        self.store = store
        self.params, self.spec = checkpoint.params, setup.blueprint.model
        self.scaling = phases.scaling_after(self.step)
        self.model = BoundModel(inference, checkpoint.params, self.scaling)
        self._workdir, self._sinks = workdir, experiment.eval.sinks

    def setting(self, name: str, longest: int, field: str) -> Setting:
        """See `setting_by_name`."""
        return setting_by_name(
            name, longest, field, self.spec, self.l_train, self._workdir, self._sinks
        )

    def text_tokenizer(self) -> Tokenizer:
        """Raises UserError where documents came as ids."""
        tokenizer = self.store.tokenizer()
        if isinstance(tokenizer, IdsTokenizer):
            raise UserError(
                f"the corpus came as ids ({tokenizer.describe()}), for which there is no text"
            )
        return tokenizer
