"""Arms of the experiments on text; all questions share them."""

from __future__ import annotations

from lengthwise.experiments.definitions.text.scales import Scale
from lengthwise.experiments.text.design import Changes, TextArm

METHODS = ("linear", "ntk", "dynamic", "yarn", "llama3", "lambda")  # of position scaling and masks

# Layouts of one row length have one bucket: no mixture, no curriculum.
_PLAIN: Changes = {
    "phase.layout.mixture": "natural",
    "phase.layout.shares": (),
    "phase.curriculum.name": "natural",
    "phase.curriculum.cycles": 1,
}
_NATURAL: Changes = {
    "phase.layout.name": "decompose",
    "phase.layout.mixture": "natural",
    "phase.layout.shares": (),
    "phase.curriculum.name": "grow_p2",
    "phase.curriculum.cycles": 4,
}
_CHUNKS: Changes = {
    **_PLAIN,
    "phase.layout.name": "concat_and_chunk",
    "phase.layout.document_mask": False,
}


def _curriculum(name: str, cycles: int = 4) -> Changes:
    return {**_NATURAL, "phase.curriculum.name": name, "phase.curriculum.cycles": cycles}


def forming_arms(scale: Scale) -> tuple[TextArm, ...]:
    """Arms about when use of context forms, from random weights, at equal tokens."""
    common = {**_NATURAL, "model.smeared_keys": False, "phase.steps": scale.forming_steps}

    def batch(factor: float) -> Changes:
        return {
            **common,
            "phase.tokens_per_step": int(scale.tokens_per_step * factor),
            "phase.steps": int(scale.forming_steps / factor),
            "train.eval_every": int(250 / factor),
        }

    common = {**common, "train.eval_every": 250}
    return (
        TextArm("form", "natural lengths", common, "form"),
        TextArm("form_small", "half the tokens a step", batch(0.5), "form_small"),
        TextArm("form_large", "four times the tokens a step", batch(4), "form_large"),
        TextArm(
            "form_smeared", "smeared keys", {**common, "model.smeared_keys": True}, "form_smeared"
        ),
        TextArm(
            "form_muon", "Muon", {**common, "optimizer.name": "muon"}, "form_muon", "helps at 160M"
        ),
        TextArm("form_uniform", "no curriculum", {**common, **_curriculum("uniform")}, "form"),
        TextArm("form_shrink", "long rows first", {**common, **_curriculum("shrink_p100")}, "form"),
        TextArm("form_chunks", "chunks", {**common, **_CHUNKS}, "form_chunks"),
    )


def epoch_arms(scale: Scale) -> tuple[TextArm, ...]:
    """Arms about repeated text, from random weights: one budget over ever less text."""

    def arm(epochs: int, dropout: float) -> TextArm:
        # Chunks of all documents are two thirds of an epoch of the least corpus at most.
        share = min(1.0, scale.steps * scale.tokens_per_step / epochs / scale.corpus_tokens)
        changes = {
            **_CHUNKS,
            "phase.steps": scale.steps,
            "phase.sampling.share": 1.0 if epochs == 1 else share,
            "model.dropout": dropout,
        }
        times = f"{epochs} epochs" if epochs > 1 else "1 epoch"
        with_dropout = f", dropout {dropout:g}" if dropout else ""
        name = f"epochs_{epochs}" + (f"_dropout_{round(10 * dropout)}" if dropout else "")
        return TextArm(name, times + with_dropout, changes, "epochs")

    return tuple(arm(epochs, dropout) for epochs in (1, 4, 16, 40) for dropout in (0.0, 0.1, 0.3))


