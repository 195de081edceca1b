"""The values that a number of a config may take; what depends on other things is checked there."""

import math
from collections.abc import Mapping
from typing import Any

from lengthwise.common.errors import UserError

# Dotted name, without the number of a phase -> interval; of each number in a tuple.
INTERVALS = {
    "seed": "[0, 4294967296)",
    "seeds.initialization": "[0, 4294967296)",
    "seeds.order": "[0, 4294967296)",
    "seeds.buckets": "[0, 4294967296)",
    "seeds.dropout": "[0, 4294967296)",
    "data.split_seed": "[0, inf)",
    "data.workers": "[0, inf)",
    "data.sources.task.lengths": "[1, inf)",
    "data.sources.task.samples": "[0, inf)",
    "data.sources.task.seed": "[0, inf)",
    "model.layers": "[1, inf)",
    "model.embed_dim": "[1, inf)",
    "model.num_heads": "[1, inf)",
    "model.num_kv_heads": "[1, inf)",
    "model.head_dim": "[2, inf)",
    "model.mlp_dim": "[1, inf)",
    "model.dropout": "[0, 1)",
    "model.positions.rope.theta": "(1, inf)",
    "model.positions.rope.rotary_share": "(0, 1]",
    "model.positions.randomized": "[0, 1048576]",
    "model.positions.t5.buckets": "[2, inf)",
    "model.positions.t5.max_distance": "[1, inf)",
    "model.positions.fire.hidden": "[1, inf)",
    "model.positions.fire.threshold": "(0, inf)",
    "model.positions.clex.theta": "(1, inf)",
    "model.positions.clex.original_length": "[1, inf)",
    "model.positions.clex.max_factor": "[1, inf)",
    "model.positions.clex.hidden": "[1, inf)",
    "model.positions.cope.positions": "[2, inf)",
    "model.positions.seqpe.layers": "[1, inf)",
    "model.positions.seqpe.width": "[1, inf)",
    "model.positions.seqpe.heads": "[1, inf)",
    "model.positions.seqpe.digits": "[1, 9]",
    "model.positions.seqpe.regularized": "[1, inf)",
    "model.positions.seqpe.contrastive_weight": "[0, inf)",
    "model.positions.seqpe.distillation_weight": "[0, inf)",
    "model.positions.abacus.digit_tokens": "[0, inf)",
    "model.positions.abacus.max_offset": "[0, inf)",
    "model.positions.abacus.positions": "[2, inf)",
    "model.positions.learned.positions": "[1, 1048576]",
    "model.positions.sinusoidal.theta": "(1, inf)",
    "optimizer.learning_rate": "[0, inf)",
    "optimizer.warmup_steps": "[0, inf)",
    "optimizer.decay_share": "[0, 1]",
    "optimizer.final_share": "[0, 1]",
    "optimizer.beta1": "[0, 1)",
    "optimizer.beta2": "[0, 1)",
    "optimizer.epsilon": "(0, inf)",
    "optimizer.l1": "[0, inf)",
    "optimizer.l2": "[0, inf)",
    "optimizer.clip_norm": "(0, inf)",
    "optimizer.z_loss": "[0, inf)",
    "phases.steps": "[1, inf)",
    "phases.tokens_per_step": "[1, inf)",
    "phases.microbatches": "[1, inf)",
    "phases.layout.largest_bucket": "[1, 1048576]",
    "phases.sampling.shuffle_blocks": "[0, inf)",
    "phases.layout.window_start": "[0, inf)",
    "phases.layout.window_rate": "[0, inf)",
    "phases.layout.block_tokens": "[1, inf)",
    "train.log_every": "[1, inf)",
    "train.eval_every": "[0, inf)",
    "train.checkpoint_every": "[1, inf)",
    "train.reader_threads": "[1, inf)",
    "train.prefetch": "[1, inf)",
    "train.memory_bytes": "[0, inf)",
    "train.stage_blocks": "[0, inf)",
    "stopping.patience": "[0, inf)",
    "stopping.min_delta": "[0, inf)",
    "anomaly.deviations": "(0, inf)",
    "anomaly.window": "[2, inf)",
    "anomaly.warmup": "[2, inf)",
    "anomaly.max_skips": "[0, inf)",
    "anomaly.max_rollbacks": "[1, inf)",
    "anomaly.rollback_steps": "[0, inf)",
    "anomaly.pass_over": "[0, inf)",
    "mesh.slices": "[1, inf)",
    "mesh.tensor": "[1, inf)",
    "eval.ratios": "(0, inf)",
    "eval.multipliers": "(0, inf)",
    "eval.sinks": "[0, inf)",
    "eval.documents": "[1, inf)",
    "eval.min_documents": "[1, inf)",
    "eval.blocks": "[1, inf)",
    "eval.lengths": "[1, inf)",
    "eval.stride_share": "(0, 1]",
    "eval.grid_trials": "[20, inf)",
    "eval.grid_depths": "[2, inf)",
    "eval.prompts": "[2, inf)",
    "eval.shots": "[1, inf)",
    "eval.answers.lengths": "[1, inf)",
    "eval.answers.selection_lengths": "[1, inf)",
    "eval.answers.samples": "[2, inf)",
    "eval.answers.threshold": "[0, 1]",
    "eval.answers.decoded": "[0, inf)",
    "eval.bootstrap_samples": "[1, inf)",
    "eval.confidence": "(0, 1)",
    "eval.chunk": "[0, 1048576]",
    "eval.tokens_per_call": "[1, inf)",
    "eval.seed": "[0, inf)",
    "generate.max_tokens": "[1, 1048576]",
    "generate.temperature": "[0, inf)",
    "generate.top_k": "[0, inf)",
    "generate.top_p": "(0, 1]",
    "generate.samples": "[1, inf)",
    "generate.seed": "[0, 4294967296)",
}


def contains(interval: str, value: float) -> bool:
    """Whether `value` lies in an interval in the usual notation, such as "[0, 1)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = low <= value if interval[0] == "[" else low < value
    return above and (value <= high if interval[-1] == "]" else value < high)


def check_numbers(fields: Mapping[str, Any]) -> None:
    """Checks the numbers of a flat config, {dotted name: value}.

    Raises:
      UserError: a number is not finite, or outside of its field's interval.
    """
    for name, value in fields.items():
        plain = ".".join(part for part in name.split(".") if not part.isdigit())
        interval = INTERVALS.get(plain, "(-inf, inf)")
        for number in value if isinstance(value, list | tuple) else (value,):
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if is_number and not (math.isfinite(number) and contains(interval, number)):
                where = f"one of {name}" if isinstance(value, list | tuple) else name
                raise UserError(f"{where} is {number}, but must lie in {interval}")
