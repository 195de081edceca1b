"""Weights of a Hugging Face folder, ready to run on any input, without a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax

from lengthwise.app.method import setting_by_name
from lengthwise.common.errors import UserError
from lengthwise.configs.base import RunConfig
from lengthwise.data.store.tokenizers import Tokenizer, begin_of_text, load_tokenizer
from lengthwise.eval.inference.inference import Batching, Inference, device_tokens
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.programs import Architecture
from lengthwise.eval.inference.scorer import Setting
from lengthwise.eval.inference.start_token import StartToken
from lengthwise.train.checkpoint.pretrained import named_folder, weights_of_folder
from lengthwise.train.config import PhaseConfig
from lengthwise.train.machine.compilation_cache import enable_compilation_cache
from lengthwise.train.machine.devices import platform
from lengthwise.train.programs.blueprint import Blueprint


@dataclass(frozen=True)
class _Rows:
    """Rows of one length, without documents in them; see `PhaseShape`."""

    config: PhaseConfig
    number: int = 0
    first_step: int = 0

    @property
    def lengths(self) -> tuple[int, ...]:
        return (self.config.layout.largest_bucket,)

    def batch_size(self, length: int) -> int:
        return self.config.tokens_per_step // length

    def segmented(self, length: int) -> bool:
        return False


class Pretrained:
    """The weights that train.init_from names, as `Trained` has those of a checkpoint.

    Raises:
      UserError: it names no Hugging Face folder, or see `weights_of_folder`.
    """

    step = 0

    def __init__(self, experiment: RunConfig, workdir: Path):
        folder, data = named_folder(experiment.train.init_from), experiment.data
        if folder is None:
            raise UserError(
                f"train.init_from={experiment.train.init_from!r} names no folder of weights; "
                "--config=configs/huggingface.py:FOLDER does"
            )
        platform()  # where there is none, an error of the user
        self._tokenizer = load_tokenizer(data.tokenizer, data.end_of_text_token)
        begin = begin_of_text(self._tokenizer, data.begin_with)
        print(enable_compilation_cache(experiment.train.compilation_cache, workdir))
        rows = _Rows(experiment.phases[0])
        blueprint = Blueprint(experiment, [rows], self._tokenizer.vocab_size, jax.devices())
        self.spec, self.scaling = blueprint.model, rows.config.rope_scaling
        self.params = weights_of_folder(folder, self.spec, blueprint.abstract_params)
        self.l_train = rows.lengths[0]
        # Models of others have seen the end of one text before the next.
        self.start_token = StartToken.of(begin, self._tokenizer.end_of_text, joined=True)
        config = experiment.eval
        self._workdir, self._sinks = workdir, config.sinks
        architecture = Architecture(
            blueprint.model, blueprint.abstract_params, blueprint.data_sharding
        )
        batching = Batching(
            config.tokens_per_call,
            config.seed,
            self._tokenizer.end_of_text,
            config.chunk,
            0,
            device_tokens(),
        )
        inference = Inference(architecture, batching)
        self.model = BoundModel(inference, self.params, self.scaling)

    def setting(self, name: str, longest: int, field: str) -> Setting:
        """See `setting_by_name`."""
        return setting_by_name(
            name, longest, field, self.spec, self.l_train, self._workdir, self._sinks
        )

    def text_tokenizer(self) -> Tokenizer:
        return self._tokenizer
