"""Lengths of the documents in a token store.

python main.py --config=configs/sources/aws_docs.py --workdir=DIR --mode=prepare
python -m lengthwise.benchmarks.data.lengths DIR/store
"""

from pathlib import Path

import numpy as np

from lengthwise.app.command import flag_command
from lengthwise.data.store.token_store import TokenStore

PERCENTILES = (5, 25, 50, 75, 95, 99)


def main(arguments: list[str]) -> None:
    store = TokenStore.open(Path(arguments[0]), verify=False)
    lengths = np.diff(store.document_offsets)
    print(f"{store.manifest.source}; {store.manifest.tokenizer}")
    print(f"{lengths.size:,} documents, {lengths.sum():,} tokens, end of text included")
    print(f"mean {lengths.mean():,.0f}, longest {lengths.max():,}")
    for percent, length in zip(PERCENTILES, np.percentile(lengths, PERCENTILES), strict=True):
        print(f"{percent:>3} %: {length:,.0f}")
    logs = np.log(lengths)
    if logs.std():  # else all are equally long
        skew = ((logs - logs.mean()) ** 3).mean() / logs.std() ** 3
        print(f"logarithm: standard deviation {logs.std():.2f}, skew {skew:.2f}")
    _, sizes = np.unique(store.document_clusters, return_counts=True)
    alike = sizes[sizes > 1].sum() / lengths.size
    print(f"near-duplicates: {alike:.0%} of the documents; largest cluster {sizes.max():,}")


if __name__ == "__main__":
    flag_command.run(main, "the directory of a token store")
