"""What the env runner fed the policy is what training recomputes from the stored episodes, to 1e-5."""

from dataclasses import replace

import numpy as np
import pytest
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner

from .envs import HIGH, LOW, NUM_TASKS, reward_of
from .parity import recomputed_actions, sharpen, stored_episodes, worst_mismatch
from .tiny import runner_of, store_of, tiny

TOLERANCE = 1e-5
MARGIN = 100 * TOLERANCE  # what a control has to be off by
ENVIRONMENTS = {
    "SaMI/Pendulum-v0": {},
    "SaMI/HalfCheetah-v0": {},
    "test/Walker": {"end_probability": 0.1},
    "test/Point": {"end_probability": 0.1, "as_dict": True},
}


def make_runner(runner_class=ArrayEnvRunner, **settings):
    runner = runner_of(tiny(**settings), runner_class=runner_class)
    sharpen(runner.module.acting)
    return runner


def sampled(runner, num_fragments=12, between=lambda runner: None, **arguments):
    """The stored episodes of several fragments; ``between`` is called after each of them."""
    fragments = []
    for _ in range(num_fragments):
        fragments.append(runner.sample(explore=False, **arguments))
        between(runner)
    return stored_episodes(store_of(runner, fragments))


# --- Actions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder_reward", [False, True])
@pytest.mark.parametrize("encoder_type", ["lstm", "gru"])
@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_stored_episodes_give_the_actions_that_were_taken(env, encoder_type, encoder_reward):
    runner = make_runner(
        env=env, env_config=ENVIRONMENTS[env], encoder_type=encoder_type, encoder_reward=encoder_reward
    )
    acting, episodes = runner.module.acting, sampled(runner)

    # Fragments of 7 steps cut episodes of up to 20; three slots; open episodes and finished ones.
    assert sum(len(episode) for episode in episodes) == 12 * 7 * 3
    assert max(len(episode) for episode in episodes) > 14
    assert [episode.finished for episode in episodes].count(False) >= 1
    assert [episode.finished for episode in episodes].count(True) >= 12
    assert any(episode.terminated for episode in episodes) == env.startswith("test/")

    assert worst_mismatch(acting, episodes) < TOLERANCE
    assert worst_mismatch(acting, episodes, shift=1) > MARGIN
    assert worst_mismatch(acting, episodes, restart_every=7) > MARGIN


@pytest.mark.parametrize("encoder_type", ["lstm", "gru"])
def test_rllibs_own_runner_samples_the_same_episodes(encoder_type):
    runners = [
        make_runner(runner_class, env="test/Still", encoder_type=encoder_type)
        for runner_class in (ArrayEnvRunner, SingleAgentEnvRunner)
    ]
    runners[1].module.set_state(runners[0].module.get_state())
    ours, theirs = ([e for e in sampled(runner, 9) if e.finished] for runner in runners)
    assert len(ours) >= len(theirs) >= 6  # theirs spends a step on each reset
    for one, other in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(one.rows, other.rows, atol=TOLERANCE)
    assert np.abs(np.diff(ours[0].actions, axis=0)).max() > MARGIN  # they depend on what came before


class CarriesStateOverEpisodeEnds(ArrayEnvRunner):
    def _remember(self, action, step):
        super()._remember(action, replace(step, done=np.zeros_like(step.done)))


def forget_state(runner):
    runner._policy._state = np.zeros_like(runner._policy._state)


def swap_state_of_slots(runner):
    runner._policy._state = np.roll(runner._policy._state, 1, axis=0)


def forget_previous_action(runner):
    runner._policy._action = np.zeros_like(runner._policy._action)


def forget_previous_reward(runner):
    runner._policy._reward = np.zeros_like(runner._policy._reward)


@pytest.mark.parametrize("encoder_type", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("runner_class", "between"),
    [
        (CarriesStateOverEpisodeEnds, lambda runner: None),
        (ArrayEnvRunner, forget_state),
        (ArrayEnvRunner, swap_state_of_slots),
        (ArrayEnvRunner, forget_previous_action),
        (ArrayEnvRunner, forget_previous_reward),
    ],
    ids=["carries-state-over-ends", "forgets-state", "swaps-slots", "forgets-action", "forgets-reward"],
)
def test_a_runner_that_errs_at_a_border_is_caught(runner_class, between, encoder_type):
    runner = make_runner(runner_class, encoder_type=encoder_type, encoder_reward=True)
    assert worst_mismatch(runner.module.acting, sampled(runner, between=between)) > MARGIN