def layout_arms(scale: Scale) -> tuple[TextArm, ...]:
    """Arms about what layouts are worth from a common start.

    They start from the same checkpoints, one a seed, of rows of all lengths in random order. Use
    of L/4 tokens has formed there; that of L may form in the arms' first steps, and their tables
    say in how many runs it did.
    """
    length, steps = scale.length, {"phase.steps": scale.steps}

    def window(start: int, rate: float) -> Changes:
        return {
            **_CHUNKS,
            "phase.layout.name": "window",
            "phase.layout.window_start": start,
            "phase.layout.window_rate": rate,
        }

    # From L/8 to L in 64 % of the steps; the same windows from last to first.
    rate = (length - length // 8) / (0.64 * scale.steps)
    grows, shrinks = window(length // 8, rate), window(int(length // 8 + rate * scale.steps), -rate)

    def one_bucket(tokens: int) -> Changes:
        buckets = ("phase.layout.smallest_bucket", "phase.layout.largest_bucket")
        return {**_NATURAL, **_PLAIN, **dict.fromkeys(buckets, tokens)}

    def arm(name: str, label: str, changes: Changes, published: str = "-") -> TextArm:
        family = "natural" if changes["phase.layout.name"] == "decompose" else "chunks"
        return TextArm(name, label, {**steps, **changes}, family, published, after="formed")

    natural = {**_NATURAL, "eval.methods": METHODS}
    constant = {"optimizer.schedule": "constant"}
    masked = {"phase.layout.document_mask": True}
    dropped = {"phase.layout.cut": "published", "phase.layout.tails": "drop"}
    # Documents below the shortest bucket have a thousandth of the weight of the others.
    config = scale.base()
    config.update_from_flattened_dict(dict(scale.common))
    smallest = config.phase.layout.smallest_bucket
    no_short = {"phase.sampling.length_weights": ({"min_tokens": smallest + 1, "weight": 1000.0},)}
    return (
        TextArm(
            "formed",
            "the start of all",
            {**_curriculum("uniform"), "phase.steps": scale.formed_steps},
            "form_smeared",
        ),
        arm("natural", "natural lengths", natural, "MDQA 24.6, regular 54 (1B)"),
        arm("natural_half", "natural lengths, half the tokens",
            {**_NATURAL, "phase.steps": scale.steps // 2}),
        arm("published", "natural lengths as published", {**_NATURAL, **dropped}),
        arm("equal", "equal tokens a length", {**_NATURAL, "phase.layout.mixture": "equal_tokens"},
            "MDQA 21.3"),
        arm("only_short", f"rows of {length // 4}", one_bucket(length // 4), "MDQA 0.2 at L/8"),
        arm("only_long", f"rows of {2 * length}", one_bucket(2 * length)),
        arm("chunks", "chunks", _CHUNKS, "MDQA 20.5, regular 51.5 (1B)"),
        arm("chunks_no_short", "chunks without short documents", {**_CHUNKS, **no_short}),
        arm("masked", "chunks under a document mask", {**_CHUNKS, **masked}, "MDQA 16.0"),
        arm("packed", "best-fit packing", {**_PLAIN, "phase.layout.name": "pack"}, "MDQA 16.9"),
        arm("window", "chunks, growing window", grows, "1B: 55.2 against 52.5"),
        arm("window_shrinks", "chunks, shrinking window", shrinks, "1B: 52.6 against 52.5"),
        arm("uniform", "no curriculum", _curriculum("uniform"), "MDQA 19.6"),
        arm("shrink", "long rows first", _curriculum("shrink_p100")),
        arm("one_cycle", "short rows first, one cycle", _curriculum("grow_p2", 1)),
        arm("constant", "short rows first, constant rate", {**_NATURAL, **constant}),
        arm("constant_shrink", "long rows first, constant rate",
            {**_curriculum("shrink_p100"), **constant}),
        arm("dropout", "chunks, dropout 0.1", {**_CHUNKS, "model.dropout": 0.1}),
        arm("decay_small", "chunks, decay 0.01 for 0.1", {**_CHUNKS, "optimizer.l2": 0.01}),
        arm("stopped", "chunks, stopped early",
            {**_CHUNKS, "eval.checkpoint": "best", "stopping.patience": 3}),
    )  # fmt: skip
