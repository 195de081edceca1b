"""Addition with a hint of its place before each digit (Zhou et al. 2023)."""

from lengthwise.experiments.definition import Arm, Claim, Experiment
from lengthwise.experiments.definitions.model_sizes import FOUR_LAYERS
from lengthwise.experiments.definitions.shifted import shifted


def _arm(name: str, label: str, transforms: tuple[str, ...], published: str) -> Arm:
    return Arm(name, label, {"data.task.format.transforms": transforms}, published)


EXPERIMENT = Experiment(
    name="addition_hints",
    question="Addition: do index hints carry it to longer numbers?",
    source="Zhou et al. 2023, arXiv 2310.16028",
    published=(
        "from memory: the paper's figures show hinted addition that generalizes and plain one that "
        "doesn't; for plain binary addition without positions Huang et al. 2024 (arXiv "
        "2410.02140), trained up to 50, have .24-.32 at 51-100"
    ),
    tuning=(
        "one setting for all arms; positions, trained lengths and steps of the CPU scale are from "
        "pilot runs of another seed, scored on samples of trained lengths alone: reversed numbers "
        "of up to four digits were .99 right after 10,000 steps with learned positions and a "
        "random shift, as in the source, .69 with none; with hints all right after 7,000"
    ),
    arms=(
        _arm("plain", "plain", (), "fails beyond trained lengths"),
        _arm("hints", "index hints", ("index_hints",), "generalizes"),
        _arm("reversed", "reversed", ("reversed",), "fails beyond trained lengths"),
        _arm("reversed_hints", "reversed, index hints", ("reversed", "index_hints"), "generalizes"),
    ),
    claims=(
        Claim("reversed_hints", "reversed", margin=0.1),
        Claim("hints", "plain", margin=0.1),
    ),
    scales={
        "cpu": {
            **shifted(64),
            "data.task.name": "addition",
            "data.task.format.hint_symbols": 12,
            "data.task.lengths": (1, 4),
            "data.task.samples": 500_000,
            "phase.layout.smallest_bucket": 32,
            "phase.layout.largest_bucket": 32,
            "phase.tokens_per_step": 1024,
            "phase.steps": 14_000,
            "train.eval_every": 2000,
            "train.checkpoint_every": 2000,
            "eval.answers.lengths": (1, 8, 1),
        },
        "h200": {
            **FOUR_LAYERS,
            **shifted(512),
            "data.task.name": "addition",
            "data.task.format.hint_symbols": 128,
            "data.task.lengths": (1, 20),
            "phase.layout.largest_bucket": 256,
            "eval.answers.lengths": (5, 40, 5),
        },
    },
    left_out={"cpu": ("plain", "hints")},
    earlier={
        "cpu": (
            "trained with RoPE up to two digits, where both arms had next to nothing right beyond "
            "(.002 with hints, 0 without): contradicted, by the rule of then"
        )
    },
)
