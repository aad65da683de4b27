"""What an environment may change between resets: each is taken as it is meant, or refused with the reason."""

import sys
from collections import UserDict
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_sami import RecurrentSACConfig, SaCCMConfig, TESACConfig
from rllib_sami.algorithms.sami.sampling import SamplingConfig
from rllib_sami.core import env_values
from rllib_sami.core.env_values import TaskIds, UnusableValue, success_of
from rllib_sami.core.faults import EnvironmentFaultError
from rllib_sami.env_runners.episodes import EpisodeSpec, Slot
from rllib_sami.env_runners.player import Player
from rllib_sami.env_runners.vector_env import TaskVectorEnv
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

from .envs import PLAIN, Changing, Walker
from .tiny import runner_of, tiny


def vector_env(later, *, rule="each reset", restart=True, **config):
    """One environment; failures are restarted, mistakes must come through all the same."""
    return TaskVectorEnv([lambda: Changing({"later": later} | config)], restart, rule, runner_index=3)


def play_second_episode(env):
    """Observations, rewards and what came at the end of the second episode."""
    actions = np.zeros((1, 1), np.float32)
    env.reset_all([0])
    env.step_arrays(actions)
    start = env.step_arrays(actions)  # its observation and task are the second episode's
    steps = [env.step_arrays(actions) for _ in range(2)]
    return np.array([start.obs[0], *(step.final_obs[0] for step in steps)]), start.task_ids[0], steps


def slot_of(later, **config):
    env = Changing({"later": later} | config)
    return Slot(env, np.zeros(2, np.float32))


def play_second_job(slot):
    job = EpisodeSpec("train", None, 0, 0, 0)
    for _ in range(2):
        slot.reset(job)
        while not slot.done:
            slot.step(np.zeros(1, np.float32))
            assert slot.length < 5
    return slot.result(None)


# --- Taken as it is meant -------------------------------------------------------------------------------------------

RIGHT = {
    "observation as list": {"obs": [5, 7]},
    "observation as tuple": {"obs": (5.0, 7.0)},
    "observation of float64": {"obs": np.array([5.0, 7.0])},
    "observation of integers": {"obs": np.array([5, 7], np.uint8)},
    "observation of a further dimension": {"obs": np.array([[5.0], [7.0]])},
    "reward of Python's int": {"reward": 2},
    "reward of np.float32": {"reward": np.float32(2)},
    "reward of np.float64": {"reward": np.float64(2)},
    "reward of np.int8": {"reward": np.int8(2)},
    "reward as fraction": {"reward": Fraction(2)},
    "reward without dimension": {"reward": np.array(2.0)},
    "reward of shape (1,)": {"reward": np.array([2.0])},
    "reward of shape (1, 1)": {"reward": np.array([[2]])},
    "reward as list": {"reward": [2.0]},
    "terminated of numpy": {"ends": np.True_},
    "terminated as 1": {"ends": 1},
    "terminated as array": {"ends": np.array([True])},
    "truncated of numpy": {"truncated": np.False_},
    "truncated as array": {"truncated": np.array([0.0])},
    "info of another kind": {"info": UserDict(task_id=1), "last": UserDict()},
    "step as list": {"step": [[5.0, 7.0], 2.0, True, False, {}]},
}


@pytest.mark.parametrize("later", RIGHT.values(), ids=RIGHT)
def test_what_is_meant_is_clear(later):
    steps_expected = 1 if "step" in later else 2
    obs, task_id, steps = play_second_episode(vector_env(later))
    np.testing.assert_array_equal(obs, [[5, 7]] * 3)
    assert [step.rewards.tolist() for step in steps] == [[2.0]] * 2
    assert steps[steps_expected - 1].terminated.all()
    assert (task_id, steps[-1].restarted.any()) == (1, False)
    slot = slot_of(later)
    episode = play_second_job(slot)
    assert (episode.total, episode.length, slot.terminated) == (2.0 * steps_expected, steps_expected, True)


