"""A config becomes dataclasses: every field has its place, and what is wrong is named."""

import dataclasses
import functools
import importlib
import json
from pathlib import Path

import pytest

from lengthwise.app.command.config_file import field_names, override
from lengthwise.app.command.help import PAGE, markdown
from lengthwise.common.errors import UserError
from lengthwise.common.registry import Registry
from lengthwise.common.settings import declarations, declared_fields, default_of, item_class
from lengthwise.common.trees import as_tree, check_value, contains, flatten, overlay
from lengthwise.configs import base
from lengthwise.configs import bytes as bytes_config
from lengthwise.configs.resolve import flags_of, from_saved, load
from lengthwise.configs.saved_config import FREE_ON_RESUME, changes
from lengthwise.data.schedule.sampling import DomainWeight, LengthWeight

ROOT = Path(__file__).parents[2]
RECIPES = sorted(
    path for path in (ROOT / "configs").glob("[a-z]*.py") if "def get_config" in path.read_text()
)


def changed(**phase):
    config = base.get_config()
    config.phases = (phase,)
    return config


def test_every_field_has_a_comment_and_a_default_in_its_range():
    for name, declared in declarations(base.RunConfig):
        assert declared.comment, name
        metadata = {"within": declared.within, "choices": declared.choices}
        check_value(declared.default, name, metadata)


def registries(cls):
    """The registries of a settings class and of its sections."""
    for field in dataclasses.fields(cls):
        if "registry" in field.metadata:
            yield field.metadata["registry"]
            continue
        if field.metadata.get("declares"):
            yield from registries(item_class(cls, field.name))
        default = default_of(cls, field)
        if dataclasses.is_dataclass(default):
            yield from registries(type(default))


def test_what_is_read_from_a_source_is_what_its_class_has():
    found = list(registries(base.RunConfig))
    assert found
    for registry in found:
        unimported = Registry(registry.kind, registry.folder)
        for name in unimported.names():
            component = registry[name]
            fields = declared_fields(component) if dataclasses.is_dataclass(component) else {}
            assert unimported.declared(name) == fields, (registry.kind, name)


def test_docs_list_every_field():
    assert PAGE.read_text() == markdown(), "run: python -m lengthwise.app.command.help"


def test_flags_and_objects_nest_alike():
    run = load(base.get_config(), None)
    flags = {name for name in flatten(base.get_config().to_dict()) if name.split(".")[0] != "phase"}
    phase = {f"phases.0.{name}" for name in flatten(base.get_config().phase.to_dict())}
    assert flatten(run.resolved).keys() == flags - {"phases"} | phase | {"version", "extensions"}
    components = {name for each in registries(base.RunConfig) for name in each.names()}
    for name in flags - {"phases"}:
        *sections, field = name.split(".")
        if not components.intersection(sections):  # those are built when they are asked for
            functools.reduce(getattr, (*sections, field), run)


def test_weights_are_dicts_in_the_config():
    config = changed(
        sampling={
            "domain_weights": ({"domain": "code", "weight": 1},),
            "length_weights": ({"min_tokens": 4096, "weight": 2.0},),
        }
    )
    (phase,) = load(config, None).phases
    assert phase.sampling.domain_weights == (DomainWeight("code", 1.0),)
    assert phase.sampling.length_weights == (LengthWeight(4096, 2.0),)
    with pytest.raises(UserError, match=r"add up to 0\.5"):
        load(changed(sampling={"domain_weights": ({"domain": "code", "weight": 0.5},)}), None)


def test_the_config_of_a_folder_asks_for_one():
    with pytest.raises(UserError, match="name the folder of weights: --config=configs/huggingface"):
        importlib.import_module("lengthwise.configs.huggingface").get_config()


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if path.stem != "huggingface"], ids=lambda p: p.stem
)
def test_every_config_loads(path):
    config = importlib.import_module(f"lengthwise.configs.{path.stem}").get_config()
    assert config.is_locked
    assert load(config, None).phases


@pytest.mark.parametrize("name", ["quickstart", "skyladder", "sources.mixture"])
def test_what_a_work_directory_keeps_is_the_same_experiment(name):
    experiment = load(importlib.import_module(f"lengthwise.configs.{name}").get_config(), None)
    saved = json.loads(json.dumps(experiment.resolved))
    again = from_saved(saved)
    assert again == experiment
    assert json.loads(json.dumps(again.resolved)) == saved
    with pytest.raises(UserError, match="of another version"):
        from_saved({**saved, "eval": {}})


