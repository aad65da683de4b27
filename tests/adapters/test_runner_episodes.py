"""What one call of the env runner returns: fragments, whole episodes, failed environments, metrics, callbacks."""

import numpy as np
import pytest
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami.core.faults import EnvironmentFaultError, Watch
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

from .envs import NUM_TASKS, reward_of
from .parity import sharpen, stored_episodes, worst_mismatch
from .tiny import runner_of, store_of, tiny

TOLERANCE = 1e-5

# --- Fragments and whole episodes -----------------------------------------------------------------------------------


def test_a_fragment_has_its_length_in_every_slot_and_pieces_join():
    runner = runner_of(tiny(env="test/Walker", env_config={"end_probability": 0.1}))
    reached = {}
    for _ in range(15):
        pieces = runner.sample(explore=False)
        for slot in range(3):
            assert sum(len(piece) for piece in pieces if piece.custom_data["slot"] == (0, slot)) == 7
        for piece in pieces:
            assert piece.t_started == reached.pop(piece.id_, 0)
            if not piece.is_done:
                reached[piece.id_] = piece.t
    assert len(reached) <= 3


def test_asking_for_episodes_gives_complete_ones_only_and_begins_anew_after_them():
    runner = runner_of(tiny(env="test/Walker", env_config={"end_probability": 0.1}))
    runner.sample(explore=False)  # leaves episodes in progress, which must not come back
    for _ in range(3):
        episodes = runner.sample(num_episodes=5, explore=False)
        assert len(episodes) == 5
        for episode in episodes:
            assert episode.is_done
            assert episode.t_started == 0
            np.testing.assert_allclose(episode.get_observations()[:, 2] * 10, np.arange(len(episode) + 1), atol=1e-5)
    first = runner.sample(num_timesteps=6, explore=False)
    assert all(piece.t_started == 0 for piece in first)
    second = {piece.id_: piece.t_started for piece in runner.sample(num_timesteps=6, explore=False)}
    assert all(second[piece.id_] == piece.t for piece in first if not piece.is_done)  # these go on
    assert all(piece.t_started == 0 for piece in runner.sample(num_timesteps=6, force_reset=True))


# Episodes that end at each step with probability 0.1, and at 20.
LENGTHS = np.arange(1, 21)
CHANCES = 0.1 * 0.9 ** (LENGTHS - 1) + np.where(LENGTHS == 20, 0.9**20, 0.0)
MEAN_LENGTH = (LENGTHS * CHANCES).sum()
DEVIATION = np.sqrt((LENGTHS**2 * CHANCES).sum() - MEAN_LENGTH**2)


def favoured_lengths(number):
    """Lengths that taking the first ``number`` episodes to end, of three slots, would give."""
    lengths = np.random.default_rng(0).choice(LENGTHS, p=CHANCES, size=(1_000, 3, number))
    ends = lengths.cumsum(axis=2).reshape(1_000, -1)
    first = np.argsort(ends, axis=1, kind="stable")[:, :number]
    return np.take_along_axis(lengths.reshape(1_000, -1), first, axis=1)


