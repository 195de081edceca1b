"""Runs tasks of lm-evaluation-harness on a checkpoint, without torch.

    pip install -r requirements-harness.txt
    python -m lengthwise.app.harness --workdir=RUN --tasks=hellaswag,lengthwise_passkey_256
    python -m lengthwise.app.harness --workdir=OUT --tasks=hellaswag --model=HUGGING_FACE_FOLDER

Besides the harness's own tasks, which it downloads, and those of --include_path there are the tasks
of eval/prompts/tasks at any length, lengthwise_TASK_LENGTH. Writes WORKDIR/eval/harness.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from lengthwise.app.command import shell
from lengthwise.common.errors import UserError
from lengthwise.common.files import write_figures
from lengthwise.common.paths import user_path
from lengthwise.eval.config import tested_contexts
from lengthwise.eval.inference.scorer import Setting


def run(
    workdir: Path,
    tasks: list[str],
    *,
    model: str = "",
    max_length: int = 0,
    include_path: str | None = None,
    num_fewshot: int | None = None,
    limit: int | None = None,
    method: str = "",
) -> dict[str, Any]:
    """Scores the tasks; returns what harness.json holds.

    Args:
      model: a Hugging Face folder, scored in place of the run in `workdir`.

    Raises:
      UserError: lm_eval is not installed, the work directory holds no run, a task is unknown, a
        request is too long, there are several processes, no task can be asked.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise UserError(
            f"{error}; pip install -r requirements-harness.txt brings lm-evaluation-harness"
        ) from error
    from lengthwise.app.checkpoint import Trained
    from lengthwise.app.harness.model import CheckpointLM
    from lengthwise.app.harness.tasks import is_own, names, task_config

    # Here, since this is a program of its own: nothing of eval needs these.
    from lengthwise.app.huggingface.pretrained import Pretrained
    from lengthwise.app.store import open_store
    from lengthwise.configs.huggingface import get_config
    from lengthwise.configs.resolve import from_saved, load
    from lengthwise.configs.saved_config import read_config
    from lengthwise.eval.prompts.prompt import Unaskable
    from lengthwise.eval.scoring.bench import Bench
    from lengthwise.train.machine.workdir import locked

    if jax.process_count() > 1:
        raise UserError("app.harness runs on one process; score on one host")
    if not model and not (workdir / "config.json").exists():
        raise UserError(
            f"--workdir={workdir} holds no run; train one first, or name a Hugging Face folder: "
            "--model=FOLDER"
        )
    others = [name for name in tasks if not is_own(name)]
    if model and len(others) < len(tasks):
        raise UserError(
            "--tasks names some of Lengthwise's own, which are made of the text of a run; score "
            "the folder by --mode=eval first, then its --workdir here"
        )
    # Reading the thousands of tasks that the harness comes with takes seconds.
    manager = TaskManager(include_path=include_path, include_defaults=False)
    if not all(manager.match_tasks([name]) for name in others):
        manager = TaskManager(include_path=include_path)
    for name in others:
        if not manager.match_tasks([name]):
            raise UserError(
                f"--tasks names {name!r}, which is unknown; `lm-eval ls tasks` lists the tasks of "
                f"the harness, and here are {', '.join(names('LENGTH'))}"
            )
    with locked(workdir):
        trained: Trained | Pretrained
        if model:
            experiment = load(get_config(model), None)
            trained = Pretrained(experiment, workdir)
        else:
            saved = read_config(workdir)
            assert saved is not None
            experiment = from_saved(saved)
            trained = Trained(experiment, open_store(experiment, workdir), workdir)
        config, tokenizer = experiment.eval, trained.text_tokenizer()
        beyond = trained.l_train if model else tested_contexts(config, trained.l_train)[-1]
        longest = max_length or beyond
        own: dict[str, dict[str, Any]] = {}
        left_out: dict[str, str] = {}
        for name in filter(is_own, tasks):
            assert isinstance(trained, Trained)
            bench = Bench(
                source=trained.store,
                tokenizer=tokenizer,
                config=config,
                l_train=trained.l_train,
                lengths=tested_contexts(config, trained.l_train),
                fingerprint=trained.scored_text,
                why_no_positions="",
                start_token=trained.start_token,
            )
            try:
                own[name] = task_config(
                    name, tokenizer, bench.prompt_maker, config.prompts, config.seed
                )
            except Unaskable as error:
                if len(left_out) == len(tasks) - 1:
                    raise
                left_out[name] = str(error)
                print(f"note: left out: {error}")
        requested: list[Any] = [own.get(name, name) for name in tasks if name not in left_out]
        plain = trained.model.cached(Setting())
        beyond_training = trained.model.cached(trained.setting(method, longest, "--method"))
        ways = {trained.l_train: beyond_training}
        scored = CheckpointLM(plain, tokenizer, longest, trained.start_token, beyond=ways)
        output = simple_evaluate(
            scored,
            tasks=requested,
            task_manager=manager,
            num_fewshot=num_fewshot,
            limit=limit,
            bootstrap_iters=config.bootstrap_samples,
            random_seed=config.seed,
            numpy_random_seed=config.seed,
            fewshot_random_seed=config.seed,
            log_samples=False,
        )
        assert output is not None
        for note in scored.notes():
            print(f"note: {note}")
        report = {
            "checkpoint_step": trained.step,
            "l_train": trained.l_train,
            "max_length": longest,
            "method": method,
            "left_out": left_out,
            "notes": scored.notes(),
            **{key: output[key] for key in ("results", "versions", "n-shot", "n-samples")},
        }
        # The harness puts functions and numpy's numbers among its results.
        plain = json.loads(json.dumps(report, default=str))
        write_figures(workdir / "eval" / "harness.json", plain)
    return report


def parser() -> shell.ArgumentParser:
    parser = shell.ArgumentParser(
        prog="python -m lengthwise.app.harness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", required=True, help="of a trained run")
    folder = "Hugging Face folder to score in place of a run; results still go to --workdir"
    parser.add_argument("--model", default="", help=folder)
    parser.add_argument("--tasks", required=True, help="names of tasks, with commas between")
    parser.add_argument("--include_path", help="a folder with more tasks, as YAML")
    parser.add_argument("--num_fewshot", type=shell.at_least(0), help="examples before a question")
    parser.add_argument("--limit", type=shell.at_least(1), help="questions of a task, at most")
    longest = "tokens of a request; a longer one is an error; default: the longest of eval.ratios"
    parser.add_argument("--max_length", type=shell.at_least(0), default=0, help=longest)
    how = 'of requests longer than the training length, such as "yarn"; default: as they are'
    parser.add_argument("--method", default="", help=how)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Runs the tasks and prints their metrics; returns the exit status."""
    options = vars(parser().parse_args(arguments))
    workdir = user_path(options.pop("workdir"), "--workdir")
    tasks = options.pop("tasks").split(",")
    report = run(workdir, tasks, **options)
    for name, metrics in report["results"].items():
        values = (f"{key} {value}" for key, value in metrics.items() if key != "alias")
        print(f"{name}: {', '.join(values)}")
    print(f"harness: {workdir / 'eval' / 'harness.json'}")
    return 0


if __name__ == "__main__":
    shell.run_command(lambda: main(sys.argv[1:]))
