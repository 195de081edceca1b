"""lm-evaluation-harness on a trained checkpoint, offline, against the model itself."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from errors import UserError
from eval.harness import run
from eval.harness_model import CheckpointLM
from eval.harness_tasks import names, task_config
from eval.scorer import Setting
from experiment import from_saved
from modes import open_store
from tests.main.runs import ROOT
from train.workdir import read_config
from trained import Trained

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


@pytest.fixture
def trained(lengthwise, unscored, start, tmp_path, monkeypatch):
    """A work directory with a checkpoint."""
    assert lengthwise(*start)[0] == 0
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "huggingface"))
    return tmp_path / "run"


def loaded(workdir):
    experiment = from_saved(read_config(workdir))
    return Trained(experiment, open_store(experiment, workdir), workdir)


def directly(checkpoint, context, continuation):
    """The log-likelihood by whole rows, which no cache is in."""
    tokens = np.frombuffer((context + continuation).encode(), np.uint8).astype(np.int64)[None]
    nats = checkpoint.model(Setting())(np.pad(tokens, ((0, 0), (0, 33 - tokens.shape[1]))))
    return -nats[0, len(context) - 1 : tokens.shape[1] - 1].sum()


def test_a_task_of_the_harness_scores_as_the_model_does(trained, tmp_path):
    config = read_config(trained)
    assert json.loads(json.dumps(from_saved(config).resolved)) == config

    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(json.dumps(question) for question in QUESTIONS))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "two_choices.yaml").write_text(TASK.format(file=file))
    own = names([64])[0]
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
    model = CheckpointLM(checkpoint.model.cached(Setting()), tokenizer, 64)

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
    (whole,) = model.loglikelihood_rolling(requests(("abcd",)), disable_tqdm=True)
    (behind_end,) = model.loglikelihood(requests(("", "abcd")), disable_tqdm=True)
    assert whole == pytest.approx(behind_end[0])

    for call, arguments in (
        (model.loglikelihood, ("a" * 62, "bcd")),
        (model.loglikelihood_rolling, ("a" * 64,)),
        (model.generate_until, ("a" * 62, {"max_gen_toks": 3})),
    ):
        with pytest.raises(UserError, match="65 tokens is longer than --max_length=64"):
            call(requests(arguments), disable_tqdm=True)
    with pytest.raises(UserError, match="'hellaswagg', which is unknown"):
        run(trained, ["hellaswagg"])


def test_own_tasks_have_the_length_that_their_name_says():
    from data.tokenizers import ByteTokenizer

    config = task_config("lengthwise_only_keys_256", ByteTokenizer(), 64, count=3, seed=0)
    rows = config["custom_dataset"]()["test"]
    assert len(rows) == 3
    for row in rows:
        assert {len(row["text"] + choice) for choice in row["choices"]} == {256}
        assert len(set(row["choices"])) == 4


def test_it_needs_no_torch():
    code = "import eval.harness_model, eval.harness_tasks, sys; assert 'torch' not in sys.modules"
    hidden = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; "
    subprocess.run(
        [sys.executable, "-c", hidden + code.replace("'torch' not in sys.modules", "True")],
        cwd=ROOT,
        check=True,
    )