@pytest.mark.parametrize(("reward", "number"), [(True, 1.0), (np.False_, 0.0)])
def test_a_bool_is_a_reward_of_one_or_zero(reward, number):
    assert play_second_episode(vector_env({"reward": reward}))[2][0].rewards.tolist() == [number]
    assert play_second_job(slot_of({"reward": reward})).total == 2 * number


def test_further_keys_of_a_dict_observation_are_left_out():
    later = {"obs": {"a": [5.0], "b": [7.0], "image": None}}
    np.testing.assert_array_equal(play_second_episode(vector_env(later, as_dict=True))[0], [[5, 7]] * 3)


TASKS = [2, np.int64(2), np.uint8(2), 2.0, np.float32(2), np.array(2), np.array([2]), np.array([2.0])]


@pytest.mark.parametrize("task_id", TASKS, ids=repr)
@pytest.mark.parametrize("last", [{}, {"task_id": 2}, {"task_id": np.array([2])}], ids=str)
def test_a_task_id_may_be_any_integer(task_id, last):
    later = {"info": {"task_id": task_id}, "last": last}
    assert play_second_episode(vector_env(later))[1] == 2
    assert play_second_job(slot_of(later)).task_id == 2


KNOWN = [(True, True), (np.False_, False), (1, True), (0.0, False), (np.float32(1), True), (np.array([1]), True)]
UNKNOWN = [(None, None), (float("nan"), None), (np.float32("nan"), None), ("no", None), (0.5, None)]


@pytest.mark.parametrize(("said", "success"), KNOWN + UNKNOWN, ids=repr)
def test_success_may_be_a_bool_or_unknown(said, success):
    assert play_second_job(slot_of({"last": {"is_success": said}})).success is success
    assert "is_success" in play_second_episode(vector_env({"last": {"is_success": said}}))[2][-1].final_infos[0]


def test_a_share_of_success_is_told_once_not_in_every_episode(caplog):
    env_values._warn_of_success.cache_clear()
    told = [success_of({"is_success": share}) for share in (0.25, 0.5, 0.75)]
    assert told == [None] * 3
    assert [record.args for record in caplog.records] == [("is_success", "float")]


@pytest.mark.parametrize(("said", "success"), [(np.array([1]), True), (0.0, False), (None, None)], ids=repr)
def test_success_that_is_not_known_is_not_counted(said, success):
    config = tiny(RecurrentSACConfig, env="test/Changing", env_config={"later": {"last": {"is_success": said}}})
    runner = runner_of(config)
    runner.sample(num_timesteps=12)  # of each slot the first episode, which says nothing, and a second one
    told = [success_of_one for *_, success_of_one in runner._finished_episodes]
    assert len(told) == 6
    np.testing.assert_array_equal(told, [np.nan] * 3 + [np.nan if success is None else float(success)] * 3)


# --- Refused --------------------------------------------------------------------------------------------------------

