"""`--mode=generate`: what a trained checkpoint writes behind prompts."""

import json


def test_a_trained_checkpoint_writes_on_from_prompts(
    lengthwise, refused, unscored, start, tmp_path
):
    assert lengthwise(*start)[0] == 0
    config = (tmp_path / "run" / "config.json").read_bytes()
    mode = (*start, "--mode=generate")

    file = tmp_path / "prompts.txt"
    file.write_text("abc def\n\nh\n")
    asked = (f"--config.generate.prompts={file}", "--config.generate.max_tokens=6")
    status, out, errors = lengthwise(*mode, *asked, "--config.generate.samples=2")
    assert (status, errors) == (0, [])
    path = tmp_path / "run" / "generate" / "0001.jsonl"
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
    path = tmp_path / "run" / "generate" / "0002.jsonl"
    first, second = (json.loads(line)["tokens"] for line in path.read_text().splitlines())
    assert first != second
    assert (tmp_path / "run" / "config.json").read_bytes() == config

    assert "either generate.prompt" in refused(*mode)
    assert "generate.top_p is 0" in refused(*mode, *drawn, "--config.generate.top_p=0.0")
    assert "can't be read" in refused(*mode, "--config.generate.prompts=nowhere.txt")
    other = tmp_path / "empty"
    assert "holds no run" in refused(*mode, f"--workdir={other}", *drawn)