@pytest.mark.parametrize("number", [2, 4])
def test_whole_episodes_do_not_favour_short_ones(number):
    runner = runner_of(tiny(env="test/Walker", env_config={"end_probability": 0.1}))
    calls = [runner.sample(num_episodes=number, explore=False) for _ in range(400 // number)]
    assert {len(episodes) for episodes in calls} == {number}
    lengths = [len(episode) for episodes in calls for episode in episodes]
    error = DEVIATION / np.sqrt(len(lengths))
    assert CHANCES.sum() == pytest.approx(1)
    assert abs(np.mean(lengths) - MEAN_LENGTH) < 3 * error
    assert favoured_lengths(number).mean() < MEAN_LENGTH - 6 * error  # the control


# --- Environments that fail -----------------------------------------------------------------------------------------


def failing(fail_in, restart=True, env="test/Walker"):
    """A runner whose first slot's environments break at the 25th step of their lives."""
    config = tiny(env=env, env_config={"fail_at": 25, "fail_in": fail_in})
    runner = runner_of(config.fault_tolerance(restart_failed_sub_environments=restart))
    sharpen(runner.module.acting)
    return runner


def sample_fragments(runner, number=20):
    return [runner.sample(explore=False) for _ in range(number)]


@pytest.mark.parametrize("fail_in", ["step", "reset"])
def test_a_failing_environment_stops_sampling_unless_restarts_are_on(fail_in):
    with pytest.raises(RuntimeError, match="the simulator broke"):
        sample_fragments(failing(fail_in, restart=False))
    assert len(sample_fragments(failing(fail_in))) == 20


@pytest.mark.parametrize("env", ["test/Walker", "SaMI/Pendulum-v0"])
@pytest.mark.parametrize("method", ["step", "reset"])
def test_one_that_hangs_is_not_made_again(monkeypatch, env, method):
    config = tiny(env=env).fault_tolerance(restart_failed_sub_environments=True)
    runner = runner_of(config)
    first = runner.env.envs[0].unwrapped

    def stopped(*args, **kwargs):
        raise EnvironmentFaultError("It hangs.")

    monkeypatch.setattr(first, "advance" if method == "step" and env.startswith("SaMI") else method, stopped)
    with pytest.raises(EnvironmentFaultError, match="It hangs"):
        runner.sample(explore=False)
    assert runner.env.envs[0].unwrapped is first


@pytest.mark.parametrize("fail_in", ["step", "reset"])
def test_a_failed_environment_loses_its_episode_and_nothing_else(fail_in):
    runner = failing(fail_in)
    fragments = sample_fragments(runner)
    pieces = [piece for fragment in fragments for piece in fragment]
    episodes = stored_episodes(store_of(runner, fragments))

    # Nothing of a lost episode is mixed with what came after it.
    assert worst_mismatch(runner.module.acting, episodes) < TOLERANCE
    for episode in episodes:
        np.testing.assert_allclose(episode.obs[:, 2] * 10, np.arange(len(episode) + 1), atol=TOLERANCE)
        np.testing.assert_allclose(episode.rewards, reward_of(episode.obs[1:], episode.task_id), atol=TOLERANCE)

    # Of 140 steps the first slot loses each 25th, in its environment's second episode; a reset that fails costs
    # nothing. The walk over tasks goes on over both.
    done = {slot: [p for p in pieces if p.custom_data["slot"][1] == slot and p.is_done] for slot in range(3)}
    assert [len(done[slot]) for slot in range(3)] == ([5, 7, 7] if fail_in == "step" else [7, 7, 7])
    for slot, last_pieces in done.items():
        stride = 2 if fail_in == "step" and slot == 0 else 1
        walk = [piece.custom_data["task_id"] for piece in last_pieces]
        assert walk == [(slot + stride * step) % NUM_TASKS for step in range(len(walk))]
    starts = [tuple(piece.get_observations(0)[:2]) for piece in pieces if piece.t_started == 0]
    assert len(set(starts)) == len(starts) >= 20  # random numbers go on too


@pytest.mark.parametrize("fail_in", ["step", "reset"])
def test_a_run_with_failures_repeats_with_its_seed(fail_in):
    one, other = (failing(fail_in, env="test/Point") for _ in range(2))
    one, other = (stored_episodes(store_of(runner, sample_fragments(runner))) for runner in (one, other))
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(one, other, strict=True))


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39], ids=str)  # the last is finite in float64 only
@pytest.mark.parametrize("bad_in", ["observation", "reward", "reset"])
def test_numbers_that_are_not_finite_are_named_or_cost_an_episode(bad_in, bad):
    settings = {"bad": bad, "bad_in": bad_in, "bad_at": 25}
    config = tiny(env="test/Diverging", env_config=settings, encoder_reward=True)
    with pytest.raises(FloatingPointError, match="Environment 0 gave a reward or observation that is not finite"):
        sample_fragments(runner_of(config.copy()))

    runner = runner_of(config.fault_tolerance(restart_failed_sub_environments=True))
    sharpen(runner.module.acting)
    fragments = sample_fragments(runner)
    episodes = stored_episodes(store_of(runner, fragments))
    assert all(np.isfinite(episode.rows).all() for episode in episodes)
    for carried in (runner._policy._state, runner._policy._action, runner._policy._reward):
        assert np.isfinite(carried).all()
    assert worst_mismatch(runner.module.acting, episodes) < TOLERANCE
    ended = [piece.custom_data["slot"][1] for fragment in fragments for piece in fragment if piece.is_done]
    assert [ended.count(slot) for slot in range(3)] == [7 if bad_in == "reset" else 5, 7, 7]


def broken(*args, **kwargs):
    raise KeyError("fish")


@pytest.mark.parametrize(
    "whose", ["step", "reset", "on_episode_created", "on_episode_step", "on_episode_start", "module"]
)
def test_an_error_in_evaluation_is_blamed_on_the_environment_only_if_it_is_the_environments(monkeypatch, whose):
    config = tiny(env="test/Walker")
    if whose.startswith("on_"):
        config.callbacks(**{whose: broken})
    config.in_evaluation = True
    runner = runner_of(config)
    if whose in ("step", "reset"):
        monkeypatch.setattr(runner.env.envs[1], whose, broken)
    elif whose == "module":
        monkeypatch.setattr(runner._policy, "act", broken)
    of_env = whose in ("step", "reset")
    words = r"'test/Walker' failed \(evaluation\): KeyError: 'fish'" if of_env else "^'fish'$"
    with pytest.raises(EnvironmentFaultError if of_env else KeyError, match=words):
        runner.sample(num_episodes=3, explore=False)


