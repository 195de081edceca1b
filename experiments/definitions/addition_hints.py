"""Addition with a hint of its place before each digit (Zhou et al. 2023)."""

from experiments.definition import Arm, Claim, Experiment
from experiments.definitions.model_sizes import FOUR_LAYERS


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
        "one setting for all arms; positions and trained lengths of the CPU scale are from "
        "pilot runs of another seed, scored on selection samples of trained lengths alone: "
        "reversed numbers of up to three digits without positions were .47 right after 1,500 "
        "steps, of up to two with RoPE all right after 1,000"
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
            "data.task.name": "addition",
            "data.task.format.hint_symbols": 12,
            "data.task.lengths": (1, 2),
            "data.task.samples": 150_000,
            "model.positions.scheme": "rope",
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 32,
            "phase.steps": 1500,
            "train.eval_every": 500,
            "train.checkpoint_every": 500,
            "eval.answers.lengths": (1, 4, 1),
        },
        "h200": {
            **FOUR_LAYERS,
            "data.task.name": "addition",
            "data.task.format.hint_symbols": 128,
            "data.task.lengths": (1, 20),
            "phase.layout.largest_bucket": 256,
            "eval.answers.lengths": (5, 40, 5),
        },
    },
    left_out={"cpu": ("plain", "hints")},
    reasons={
        "cpu": (
            "numbers of one and two digits are 10,000 pairs at most, few enough to be known one by "
            "one, and a hint is never seen more than two places on. Three digits took more steps "
            "than this scale has, and the sources train up to 40 and 50"
        )
    },
)
