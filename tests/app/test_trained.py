"""What a trained checkpoint is for besides its scores: writing on from prompts, and
lm-evaluation-harness, offline, against the model itself."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lengthwise.app import modes, session
from lengthwise.app.checkpoint import Trained
from lengthwise.app.harness.__main__ import run
from lengthwise.app.harness.model import CheckpointLM
from lengthwise.app.harness.tasks import names, task_config
from lengthwise.app.modes import open_store
from lengthwise.app.session import Session
from lengthwise.app.text import TextScoring
from lengthwise.common.errors import UserError
from lengthwise.configs.resolve import from_saved
from lengthwise.configs.saved_config import read_config
from lengthwise.eval.inference.scorer import Setting
from lengthwise.eval.inference.start_token import StartToken
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.train.machine.peak import Peak
from tests import tiny
from tests.app.runs import CONFIG, ROOT, RUN, score_of_step

QUESTIONS = [
    {"text": "abc def", "choices": [" gh", " abcdefgh"], "label": 1},
    {"text": "h", "choices": [" b", " cc"], "label": 0},
    {"text": "aa bb cc dd", "choices": [" e", " f"], "label": 0},
]
TASK = """
task: two_choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: choices
doc_to_target: label
target_delimiter: ""
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


@pytest.fixture(scope="module")
def trained(corpus, store, tmp_path_factory):
    """A work directory with a checkpoint."""
    config = tiny.get_config()
    changes = [argument.removeprefix("--config.").split("=") for argument in RUN]
    config.update_from_flattened_dict(
        {name: value if value.isalpha() else ast.literal_eval(value) for name, value in changes}
    )
    config.data.path, config.data.store = str(corpus), str(store)
    workdir = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "device_peak", lambda *_: Peak(1e9, "not measured"))
        patch.setattr(TextScoring, "probe", score_of_step)
        patch.setattr(Session, "score_checkpoint", lambda self, checkpoints: None)
        assert modes.run("train", config, str(workdir)) == 0
    return workdir


def loaded(workdir):
    experiment = from_saved(read_config(workdir))
    return Trained(experiment, open_store(experiment, workdir), workdir)


def directly(checkpoint, context, continuation):
    """The log-likelihood by whole rows, which no cache is in."""
    tokens = np.frombuffer((context + continuation).encode(), np.uint8).astype(np.int64)[None]
    nats = checkpoint.model(Setting())(np.pad(tokens, ((0, 0), (0, 33 - tokens.shape[1]))))
    return -nats[0, len(context) - 1 : tokens.shape[1] - 1].sum()


def test_a_trained_checkpoint_writes_on_from_prompts(lengthwise, refused, data, trained, tmp_path):
    config = (trained / "config.json").read_bytes()
    mode = (f"--config={CONFIG}", f"--workdir={trained}", *data, *RUN, "--mode=generate")

    file = tmp_path / "prompts.txt"
    file.write_text("abc def\n\nh\n")
    asked = (f"--config.generate.prompts={file}", "--config.generate.max_tokens=6")
    alone = (f"--workdir={trained}", "--mode=generate")  # which knows its config
    status, out, errors = lengthwise(*alone, *asked, "--config.generate.samples=2")
    assert (status, errors) == (0, [])
    assert "config: generate.samples: 1 -> 2 (saved -> now)\n" in out
    path = trained / "generate" / "0001.jsonl"
    assert out.splitlines()[-1] == f"generated: {path}"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["prompt"], row["sample"]) for row in rows] == [
        ("abc def", 0),
        ("abc def", 1),
        ("h", 0),
        ("h", 1),
    ]
    assert rows[0]["tokens"] == rows[1]["tokens"]  # greedy
    for row in rows:
        assert row["checkpoint_step"] == 12
        assert 1 <= len(row["tokens"]) <= 6
        assert row["text"] in out
        assert row["ended"] == (row["tokens"][-1] == 256)

    drawn = ("--config.generate.prompt=abc", "--config.generate.temperature=3.0")
    assert lengthwise(*mode, *drawn, "--config.generate.samples=2")[0] == 0
    path = trained / "generate" / "0002.jsonl"
    first, second = (json.loads(line)["tokens"] for line in path.read_text().splitlines())
    assert first != second
    assert (trained / "config.json").read_bytes() == config

    # Longer than the training, as it is and by a method; then what can't be.
    long = (f"--config.generate.prompt={'abc ' * 30}", "--config.generate.max_tokens=2")
    for method in ("", "self_extend:window=8"):
        assert lengthwise(*mode, *long, f"--config.generate.method={method}")[0] == 0
    for method, word in (
        ("yarm", "generate.method names 'yarm', which is unknown"),
        ("self_extend:window=8,group_size=9", "groups of 9 tokens, more than window=8"),
    ):
        assert word in refused(*mode, *drawn, f"--config.generate.method={method}")

    assert "either generate.prompt" in refused(*mode)
    assert "generate.top_p is 0" in refused(*mode, *drawn, "--config.generate.top_p=0.0")
    nowhere = "cannot read generate.prompts='nowhere.txt': No such file or directory; name a text"
    assert nowhere in refused(*mode, "--config.generate.prompts=nowhere.txt")
    other = tmp_path / "empty"
    assert "holds no run" in refused(*mode, f"--workdir={other}", *drawn)


