"""Time and FLOPs of dataset decomposition against concat-and-chunk at equal longest length.

python -m lengthwise.benchmarks.train.decomposition [--rounds=5] [--config.FIELD=...]

The same token budget is trained with both, interleaved. A saving that FLOPs promise and the clock
doesn't show means that short buckets run less efficiently than long ones.
"""

from absl import flags
from ml_collections import ConfigDict, config_flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.workload import Workload, median_interval
from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.configs.bytes import get_config

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved repetitions.", lower_bound=3)


def default_config() -> ConfigDict:
    config = get_config()
    config.phase.tokens_per_step = 4096
    config.phase.layout.smallest_bucket = 256
    config.phase.layout.largest_bucket = 4096
    config.phase.layout.mixture = "equal_tokens"
    config.phase.layout.shares = ()
    return config


_CONFIG = config_flags.DEFINE_config_dict("config", default_config())


def main(_: list[str]) -> None:
    config = _CONFIG.value
    rival = config.copy_and_resolve_references()
    rival.phase.layout.name = "concat_and_chunk"
    rival.phase.layout.document_mask = False
    rival.phase.layout.mixture = "natural"
    rival.phase.curriculum.name = "natural"
    decomposed, chunked = Workload(config), Workload(rival)
    longest = chunked.lengths[-1]
    # Steps in the proportion of the buckets' tokens: the mixture that the layout has reached.
    accounts = decomposed.phase.layout.accounting.buckets
    print(decomposed.phase.layout.accounting.table())
    tokens = {account.length: account.tokens for account in accounts}
    fewest = min(tokens[length] for length in decomposed.lengths)
    lengths = [n for n in decomposed.lengths for _ in range(round(tokens[n] / fewest))]
    if decomposed.lengths == chunked.lengths:
        raise UserError(
            f"phase.layout.smallest_bucket={config.phase.layout.smallest_bucket} leaves decompose "
            f"the one bucket of concat_and_chunk, {longest}; choose a smaller one"
        )
    flop_ratio = sum(map(decomposed.flops, lengths)) / (len(lengths) * chunked.flops(longest))
    decomposed.seconds(lengths)
    chunked.seconds([longest])
    times, relative = [], []
    for _ in ProgressBar(range(_ROUNDS.value), desc="rounds"):
        ratio = decomposed.seconds(lengths) / chunked.seconds([longest] * len(lengths))
        times.append(ratio)
        relative.append((1 - ratio) / (1 - flop_ratio))
    print(f"tokens a round: {len(lengths) * config.phase.tokens_per_step:,} each")
    print(f"FLOP ratio decompose / concat_and_chunk at {longest}: {flop_ratio:.3f}")
    print("time ratio: {:.3f} (95 % {:.3f}-{:.3f})".format(*median_interval(times)))
    print(
        "measured saving / FLOP saving: {:.3f} (95 % {:.3f}-{:.3f})".format(
            *median_interval(relative)
        )
    )


if __name__ == "__main__":
    flag_command.run(main)
