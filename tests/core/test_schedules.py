import pytest

from rllib_sami.core.schedules import value_at


@pytest.mark.parametrize(
    ("timestep", "value"), [(0, 1.0), (100, 1.0), (150, 0.75), (200, 0.5), (1_100, 0.25), (2_000, 0.0), (9_000, 0.0)]
)
def test_a_schedule_is_linear_between_its_pairs_and_constant_after_them(timestep, value):
    assert value_at([[0, 1.0], [100, 1.0], (200, 0.5), (2_000, 0.0)], timestep) == pytest.approx(value)


def test_a_number_is_the_same_at_all_times():
    assert value_at(0.1, 0) == value_at(0.1, 10**9) == 0.1
