"""The scripts for Cloud TPU slices: what they would run, with no cloud at hand."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"
POD = ["--name=run1", "--type=v5e-16", "--zone=us-west4-a", "--project=mine", "--bucket=kept"]
ARGUMENTS = ["--", "--config=configs/baseline.py", "--config.profile.steps=(10,12)", "--x=a b,$c"]


def pod(*arguments, **environment):
    return subprocess.run(
        [LAUNCH / "pod.sh", *arguments],
        env={**os.environ, "TMPDIR": "/tmp", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def commands(*arguments):
    """The commands that a dry run prints, as lists of words."""
    found = pod(*arguments, "--dry_run") if "--" not in arguments else pod(*with_dry_run(arguments))
    told = [line for line in found.stderr.splitlines() if not line.startswith("note: only what")]
    assert (found.returncode, told) == (0, [])
    return [shlex.split(line) for line in found.stdout.splitlines()]


def with_dry_run(arguments):
    at = arguments.index("--")
    return (*arguments[:at], "--dry_run", *arguments[at:])


def test_shellcheck_finds_nothing():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    scripts = sorted(LAUNCH.glob("*.sh"))
    assert len(scripts) == 3
    found = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_a_dry_run_removes_nothing(tmp_path):
    kept = tmp_path / "lengthwise-run1.tar.gz"
    kept.write_text("of a run that is being uploaded")
    assert pod(*with_dry_run(("create", *POD, *ARGUMENTS)), TMPDIR=str(tmp_path)).returncode == 0
    assert kept.exists()


def test_create_uploads_the_code_and_queues_the_slice():
    archive, upload, create = commands("create", *POD, "--spot", *ARGUMENTS)
    assert archive[-1] == "HEAD"
    file = "/tmp/lengthwise-run1.tar.gz"
    assert f"--output={file}" in archive
    assert upload == ["gcloud", "storage", "cp", file, "gs://kept/run1/source.tar.gz"]
    assert create[:6] == ["gcloud", "compute", "tpus", "queued-resources", "create", "run1"]
    assert {
        "--node-id=run1",
        "--accelerator-type=v5litepod-16",
        "--runtime-version=v2-alpha-tpuv5-lite",
        "--zone=us-west4-a",
        "--project=mine",
        "--spot",
        f"--metadata-from-file=startup-script={LAUNCH}/startup.sh",
    } <= set(create)
    (metadata,) = [word for word in create if word.startswith("--metadata=")]
    assert metadata.startswith("--metadata=^|^lengthwise-bucket=kept|lengthwise-name=run1|")
    # The hosts' shell takes the arguments apart as they were given here, whatever is in them.
    line = metadata.split("lengthwise-arguments=")[1]
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True)
    assert words.stdout.splitlines() == ARGUMENTS[1:]


@pytest.mark.parametrize(
    ("type_", "accelerator", "runtime"),
    [
        ("v5p-128", "v5p-128", "v2-alpha-tpuv5"),
        ("v5p:4x4x4", "v5p-128", "v2-alpha-tpuv5"),
        ("v6e-8", "v6e-8", "v2-alpha-tpuv6e"),
        ("v4-8", "v4-8", "tpu-ubuntu2204-base"),
        ("v4:2x2x1", "v4-8", "tpu-ubuntu2204-base"),
        ("v5litepod-16", "v5litepod-16", "v2-alpha-tpuv5-lite"),
        ("v5e:4x4", "v5litepod-16", "v2-alpha-tpuv5-lite"),
    ],
)
def test_types_as_cloud_tpu_names_them(type_, accelerator, runtime):
    other = [word.replace("v5e-16", type_) for word in POD]
    create = commands("create", *other, *ARGUMENTS)[-1]
    assert f"--accelerator-type={accelerator}" in create
    assert f"--runtime-version={runtime}" in create
    assert "--spot" not in create


def test_watch_asks_anew_for_what_was_preempted():
    delete, create = commands("watch", *POD, "--spot", *ARGUMENTS)
    assert delete[3:6] == ["queued-resources", "delete", "run1"]
    assert {"--force", "--quiet"} <= set(delete)
    assert create == commands("create", *POD, "--spot", *ARGUMENTS)[-1]


# A gcloud of the test: it can't be reached once, the slice is preempted once, the run is done.
GCLOUD = """#!/usr/bin/env bash
echo "$*" >>"$LOG"
case "$*" in
  *"storage ls"*done) [[ $(grep -c describe "$LOG") -ge 3 ]] ;;
  *"storage ls"*) exit 1 ;;
  *describe*)
    if grep -q create "$LOG"; then echo ACTIVE
    elif [[ $(grep -c describe "$LOG") == 1 ]]; then exit 1
    else echo SUSPENDED; fi ;;
