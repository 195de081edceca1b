"""A checkpoint of a work directory, ready to be run on what one likes."""

import contextlib
from pathlib import Path

import jax

from data.token_store import TokenStore
from data.tokenizers import IdsTokenizer, Tokenizer
from errors import UserError
from eval.model_scorer import BoundModel
from experiment import Experiment
from scoring import scoring_executables, step_to_score
from train.checkpoint import Checkpoints
from train.compilation_cache import enable_compilation_cache
from train.phases import Phases
from train.run import checked_host
from train.setup import Setup


class Trained:
    """The checkpoint that eval.checkpoint names, of a locked work directory.

    Raises:
      UserError: there is none.
    """

    def __init__(self, experiment: Experiment, store: TokenStore, workdir: Path):
        train = experiment.train
        phases = Phases(train.phases, store, train.seeds, workdir, verify=experiment.data.verify)
        print(enable_compilation_cache(train.compilation_cache, workdir))
        setup = Setup(train, phases, jax.devices())
        with contextlib.closing(Checkpoints(workdir / "checkpoints")) as checkpoints:
            step = step_to_score(experiment, checkpoints, workdir)
            checked_host(setup, checkpoints, step)
            params = checkpoints.restore_params(step, setup.abstract_params)
        executables = scoring_executables(experiment, experiment.eval, setup, store, longest=0)
        self.step = step
        self.l_train = phases.l_train
        self.store = store
        self.model = BoundModel(executables, params, phases.scaling_after(step))

    def text_tokenizer(self) -> Tokenizer:
        """Raises UserError where documents came as ids."""
        tokenizer = self.store.tokenizer()
        if isinstance(tokenizer, IdsTokenizer):
            raise UserError(
                f"the corpus came as ids ({tokenizer.describe()}), for which there is no text"
            )
        return tokenizer