@pytest.mark.parametrize("unit", ["num_timesteps", "num_episodes"])
def test_evaluation_tells_its_watch_of_each_episode(monkeypatch, unit):
    told = []
    monkeypatch.setattr(Watch, "episode", lambda watch: told.append(watch))
    config = tiny(env="test/Walker")
    config.in_evaluation = True
    episodes = runner_of(config).sample(**{unit: 123 if unit == "num_timesteps" else 5}, explore=False)
    assert len(told) == sum(episode.is_done for episode in episodes) >= 5


# --- Metrics and callbacks ------------------------------------------------------------------------------------------


def test_returns_are_reported_over_the_last_episodes_and_by_task(ray_cluster):
    config = tiny(env="test/Walker").reporting(
        metrics_num_episodes_for_smoothing=4, min_sample_timesteps_per_iteration=1
    )
    algo, before = config.build_algo(), 0
    for _ in range(8):
        result = algo.train()["env_runners"]
        ended = stored_episodes(algo.replay_buffer.store, with_open=False)
        if not ended:
            assert np.isnan(result["episode_return_mean"])
            continue
        # The last four, also in iterations in which no episode ends; or all of one in which more end.
        last = ended[-max(4, len(ended) - before) :]
        before = len(ended)
        returns, tasks = np.array([episode.rewards.sum() for episode in last]), [episode.task_id for episode in last]
        assert result["episode_return_mean"] == pytest.approx(returns.mean(), rel=1e-5)
        assert result["episode_return_min"] == pytest.approx(returns.min(), rel=1e-5)
        assert result["episode_return_max"] == pytest.approx(returns.max(), rel=1e-5)
        assert result["episode_len_mean"] == 20
        for task, mean in result["return_by_task"].items():
            of_task = returns[np.array(tasks) == int(task)]
            assert mean == pytest.approx(of_task.mean() if len(of_task) else np.nan, rel=1e-5, nan_ok=True)
    algo.stop()
    assert len(ended) > 4


def test_the_last_info_of_an_episode_stays_with_it_and_gives_a_success_rate():
    ends = []
    config = tiny(env="test/Judged", env_config={"end_probability": 0.1}).callbacks(
        on_episode_end=lambda episode, **kwargs: ends.append((episode.get_infos(-1), episode.t))
    )
    runner = runner_of(config)
    pieces = [piece for _ in range(30) for piece in runner.sample(explore=False)]
    over = [piece for piece in pieces if piece.is_done]
    assert {piece.custom_data["task_id"] for piece in over} == set(range(NUM_TASKS))
    for piece in pieces:
        task_id = piece.custom_data["task_id"]
        plain = {"task_id": task_id}
        told = piece.is_done and task_id != 4
        last = {"is_success": task_id % 2 == 0, "steps": piece.t} if told else {}
        assert piece.get_infos() == [plain] * len(piece) + [plain | last]
    assert sorted(map(str, ends)) == sorted(str((piece.get_infos(-1), piece.t)) for piece in over)
    known = [piece.custom_data["task_id"] % 2 == 0 for piece in over if piece.custom_data["task_id"] != 4]
    assert dict(flat(runner.get_metrics()))["success_rate"].peek() == pytest.approx(np.mean(known))
    plain_runner = runner_of(tiny(env="test/Walker"))
    plain_runner.sample(num_episodes=3)
    assert np.isnan(plain_runner.get_metrics()["success_rate"].peek())


@pytest.mark.panda
def test_what_became_of_the_cube_reaches_the_episode():
    pytest.importorskip("pybullet")
    runner = runner_of(tiny(env="SaMI/PandaPush-v0", env_config={"max_steps": 4}))
    episodes = runner.sample(num_episodes=3, random_actions=True)
    for episode in episodes:
        info = episode.get_infos(-1)
        assert info["skill"] == "none"
        assert info["is_success"] is False
        assert info["task"]["cube_mass"] > 0.0
    assert dict(flat(runner.get_metrics()))["success_rate"].peek() == 0.0


def flat(metrics: dict, prefix: str = "") -> list[tuple[str, object]]:
    """Nested metrics as pairs of ``a/b`` and value."""
    pairs = []
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        pairs += flat(value, f"{name}/") if isinstance(value, dict) else [(name, value)]
    return pairs


