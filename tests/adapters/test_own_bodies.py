"""Bodies of a user's own: what they must have is said before anything trains on them."""

import logging
import time

import gymnasium as gym
import numpy as np
import pytest
from ray.tune.registry import register_env

from rllib_sami.core.faults import EnvironmentFaultError
from rllib_sami.env_runners.tracks import Tracker
from rllib_sami.exports.task_transfer import LOW_LEVEL, MAKERS
from rllib_sami.exports.transfer_parts import check_tasks
from rllib_sami_cli import catalog
from rllib_sami_cli.errors import UserError


class Cart(gym.Env):
    """A body as the guide describes it."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    proprioception = np.zeros(1, np.float32)

    def __init__(self, config=None):
        self.config = dict(config or {})

    def quantity(self, name):
        return {"goal": 0.5, "velocity": np.float32(0.0)}[name]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}


def raising(error):
    def method(self, *args, **kwargs):
        raise error

    return method


def made(name="own", settings=None, **members):
    """The environment of a low level of a cart with other members."""
    kind = type("Own", (Cart,), members)
    register_env(name, lambda config: kind(config))
    return MAKERS[LOW_LEVEL](body=name, **settings or {})


def test_a_body_of_one_s_own_is_commanded():
    env = made()
    assert env.reset(seed=0)[0].shape == (1 + 2,)
    made(is_healthy=True)
    made(is_healthy=np.bool_(True))
    made(proprioception=[1.0, 2])
    made(proprioception=np.zeros(0))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        *[
            ({"proprioception": value}, ["'own'", "`proprioception`", "finite numbers"])
            for value in (0.5, np.zeros((1, 2)), {"v": 1}, "ab", np.full(2, np.nan), None)
        ],
        ({"proprioception": lambda self: np.zeros(1)}, ["a method", "Write it as a property"]),
        *[
            ({"quantity": lambda self, name, value=value: value}, ["'own'", "'goal'", "a finite number"])
            for value in (None, "1.0", np.zeros(1), float("nan"), True)
        ],
        ({"quantity": {"goal": 1.0}}, ["no quantity 'goal'"]),
        ({"is_healthy": lambda self: True}, ["`is_healthy`", "Write it as a property"]),
        ({"is_healthy": 0.5}, ["`is_healthy` is 0.5", "True or False"]),
        ({"reset": raising(KeyError("friction"))}, ["'own'", "reset", "KeyError: 'friction'"]),
        ({"reset": raising(SystemExit(3))}, ["'own'", "sys.exit(3)"]),
        ({"__init__": raising(RuntimeError("no display"))}, ["'own'", "made", "RuntimeError: no display"]),
    ],
)
def test_what_a_body_lacks_is_named(members, words):
    with pytest.raises((ValueError, EnvironmentFaultError)) as error:
        made(**members)
    assert [word for word in words if word not in str(error.value)] == []


def test_what_is_no_environment_is_refused():
    register_env("none", lambda config: object())
    with pytest.raises(ValueError, match=r"body='none' is of class object, but must be a gymnasium\.Env"):
        MAKERS[LOW_LEVEL](body="none")


@pytest.mark.parametrize("name", ["ranges", "scales"])
@pytest.mark.parametrize("value", [0, "", False, []])
def test_nothing_is_not_taken_for_a_setting(name, value):
    with pytest.raises(ValueError, match=f"{name}=.*expected a value for each quantity"):
        made(settings={name: value})


def test_numbers_that_no_float_can_be_are_refused():
    with pytest.raises(ValueError, match="expected a number above 0"):
        made(settings={"scales": {"goal": 10**400}})


def test_a_misspelt_setting_is_not_silently_given_to_the_body(caplog):
    caplog.set_level(logging.WARNING)
    made(settings={"comand_steps": [1, 2], "mass": 2.0})
    [record] = caplog.records
    assert "has a setting 'command_steps', but no 'comand_steps'. It is given to the body" in record.getMessage()
    caplog.clear()
    with pytest.raises(ValueError, match=r"no such argument .* has a setting 'command_steps', but no 'comand_steps'"):
        MAKERS[LOW_LEVEL](body="Reuse/PointMass-v0", comand_steps=[1, 2])
    made(settings={"mass": 2.0})
    MAKERS[LOW_LEVEL](body="Reuse/PointMass-v0", task_steps=50)
    assert not caplog.records


def test_the_command_line_names_what_a_body_raises_and_stops_one_that_hangs():
    register_env("raises", lambda config: 1 / 0)
    with pytest.raises(UserError, match=r"here: .*'raises' failed.*ZeroDivisionError"):
        catalog.try_environment(LOW_LEVEL, {"body": "raises"}, "here", 60)
    register_env("hangs", lambda config: time.sleep(60))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"here: .*hangs.*sample_timeout_s"):
        catalog.try_environment(LOW_LEVEL, {"body": "hangs"}, "here", 0.2)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("families", [[0, 2], [-2], [0.0], ["goal+"]])
def test_families_of_tasks_must_be_known(families):
    env = Cart()
    env.family_names, env.task_families = ("goal+", "goal-"), families
    with pytest.raises(ValueError, match=r"`task_families` has .*indices into `family_names`, of which there are 2"):
        check_tasks(env, None, None)


@pytest.mark.parametrize(
    "tracked",
    [
        ("goal+", 1.0),
        ("goal+", np.zeros(2), 1.0),
        (3, 0.0, 1.0),
        ("goal+", None, 1.0),
        "goal+",
        None,
        ("goal+", "1", 2),
    ],
)
def test_a_tracked_quantity_is_a_name_and_two_numbers(tracked):
    env = Cart()
    env.tracked_quantity = lambda: tracked
    with pytest.raises(ValueError, match=r"in `tracked_quantity\(\)`, but it must give a family's name"):
        Tracker(env).add({})


def test_tracked_quantities_may_be_numpy_s():
    env = Cart()
    env.tracked_quantity = lambda: ("goal+", np.float32(1.0), np.int64(2))
    tracker = Tracker(env)
    tracker.add({})
    assert tracker.track().wanted.tolist() == [2.0]
