import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.schedule.curriculum import CurriculumConfig


def test_named_odds() -> None:
    def odds(name: str) -> list[float]:
        values = CurriculumConfig(name, (), 1).chosen.odds(6)
        assert values is not None
        return values.tolist()

    assert odds("uniform") == [1] * 6
    assert odds("grow_linear") == [6, 5, 4, 3, 2, 1]
    assert odds("grow_p2") == [32, 16, 8, 4, 2, 1]
    assert odds("grow_p100") == [1e10, 1e8, 1e6, 1e4, 1e2, 1]
    assert odds("shrink_p100") == [1, 1e2, 1e4, 1e6, 1e8, 1e10]


@pytest.mark.parametrize(
    ("name", "odds", "says"),
    [
        ("grow", (), "explicit, grow_linear, grow_p2, grow_p100, natural, shrink_p100, uniform"),
        ("explicit", (), "must be 4 positive numbers"),
        ("explicit", (1.0, 1.0, 0.0, 1.0), "must be 4 positive numbers"),
        ("grow_p2", (1.0,) * 4, "only for curriculum.name = 'explicit'"),
    ],
)
def test_says_what_is_wrong(name: str, odds: tuple[float, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        CurriculumConfig(name, odds, 1).chosen.odds(4)
