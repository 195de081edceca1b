"""Every field of a run with its unit. Other configs are short differences from this one.

Override any of them on the command line: `--config.model.layers=6`.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0  # of all that config.seeds leaves open
    config.seeds = ConfigDict(
        {
            "initialization": placeholder(int),  # of the parameters; None: seed
            "order": placeholder(int),  # of the data; None: seed
            "buckets": placeholder(int),  # of which bucket a step trains on; None: as order
            "dropout": placeholder(int),  # and of randomly drawn positions; None: seed
        }
    )

    # Up to `mixture`: one source of documents, or the template of several. Each item of `mixture`
    # is a dict that names a domain and overrides fields of the template, for example
    # ({"domain": "code"}, {"domain": "prose", "source": "jsonl", "path": "prose/*.jsonl.gz"}).
    config.data = ConfigDict(
        {
            "domain": "all",  # name of the documents of this source
            # stdlib | text | jsonl | parquet | array_record | tfds | aws_docs | task
            "source": "stdlib",
            "path": "",  # a file, a folder or a glob pattern; tfds: data_dir
            "pattern": "**/*.txt",  # text: which files of a folder
            "field": "text",  # of a record, the document; array_record: empty: all of the record
            "group_field": "",  # of a record, what related documents share; empty: none
            "tfds_name": "",  # tfds: the data set, such as c4/en:3.1.0
            "tfds_split": "train",  # tfds: a split or a part of one, such as train[:10%]
            "empty_documents": "error",  # error | skip: a document with no text
            # Of source="task", see docs/tasks.md.
            "task": {
                "name": "",  # such as copy, addition, parity
                "format": {
                    # padded | reversed | index_hints | simple_scratchpad | detailed_scratchpad |
                    # scratchpad | tail, several together; (): plain
                    "transforms": (),
                    # scratchpad: which of its parts are written
                    "scratchpad_parts": (
                        "input",
                        "computation",
                        "output",
                        "variables",
                        "remaining",
                    ),
                    "tail_parts": ("transition", "atomic", "fetcher"),  # the same of tail
                    "hint_symbols": 256,  # different index hints
                    "shots": 0,  # solved examples before each problem
                },
                "lengths": (1, 20),  # shortest and longest trained on, in what the task counts
                # Of the main task, each trained on once an epoch; hints come on top.
                "samples": 100_000,
                # Auxiliary tasks mixed in: ({"task": "successor", "share": 0.5},)
                "hints": (),
                "seed": 0,  # of the samples
            },
            "mixture": (),
            # bytes | path of a tokenizer.json | train:bpe:VOCABULARY | ids:VOCABULARY:END_OF_TEXT
            "tokenizer": "bytes",
            "end_of_text_token": "<|endoftext|>",  # its name in a tokenizer.json
            "store": "",  # directory of the token store; empty: WORKDIR/store
            "shard_tokens": 1 << 26,  # tokens a shard, at most (a longer document stands alone)
            "workers": 0,  # processes that tokenize; 0: one a core
            "selection_share": 0.08,  # share of the text that chooses (stopping, best, scaling)
            "report_share": 0.08,  # share of the text that is scored once, at the end
            "split_seed": 0,
            "near_duplicate_threshold": 0.35,  # Jaccard index of near-duplicates; 0: don't look
            "duplicates": "keep",  # keep | drop_exact | drop_near
            # Documents of evaluation sets, and of the held-out splits, in the training text.
            "contamination": {
                "ngram": 0,  # words that make an overlap, usually 13; 0: no check
                "share": 0.8,  # of a document's n-grams found in training: it is contaminated
                "drop": "none",  # none | training | held_out: which documents of the corpus
                "sources": (),  # evaluation sets, written as the items of `mixture`
            },
            "verify": True,  # re-read the checksums of the store at every start
        }
    )

    config.model = ConfigDict(
        {
            "layers": 6,
            "embed_dim": 256,  # channels
            "num_heads": 8,
            "num_kv_heads": 4,
            "head_dim": 32,  # channels
            "mlp_dim": 768,  # hidden channels of SwiGLU
            "positions": {
                # In the layers: none | rope | clex | alibi | t5 | kerple | fire | cope | seqpe; or
                # added to the embeddings: learned | sinusoidal | abacus. See docs/positions.md.
                "scheme": "rope",
                "randomized": 0,  # range that sorted positions are drawn from; 0: off
                "rope": {
                    "theta": 10_000.0,  # base of the wavelengths
                    "rotary_share": 1.0,  # share of a head's channels that are turned
                },
                "clex": {
                    "theta": 10_000.0,  # base of the wavelengths up to original_length
                    "original_length": 512,  # tokens, best the training length
                    "max_factor": 16,  # lengths up to so many times it have learned frequencies
                    "hidden": 64,  # channels of what is learned
                },
                "t5": {
                    "buckets": 32,  # of distances
                    "max_distance": 128,  # tokens, from where on all share the last bucket
                },
                "kerple": {"kernel": "log"},  # log | power
                "fire": {
                    "hidden": 32,  # channels of the MLP
                    "threshold": 512.0,  # tokens, learned from there
                },
                "cope": {"positions": 64},  # learned vectors; later positions have the last one
                "seqpe": {
                    "layers": 2,  # of the encoder of digits
                    "width": 64,  # its channels
                    "heads": 4,
                    "digits": 6,  # decimal digits of a position
                    "regularized": 16_384,  # the losses draw positions below this
                    "contrastive_weight": 0.1,
                    "distillation_weight": 0.1,
                },
                "learned": {"positions": 2048},  # rows of the table
                "sinusoidal": {"theta": 10_000.0},  # base of the wavelengths
                "abacus": {
                    "digit_tokens": tuple(range(48, 58)),  # ids of "0" ... "9"; bytes have these
                    "max_offset": 99,  # places of a training step are moved by up to this
                    "positions": 1024,  # rows of the table
                },
            },
            "layer_pattern": (),  # schemes of successive layers, repeated; (): scheme in all
            "qk_norm": True,
            "attention_softcap": 0.0,  # scores -> cap * tanh(scores / cap); 0: off
            "attention_weights": "softmax",  # softmax | lssa | lssar
            "logit_softcap": 0.0,  # logits -> cap * tanh(logits / cap); 0: off
            "dropout": 0.0,  # share of channels
            "tie_embeddings": True,
            "compute_dtype": "auto",  # auto | float32 | bfloat16; auto: float32 on a CPU
            "attention": "auto",  # auto | dense | blockwise | splash (TPU) | cudnn (GPU)
            "attention_block": 0,  # queries and keys a blockwise block; 0: by batch and heads
            "layer_execution": "auto",  # auto | unroll | scan; auto: unroll on a CPU
            "remat": "none",  # none | dots | full | offload: what is recomputed (model/config.py)
        }
    )

    config.optimizer = ConfigDict(
        {
            "learning_rate": 3e-3,  # peak
            "warmup_steps": 100,
            "schedule": "cosine",  # cosine | wsd | constant
            "decay_share": 0.2,  # wsd: share of the steps in the decay at the end
            "final_share": 0.1,  # last learning rate / peak
            "beta1": 0.9,
            "beta2": 0.95,
            "epsilon": 1e-8,
            "l2": 0.1,  # decoupled weight decay, on matrices
            "l1": 0.0,  # decoupled L1, on matrices
            "clip_norm": 1.0,  # global gradient norm
            "z_loss": 1e-4,  # weight of log_partition ** 2
        }
    )

    # One phase, or the template of several: each item of `phases` is a nested dict that overrides
    # fields of `phase`, for example ({"steps": 900}, {"steps": 100, "layout": {...}}).
    config.phase = ConfigDict(
        {
            "steps": 1000,  # optimizer steps
            "tokens_per_step": 8192,  # tokens of a batch, the same for every bucket
            "microbatches": 1,
            "budget_steps": 0,  # steps that the cycles divide; 0: `steps` at the first start
            "rope_scaling": {  # model/positions/rope_scaling.py has the formulas
                "kind": "none",  # none | linear | ntk | dynamic | by_parts | yarn | llama3 | ...
                "factor": 1.0,  # ratio of lengths
                "original_length": 0,  # tokens that the positions were trained on before
                "low_turns": 0.0,  # turns in it up to which a pair is interpolated; 0: 1
                "high_turns": 0.0,  # turns in it from which a pair is left alone; 0: by kind
                "short_factors": (),  # longrope: a divisor a channel pair, up to original_length
                "long_factors": (),  # longrope: the same beyond it
                "attention_factor": 0.0,  # on cos and sin; 0: by kind
                "exponent": 0.0,  # power; 0: 0.5
                "ceiling": 0,  # tokens that distances count as, at most; 0: as they are
                "shift": 0,  # distances from so many tokens on count as ...
                "shift_kept": 0,  # ... so many tokens and more; shift 0: as they are
                "log_n": 0,  # keys beyond which queries grow by ln n / ln log_n; 0: not
            },
            "positions": {  # positions of longer contexts, shown in these short sequences
                "kind": "none",  # none | pose | shift | e2_llm | clex
                "target_length": 0,  # tokens of the longer context
                "chunks": 2,  # of pose, that skip positions between each other
            },
            "layout": {
                # decompose | concat_and_chunk | pack | pad | window | whole (each document in the
                # shortest bucket that holds it)
                "name": "decompose",
                "targets": "all",  # all | answers: of a task's samples
                "smallest_bucket": 64,  # tokens, a power of two; decompose and whole
                "largest_bucket": 512,  # tokens, a power of two; the training length
                "cut": "longest_first",  # longest_first | shuffled | published (arXiv 2405.13226)
                "tails": "pack",  # pack | pad | drop: what is shorter than the smallest bucket
                "mixture": "natural",  # natural | equal_tokens | explicit
                "shares": (),  # explicit: share of tokens a bucket, shortest first
                "document_mask": True,  # documents that share a row don't see each other
                "join_order": "random",  # random | related: what concat_and_chunk and window join
                "window_start": 0,  # window: keys a query sees at step 0
                "window_rate": 0.0,  # window: keys more a step
                "block_tokens": 1 << 31,  # tokens of the store a block, whose rows are shuffled
            },
            "curriculum": {
                "name": "grow_p2",  # natural | uniform | grow_linear | grow_p2 | grow_p100 | ...
                "odds": (),  # explicit: odds a bucket, shortest first
                "cycles": 4,  # cycles of the token budget
            },
            "sampling": {
                # Shares of the trained tokens, one a domain: ({"domain": "code", "weight": 0.3},
                # {"domain": "prose", "weight": 0.7}). Empty: as many tokens as there are.
                "domain_weights": (),
                # What multiplies the rate of long documents: ({"min_tokens": 8192, "weight": 4.0},)
                # weighs those of 8,192 tokens and more. Empty: 1.
                "length_weights": (),
                "stratify": False,  # every batch holds domains and length bins in proportion
                "shuffle_blocks": 0,  # blocks of the store mixed at a time; 0: all (full shuffle)
            },
        }
    )
    config.phases = ()

    config.train = ConfigDict(
        {
            "log_every": 1,  # steps between rows of metrics.jsonl
            "eval_every": 250,  # steps between scores on the selection split; 0: at the end
            "checkpoint_every": 250,  # steps between checkpoints
            "checksums": False,  # a hash of (batch, loss, parameters) in every row
            "reader_threads": 2,  # threads that assemble batches
            "prefetch": 4,  # batches assembled ahead
            "memory_bytes": 1 << 28,  # a store of fewer bytes of tokens is read into memory whole
            "stage_directory": "",  # local disk to which blocks are copied ahead; empty: none
            "stage_blocks": 0,  # blocks copied at a time; each has layout.block_tokens tokens
            "compile": "auto",  # auto | ahead | behind; auto: behind on a CPU
            # Directory or gs:// address of compiled programs, for the next start; empty: that in
            # the environment's JAX_COMPILATION_CACHE_DIR, or WORKDIR/compiled; "off": none.
            "compilation_cache": "",
            "init_from": "",  # a work directory whose newest weights this run starts from
        }
    )

    config.stopping = ConfigDict(
        {
            # What stopping and the best checkpoint go by: nll (at twice the training length), or a
            # score of eval.during at that length or the training length, such as passkey@256.
            "score": "nll",
            "patience": 0,  # evaluations in a row worse than the best; 0: never stop early
            "min_delta": 0.0,  # of the score, that count as better
        }
    )

    # What becomes of a step that went wrong. See docs/design.md.
    config.anomaly = ConfigDict(
        {
            # A loss, gradient or parameter that is no finite number: stop | skip | rollback
            "on_nonfinite": "stop",
            # A loss or gradient norm far above those of its bucket: off | stop | skip | rollback
            "on_spike": "off",
            "deviations": 6.0,  # standard deviations above the mean from which it is a spike
            "window": 128,  # last steps of a bucket that mean and deviation are taken over
            "warmup": 64,  # steps of a bucket without which nothing is a spike
            "max_skips": 8,  # skipped steps among the last `window` of the run; one more stops it
            "max_rollbacks": 3,  # rollbacks to one checkpoint; one more stops the run
            "rollback_steps": 0,  # steps that the checkpoint lies before the anomaly, at least
            "pass_over": 0,  # data steps after the anomaly's that are passed over with it
        }
    )

    config.profile = ConfigDict(
        {
            "steps": (),  # first and last step of a TensorBoard trace, such as (10, 12); (): none
        }
    )

    config.mesh = ConfigDict(
        {
            "slices": 1,  # groups of devices that a slow network joins; each has all parameters
            "tensor": 1,  # devices that share one layer's heads
            "topology": "",  # --mode=plan: TPUs to plan for, such as v5e:16x16 or v5p:4x4x4
        }
    )

    config.eval = ConfigDict(
        {
            "checkpoint": "last",  # last | best (by the selection score): which one is reported
            "ratios": (0.25, 0.5, 1.0, 2.0, 4.0),  # tested contexts / L_train
            "lengths": (),  # more of them, in tokens
            # What is tried beside the plain model: RoPE scalings (linear, ntk, dynamic, by_parts,
            # yarn, llama3, truncated, power), masks (window, lambda, chunks), far distances
            # (ceiling, string) and log_n, each alone or joined: "yarn+log_n", "lambda+ceiling".
            "methods": ("linear", "ntk", "lambda"),
            "multipliers": (1.0, 2.0, 4.0),  # candidates m of the factor m * context / L_train
            "sinks": 4,  # first tokens that the Lambda mask keeps
            "documents": 128,  # held-out documents, at most
            "min_documents": 20,
            "blocks": 4,  # blocks of targets a document, at most
            "targets_per_block": 16,  # tokens, in one row beyond L_train
            "targets_per_row": 2,  # tokens a row up to L_train: contexts exact to 1 token
            # What is scored besides, at the tested contexts: forgetting | power_law |
            # sliding_window | needle_depth | needle_distance. See docs/evaluation.md.
            "scorers": (),
            "scorer_methods": (),  # of eval.methods, by which these and the tasks are run as well
            "stride_share": 0.5,  # sliding_window: stride / window
            "grid_trials": 20,  # needle_depth, needle_distance: prompts a cell
            "grid_depths": 5,  # needle_depth: depths, from the beginning to the end
            # What is asked about long inputs, at the tested contexts: names of the table in
            # docs/evaluation.md, such as passkey; RULER's own, such as niah_multikey_1; or ruler
            # for its 13 tasks.
            "tasks": (),
            # Scorers and tasks, of those, for every evaluation in training too, on the selection
            # split at the training length and twice that.
            "during": (),
            "prompting": (),  # few_shot | scratchpad: tried beside the direct question
            "generate": False,  # answers are written as well, by greedy decoding
            "shots": 2,  # solved examples of a few-shot prompt
            "haystack": "",  # text file or folder of .txt for haystacks; empty: held-out text
            "qa_1": "",  # SQuAD's JSON, for `reading`; empty: invented documents
            "qa_2": "",  # HotpotQA's JSON, for `joined_reading`; empty: invented documents
            "prompts": 40,  # of each task, context and control
            # Work directories scored before, for the card, or the report of a task: side by side,
            # in pairs. Those that differ in their seed alone count as seeds of one training.
            "compare": (),
            # Of data.source="task": which lengths are scored, in what the task counts.
            "answers": {
                "lengths": (1, 40, 1),  # first, last, step: what is reported
                # The same of the split that chooses (stopping, best); (): those of training
                "selection_lengths": (),
                "samples": 256,  # fresh ones of each length
                "threshold": 0.85,  # right answers, under which accuracy counts as fallen
                "decoded": 8,  # samples of a length decoded token by token, to check
            },
            "bootstrap_samples": 1000,
            "confidence": 0.95,
            "chunk": 16_384,  # longer rows are scored so many tokens at a time; 0: rows are whole
            "tokens_per_call": 32_768,  # tokens the scorer takes at a time
            "seed": 0,
        }
    )

    # What --mode=generate writes behind prompts, by the checkpoint that eval.checkpoint names.
    config.generate = ConfigDict(
        {
            "prompt": "",  # text to go on from
            "prompts": "",  # path of a file with a prompt a line, in place of `prompt`
            "max_tokens": 128,  # behind a prompt, at most; the end of text ends it before
            "temperature": 0.0,  # of the softmax that tokens are drawn from; 0: the likeliest
            "top_k": 0,  # drawn among so many likeliest tokens; 0: all
            "top_p": 1.0,  # drawn among the fewest with this probability together; 1: all
            "samples": 1,  # texts a prompt
            "seed": 0,  # of the draws
        }
    )
    return config.lock()
