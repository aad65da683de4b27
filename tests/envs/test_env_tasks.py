"""Factors, tasks and meta-tasks: parsing, drawing, error messages."""

import pickle
import re

import numpy as np
import pytest

from rllib_sami.envs.factors import Factor, PartsFactor, VectorFactor
from rllib_sami.envs.tasks import MetaTask, Task, grid, parse_meta_task, parse_meta_tasks, parse_task

FACTORS = (Factor("mass_scale"), Factor("damping_scale"), PartsFactor(parts=("hip", "knee", "ankle")))


def test_task_is_an_immutable_mapping_and_round_trips_through_floats():
    task = parse_task(FACTORS, {"cripple": (2, 0), "mass_scale": 2})
    assert dict(task) == {"mass_scale": 2.0, "damping_scale": 1.0, "cripple": (0, 2)}
    floats = task.as_floats()
    assert floats == {"mass_scale": 2.0, "damping_scale": 1.0, "cripple_0": 1.0, "cripple_1": 0.0, "cripple_2": 1.0}
    assert all(type(value) is float for value in floats.values())
    assert parse_task(FACTORS, floats) == task
    assert len({task, parse_task(FACTORS, floats)}) == 1
    assert pickle.loads(pickle.dumps(task)) == task
    with pytest.raises(AttributeError):
        task.assignment = ()
    with pytest.raises(TypeError):
        task["mass_scale"] = 1.0


def test_features_are_centred_on_the_neutral_task():
    assert parse_task(FACTORS, {}).features() == [0.0] * 5
    assert parse_task(FACTORS, {"mass_scale": 1.25, "cripple": 1}).features() == [0.5, 0.0, 0.0, 1.0, 0.0]


def test_features_of_ratios_are_logarithmic_if_asked_for():
    scale = Factor("scale", log=True, spread=np.log(2))
    assert scale.features(1.0) == (0.0,)
    np.testing.assert_allclose([scale.features(value)[0] for value in (0.25, 2.0)], [-2.0, 1.0])
    scales = VectorFactor("scales", log=True, spread=np.log(3), components=("hip", "knee"))
    np.testing.assert_allclose(scales.features((9.0, 1 / 3)), [2.0, -1.0])


def test_a_vector_may_have_one_neutral_number_or_one_per_component():
    wind = VectorFactor("wind", neutral=2.0, spread=4.0, bounds=(-9, 9), components=("x", "y"))
    heading = VectorFactor("heading", neutral=(1.0, 0.0), spread=2.0, bounds=(-9, 9), components=("x", "y"))
    task = parse_task((wind, heading), {"heading_y": 3.0, "wind_x": -1})
    assert dict(task) == {"wind": (-1.0, 2.0), "heading": (1.0, 3.0)}
    assert task.features() == [-0.75, 0.0, 0.0, 1.5]
    assert parse_task((wind, heading), {}).features() == [0.0] * 4
    assert parse_task((wind, heading), task.as_floats()) == task
    for given, allowed in [((0, 1), ((0.0, 1.0),)), ([(0, 1), (2, 3)], ((0.0, 1.0), (2.0, 3.0)))]:
        assert parse_meta_task((wind,), {"wind": given})["wind"] == allowed
    for bad in (1.0, (1.0,), (1.0, 2.0, 3.0), (1.0, "2"), (1.0, 9.5), ()):
        with pytest.raises(ValueError, match=r"wind=.*\(x, y\)"):
            parse_task((wind,), {"wind": bad})


def test_a_meta_task_takes_one_value_or_several():
    meta_task = parse_meta_task(FACTORS, {"mass_scale": [0.5, 2], "damping_scale": 3, "cripple": (0, (1, 2), ())})
    assert dict(meta_task) == {"mass_scale": (0.5, 2.0), "damping_scale": (3.0,), "cripple": ((0,), (1, 2), ())}
    assert parse_meta_task(FACTORS, meta_task) == meta_task
    assert parse_meta_task(FACTORS, {"mass_scale": np.array([0.5, 2.0])})["mass_scale"] == (0.5, 2.0)
    assert parse_meta_task(FACTORS, {"cripple": None})["cripple"] == ((),)