def test_a_terminal_is_read_and_answered_as_files_are(lengthwise, trained, tmp_path, monkeypatch):
    file = tmp_path / "prompts.jsonl"
    file.write_text('"abc def"\n"two\\nlines"\n""\n')
    sampling = ("--config.generate.temperature=3.0", "--config.generate.repetition_penalty=1.5")
    mode = (f"--workdir={trained}", "--mode=generate", "--config.generate.max_tokens=19", *sampling)
    typed = iter(["abc def", "two\\", "lines", ""])

    def line(prompt):
        print(prompt, end="")
        if (text := next(typed, None)) is None:
            raise EOFError
        return text

    monkeypatch.setattr("builtins.input", line)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    status, out, errors = lengthwise(*mode)
    assert (status, errors) == (0, [])
    assert "checkpoint 12, trained on rows of up to 32 tokens" in out
    path = Path(out.splitlines()[-1].removeprefix("generated: "))
    talked = [json.loads(row) for row in path.read_text().splitlines()]
    assert [row["prompt"] for row in talked] == ["abc def", "two\nlines", ""]
    assert all(row["text"] in out for row in talked)

    alone = []
    for number, row in enumerate(talked):
        file.write_text(json.dumps(row["prompt"]))
        status, out, _ = lengthwise(*mode, f"--config.generate.prompts={file}")
        path = Path(out.splitlines()[-1].removeprefix("generated: "))
        alone += [json.loads(line) for line in path.read_text().splitlines()]
        assert alone[number]["tokens"] == row["tokens"]

    text = alone[0]["text"]
    stop = text[len(text) // 2 :][:2]
    file.write_text(json.dumps("abc def"))
    asked = (f"--config.generate.prompts={file}", f"--config.generate.stop={(stop,)!r}")
    status, out, _ = lengthwise(*mode, *asked)
    (row,) = map(json.loads, Path(out.splitlines()[-1][11:]).read_text().splitlines())
    assert (row["text"], row["ended"]) == (text[: text.index(stop)], True)


def test_a_task_of_the_harness_scores_as_the_model_does(trained, tmp_path, monkeypatch):
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "huggingface"))
    config = read_config(trained)
    assert json.loads(json.dumps(from_saved(config).resolved)) == config

    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(json.dumps(question) for question in QUESTIONS))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "two_choices.yaml").write_text(TASK.format(file=file))
    own = next(name for name in names(64) if "passkey" in name)
    report = run(trained, ["two_choices", own], include_path=str(tmp_path / "tasks"), max_length=64)

    checkpoint = loaded(trained)
    scores = [
        [directly(checkpoint, question["text"], choice) for choice in question["choices"]]
        for question in QUESTIONS
    ]
    right = [np.argmax(s) == q["label"] for s, q in zip(scores, QUESTIONS, strict=True)]
    sizes = [[len(choice) for choice in question["choices"]] for question in QUESTIONS]
    by_size = [
        np.argmax(np.divide(s, n)) == q["label"]
        for s, n, q in zip(scores, sizes, QUESTIONS, strict=True)
    ]
    found = report["results"]["two_choices"]
    assert found["acc,none"] == pytest.approx(np.mean(right))
    assert found["acc_norm,none"] == pytest.approx(np.mean(by_size))
    assert 0 <= report["results"][own]["acc,none"] <= 1
    assert report["checkpoint_step"] == 12
    assert json.loads((trained / "eval" / "harness.json").read_text()) == report

    tokenizer = checkpoint.text_tokenizer()
    cached = checkpoint.model.cached(Setting())
    assert not checkpoint.start_token.trained  # each row is of one document
    model = CheckpointLM(cached, tokenizer, 64, checkpoint.start_token)

    def requests(*arguments):
        return [SimpleNamespace(args=each) for each in arguments]

    pairs = [(q["text"], choice) for q in QUESTIONS for choice in q["choices"]]
    likelihoods = model.loglikelihood(requests(*pairs), disable_tqdm=True)
    np.testing.assert_allclose([nats for nats, _ in likelihoods], np.concatenate(scores), atol=1e-4)

    # What it writes is what it finds greedy, up to where a task stops it.
    ((text,), (cut,)) = (
        model.generate_until(requests(("abc", {"max_gen_toks": 5, "until": until})))
        for until in ([], [" "])
    )
    assert cut == text.split(" ")[0]
    if text.isascii() and len(text) == 5:
        assert model.loglikelihood(requests(("abc", text)), disable_tqdm=True)[0][1]
    (rolling,) = model.loglikelihood_rolling(requests(("abcd",)), disable_tqdm=True)
    (behind_first,) = model.loglikelihood(requests(("a", "bcd")), disable_tqdm=True)
    assert rolling == pytest.approx(behind_first[0])
    known = CheckpointLM(cached, tokenizer, 64, StartToken.of(None, 256, joined=True))
    (rolling,) = known.loglikelihood_rolling(requests(("abcd",)), disable_tqdm=True)
    (behind_end,) = known.loglikelihood(requests(("", "abcd")), disable_tqdm=True)
    assert rolling == pytest.approx(behind_end[0])

    # A method runs the requests that are longer than the training, and those alone.
    at = checkpoint.l_train
    setting = checkpoint.setting("rerope:window=8", 64, "--method")
    assert setting.scaling.ceiling == 8
    assert checkpoint.setting("rerope:window=8", at, "--method") == Setting()
    beyond = {at: checkpoint.model.cached(setting)}
    by_method = CheckpointLM(cached, tokenizer, 64, checkpoint.start_token, beyond)
    both = requests(("abc" * 4, "de"), ("abc" * 19, "de"))
    (short, _), (long, _) = by_method.loglikelihood(both, disable_tqdm=True)
    (plain_short, _), (plain_long, _) = model.loglikelihood(both, disable_tqdm=True)
    assert short == pytest.approx(plain_short, abs=1e-5)
    tokens = np.frombuffer(both[1].args[0].encode() + b"de", np.uint8).astype(np.int64)[None]
    nats = checkpoint.model(setting)(np.pad(tokens, ((0, 0), (0, 65 - tokens.shape[1]))))
    assert long == pytest.approx(-nats[0, 56:58].sum(), abs=1e-4)
    assert abs(long - plain_long) > 1e-3

    for call, arguments in (
        (model.loglikelihood, ("a" * 62, "bcd")),
        (model.loglikelihood_rolling, ("a" * 65,)),
        (model.generate_until, ("a" * 62, {"max_gen_toks": 3})),
    ):
        with pytest.raises(UserError, match="65 tokens is longer than --max_length=64"):
            call(requests(arguments), disable_tqdm=True)


@pytest.mark.slow  # the harness reads all of its tasks
def test_an_unknown_task_is_refused_by_its_name(trained):
    with pytest.raises(UserError, match="'hellaswagg', which is unknown"):
        run(trained, ["hellaswagg"])


def test_own_tasks_have_the_length_that_their_name_says():
    from lengthwise.data.store.tokenizers import ByteTokenizer

    maker = PromptMaker(ByteTokenizer(), 64)
    config = task_config("lengthwise_only_keys_256", ByteTokenizer(), maker, count=3, seed=0)
    rows = config["custom_dataset"]()["test"]
    assert len(rows) == 3
    for row in rows:
        assert {len(row["text"] + choice) for choice in row["choices"]} == {256}
        assert len(set(row["choices"])) == 4


def test_it_needs_no_torch():
    imports = "from lengthwise.app.harness import model, tasks"
    code = f"{imports}; import sys; assert 'torch' not in sys.modules"
    hidden = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; "
    subprocess.run(
        [sys.executable, "-c", hidden + code.replace("'torch' not in sys.modules", "True")],
        cwd=ROOT,
        check=True,
    )
