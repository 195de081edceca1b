"""Phases of a config as known without its data."""

from dataclasses import dataclass

from lengthwise.common.errors import UserError
from lengthwise.data.config import DataConfig
from lengthwise.data.store.tokenizers import load_tokenizer, trained_vocab_size
from lengthwise.train.config import PhaseConfig


@dataclass(frozen=True)
class PlannedPhase:
    """A `train.phases.PhaseShape` in which every bucket of the layout is used."""

    number: int
    first_step: int
    config: PhaseConfig

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.config.layout.lengths

    def batch_size(self, length: int) -> int:
        return self.config.tokens_per_step // length

    def segmented(self, length: int) -> bool:
        """Whether rows of a bucket may hold several segments."""
        layout = self.config.layout.kind
        return layout.segmented(layout.joins_documents(length))


def planned_phases(configs: tuple[PhaseConfig, ...]) -> list[PlannedPhase]:
    """Phases in order. Raises UserError where a bucket doesn't divide tokens_per_step."""
    phases, first = [], 0
    for number, config in enumerate(configs):
        phase = PlannedPhase(number, first, config)
        for length in phase.lengths:
            if config.tokens_per_step % length:
                raise UserError(
                    f"phase {number + 1}: tokens_per_step={config.tokens_per_step} is no multiple "
                    f"of bucket {length}"
                )
        phases.append(phase)
        first += config.steps
    return phases


def vocabulary(data: DataConfig) -> int:
    """Size of the vocabulary of the config's tokenizer, the end of text included."""
    trained = trained_vocab_size(data.tokenizer)
    if trained is not None:
        return trained
    return load_tokenizer(data.tokenizer, data.end_of_text_token).vocab_size
