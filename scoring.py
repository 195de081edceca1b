"""Which checkpoint of a run is scored or run, and by which programs."""

from pathlib import Path

from data.token_store import TokenStore
from errors import UserError
from eval.config import EvalConfig
from eval.scoring_executables import ScoringExecutables
from experiment import Experiment
from train.checkpoint import Checkpoints
from train.setup import Setup


def scoring_executables(
    experiment: Experiment, config: EvalConfig, setup: Setup, store: TokenStore, *, longest: int
) -> ScoringExecutables:
    """config: the settings of scoring, which may be others than the experiment's. longest: tokens
    of the longest row that may be scored part by part."""
    return ScoringExecutables(
        experiment.train.model,
        setup.vocab_size,
        setup.platform,
        setup.abstract_params,
        config.tokens_per_call,
        setup.data_sharding,
        config.seed,
        chunk=config.chunk,
        longest=longest,
        pad=store.manifest.end_of_text,
    )


def step_to_score(experiment: Experiment, checkpoints: Checkpoints, workdir: Path) -> int:
    """The checkpoint that eval.checkpoint names. Raises UserError where there is none."""
    best = experiment.eval_checkpoint == "best"
    step = checkpoints.best_step() if best else checkpoints.latest_step()
    if step is None:
        raise UserError(f"--workdir={workdir} holds no checkpoint; train first")
    return step