esac
"""


def test_watch_ends_when_the_run_is_done(tmp_path):
    for name, text in (("gcloud", GCLOUD), ("sleep", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    log.touch()
    path = f"{tmp_path}:{os.environ['PATH']}"
    found = pod("watch", *POD, *ARGUMENTS, PATH=path, LOG=str(log))
    assert found.returncode == 0, found.stderr
    assert "run1: state unknown" in found.stdout
    assert "run1: SUSPENDED" in found.stdout
    assert found.stdout.endswith("done: gs://kept/run1/run\n")
    asked = [line.split()[3] for line in log.read_text().splitlines() if "queued" in line]
    assert asked == ["describe", "describe", "delete", "create", "describe"]


# Another: of the commands that ask anew the one that is named in $FAILS has no answer at first.
UNANSWERED = """#!/usr/bin/env bash
echo "$*" >>"$LOG"
first() { [[ $(grep -c "$1" "$LOG") == 1 ]]; }
case "$*" in
  *"storage ls"*done) [[ -e $LOG.queued ]] ;;
  *"storage ls"*) exit 1 ;;
  *describe*) [[ ! -e $LOG.gone ]] || exit 1; echo SUSPENDED ;;
  *delete*) touch "$LOG.gone"; [[ $FAILS != delete ]] || exit 1 ;;
  *create*) if [[ $FAILS == create ]] && first create; then exit 1; fi; touch "$LOG.queued" ;;
esac
"""


@pytest.mark.parametrize("fails", ["delete", "create"])
def test_watch_asks_on_where_asking_anew_has_no_answer(tmp_path, fails):
    for name, text in (("gcloud", UNANSWERED), ("sleep", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    path = f"{tmp_path}:{os.environ['PATH']}"
    found = pod("watch", *POD, *ARGUMENTS, PATH=path, LOG=str(log), FAILS=fails)
    assert found.returncode == 0, found.stderr
    asked = [line.split()[3] for line in log.read_text().splitlines() if "queued" in line]
    between = ["create", "describe"] if fails == "create" else ["describe"]
    assert asked == ["describe", "delete", *between, "create"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "unknown command 'fly'"),
        (["status", *POD[1:]], "--name is missing"),
        (["status", *POD, "--typo=1"], "unknown argument --typo=1"),
        (["status", *[w.replace("v5e-16", "h100") for w in POD]], "--type=h100 is unknown"),
        (["status", *[w.replace("v5e-16", "tpu7x-16") for w in POD]], "TPU7x through GKE alone"),
        (["create", *POD, "--", "--x=a|b"], "arguments can't hold |"),
        (["create", *POD], "no arguments of main.py"),
        (["delete", *[w.replace("=kept", "=gs://kept") for w in POD]], "without gs://"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message):
    found = pod(*arguments)
    assert found.returncode == 2
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_edits_that_are_left_behind_are_named(tmp_path):
    shutil.copytree(LAUNCH, tmp_path / "launch")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=all"], check=True)

    def created():
        command = [tmp_path / "launch" / "pod.sh", *with_dry_run(("create", *POD, *ARGUMENTS))]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert created() == ""
    (tmp_path / "launch" / "pod.sh").open("a").write("\n")
    (tmp_path / "new.py").touch()
    assert created().endswith("left behind: launch/pod.sh, new.py\n")


# A python of the test: fails, or leaves a checkpoint and fails, as $CHECKPOINT says.
PYTHON = """#!/usr/bin/env bash
echo start >>"$LOG"
[[ -z $CHECKPOINT ]] || mkdir -p "$RUN/checkpoints/$CHECKPOINT"
exit "$STATUS"
"""


@pytest.fixture
def service(tmp_path):
    """Starts launch/service.sh once: (status, error, number of starts of main.py until now)."""
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    log, directory = tmp_path / "log", tmp_path / "run1"
    log.touch()

    def start(status=1, checkpoint="", **environment):
        variables = {"LOG": str(log), "RUN": str(directory / "run"), "STATUS": str(status)}
        found = subprocess.run(
            [LAUNCH / "service.sh", str(directory), str(tmp_path / "python"), "--x=a b"],
            env={**os.environ, "HOSTNAME": "host", "CHECKPOINT": checkpoint, **variables}
            | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return found.returncode, found.stderr, len(log.read_text().splitlines())

    return start


def test_five_starts_without_a_new_checkpoint_are_enough(service, tmp_path):
    assert [service()[0] for _ in range(4)] == [1] * 4
    assert service(checkpoint="40")[0] == 1
    assert [service()[0] for _ in range(5)] == [1] * 5
    status, error, starts = service()
    assert (status, starts) == (2, 10)
    assert "5 starts without a checkpoint after 40" in error
    assert service()[::2] == (2, 10)  # no host starts again
    (tmp_path / "run1" / "failed").unlink()
    assert service(status=0)[::2] == (0, 11)
    assert (tmp_path / "run1" / "done").exists()


def test_a_mistake_ends_the_other_hosts_too(service, tmp_path):
    assert service(status=2)[::2] == (2, 1)
    assert service()[::2] == (2, 1)


def test_a_bucket_without_folders_is_refused_before_anything(service, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mv").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "mv").chmod(0o755)
    status, error, starts = service(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert (status, starts) == (2, 0)
    assert "make the bucket with a hierarchical namespace" in error
