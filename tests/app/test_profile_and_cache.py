"""A trace of chosen steps, and compiled programs that the next start finds."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests.app.runs import CONFIG, losses


@pytest.fixture
def hits():
    """Counts programs that came from the cache; the test session's own cache comes back after."""
    before = jax.config.jax_compilation_cache_dir
    found = []

    def listen(event, **_):
        if event == "/jax/compilation_cache/cache_hits":
            found.append(event)

    jax.monitoring.register_event_listener(listen)
    yield found
    jax.monitoring.unregister_event_listener(listen)
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.usefixtures("unscored")
def test_a_trace_of_the_chosen_steps(lengthwise, start, tmp_path):
    status, out, errors = lengthwise(*start, "--config.profile.steps=(6,7)")
    assert (status, errors) == (0, [])
    (trace,) = (tmp_path / "run" / "tensorboard" / "plugins" / "profile").glob("*/*.xplane.pb")
    assert trace.stat().st_size > 1000
    assert f"profile: {trace.parents[1]}" in out
    # A run that goes on may ask for other steps.
    assert lengthwise(*start, "--config.profile.steps=(13,13)", "--config.phase.steps=13")[0] == 0


@pytest.mark.parametrize("steps", ["(5,)", "(10,13)"])
def test_steps_that_cannot_be_traced(refused, start, steps):
    found = refused(*start, f"--config.profile.steps={steps}")
    assert "must be the first and the last traced step, in order, from 1 to 12" in found


@pytest.mark.usefixtures("unscored")
def test_the_next_start_finds_what_was_compiled_though_some_is_damaged(
    lengthwise, start, tmp_path, hits
):
    kept = tmp_path / "kept"
    cache = f"--config.train.compilation_cache={kept}"
    status, out, _ = lengthwise(*start, cache)
    assert status == 0
    assert f"compiled programs: {kept}/cpu-" in out
    programs = list(kept.glob("cpu-*/*step*-cache"))
    assert programs
    again = (f"--config={CONFIG}", f"--workdir={tmp_path / 'again'}", *start[2:], cache)
    hits.clear()
    assert lengthwise(*again)[0] == 0
    assert len(hits) >= len(programs)
    for program in kept.glob("cpu-*/*-cache"):  # a kill while it was written
        program.write_bytes(program.read_bytes()[:100])
    third = (f"--config={CONFIG}", f"--workdir={tmp_path / 'third'}", *start[2:], cache)
    assert lengthwise(*third)[0] == 0
    # Written anew: what stayed cut short would be compiled again at every start.
    assert min(program.stat().st_size for program in programs) > 100
    assert losses(tmp_path / "third") == losses(tmp_path / "again") == losses(tmp_path / "run")


@pytest.mark.usefixtures("unscored")
def test_no_cache_when_it_is_turned_off(lengthwise, start, tmp_path, hits):
    status, out, _ = lengthwise(*start, "--config.train.compilation_cache=off")
    assert status == 0
    assert "compiled programs: not kept" in out
    assert not (tmp_path / "run" / "compiled").exists()
    assert not hits
