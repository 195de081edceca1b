"""Every layout of one corpus side by side: padding, loss of tokens, contexts, packing waste.

python -m lengthwise.benchmarks.data.layouts [--config=CONFIG] [--smallest=256] [--largest=8192]

The rows of `window` are those of `concat_and_chunk`; what it shows of them changes with the step.
`excess` are rows beyond the fewest that could hold the same pieces (a lower bound). The
store is kept in runs/layouts-SOURCE.
"""

import time
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.data.layout_index import layout_config
from lengthwise.configs.resolve import load
from lengthwise.data.layouts import SplitDocuments
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.schedule.layout_comparison import (
    compare_layouts,
    comparison_table,
    exposure_table,
)
from lengthwise.data.store.splits import Split

_CONFIG = config_flags.DEFINE_config_file("config", "configs/sources/aws_docs.py")
_LARGEST = flags.DEFINE_integer("largest", 8192, "The longest bucket, tokens.", lower_bound=1)
_SMALLEST = flags.DEFINE_integer(
    "smallest", 256, "The shortest bucket of decompose, tokens.", lower_bound=1
)

LAYOUTS: dict[str, dict] = {
    "decompose": {},
    "decompose, tails padded": {"tails": "pad"},
    "decompose, shuffled cut": {"cut": "shuffled"},
    "decompose, tails dropped": {"tails": "drop"},
    "decompose, as published": {"cut": "published", "tails": "drop"},
    "pack": {"name": "pack"},
    "pack, no document mask": {"name": "pack", "document_mask": False},
    "pad": {"name": "pad"},
    "concat_and_chunk": {"name": "concat_and_chunk", "document_mask": False},
    "concat_and_chunk, document mask": {"name": "concat_and_chunk"},
}


def main(_: list[str]) -> None:
    experiment = load(_CONFIG.value, None)
    source = _CONFIG.value.data.source
    store = prepare(experiment.data, Path("runs") / f"layouts-{source}")
    documents = SplitDocuments(store, Split.TRAIN)
    sizes = {"largest_bucket": _LARGEST.value, "smallest_bucket": _SMALLEST.value}
    configs = {title: layout_config(**sizes, **changes) for title, changes in LAYOUTS.items()}
    start = time.perf_counter()
    results = compare_layouts(configs, documents, seed=0)
    accounting = results[0].accounting
    print(
        f"{store.manifest.source}: {accounting.documents:,} training documents, "
        f"{accounting.document_tokens:,} tokens, "
        f"{accounting.document_tokens / accounting.documents:,.0f} on average"
    )
    print(
        f"buckets {_SMALLEST.value} to {_LARGEST.value}; {len(configs)} layouts built and", end=" "
    )
    print(f"compared in {time.perf_counter() - start:.1f} s")
    print(comparison_table(results))
    print()
    print(exposure_table(results, shortest=_SMALLEST.value))


if __name__ == "__main__":
    flag_command.run(main)