def test_an_iterations_result_has_returns_and_steps(ray_cluster):
    algo = tiny(env="test/Walker").build_algo()
    for _ in range(3):
        result = algo.train()["env_runners"]
    assert np.isfinite(result["episode_return_mean"])
    assert set(result["return_by_task"]) == {str(task) for task in range(NUM_TASKS)}
    assert result["num_env_steps_sampled_lifetime"] == 315
    algo.stop()


def test_episode_end_and_sample_end_callbacks_are_called():
    seen = {"ends": [], "samples": []}
    config = tiny(env="test/Walker").callbacks(
        on_episode_end=lambda episode, **kwargs: seen["ends"].append(episode.id_),
        on_sample_end=lambda samples, **kwargs: seen["samples"].append(samples),
    )
    runner = runner_of(config)
    ended = [piece.id_ for _ in range(4) for piece in runner.sample() if piece.is_done]
    assert sorted(seen["ends"]) == sorted(ended)
    assert len(ended) == 3
    assert len(seen["samples"]) == 4


@pytest.mark.parametrize("runner_class", [ArrayEnvRunner, SingleAgentEnvRunner])
def test_an_episode_that_ends_comes_with_its_earlier_pieces(runner_class):
    ends = []

    def note(episode, prev_episode_chunks, **kwargs):
        pieces = [*prev_episode_chunks, episode]
        assert {piece.id_ for piece in pieces} == {episode.id_}
        assert [piece.t_started for piece in pieces[1:]] == [piece.t for piece in pieces[:-1]]
        clock = episode.get_observations(-1)[2] * 10
        ends.append((sum(map(len, pieces)), sum(piece.get_return() for piece in pieces), len(pieces), clock))

    env_config = {"end_probability": 0.1}
    if runner_class is ArrayEnvRunner:
        env_config["fail_at"] = 45  # pieces of a lost episode are no one's
    config = tiny(env="test/Walker", env_config=env_config).callbacks(on_episode_end=note)
    config.env_runners(env_runner_cls=runner_class).fault_tolerance(restart_failed_sub_environments=True)
    runner = runner_of(config, runner_class=runner_class)
    whole = stored_episodes(store_of(runner, sample_fragments(runner, 30)), with_open=False)
    lengths, returns, num_pieces, clocks = np.transpose(ends)
    np.testing.assert_allclose(lengths, clocks, atol=1e-4)
    assert {1, 2, 3} <= set(num_pieces)
    stored = sorted((len(episode), episode.rewards.sum()) for episode in whole)
    np.testing.assert_allclose(sorted(zip(lengths, returns, strict=True)), stored, rtol=1e-5)

    ends.clear()
    episodes = runner.sample(num_episodes=4, explore=False)
    assert sorted(length for length, *_ in ends) == sorted(len(episode) for episode in episodes if episode.is_done)
    assert {number for *_, number, _ in ends} == {1}


# --- What the runner refuses ----------------------------------------------------------------------------------------


def test_another_rl_module_gets_an_error_that_names_the_way_out(ray_cluster):
    from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    config = tiny().rl_module(
        rl_module_spec=RLModuleSpec(
            module_class=DefaultSACTorchRLModule,
            model_config={"twin_q": True, "fcnet_hiddens": [8], "head_fcnet_hiddens": [8], "fcnet_activation": "relu"},
        )
    )
    with pytest.raises(
        ValueError, match=r"ArrayEnvRunner acts with an OffPolicyTorchRLModule.*DefaultSAC.*env_runner_cls"
    ):
        runner_of(config)


def test_what_the_policy_keeps_of_an_episode_reaches_the_replay_buffer(monkeypatch):
    runner = runner_of(tiny(env="test/Point"))
    begun = np.zeros(runner.num_envs, np.int64)  # episodes of each slot
    begin = runner._policy.begin

    def counted(slots=slice(None), rng=None):
        begun[slots] += 1
        begin(slots, rng)

    monkeypatch.setattr(runner._policy, "begin", counted)
    monkeypatch.setattr(runner._policy, "episode_fields", lambda slot: {"skill": np.array([slot, begun[slot]])})
    obs_space, action_space = runner.get_spaces()["default_policy"]
    widths = obs_space.shape[0], action_space.shape[0]
    buffer = TaskEpisodeReplayBuffer(*widths, runner.config.make_sampler(), capacity=2_000, fields={"skill": 2})
    for _ in range(10):  # fragments end within episodes
        buffer.add(runner.sample(explore=True))
    skills = buffer.store.finished["skill"].astype(int)
    assert len(skills) > 6
    for slot in range(runner.num_envs):
        of_slot = skills[skills[:, 0] == slot][:, 1]
        assert of_slot.tolist() == list(range(1, len(of_slot) + 1))
