"""The estimate of memory against what the TPU compiler said of the same executions.

The figures are those of libtpu 0.0.42.1 on v5e:2x4 and v5p:4x4x4, in GiB a chip.
"""

import pytest

from lengthwise.configs import dd
from lengthwise.configs.resolve import load
from lengthwise.model.spec import ModelSpec
from lengthwise.train.mesh import ViewShape
from lengthwise.train.plan.chips import GIB
from lengthwise.train.plan.communication import least_traffic
from lengthwise.train.plan.cost import cost
from lengthwise.train.programs.execution import BucketExecution

SAID = [  # config, bucket, rows, (data, context), microbatches, remat, GiB
    ("160m", 256, 2048, (8, 1), 8, "none", 8.80),
    ("160m", 1024, 512, (4, 2), 1, "full", 7.27),
    ("1b", 131_072, 8, (4, 16), 2, "none", 66.01),
    ("1b", 262_144, 4, (1, 64), 4, "none", 77.22),
    ("1b", 524_288, 2, (2, 32), 1, "dots", 42.55),
    ("1b", 1_048_576, 1, (1, 64), 1, "dots", 54.24),
    ("1b", 131_072, 8, (8, 8), 1, "full", 8.59),
    ("1b", 1_048_576, 1, (1, 64), 1, "offload", 21.22),
]


def resolved(size):
    return ModelSpec.of(load(dd.get_config(size), None).model, 50_432, "tpu")


@pytest.mark.parametrize(("config", "length", "rows", "view", "parts", "remat", "said"), SAID)
def test_memory_is_estimated_within_a_tenth(config, length, rows, view, parts, remat, said):
    execution = BucketExecution(ViewShape(1, *view, 1), parts, remat)
    estimate = cost(resolved(config), length, rows, execution).hbm_bytes / GIB
    assert abs(estimate / said - 1) < 0.1


def test_the_least_traffic_by_hand():
    """dd_160m on 2x4, rows of 1,024 shared by two: 12 layers of 768 channels, all in bfloat16."""
    execution = BucketExecution(ViewShape(1, 4, 2, 1), 1, "full")
    needs = {n.purpose: n for n in least_traffic(resolved("160m"), 1024, 512, execution)}
    matrices = 12 * (4 * 768 * 768 + 3 * 768 * 2048) * 2 * 7 / 8
    table = 50_432 * 768 * 2 * 7 / 8  # 65,536 tokens a chip: more than there are words
    keys = 12 * 65_536 * 2 * 768 * 2  # of the other half of each row
    assert {purpose: (n.kind, n.bytes) for purpose, n in needs.items()} == {
        "matrices, forward and backward": ("all-gather", 2 * matrices),
        "gradients of matrices": ("reduce-scatter", matrices),
        "embedding": ("all-gather", table),
        "gradient of the embedding": ("reduce-scatter", table),
        "unembedding": ("all-gather", table),
        "gradient of the unembedding": ("reduce-scatter", table),
        "keys and values of whole rows": ("all-gather", 2 * keys),
        "gradients of keys and values": ("reduce-scatter", keys),
    }
