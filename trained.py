"""A checkpoint of a work directory, ready to be run on what one likes."""

import contextlib
from pathlib import Path

import jax

from data.token_store import TokenStore
from data.tokenizers import IdsTokenizer, Tokenizer
from errors import UserError
from eval.model_scorer import BoundModel, ScoringExecutables
from experiment import Experiment
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
            best = experiment.eval_checkpoint == "best"
            step = checkpoints.best_step() if best else checkpoints.latest_step()
            if step is None:
                raise UserError(f"--workdir={workdir} holds no checkpoint; train first")
            checked_host(setup, checkpoints, step)
            params = checkpoints.restore_params(step, setup.abstract_params)
        executables = ScoringExecutables(
            train.model,
            setup.vocab_size,
            setup.platform,
            setup.abstract_params,
            experiment.eval.tokens_per_call,
            setup.data_sharding,
            experiment.eval.seed,
            chunk=experiment.eval.chunk,
            longest=0,
            pad=store.manifest.end_of_text,
        )
        self.step = step
        self.l_train = phases.l_train
        self.store = store
        self.model: BoundModel = executables.bind(params, phases.scaling_after(step))

    def text_tokenizer(self) -> Tokenizer:
        """Raises UserError where documents came as ids."""
        tokenizer = self.store.tokenizer()
        if isinstance(tokenizer, IdsTokenizer):
            raise UserError(
                f"the corpus came as ids ({tokenizer.describe()}), for which there is no text"
            )
        return tokenizer
