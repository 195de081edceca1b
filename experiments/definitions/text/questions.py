"""Questions about text with their claims, in the order of their importance.

Margins are stated before any run: 0.02 nats/token is, by estimate, what a tenth more tokens gain at
the CPU scale; times and lengths have theirs in doublings.
"""

from __future__ import annotations

from lengthwise.experiments.text.design import TextClaim, TextQuestion
from lengthwise.experiments.text.measures import (
    FORMATION,
    GOT_WORSE,
    SHORT,
    USEFUL,
    behind,
    nll,
    until_loss,
)

FORMING = "when use of context forms"
STARTED = "what layouts are worth from a common start"
_DD = "dataset decomposition (Pouransari et al. 2024, arXiv 2405.13226)"
_SKYLADDER = "SkyLadder (arXiv 2503.15450)"

QUESTIONS = (
    TextQuestion(
        "formation",
        "What makes use of context form earlier?",
        "formation law of induction (arXiv 2511.16893), smeared keys (arXiv 2209.11895)",
        "tokens grow with the root of the tokens a step, from notes on the paper, not from its "
        "text; smeared keys let models of one layer form it",
        FORMING,
        (
            TextClaim("form", "form_large", FORMATION, 1.0),
            TextClaim("form_small", "form", FORMATION, 0.5),
            TextClaim("form_smeared", "form", FORMATION, 1.0),
            TextClaim("form_muon", "form", FORMATION, 0.5),
            TextClaim("form", "form_uniform", FORMATION, 0.5),
            TextClaim("form", "form_shrink", FORMATION, 0.5),
            TextClaim("form", "form_chunks", FORMATION, 0.5),
        ),
        seeds=8,
        baseline="form",
    ),
    TextQuestion(
        "natural_lengths",
        "Do models of natural lengths generalize further than those of chunks?",
        _DD,
        "MDQA 24.6 against 20.5, regular tasks 54 against 51.5 (1B, two seeds or one)",
        STARTED,
        (
            TextClaim("natural", "chunks", nll(2), 0.05),
            TextClaim("natural", "chunks", nll(4), 0.1),
            TextClaim("natural", "chunks", USEFUL, 1.0),
            TextClaim("natural", "chunks", nll(1), 0.02),
            TextClaim("natural", "chunks", SHORT, 0.02),
        ),
        seeds=14,
    ),
    TextQuestion(
        "training_length",
        "Which training length wins at which tested length, and does a mixture have both?",
        _DD,
        "MDQA 0.2 at one length of 1k, 21.9 under the natural mixture; regular tasks 54 and 54",
        STARTED,
        (
            TextClaim("only_short", "only_long", nll(0.25), 0.02),
            TextClaim("only_long", "only_short", nll(4), 0.1),
            TextClaim("natural", "only_short", nll(0.25), 0.02, equal=True),
            TextClaim("natural", "equal", nll(1), 0.02, equal=True),
        ),
        seeds=6,
    ),
    TextQuestion(
        "layouts",
        "Is decomposition better than its rivals at equal tokens, and what does it save?",
        _DD,
        "at 1B +2 to +3 points on regular tasks at equal tokens; an independent repeat in "
        "arXiv 2503.15450 finds a tenth of it",
        STARTED,
        (
            TextClaim("natural", "masked", nll(1), 0.02),
            TextClaim("natural", "packed", nll(1), 0.02),
            TextClaim("natural", "window", nll(1), 0.02),
            TextClaim("natural", "published", SHORT, 0.02),
            TextClaim("chunks_no_short", "chunks", nll(1), 0.02, equal=True),
            TextClaim("natural_half", "chunks", nll(1), 0.02, equal=True),
            TextClaim("natural", "chunks", until_loss("flops"), 0.25),
        ),
        seeds=6,
    ),
    TextQuestion(
        "document_mask",
        "Does a document mask help near boundaries, and overall?",
        "arXiv 2402.13991 (quoted by others, its text not read here)",
        "lowest perplexity of three ways to pack, at 2k and 8k, one seed",
        STARTED,
        (
            TextClaim("masked", "chunks", behind("masked"), 0.02, against=behind("naive")),
            TextClaim("masked", "chunks", nll(1), 0.02, equal=True),
        ),
        seeds=6,
        baseline="chunks",
    ),
    TextQuestion(
        "scalings",
        "Which method extends a trained model without training?",
        "PI (arXiv 2306.15595), NTK, YaRN (arXiv 2309.00071), LM-Infinite (arXiv 2308.16137)",
        "YaRN ahead of NTK ahead of PI; masks keep the loss of the training length",
        STARTED,
        (
            TextClaim("natural", "natural", nll(4, "yarn"), 0.02, against=nll(4, "ntk")),
            TextClaim("natural", "natural", nll(2, "ntk"), 0.02, against=nll(2, "linear")),
            TextClaim("natural", "natural", nll(2, "yarn"), 0.02, against=nll(1)),
            TextClaim("natural", "natural", nll(4, "lambda"), 0.02, equal=True, against=nll(1)),
        ),
        seeds=6,
        baseline="natural",
    ),
    TextQuestion(
        "curricula",
        "Short rows first or long rows first, under a decaying and under a constant rate?",
        _DD,
        "MDQA 28.0 growing, 23.0 uniform, 19.6 shrinking",
        STARTED,
        (
            TextClaim("natural", "shrink", nll(1), 0.02),
            TextClaim("natural", "uniform", nll(1), 0.02),
            TextClaim("constant", "constant_shrink", nll(1), 0.02),
            TextClaim("natural", "one_cycle", nll(1), 0.02, equal=True),
        ),
        seeds=4,
        exploratory=True,
    ),
    TextQuestion(
        "windows",
        "Does a window that grows from short to long beat the constant one?",
        _SKYLADDER,
        "0.03 to 0.1 nats at 120M parameters, one seed",
        STARTED,
        (
            TextClaim("window", "chunks", nll(1), 0.02),
            TextClaim("window", "window_shrinks", nll(1), 0.02),
            TextClaim("window", "masked", nll(1), 0.02),
        ),
        seeds=4,
        exploratory=True,
        baseline="chunks",
    ),
    TextQuestion(
        "regularization",
        "Within one epoch, does regularization cost?",
        "One Epoch (arXiv 1906.06669); arXiv 2505.24788 (abstract)",
        "no overfitting within one epoch; dropout only slows training",
        STARTED,
        (
            TextClaim("chunks", "dropout", nll(1), 0.02),
            TextClaim("chunks", "decay_small", nll(1), 0.02, equal=True),
        ),
        seeds=4,
        exploratory=True,
        baseline="chunks",
    ),
    TextQuestion(
        "epochs",
        "At equal steps, what do repeated epochs cost, and when does dropout help?",
        "One Epoch (arXiv 1906.06669, abstract); data-constrained scaling (arXiv 2305.16264)",
        "4 epochs are worth 3.7 fresh ones, 16 are worth 10.6 and 40 are worth 15.2",
        "training from random weights",
        (
            TextClaim("epochs_4", "epochs_1", nll(1), 0.02, equal=True),
            TextClaim("epochs_1", "epochs_16", nll(1), 0.02),
            TextClaim("epochs_1", "epochs_40", nll(1), 0.1),
            TextClaim("epochs_1", "epochs_1_dropout_1", nll(1), 0.02),
            TextClaim("epochs_1", "epochs_1_dropout_3", nll(1), 0.02),
            TextClaim("epochs_4", "epochs_4_dropout_1", nll(1), 0.02),
            TextClaim("epochs_4", "epochs_4_dropout_3", nll(1), 0.02),
            TextClaim("epochs_16_dropout_1", "epochs_16", nll(1), 0.02),
            TextClaim("epochs_16_dropout_3", "epochs_16", nll(1), 0.02),
            TextClaim("epochs_40_dropout_1", "epochs_40", nll(1), 0.02),
            TextClaim("epochs_40_dropout_3", "epochs_40", nll(1), 0.02),
        ),
        seeds=4,
        exploratory=True,
        baseline="epochs_1",
    ),
    TextQuestion(
        "overfitting",
        "Does the loss beyond the training length rise while the training loss falls?",
        "an article's 83 % of runs, for which no source was found",
        "83 % of runs beyond 200B tokens lose more than 5 %, says the article",
        STARTED,
        (TextClaim("stopped", "chunks", nll(2), 0.02, equal=True),),
        seeds=4,
        exploratory=True,
        baseline="chunks",
        shares=(("chunks", GOT_WORSE), ("natural", GOT_WORSE)),
    ),
)
