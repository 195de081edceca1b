"""What is scored, on how much text, and how sure the intervals are."""

from dataclasses import dataclass
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Components
from lengthwise.common.settings import components, section, setting
from lengthwise.eval.registry import SCORERS


@dataclass(frozen=True)
class AnswersConfig:
    """Of tasks: which lengths are scored, in what the task counts, on fresh samples."""

    # first, last, step: what is reported
    lengths: tuple[int, ...] = setting((1, 40, 1), "[1, inf)")
    # The same of the split that chooses (stopping, best); (): 8 at most, beyond those of training,
    # up to twice the longest and no longer than the reported ones
    selection_lengths: tuple[int, ...] = setting((), "[1, inf)")
    samples: int = setting(256, "[2, inf)")  # fresh ones of each length
    # right answers, under which accuracy counts as fallen
    threshold: float = setting(0.85, "[0, 1]")
    decoded: int = setting(8, "[0, inf)")  # samples of a length decoded token by token, to check


@dataclass(frozen=True)
class EvalConfig:
    """Settings of scoring beyond the training length."""

    # which one is reported; best: by the selection score
    checkpoint: str = setting("last", choices=("last", "best"))
    # checkpoints up to that one, of whose weights the mean is scored; 1: it alone
    average: int = setting(1, "[1, inf)")
    # tested contexts / L_train
    ratios: tuple[float, ...] = setting((0.25, 0.5, 1.0, 1.5, 2.0, 4.0), "(0, inf)")
    lengths: tuple[int, ...] = setting((), "[1, inf)")  # more of them, in tokens
    # What is tried beside the plain model: RoPE scalings (linear, ntk, dynamic, by_parts, yarn,
    # llama3, truncated, power, hope), masks (window, lambda, chunks), distances (ceiling, rerope,
    # leaky_rerope, self_extend, string) and log_n, each alone or joined, and with settings:
    # "yarn+log_n", "lambda+ceiling", "self_extend:window=128,group_size=8". See docs/evaluation.md.
    methods: tuple[str, ...] = ("linear", "ntk", "lambda")
    # candidates m of the factor m * context / L_train
    multipliers: tuple[float, ...] = setting((1.0, 2.0, 4.0), "(0, inf)")
    sinks: int = setting(4, "[0, inf)")  # first tokens that the Lambda mask keeps
    documents: int = setting(128, "[1, inf)")  # held-out documents, at most
    # fewer documents (near-duplicates counted once) than this are not scored
    min_documents: int = setting(20, "[2, inf)")
    blocks: int = setting(4, "[1, inf)")  # blocks of targets a document, at most
    targets_per_block: int = 16  # tokens, in one row beyond L_train
    targets_per_row: int = 2  # tokens a row up to L_train: contexts exact to 1 token
    bootstrap_samples: int = setting(1000, "[1, 1000000]")  # resamples behind each interval
    confidence: float = setting(0.95, "(0, 1)")  # coverage of the intervals, between 0 and 1
    # What is scored besides, at the tested contexts: forgetting | power_law | sliding_window |
    # short_documents | target_nll | needle_depth | needle_distance. See docs/evaluation.md.
    scorers: tuple[str, ...] = ()
    # of eval.methods, by which these and the tasks are run as well
    scorer_methods: tuple[str, ...] = ()
    scorer_settings: Components[Any] = components(SCORERS, "eval")
    # What is asked about long inputs, at the tested contexts: names of the table in
    # docs/evaluation.md, such as passkey; RULER's own, such as niah_multikey_1; or ruler for its 13
    # tasks.
    tasks: tuple[str, ...] = ()
    prompts: int = setting(40, "[2, inf)")  # of each task, context and control
    # Scorers and tasks, of those, for every evaluation in training too, on the selection split at
    # the training length and twice that.
    during: tuple[str, ...] = ()
    during_method: str = ""  # by which those are scored beyond the training length; empty: plain
    prompting: tuple[str, ...] = ()  # few_shot | scratchpad: tried beside the direct question
    generate: bool = False  # answers are written as well, by greedy decoding
    shots: int = setting(2, "[1, inf)")  # solved examples of a few-shot prompt
    # text file or folder of .txt for haystacks; empty: held-out text
    haystack: str = setting("", path=True)
    # SQuAD's JSON, for `reading`; empty: invented documents
    qa_1: str = setting("", path=True)
    # HotpotQA's JSON, for `joined_reading`; empty: invented documents
    qa_2: str = setting("", path=True)
    # Work directories scored before, for the card, or the report of a task: side by side, in pairs.
    # Those that differ in their seed alone count as seeds of one training.
    compare: tuple[str, ...] = setting((), path=True)
    # longer rows are scored so many tokens at a time; 0: rows are whole
    chunk: int = setting(16_384, "[0, 1048576]")
    answers: AnswersConfig = section(AnswersConfig)
    # tokens the scorer takes at a time; a CPU computes fewer of them at once
    tokens_per_call: int = setting(32_768, "[1, inf)")
    # of the choice of documents, of target blocks and of the bootstrap
    seed: int = setting(0, "[0, inf)")