@pytest.mark.parametrize("name", ["quickstart", "task", "sources.mixture", "two phases"])
def test_a_saved_config_is_a_config_again(name):
    """With the same flags, and in the values that a config file would give."""
    if name == "two phases":
        config = base.get_config()
        config.phase.rope_scaling.log_n = 64
        config.phases = ({"steps": 9}, {"steps": 4, "layout": {"largest_bucket": 512}})
    else:
        config = importlib.import_module(f"lengthwise.configs.{name}").get_config()
    saved = json.loads(json.dumps(load(config, None).resolved))
    again = flags_of(saved)
    assert set(field_names(again)) == set(field_names(base.get_config()))
    assert json.loads(json.dumps(load(again, None).resolved)) == saved
    changed = override(again, ["--config.phases.0.steps=50", "--config.train.log_every=7"])
    run = load(changed, None)
    assert (run.phases[0].steps, run.train.log_every) == (50, 7)
    assert run.phases[1:] == load(config, None).phases[1:]
    assert run.phases[0].budget_steps == 50
    assert load(changed, saved).phases[0].budget_steps == saved["phases"][0]["budget_steps"]


def test_a_flag_sets_a_field_of_one_phase():
    config = base.get_config()
    config.phases = ({"steps": 9}, {"layout": {"largest_bucket": 512}})
    flags = ("phases.1.layout.tails=pad", "phases.1.microbatches=2", "phase.steps=8")
    changed = override(config, [f"--config.{flag}" for flag in flags])
    first, second = load(changed, None).phases
    assert (first.steps, first.microbatches, first.layout.tails) == (9, 1, "pack")
    assert (second.steps, second.microbatches, second.layout.tails) == (8, 2, "pad")
    assert second.layout.largest_bucket == 512
    assert config.phases[1] == {"layout": {"largest_bucket": 512}}
    for flag, message in (
        ("phases.2.steps=1", "phases are counted from 0, and there are 2"),
        ("phases.0.step=1", "unknown config field --config.phase.step; nearest: "),
        ("phases.0.steps=x", "invalid literal"),
    ):
        with pytest.raises(UserError, match=message):
            override(config, [f"--config.{flag}"])


def test_modules_from_outside_are_imported_first(tmp_path, monkeypatch):
    saved = load(base.get_config(), None).resolved
    assert saved["extensions"] == []
    with pytest.raises(UserError, match=r"module 'elsewhere'.* on PYTHONPATH") as caught:
        from_saved({**saved, "extensions": ["elsewhere"]})
    assert "\n" not in str(caught.value)
    (tmp_path / "elsewhere.py").write_text("raise RuntimeError('broken\\nmodule')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"can't be imported \(broken module\)"):
        from_saved({**saved, "extensions": ["elsewhere"]})


def test_an_overlay_changes_its_fields_alone():
    config = changed(steps=7, layout={"largest_bucket": 256})
    (phase,) = load(config, None).resolved["phases"]
    (plain,) = load(base.get_config(), None).resolved["phases"]
    assert phase["layout"] == {**plain["layout"], "largest_bucket": 256}
    assert {**phase, "layout": 0} == {**plain, "layout": 0, "steps": 7, "budget_steps": 7}
    assert plain["layout"]["largest_bucket"] == 512  # the template is not touched


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 3}, r"phases\[0\]\.step is no field; choose one of .*steps"),
        ({"layout": {"nam": "pad"}}, r"phases\[0\]\.layout\.nam is no field"),
        ({"layout": 3}, r"phases\[0\]\.layout=3 must be a dict"),
        ({"steps": 2.5}, r"phases\[0\]\.steps=2\.5 has the type float, but must be of type int"),
        ({"layout": {"shares": (0.5, "a")}}, r"shares\[1\]='a' has the type str"),
        ({"microbatches": True}, r"microbatches=True has the type bool"),
        ({"tokens_per_step": 0}, r"phases\[0\]\.tokens_per_step is 0, but must lie in \[1, inf\)"),
        (
            {"layout": {"largest_bucket": 1 << 21}},
            r"layout\.largest_bucket is 2097152, but must lie in \[1, 1048576\]",
        ),
        (
            {"sampling": {"domain_weights": ({"domain": "code"},)}},
            r"domain_weights\[0\]={'domain': 'code'} must have the fields domain, weight",
        ),
        (
            {"sampling": {"length_weights": ({"min_tokens": 9, "wieght": 2.0},)}},
            r"length_weights\[0\]=.* must have the fields min_tokens, weight",
        ),
    ],
)
def test_a_wrong_phase_is_named(change, message):
    with pytest.raises(UserError, match=message):
        load(changed(**change), None)


def test_a_phase_that_is_no_dict_is_named():
    with pytest.raises(UserError, match=r"phases\[0\]=4 must be a dict"):
        overlay({"steps": 1}, 4, "phases[0]")


def mixed(*mixture):
    config = base.get_config()
    config.data.field = "body"
    config.data.mixture = mixture
    return config


def test_an_evaluation_set_takes_the_fields_of_the_source_but_its_groups():
    config = base.get_config()
    config.data.source, config.data.path, config.data.group_field = "jsonl", "dump", "site"
    exam = {"domain": "exam", "path": "exams/*.jsonl"}
    config.data.contamination = {"ngram": 13, "share": 0.8, "drop": "none", "sources": (exam,)}
    (made,) = load(config, None).data.contamination.sources
    assert (made.source, made.path, made.field, made.group_field) == (
        "jsonl", "exams/*.jsonl", config.data.field, "",
    )  # fmt: skip