def test_values_are_drawn_uniformly_and_independently():
    meta_task = parse_meta_task(FACTORS, {"mass_scale": (1, 2), "cripple": (0, 1)})
    rng = np.random.default_rng(0)
    draws = [meta_task.sample(rng) for _ in range(2000)]
    counts = [
        sum(task["mass_scale"] == mass and task["cripple"] == (joint,) for task in draws)
        for mass in (1.0, 2.0)
        for joint in (0, 1)
    ]
    assert sum(counts) == 2000
    # Binomial(2000, 1/4) has standard deviation 19; five of them.
    assert all(abs(count - 500) < 97 for count in counts)
    assert all(meta_task.allows(task) for task in draws)
    assert not meta_task.allows(parse_task(FACTORS, {"mass_scale": 1, "cripple": 2}))


def test_grid_varies_the_first_factor_slowest():
    assert grid(a=[1, (2, 3)], b=[(4,), 5]) == (
        {"a": 1, "b": (4,)},
        {"a": 1, "b": 5},
        {"a": (2, 3), "b": (4,)},
        {"a": (2, 3), "b": 5},
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mass_scale": 0.0}, ["mass_scale=0.0", "> 0"]),
        ({"mass_scale": -1}, ["mass_scale=-1", "> 0"]),
        ({"mass_scale": float("nan")}, ["mass_scale=nan"]),
        ({"mass_scale": float("inf")}, ["mass_scale=inf"]),
        ({"mass_scale": 10**400}, ["mass_scale=1000"]),  # larger than any float
        ({"mass_scale": "1.0"}, ["mass_scale='1.0'"]),
        ({"mass_scale": True}, ["mass_scale=True"]),
        ({"mass_scale": None}, ["mass_scale=None"]),
        ({"mas_scale": 1.0}, ["'mas_scale'", "Did you mean 'mass_scale'?", "damping_scale"]),
        ({"cripple": 9}, ["cripple=9", "0..2"]),
        ({"cripple": -1}, ["cripple=-1", "0..2"]),
        ({"cripple": 1.0}, ["cripple=1.0"]),
    ],
)
def test_bad_values_are_named(values, words):
    for parse in (parse_task, parse_meta_task):
        with pytest.raises(ValueError, match=re.escape(words[0])) as error:
            parse(FACTORS, values)
        assert all(word in str(error.value) for word in words), str(error.value)


def test_errors_of_sets_name_the_place():
    for bad, words in [
        ([{"mass_scale": 1}, {"mass_scale": ()}], ["tasks[1]", "mass_scale=()", "empty"]),
        ([{"cripple": [(0, 0)]}], ["tasks[0]", "(0, 0)", "different"]),
        ([{"cripple": [(0, 7)]}], ["tasks[0]", "(0, 7)", "0..2"]),
        ([1.8], ["tasks[0]=1.8", "dict"]),
        ([], ["tasks", "at least one"]),
        ({"mass_scale": 1}, ["tasks={", "list of dicts"]),
    ]:
        with pytest.raises(ValueError, match=re.escape(words[0])) as error:
            parse_meta_tasks(FACTORS, bad)
        assert all(word in str(error.value) for word in words), str(error.value)
    for bad, word in [({"cripple_1": 0.5}, "cripple_1=0.5"), (1.8, "task=1.8")]:
        with pytest.raises(ValueError, match=word):
            parse_task(FACTORS, bad)


def test_reprs_read_like_a_constructor():
    factors = FACTORS[:1]
    assert repr(Task(factors, (2.0,))) == "Task(mass_scale=2.0)"
    assert repr(MetaTask(factors, ((2.0, 3.0),))) == "MetaTask(mass_scale=(2.0, 3.0))"
