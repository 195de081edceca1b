"""Fields of the config when CONFIG_VERSION was raised last; one that came later may be absent.

A later field means at its default what the code did before there was one. So fingerprints leave it
out at its default, and a config without it is compared as if it had it: runs, plans and results
from before keep their meaning. Whoever raises CONFIG_VERSION writes the fields anew, from
`declarations(RunConfig)`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from lengthwise.common.settings import declarations
from lengthwise.common.trees import flatten
from lengthwise.configs.base import RunConfig

_FIRST_FIELDS = """
.: phases seed
seeds: buckets dropout initialization order
model: attention attention_block attention_softcap attention_weights compute_dtype dropout
model: embed_dim embedding_norm embedding_scale head_dim layer_execution layer_pattern
model: layers logit_scale logit_softcap mlp_dim num_heads num_kv_heads qk_norm remat
model: smeared_keys tie_embeddings vocab_rows
model.positions: randomized scheme
model.positions.abacus: digit_tokens max_offset positions
model.positions.clex: hidden max_factor original_length theta
model.positions.cope: positions
model.positions.fire: hidden threshold
model.positions.kerple: kernel
model.positions.learned: positions
model.positions.rope: rotary_share theta
model.positions.seqpe: contrastive_weight digits distillation_weight heads layers regularized width
model.positions.sinusoidal: theta
model.positions.t5: buckets max_distance
model.block: activation attention_bias attention_scale mlp mlp_bias norm norm_epsilon norm_offset
model.block: norm_placement parallel residual_scale
optimizer: clip_norm decay_share final_share l1 l2 learning_rate name no_decay schedule
optimizer: schedule_steps warmup_steps z_loss
optimizer.adamw: beta1 beta2 epsilon
optimizer.muon: beta1 beta2 epsilon iterations matrices momentum rms
phase: budget_steps microbatches steps tokens_per_step
phase.rope_scaling: attention_factor ceiling exponent factor high_turns kind log_n long_factors
phase.rope_scaling: low_turns original_length shift shift_kept short_factors
phase.positions: chunks kind target_length
phase.layout: block_tokens cut document_mask join_order largest_bucket mixture name shares
phase.layout: smallest_bucket tails targets window_rate window_start
phase.curriculum: cycles name odds
phase.sampling: domain_weights length_weights share shuffle_blocks stratify
train: checkpoint_every checksums compilation_cache compile eval_every init_from keep_every
train: log_every memory_bytes prefetch reader_threads stage_blocks stage_directory
stopping: min_delta patience score
anomaly: deviations max_rollbacks max_skips on_nonfinite on_spike pass_over rollback_steps
anomaly: warmup window
profile: steps
mesh: slices tensor topology
data: bad_records begin_with domain duplicates empty_documents end_of_text_token field
data: group_field mixture near_duplicate_threshold part_gap part_length path pattern
data: report_share selection_share shard_tokens source split_seed store tfds_name
data: tfds_split tokenizer unknown_text verify workers
data.task: hints lengths name samples seed
data.task.format: hint_symbols scratchpad_parts shots tail_parts transforms
data.contamination: drop ngram share sources
eval: blocks bootstrap_samples checkpoint chunk compare confidence documents during
eval: generate haystack lengths methods min_documents multipliers prompting prompts qa_1
eval: qa_2 ratios scorer_methods scorers seed shots sinks targets_per_block
eval: targets_per_row tasks tokens_per_call
eval.needle_depth: depths trials
eval.needle_distance: trials
eval.short_documents: longest
eval.sliding_window: stride_share
eval.target_nll: lengths
eval.answers: decoded lengths samples selection_lengths threshold
generate: max_tokens prompt prompts samples seed temperature top_k top_p
"""
# Items of these have the fields of a section of flags.
_ITEMS = re.compile(r"^(?:(phase)s|(data)\.mixture|(data)\.contamination\.sources)\.\d+(?=\.)")


def _first_fields() -> frozenset[str]:
    sections = (line.partition(": ") for line in _FIRST_FIELDS.split("\n") if line)
    return frozenset(
        f"{section}.{field}".lstrip(".")
        for section, _, names in sections
        for field in names.split()
    )


FIRST_FIELDS = _first_fields()


def deciding(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config as JSON gives it back, flat, without later fields at their default."""
    flat = flatten(json.loads(json.dumps(resolved)))
    flags = {name: _flag(name) for name in flat}
    later = {name for name, flag in flags.items() if flag not in FIRST_FIELDS}
    if not later:
        return flat
    defaults = {
        name: json.loads(json.dumps(declared.default))
        for name, declared in declarations(RunConfig)
        if name not in FIRST_FIELDS
    }

    def is_default(name: str) -> bool:
        flag = flags[name]
        return flag in defaults and defaults[flag] == flat[name]

    return {name: value for name, value in flat.items() if not (name in later and is_default(name))}


def _flag(name: str) -> str:
    """The flag that sets a field of an item, or the default of it; of other fields their name."""
    return _ITEMS.sub(lambda match: next(filter(None, match.groups())), name)