WRONG = {
    "observation that is shorter": ({"obs": [5.0]}, r"an observation of 1 numbers \(shape \(1,\)\).* has 2"),
    "observation without dimension": ({"obs": np.float32(5)}, r"an observation of 1 numbers \(shape \(\)\)"),
    "observation that is longer": ({"obs": np.zeros(3)}, r"an observation of 3 numbers"),
    "no observation": ({"obs": None}, "an observation of 1 numbers|the observation None"),
    "observation of text": ({"obs": ["left", "right"]}, r"the observation \['left', 'right'\].*ValueError"),
    "observation in a dict": ({"obs": {"a": 5.0}}, r"the observation {'a': 5.0}.*TypeError"),
    "reward of two numbers": ({"reward": np.array([1.0, 2.0])}, r"the reward array\(\[1., 2.\]\).*must be a number"),
    "no reward": ({"reward": None}, "the reward None.*must be a number"),
    "reward of text": ({"reward": "2.0"}, "the reward '2.0'.*must be a number"),
    "empty reward": ({"reward": np.zeros(0)}, r"the reward array\(\[\], dtype=float64\)"),
    "terminated of text": ({"ends": "False"}, "'False' as `terminated`.*must be True or False"),
    "no terminated": ({"ends": None}, "None as `terminated`"),
    "terminated as 2": ({"ends": 2}, "2 as `terminated`"),
    "info in place of truncated": ({"truncated": {}}, "{} as `truncated`"),
    "no info at a step": ({"last": None}, "the info None, but it must be a dict"),
    "no info at a reset": ({"info": None}, "the info None, but it must be a dict"),
    "info of text": ({"info": "task 1"}, "the info 'task 1', but it must be a dict"),
    "reset without info": ({"reset": np.zeros(2)}, r"array\(\[0., 0.\]\) at a reset, but `reset\(\)` must return"),
    "step of the old API": ({"step": ([5.0, 7.0], 2.0, True, {})}, r"4 values at a step, but `step\(\)` must return"),
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(("later", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_named_with_its_environment_even_where_failures_are_restarted(later, message):
    with pytest.raises(ValueError, match=rf"^Environment 0 of env runner 3 \(Changing\) gave {message}"):
        play_second_episode(vector_env(later))
    with pytest.raises(UnusableValue, match=f"^{message}"):
        play_second_job(slot_of(later))


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ({"reward": None}, "the reward None, but it must"),
        ({"last": {"task_id": 0}, "ends": True}, "the 'task_id' 0 in the info of a step, but 1"),
        ({"reward": 1e39}, r"the reward 1e\+39, but it must be finite"),
    ],
)
def test_in_an_evaluation_its_place_is_named_too(later, reason):
    at = 2 if "last" in later else 1
    player = Player(lambda slot: Changing({"later": later}), single_env=True, name="test/Changing")
    agent = SimpleNamespace(
        contexts=None, reset=lambda slots, obs: None, act=lambda slots, live: np.zeros((1, 1), np.float32)
    )
    message = rf"'test/Changing' failed \(split train, task 1, episode 1, step {at}\): it gave {reason}"
    with pytest.raises(EnvironmentFaultError, match=message):
        player.play(agent, [EpisodeSpec("train", None, episode, 0, 0) for episode in range(2)])


def test_a_missing_key_of_a_dict_observation_is_named():
    later = {"obs": {"a": [5.0]}}
    message = r"the observation {'a': \[5.0\]}, which is not in.*KeyError: 'b'"
    with pytest.raises(ValueError, match=message):
        play_second_episode(vector_env(later, as_dict=True))
    with pytest.raises(ValueError, match=message):
        play_second_job(slot_of(later, as_dict=True))


WRONG_TASKS = {
    "missing": ({"info": {}}, r"no 'task_id' in the info of a reset.*Let its `reset\(\)` return an integer"),
    "text": ({"info": {"task_id": "t2"}}, "the 'task_id' 't2' in the info of a reset, but it must be an integer >= 0"),
    "None": ({"info": {"task_id": None}}, "the 'task_id' None in the info of a reset"),
    "negative": ({"info": {"task_id": -1}}, "the 'task_id' -1 in the info of a reset"),
    "bool": ({"info": {"task_id": True}}, "the 'task_id' True in the info of a reset"),
    "half": ({"info": {"task_id": 1.5}}, "the 'task_id' 1.5 in the info of a reset"),
    "NaN": ({"info": {"task_id": float("nan")}}, "the 'task_id' nan in the info of a reset"),
    "too large": ({"info": {"task_id": 2**63}}, "the 'task_id' 9223372036854775808 in the info of a reset"),
    "two": ({"info": {"task_id": np.array([1, 2])}}, r"the 'task_id' array\(\[1, 2\]\) in the info of a reset"),
    "another at the end": ({"last": {"task_id": 2}}, "the 'task_id' 2 in the info of a step, but 1 in that of the"),
    "text at the end": ({"last": {"task_id": "one"}}, "the 'task_id' 'one' in the info of a step, but 1 in"),
}


NO_TASK_TO_REPORT = {name: WRONG_TASKS[name] for name in ("bool", "half", "NaN", "too large", "two")}
OTHER_TASK = {name: WRONG_TASKS[name] for name in ("another at the end", "text at the end")}


@pytest.mark.parametrize(("later", "message"), (NO_TASK_TO_REPORT | OTHER_TASK).values())
def test_a_wrong_task_id_is_named_in_an_evaluation_too(later, message):
    with pytest.raises(UnusableValue, match="^" + message.partition(" in the info of a reset")[0]):
        play_second_job(slot_of(later))


@pytest.mark.parametrize(
    ("later", "task"), [({}, None), ({"task_id": -1}, None), ({"task_id": None}, None), ({"task_id": "t2"}, "t2")]
)
def test_an_evaluation_takes_names_and_no_task_at_all(later, task):
    assert play_second_job(slot_of({"info": later, "last": later})).task_id == task


def episodes_of(later):
    """Two episodes as RLlib's own runner would send them, the second one in two pieces."""
    env, pieces = Changing({"later": later}), []
    for _ in range(2):
        episode = SingleAgentEpisode(observation_space=env.observation_space, action_space=env.action_space)
        episode.add_env_reset(*env.reset())
        for _ in range(2):
            if len(pieces) == 1 and len(episode) == 1:
                pieces.append(episode)
                episode = episode.cut()
            obs, reward, terminated, truncated, info = env.step(None)
            episode.add_env_step(obs, np.zeros(1), reward, info, terminated=terminated, truncated=truncated)
        pieces.append(episode)
    return [piece.to_numpy() for piece in pieces]


def buffer_of(rule):
    buffer = TaskEpisodeReplayBuffer(2, 1, SamplingConfig(), capacity=100)
    buffer.task_ids = TaskIds(rule)
    return buffer


@pytest.mark.parametrize("rule", ["each reset", "each reset or none"])
@pytest.mark.parametrize(("later", "message"), WRONG_TASKS.values(), ids=WRONG_TASKS)
def test_a_wrong_task_id_is_named_at_any_reset_and_end_by_any_runner(later, message, rule):
    with pytest.raises(ValueError, match=rf"^Environment 0 of env runner 3 \(Changing\) gave {message}"):
        play_second_episode(vector_env(later, rule=rule))
    with pytest.raises(ValueError, match=rf"^An environment gave {message}"):
        buffer_of(rule).add(episodes_of(later))


@pytest.mark.parametrize(
    ("later", "task_id"), [(later, 1 if "last" in later else 0) for later, _ in WRONG_TASKS.values()]
)
def test_algorithms_that_read_no_tasks_take_what_is_no_task_id_for_none(later, task_id):
    assert play_second_episode(vector_env(later, rule="ignored"))[1] == task_id
    buffer = buffer_of("ignored")
    buffer.add(episodes_of(later))
    assert buffer.store.finished["task_id"].tolist() == [1, task_id]


def test_a_task_id_that_comes_late_is_named_unless_none_is_read(monkeypatch):
    monkeypatch.setitem(PLAIN, "info", {})
    later = {"info": {"task_id": 1}}
    message = "a 'task_id' in the info of a reset, but earlier resets had none"
    for rule in ("each reset", "each reset or none"):
        wrong = message if rule == "each reset or none" else "no 'task_id' in the info of a reset"
        with pytest.raises(ValueError, match=wrong):
            play_second_episode(vector_env(later, rule=rule))
        with pytest.raises(ValueError, match=wrong):
            buffer_of(rule).add(episodes_of(later))
    assert play_second_episode(vector_env(later, rule="ignored"))[1] == 1
    never = play_second_episode(vector_env({"last": {"task_id": 4}}, rule="each reset or none"))
    assert never[1] == 0


@pytest.mark.parametrize(
    ("config_class", "rule"),
    [(SaCCMConfig, "each reset"), (TESACConfig, "each reset or none"), (RecurrentSACConfig, "ignored")],
)
def test_what_is_asked_of_task_ids_follows_from_the_algorithm(config_class, rule):
    assert config_class().task_id_rule == rule
    runner = runner_of(tiny(config_class, env="test/Changing", env_config={"later": {"info": {}}}))
    if rule == "ignored":
        runner.sample(num_timesteps=12)
    else:
        with pytest.raises(ValueError, match=r"Environment 0 \(Changing\) gave no 'task_id'"):
            runner.sample(num_timesteps=12)


def test_episodes_of_rllibs_own_runner_are_looked_at_by_the_buffer(ray_cluster):
    config = tiny(env="test/Changing", env_config={"later": {"info": {}}})
    algo = config.env_runners(env_runner_cls=SingleAgentEnvRunner).build_algo()
    with pytest.raises(ValueError, match="An environment gave no 'task_id' in the info of a reset"):
        algo.train()
    algo.stop()


class Growing(Walker):
    """Another task is added at each reset."""

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed)
        self.num_tasks += 1
        return result


