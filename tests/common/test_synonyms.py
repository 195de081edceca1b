"""Synonyms lead to what there is."""

from lengthwise.common import registry
from lengthwise.common.settings import declarations
from lengthwise.common.synonyms import CHOICES, FIELDS, called_here, field_synonyms
from lengthwise.configs.base import RunConfig
from lengthwise.eval.methods.part import METHODS
from lengthwise.eval.prompts.registry import TASKS

DECLARED = dict(declarations(RunConfig))


def test_every_synonym_leads_to_a_field_or_flag():
    assert set(FIELDS) - set(DECLARED) == {"--workdir"}


def test_every_choice_is_one_of_some_field():
    choices = {each for declared in DECLARED.values() for each in declared.choices}
    choices |= {name for each in registry._ALL for name in each.names()}
    choices |= set(METHODS.names()) | set(TASKS.names())
    comments = " ".join(declared.comment for declared in DECLARED.values())
    missing = {each for each in CHOICES if each not in choices and each not in comments}
    assert missing == set()


def test_names_are_compared_as_people_write_them():
    assert field_synonyms("optimizer.lr") == ["optimizer.learning_rate"]
    assert field_synonyms("Max-Grad-Norm") == ["optimizer.clip_norm"]
    assert field_synonyms("model.layers") == []
    assert called_here("NoPE", ("none", "rope")) == " (here it is called 'none')"
    assert called_here("RoPE", ("none", "rope")) == " (here it is called 'rope')"
    assert called_here("nope", ("rope",)) == called_here("xyz", ("rope",)) == ""
