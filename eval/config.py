"""What is scored, on how much text, and how sure the intervals are."""

from dataclasses import dataclass

from lengthwise.common.errors import UserError


@dataclass(frozen=True)
class AnswersConfig:
    """Of tasks: which lengths are scored, in what the task counts, on fresh samples."""

    lengths: tuple[int, ...]  # (first, last, step) of the report
    selection_lengths: tuple[int, ...]  # the same, of what chooses; (): those of training
    samples: int  # of each length
    threshold: float  # share of right answers under which accuracy counts as fallen
    decoded: int  # samples that are decoded token by token too, to check the scores


@dataclass(frozen=True)
class EvalConfig:
    """Settings of scoring beyond the training length. Defaults live in configs/base.py."""

    ratios: tuple[float, ...]  # tested contexts in multiples of L_train; 1 must be among them
    lengths: tuple[int, ...]  # more of them, in tokens
    methods: tuple[str, ...]  # what is tested beside the plain model, see eval/losses/methods.py
    multipliers: tuple[float, ...]  # candidates m of the scaling factor m * context / L_train
    sinks: int  # first tokens that the Lambda mask keeps visible; its window is L_train - sinks
    documents: int  # held-out documents scored, at most
    min_documents: int  # fewer documents (near-duplicates counted once) than this is an error
    blocks: int  # blocks of target tokens per document, at most
    targets_per_block: int  # tokens per block, scored in one row at contexts beyond L_train
    targets_per_row: int  # tokens scored per row up to L_train: there every target has between
    # context - targets_per_row + 1 and context preceding tokens; 1 is exact, and slowest
    bootstrap_samples: int  # resamples behind each interval
    confidence: float  # coverage of the intervals, between 0 and 1
    scorers: tuple[str, ...]  # names of eval/scorers/registry.py, at the tested contexts
    scorer_methods: tuple[str, ...]  # of `methods`, by which these and the tasks are run as well
    stride_share: float  # sliding_window: stride as a share of the window
    grid_trials: int  # needle_depth, needle_distance: prompts a cell
    grid_depths: int  # needle_depth: depths, from the beginning to the end
    tasks: tuple[str, ...]  # names of eval/prompts/tasks.py, asked at the tested contexts
    prompts: int  # of each task, context and control
    during: tuple[str, ...]  # names of scorers and tasks that are scored while training, too
    prompting: tuple[str, ...]  # few_shot, scratchpad: tried beside the direct question
    generate: bool  # answers are written as well, by greedy decoding
    shots: int  # solved examples of a few-shot prompt
    haystack: str  # text file or folder of .txt that haystacks are cut from; empty: held-out text
    qa_1: str  # SQuAD's JSON for the task `reading`; empty: invented documents
    qa_2: str  # HotpotQA's JSON for the task `joined_reading`; empty: invented documents
    compare: tuple[str, ...]  # work directories that stand beside this one on the card
    chunk: int  # longer rows are scored so many tokens at a time over a cache; 0: all rows whole
    answers: AnswersConfig
    tokens_per_call: int  # tokens handed to the scorer at a time; best a multiple of its batch
    seed: int  # of the choice of documents, of target blocks and of the bootstrap


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
