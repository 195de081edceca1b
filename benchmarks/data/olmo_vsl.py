"""NumpyVSLDataset of ai2-olmo-core on our tokens; run by `pipeline.py` in a Python of its own.

python benchmarks/data/olmo_vsl.py TOKENS DTYPE END_OF_TEXT VOCABULARY SMALLEST LARGEST SECONDS

TOKENS is a flat file of all documents, each ending in END_OF_TEXT. Prints JSON lines: the seconds
that the index took to build; then, for each line on the standard input, the tokens and the seconds
of serving rows in random order for SECONDS.
"""

import json
import logging
import sys
import tempfile
import time

import numpy as np
import torch
from olmo_core.data.numpy_dataset import NumpyVSLDataset
from olmo_core.data.types import NumpyDatasetDType


def main(path: str, dtype: str, *arguments: str) -> None:
    end_of_text, vocabulary, smallest, largest, seconds = map(int, arguments)
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        dataset = NumpyVSLDataset(
            path,
            pad_token_id=end_of_text,
            eos_token_id=end_of_text,
            vocab_size=vocabulary,
            max_sequence_length=largest,
            min_sequence_length=smallest,
            dtype=NumpyDatasetDType(dtype).as_np_dtype(),
        )
        dataset.work_dir = folder
        start = time.perf_counter()
        dataset.prepare()
        report(index_seconds=time.perf_counter() - start, rows=len(dataset))
        order = np.random.default_rng(0).permutation(len(dataset)).tolist()
        at = 0
        for _ in sys.stdin:
            tokens, start = 0, time.process_time()
            while time.process_time() - start < seconds:
                for index in order[at : at + 64]:
                    tokens += dataset[index]["input_ids"].numel()
                at = (at + 64) % len(order)
            report(tokens=tokens, seconds=time.process_time() - start)


def report(**figures: float) -> None:
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