@dataclass(frozen=True)
class GenerateConfig:
    """Settings of `--mode=generate`."""

    prompt: str = ""  # text to go on from
    # How texts longer than the training length are run, as eval.methods has it: "yarn",
    # "yarn:factor=4", "self_extend"; empty: as they are
    method: str = ""
    # path of a file with a prompt a line, in place of `prompt`; of a .jsonl a JSON string a line,
    # which may be empty or of many lines
    prompts: str = setting("", path=True)
    # behind a prompt, at most; the end of text ends it before
    max_tokens: int = setting(128, "[1, 1048576]")
    # of the softmax that tokens are drawn from; 0: the likeliest
    temperature: float = setting(0.0, "[0, inf)")
    top_k: int = setting(0, "[0, inf)")  # drawn among so many likeliest tokens; 0: all
    # drawn among the fewest with this probability together; 1: all
    top_p: float = setting(1.0, "(0, 1]")
    # drawn among those of at least this share of the likeliest's probability; 0: all
    min_p: float = setting(0.0, "[0, 1]")
    # divides the logits of tokens that the text has, or multiplies negative ones; 1: as they are
    repetition_penalty: float = setting(1.0, "(0, inf)")
    stop: tuple[str, ...] = ()  # texts that end a generated one, which is cut before them
    samples: int = setting(1, "[1, inf)")  # texts a prompt
    seed: int = setting(0, "[0, 4294967296)")  # of the draws


def tested_contexts(config: EvalConfig, l_train: int) -> tuple[int, ...]:
    """Tested contexts in tokens, ascending: each ratio times the training length, and `lengths`.

    Raises UserError where a ratio is not a whole number of tokens, where 1 (truncation, the
    number to beat) or any longer one is missing, or where the targets don't fit the contexts:
    targets_per_row must divide targets_per_block and fit the shortest context, and
    targets_per_block may be at most L_train and the first step beyond it, so that every target
    scored at a context beyond L_train has more than L_train preceding tokens.
    """
    exact = sorted({ratio * l_train for ratio in config.ratios})
    for context in exact:
        if context != int(context) or context < 1:
            raise UserError(
                f"eval.ratios holds {context / l_train}, which is {context} tokens at a training "
                f"length of {l_train}; choose ratios that give whole numbers of tokens"
            )
    contexts = sorted({*(int(context) for context in exact), *config.lengths})
    beyond = [context for context in contexts if context > l_train]
    if l_train not in contexts or not beyond:
        raise UserError(
            f"eval.ratios {tuple(config.ratios)} must hold 1 (truncation to the training length, "
            "which longer contexts are compared with) and a longer one; add them"
        )
    row, block = config.targets_per_row, config.targets_per_block
    if not 1 <= row <= contexts[0]:
        raise UserError(
            f"eval.targets_per_row is {row}, but it must lie between 1 and the shortest tested "
            f"context, {contexts[0]} tokens; lower it or drop the smallest of eval.ratios and "
            "eval.lengths"
        )
    longest_block = min(l_train, beyond[0] - l_train)
    if not row <= block <= longest_block or block % row:
        raise UserError(
            f"eval.targets_per_block is {block}, but it must be a multiple of "
            f"eval.targets_per_row ({row}) and at most {longest_block}: the training length and "
            "the first tested step beyond it"
        )
    return tuple(contexts)


def targets_per_row(config: EvalConfig, context: int, l_train: int) -> int:
    """Targets scored in one row at this context, all in tokens.

    In one row of c inputs the first of T targets has only c - T + 1 preceding tokens. At L_train
    that shortfall would be a handicap of truncation, and a model that uses nothing beyond L_train
    would seem to gain from longer contexts; so up to L_train the rows are many and short of
    targets. Beyond L_train the handicap falls on the longer context, where it is conservative.
    """
    return config.targets_per_row if context <= l_train else config.targets_per_block
