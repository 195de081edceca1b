"""Wall time of a report card by part, of a trained run that is scored again.

python -m lengthwise.benchmarks.eval.card_time --workdir=RUN [--longest=4096] [-- FLAGS OF main.py]

The lengths are 1/4 to `longest` over the training length of the run, in powers of two. The card of
the run is replaced by the new one. Wall clock from the start of the process to its end, compilation
and drawing included; the parts are those of the card.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.common.errors import UserError
from lengthwise.eval.card.card import CARD

_WORKDIR = flags.DEFINE_string("workdir", "runs/bytes", "A trained run.")
_CONFIG = flags.DEFINE_string("config", "configs/bytes.py", "The config of its training.")
_LONGEST = flags.DEFINE_integer("longest", 4096, "Tokens.", lower_bound=1)


def main(arguments: list[str]) -> int:
    workdir = Path(_WORKDIR.value)
    if not (workdir / "exposure.json").exists():
        raise UserError(f"--workdir={workdir} holds no run that was scored; train one first")
    l_train = json.loads((workdir / "exposure.json").read_text())["l_train"]
    ratios = [1 / 4]
    while 2 * ratios[-1] * l_train <= _LONGEST.value:
        ratios.append(2 * ratios[-1])
    if ratios[-1] < 2:
        raise UserError(
            f"--longest={_LONGEST.value} must be at least {2 * l_train}, twice the training length"
        )
    command = [
        *(sys.executable, "-m", "lengthwise", "--mode=eval", f"--config={_CONFIG.value}"),
        *(f"--workdir={workdir}", f"--config.eval.ratios={tuple(ratios)}", *arguments),
    ]
    print(" ".join(command), flush=True)
    started = time.perf_counter()
    status = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
    if status:
        return status  # whose one line stands on stderr
    seconds = time.perf_counter() - started

    (first, *_) = json.loads((workdir / CARD).read_text())["entries"]
    parts: dict[str, float] = {}
    for each in first["judgements"]:
        parts[each["scorer"]] = parts.get(each["scorer"], 0.0) + each["seconds"]
    scoring = first["checkpoints"][0]["seconds"]["scoring"]
    print(f"{os.cpu_count()} cores, lengths {', '.join(str(int(r * l_train)) for r in ratios)}")
    print("| part | seconds |")
    print("|---|---|")
    for name, spent in parts.items():
        print(f"| {name} | {spent:,.1f} |")
    print(f"| scores of the selection split, controls | {scoring - sum(parts.values()):,.1f} |")
    print(f"| start, pictures, pages | {seconds - scoring:,.1f} |")
    print(f"| all | {seconds:,.1f} |")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"CPU seconds: {used.ru_utime + used.ru_stime:,.1f} (where others share the machine)")
    return 0


if __name__ == "__main__":
    flag_command.run(main, "flags of main.py", required=False)
