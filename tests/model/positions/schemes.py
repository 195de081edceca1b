"""Position schemes to test, with the settings of configs/base.py or others."""

from tests.model.decoder_reference import CONFIG, changed, position_settings

# A range that positions are drawn from, in every case: they skip.
SPAN = 64
SETTINGS = {
    "randomized": SPAN,
    "rope": {"theta": 100.0, "rotary_share": 0.5},
    "t5": {"buckets": 8, "max_distance": 20},
    "fire": {"hidden": 5, "threshold": 8.0},
    "cope": {"positions": 4},
    "seqpe": {"width": 8, "heads": 2, "digits": 3, "regularized": 1000},
    "learned": {"positions": SPAN},
    "sinusoidal": {"theta": 100.0},
    "abacus": {"digit_tokens": (3, 4, 5, 6, 7, 8, 9), "max_offset": 3, "positions": 30},
}
# A case that differs from SETTINGS.
OTHER_SETTINGS = {"kerple, power": {"kerple": {"kernel": "power"}}}
# Words -> (scheme, pattern); the schemes at the input with and without one in the layers.
CASES = {
    **{name: (name, ()) for name in ("none", "alibi", "kerple", "cope", "seqpe", "sinusoidal")},
    "learned + t5/none": ("learned", ("t5", "none")),
    "abacus + fire": ("abacus", ("fire",)),
    "kerple, power": ("kerple", ()),
    "rope/fire/fire/none": ("rope", ("rope", "fire", "fire", "none")),
}


def decoder(case, periods=1, **changes):
    """A small decoder with the position schemes of a case, its pattern `periods` times."""
    scheme, pattern = CASES[case]
    settings = {**SETTINGS, **OTHER_SETTINGS.get(case, {})}
    return changed(
        CONFIG,
        layers=periods * max(1, len(pattern)),
        positions=position_settings(scheme=scheme, **settings),
        layer_pattern=pattern,
        **changes,
    )