def test_a_mixture_changes_its_fields_alone():
    experiment = load(mixed({"domain": "a", "source": "jsonl", "path": "x"}, {"domain": "b"}), None)
    first, second = experiment.data.sources
    assert (first.domain, first.source, first.path, first.field) == ("a", "jsonl", "x", "body")
    assert (second.domain, second.source, second.path, second.field) == ("b", "stdlib", "", "body")
    assert experiment.resolved["data"]["mixture"][1] == as_tree(second)
    (alone,) = load(mixed(), None).data.sources
    assert (alone.domain, alone.source, alone.field) == ("all", "stdlib", "body")


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (({"domain": "a"}, {}), r"data\.mixture\[1\]=\{\} must name its domain"),
        (({"source": "stdlib"},), r"data\.mixture\[0\]=.* must name its domain"),
        (({"domain": "a", "tokenizer": "bytes"},), r"mixture\[0\]\.tokenizer is no field"),
        (("stdlib",), r"data\.mixture\[0\]='stdlib' must be a dict"),
        (({"domain": 3},), r"mixture\[0\]\.domain=3 has the type int"),
    ],
)
def test_a_wrong_mixture_is_named(mixture, message):
    with pytest.raises(UserError, match=message):
        load(mixed(*mixture), None)


def test_integers_serve_where_floats_are_asked_for():
    phase = load(changed(rope_scaling={"kind": "ntk", "factor": 2}), None).phases[0]
    assert type(phase.rope_scaling.factor) is float


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optimizer.learning_rate", float("nan"), "optimizer.learning_rate is nan"),
        ("optimizer.final_share", 1.5, r"optimizer.final_share is 1.5, but must lie in \[0, 1\]"),
        ("train.log_every", 0, r"train.log_every is 0, but must lie in \[1, inf\)"),
        ("eval.ratios", (1.0, -2.0), "one of eval.ratios is -2.0"),
        ("seed", -1, "seed is -1"),
        (
            "train.keep_every",
            300,
            r"train.keep_every=300 must be a multiple of .*checkpoint_every=250",
        ),
        ("model.dropout", float("inf"), "model.dropout is inf"),
        ("eval.checkpoint", "first", "eval.checkpoint='first' is unknown; choose one of last, be"),
    ],
)
def test_a_value_out_of_range_is_named(field, value, message):
    config = base.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        load(config, None)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", (0, 0.999), (-1e-9, 1)),
        ("(0, 1]", (1e-9, 1), (0, 1.001)),
        ("[1, inf)", (1, 1e300), (0.999,)),
    ],
)
def test_intervals_mean_what_they_say(interval, inside, outside):
    assert all(contains(interval, value) for value in inside)
    assert not any(contains(interval, value) for value in outside)


def test_a_longer_run_keeps_its_budget():
    first = load(changed(steps=10), None)
    assert first.phases[0].budget_steps == 10
    longer = load(changed(steps=30), first.resolved)
    assert longer.phases[0].steps == 30
    assert longer.phases[0].budget_steps == 10
    own = load(changed(steps=30, budget_steps=20), first.resolved)
    assert own.phases[0].budget_steps == 20


def test_a_longer_run_keeps_its_schedule_until_another_is_asked_for():
    def optimized(steps, **changes):
        config = changed(steps=steps)
        config.optimizer.update(changes)
        return config

    first = load(optimized(30), None)
    longer = load(optimized(60), first.resolved)
    assert longer.rate_schedules == first.rate_schedules
    assert [each.steps for each in first.rate_schedules] == [30]
    assert first.schedule_notes()[1:] == []
    assert "30 of the 60 steps; --config.optimizer.schedule_steps=60" in longer.schedule_notes()[1]
    asked = load(optimized(60, schedule_steps=60), first.resolved)
    assert [each.steps for each in asked.rate_schedules] == [60]
    saved, now = (json.loads(json.dumps(run.resolved)) for run in (first, asked))
    assert changes(saved, now, FREE_ON_RESUME)[1] == []


def test_a_warm_up_is_clipped_with_a_note_or_refused_where_it_was_asked_for():
    config = bytes_config.get_config()  # a warm-up of 40
    config.phase.steps = 20
    run = load(config, None)
    assert run.rate_schedules[0].optimizer.warmup_steps == 5
    assert run.schedule_notes() == [
        "optimizer.warmup_steps=40 does not fit into 20 steps; the warm-up has 5"
    ]
    with pytest.raises(UserError, match=r"optimizer.warmup_steps=40 does not fit into 20 steps"):
        load(config, None, ("phase.steps", "optimizer.warmup_steps"))


def test_a_further_phase_gets_a_budget_of_its_own():
    first = load(changed(steps=10), None)
    config = base.get_config()
    config.phases = ({"steps": 10}, {"steps": 5})
    assert [p.budget_steps for p in load(config, first.resolved).phases] == [10, 5]
