"""What is written of a run on text whatever its lengths: exposure, and scores without report."""

from pathlib import Path
from typing import Any

from lengthwise.app.scoring import Checkpoint, Subject
from lengthwise.common.files import write_figures
from lengthwise.data.schedule.exposure import total_exposure
from lengthwise.eval.losses.results import SAME_TARGET_NLL, Results, save_results
from lengthwise.train.rules.anomaly import AnomalyRules


def exposure_of(subject: Subject, checkpoint: Checkpoint) -> dict[str, Any]:
    """Trained targets by context up to a checkpoint, for exposure.json."""
    rules = AnomalyRules(subject.experiment.anomaly)
    rules.restore(checkpoint.host.get("anomalies"))
    exposures = subject.phases.exposure(checkpoint.step, rules)
    return {
        "l_train": subject.l_train,
        "phases": [
            {"layout": phase.layout.accounting.layout, **each.as_dict()}
            for phase, each in zip(subject.phases.phases, exposures, strict=False)
        ],
        "total": total_exposure(exposures).as_dict(),
        "epochs": subject.phases.epochs(checkpoint.step, rules),
    }


def write_in_range(
    subject: Subject, checkpoint: Checkpoint, results: Results | None, workdir: Path
) -> None:
    """Writes exposure.json, and results.json of scores up to the training length; results None:
    nothing could be scored."""
    write_figures(workdir / "exposure.json", exposure_of(subject, checkpoint))
    if results is None:
        print("nothing is scored; the notes at the start say why and what would help")
        return
    path = workdir / "eval" / "results.json"
    save_results(results, path)
    for row in results.select(metric=SAME_TARGET_NLL, role="result"):
        print(f"{row.context} tokens: {row.value:.3f} [{row.low:.3f}, {row.high:.3f}] nats/token")
    print(f"scores: {path}; no report and no card, which are about longer contexts")