def test_the_number_of_tasks_may_change():
    env = TaskVectorEnv([Growing] * 2, task_ids="each reset")
    starts = []
    for _ in range(3):
        env.reset_all([0, 0], [5, 6])
        starts.append(env.task_ids.tolist())
    assert starts == [[0, 1], [5, 0], [5, 6]]


# --- What ends the process ------------------------------------------------------------------------------------------


class Leaving(Changing):
    """Calls sys.exit() in a later reset or step."""

    def __init__(self, where):
        super().__init__({"later": {}})
        self.where = where

    def reset(self, *, seed=None, options=None):
        if self.episodes and self.where == "reset":
            sys.exit(0)
        return super().reset(seed=seed)

    def step(self, action):
        if self.episodes > 1 and self.where == "step":
            sys.exit("no licence")
        return super().step(action)


@pytest.mark.parametrize(("where", "code"), [("reset", "0"), ("step", "'no licence'")])
def test_an_exit_is_a_failure_of_the_environment(where, code):
    words = rf"\(environment 0, {where}\): it called sys.exit\({code}\)"
    with pytest.raises(RuntimeError, match=rf"The environment 'Leaving' failed {words}"):
        play_second_episode(TaskVectorEnv([lambda: Leaving(where)]))
    env = TaskVectorEnv([lambda: Leaving(where)], restart_failed=True)
    play_second_episode(env)
    assert env.envs[0].episodes == 1  # made again
    player = Player(lambda slot: Leaving(where), single_env=True, name="test/Leaving")
    agent = SimpleNamespace(contexts=None, reset=lambda *given: None, act=lambda *given: np.zeros((1, 1), np.float32))
    with pytest.raises(EnvironmentFaultError, match=rf"'test/Leaving' failed .*: it called sys.exit\({code}\)"):
        player.play(agent, [EpisodeSpec("train", None, episode, 0, 0) for episode in range(2)])


# --- What failures are not ------------------------------------------------------------------------------------------


def test_numbers_that_are_not_finite_are_a_failure_and_no_mistake():
    later = {"obs": [np.nan, 7.0]}
    env = vector_env(later)
    _, _, steps = play_second_episode(env)
    assert env.envs[0].episodes == 1  # made again when its second reset failed
    assert not any(step.restarted.any() for step in steps)
    with pytest.raises(FloatingPointError, match="Environment 0 gave a reward or observation that is not finite"):
        play_second_episode(vector_env(later, restart=False))


@pytest.mark.parametrize(
    "wrong", [{"obs": [np.nan, 7.0]}, {"obs": [1e300, 7.0]}, {"reward": -np.inf}, {"reward": np.nan}]
)
def test_an_evaluation_ends_at_numbers_that_are_not_finite(wrong):
    with pytest.raises(UnusableValue, match=r"^the (observation array\(|reward ).*must be finite"):
        play_second_job(slot_of(wrong))