def test_the_encoder_has_read_the_random_steps_before_the_policys_own():
    runner = make_runner(env="test/Walker")
    random = runner.sample(random_actions=True)  # 7 steps of each slot's first episode
    own = runner.sample(explore=False)
    episodes = stored_episodes(store_of(runner, [random, own]))
    acting = runner.module.acting
    for episode in episodes:
        taken, recomputed = episode.actions, recomputed_actions(acting, episode)
        np.testing.assert_allclose(taken[7:], recomputed[7:], atol=TOLERANCE)
        assert np.abs(taken[:7] - recomputed[:7]).max() > 0.1
        assert np.abs(taken[7:] - recomputed_actions(acting, episode, restart_every=7)[7:]).max() > MARGIN


# --- What was executed, rewards, observations, tasks ----------------------------------------------------------------


@pytest.mark.parametrize("how", [{"random_actions": True}, {"explore": True}, {"explore": False}])
def test_actions_are_stored_as_they_were_executed(how):
    runner = make_runner(env="test/Walker", env_config={"end_probability": 0.1})
    episodes = stored_episodes(store_of(runner, [runner.sample(**how) for _ in range(8)]))
    for episode in episodes:
        executed = episode.obs[1:, 3:5]  # the environment tells
        np.testing.assert_allclose(LOW + (episode.actions + 1) / 2 * (HIGH - LOW), executed, atol=TOLERANCE)
    actions = np.concatenate([episode.actions for episode in episodes])
    assert np.abs(actions).max() <= 1
    if how.get("random_actions"):  # even over the whole range
        np.testing.assert_allclose(actions.mean(0), 0, atol=0.2)
        np.testing.assert_allclose(actions.std(0), 1 / np.sqrt(3), atol=0.1)


@pytest.mark.parametrize("env", ["test/Walker", "test/Point"])
def test_rewards_and_tasks_belong_together_and_the_final_observation_is_the_true_one(env):
    runner = make_runner(env=env, env_config={"end_probability": 0.1})
    episodes = sampled(runner, 20)
    assert {episode.task_id for episode in episodes} == set(range(NUM_TASKS))
    assert any(episode.terminated for episode in episodes)
    assert any(episode.finished and not episode.terminated and len(episode) == 20 for episode in episodes)
    wrong_task = []
    for episode in episodes:
        np.testing.assert_allclose(episode.rewards, reward_of(episode.obs[1:], episode.task_id), atol=TOLERANCE)
        wrong_task.append(episode.rewards - reward_of(episode.obs[1:], (episode.task_id + 1) % NUM_TASKS))
        # The clock runs from 0 to the length: the last observation is not yet the next episode's first.
        np.testing.assert_allclose(episode.obs[:, 2] * 10, np.arange(len(episode) + 1), atol=TOLERANCE)
        np.testing.assert_array_equal(episode.rows[0, 3:], 0)  # nothing was done before the first step
    assert np.abs(np.concatenate(wrong_task)).max() > 0.1


def test_terminated_and_truncated_episodes_are_told_apart():
    runner = make_runner(env="test/Walker", env_config={"end_probability": 0.1})
    fragments = [runner.sample(explore=False) for _ in range(20)]
    pieces = [piece for fragment in fragments for piece in fragment]
    ended = [piece for piece in pieces if piece.is_done]
    assert {(piece.is_terminated, piece.is_truncated) for piece in ended} == {(True, False), (False, True)}
    for piece in ended:
        assert piece.is_truncated == (piece.t == 20 and not piece.is_terminated)
    stored = stored_episodes(store_of(runner, fragments), with_open=False)
    assert sum(episode.terminated for episode in stored) == sum(piece.is_terminated for piece in ended)


def test_dict_observations_are_flattened_as_gymnasium_does():
    settings = {"env_config": {"end_probability": 0.1}, "env": "test/Walker"}
    flat = sampled(make_runner(**settings))
    settings["env_config"]["as_dict"] = True
    runner = make_runner(**settings)
    # Keys in alphabetical order: clock, last, place.
    for one, other in zip(flat, sampled(runner), strict=False):
        np.testing.assert_array_equal(one.obs[0, [2, 3, 4, 0, 1]], other.obs[0])
    assert runner.get_spaces()["__env_single__"][0].shape == (5,)
