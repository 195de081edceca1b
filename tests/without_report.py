"""`python main.py` without what these tests don't look at: the report's pictures, or all scores."""

import functools
import os
import sys
import time

from lengthwise.train.machine.meeting import early_meeting


def run_without_report(run, config, workdir):
    # Not before the process has joined the others, as in main.
    from lengthwise.app import session, text
    from lengthwise.eval.report.run import report
    from tests.app.runs import score_of_step

    report.write_report = lambda workdir, inputs: workdir / "not-drawn"
    if "HELD" in os.environ:
        report.write_report = lambda workdir, inputs: time.sleep(600)
    if "UNSCORED" in os.environ:
        session.Session.score_checkpoint = lambda self, checkpoints: None
        text.TextScoring.probe = score_of_step
    return run(config, workdir)


if __name__ == "__main__":
    with early_meeting(sys.argv) as meeting:
        from lengthwise.app.command import cli

        cli._run = functools.partial(run_without_report, cli._run)
        cli.entry(meeting)
