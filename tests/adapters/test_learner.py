"""The learner: what it trains, at which rate, how often, and what it reports."""

import logging
import math

import numpy as np
import pytest
from ray.util import debug

from rllib_sami import CCMConfig, PlainSACConfig, SaCCMConfig, SaPPOConfig, SaTESACConfig, TESACConfig, compat
from rllib_sami.algorithms.base import health
from rllib_sami.core.schedules import value_at

from .tiny import flat_state, tiny, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")


GROUPS = ("encoder", "critic", "actor", "alpha")


def optimizer_of(algo, group):
    return algo.learner_group._learner.get_optimizer("default_policy", group)


def copied(weights):
    """Weights that stay as they are while training goes on."""
    return {name: np.array(value) for name, value in weights.items()}


def unchanged(before, after):
    return {name for name in before if np.array_equal(before[name], after[name])}


# --- What is trained ------------------------------------------------------------------------------------------------


def test_every_trained_parameter_has_one_optimiser_and_the_averaged_networks_have_none():
    algo = tiny().build_algo()
    owned = [id(p) for name in GROUPS for group in optimizer_of(algo, name).param_groups for p in group["params"]]
    module = algo.learner_group._learner.module["default_policy"]
    names = {id(p): name for name, p in module.named_parameters()}
    assert len(set(owned)) == len(owned)
    assert sorted(names[p] for p in set(names) - set(owned)) == sorted(
        name for name in names.values() if name.startswith(("learning.target_critics", "acting.encoder"))
    )
    assert "learning.log_alpha" in {names[p] for p in owned}
    algo.stop()


@pytest.mark.parametrize("config_class", [TESACConfig, CCMConfig, SaTESACConfig, SaCCMConfig])
def test_every_network_of_every_algorithm_changes(config_class):
    algo = tiny(config_class, similarity="bilinear", num_steps_sampled_before_learning_starts=60).build_algo()
    before = copied(weights_of(algo))
    for _ in range(2):
        algo.train()
    after = weights_of(algo)
    algo.stop()
    # The similarity map belongs to the contrast, which TESAC has not.
    assert unchanged(before, after) == (
        {"/default_policy/learning.similarity_map"} if config_class is TESACConfig else set()
    )


# --- Learning rates -------------------------------------------------------------------------------------------------


def test_learning_rates_follow_their_own_schedules():
    algo = tiny(
        actor_lr=[[0, 1e-3], [200, 1e-4]], critic_lr=[[0, 0.0], [1_000, 1e-3]], encoder_lr=3e-4, alpha_lr=2e-4
    ).build_algo()
    for _ in range(3):
        result = algo.train()
    rates = {name: optimizer_of(algo, name).param_groups[0]["lr"] for name in GROUPS}
    algo.stop()
    expected = {"actor": 1e-4, "critic": 0.315e-3, "encoder": 3e-4, "alpha": 2e-4}
    assert rates == pytest.approx(expected, rel=1e-6)
    for name, rate in expected.items():
        assert result["learners"]["default_policy"][f"{name}_learning_rate"] == pytest.approx(rate, rel=0.15)


def test_a_rate_of_zero_keeps_its_network():
    algo = tiny(actor_lr=[[0, 0.0], [1_000_000, 0.0]]).build_algo()
    before = copied(weights_of(algo))
    for _ in range(2):
        algo.train()
    after = weights_of(algo)
    algo.stop()
    assert {name.split(".")[1] for name in unchanged(before, after)} - {"similarity_map"} == {"actor"}


# --- How often ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runners", "slots", "fragment", "ratio"),
    [
        (0, 3, 7, 0.1),
        (0, 1, 25, 0.1),
        (0, 8, 1, 0.3),
        (0, 4, 5, 1.5),
        (0, 1, 25, [[0, 1.0], [200, 0.2]]),
        pytest.param(2, 2, 5, 0.1, marks=pytest.mark.slow),
    ],
)
def test_updates_for_each_step_keep_their_ratio(runners, slots, fragment, ratio):
    config = tiny(env="test/Point", updates_per_env_step=ratio).env_runners(
        num_env_runners=runners, num_envs_per_env_runner=slots, rollout_fragment_length=fragment
    )
    algo = config.build_algo()
    for _ in range(4):
        result = algo.train()
    updates = result["learners"]["default_policy"]["num_updates_lifetime"]
    steps, added = result["num_env_steps_sampled_lifetime"], result["replay_buffer"]["num_env_steps_added_lifetime"]
    round_length = max(1, runners) * slots * fragment
    credit = algo._update_credit
    algo.stop()
    assert steps == added == 4 * math.ceil(100 / round_length) * round_length
    # Steps of random actions, in whole rounds, come before it.
    warm_up = math.ceil(100 / round_length) * round_length
    rounds = range(warm_up + round_length, int(steps) + 1, round_length)
    assert updates + credit == pytest.approx(sum(round_length * value_at(ratio, step) for step in rounds))
    assert 0 <= credit <= 1


BATCHES = {"updates_per_batch": 4, "contrast_interval": 2}


@pytest.mark.parametrize("learners", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_of_four_updates_and_two_contrasts(learners):
    algo = tiny(env="test/Point", updates_per_env_step=0.15, **BATCHES).learners(num_learners=learners).build_algo()
    before = copied(weights_of(algo))
    for _ in range(4):
        result = algo.train()
    learned, credit, steps = result["learners"]["default_policy"], algo._update_credit, len(algo.replay_buffer)
    sample, same = algo.replay_buffer.sample(3), unchanged(before, weights_of(algo))
    algo.stop()
    assert sample["step_index"].shape == (3, 4 * 32)
    assert sample["query_index"].shape[:2] == (3, 2)
    assert learned["num_updates_lifetime"] + credit == pytest.approx(0.15 * (steps - 105))  # 105: random, whole rounds
    assert learned["num_updates_lifetime"] % 4 == 0
    assert 0 <= credit < 4
    assert same == {"/default_policy/learning.similarity_map"}  # of the bilinear similarity alone
    assert learned["sance_bound"] <= learned["log_k"] == pytest.approx(math.log(8))


def test_settings_of_earlier_versions_stay_as_they_were():
    state = SaCCMConfig().training(train_episodes=6, loss_timesteps=None).get_state()
    new = {*BATCHES, "normalize_inputs", "encoder_obs_delta", "skill_weight", "encoder_loss", "acting_encoder"}
    older = {key: value for key, value in state.items() if key not in new} | {"encoder_critic_gradient": True}
    config = SaCCMConfig.from_state(older).environment("SaMI/Pendulum-v0")
    config.validate()
    assert (config.updates_per_batch, config.contrast_interval) == (1, 1)
    assert (config.normalize_inputs, config.acting_encoder, config.skill_weight) == (False, "online", 1.0)
    assert (config.encoder_loss, config.critics_train_encoder, config.has_contrast) == (None, True, True)
    with_average = older | {"averaged_context": True, "encoder_critic_gradient": False, "key_encoder": True}
    config = SaCCMConfig.from_state(with_average)
    assert (config.encoder_loss, config.acting_encoder) == ("contrast", "average")
    config = TESACConfig.from_state(
        {key: value for key, value in older.items() if key != "pairing"} | {"pairing": None}
    )
    assert (config.encoder_loss, config.acting_encoder, config.has_contrast) == (None, "online", False)
    sappo = {key: value for key, value in SaPPOConfig().get_state().items() if key not in new}
    assert SaPPOConfig.from_state(sappo).skill_weight == 1.0
    assert SaCCMConfig.from_state(SaCCMConfig().get_state()).updates_per_batch == 32


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("had", [True, False])
def test_amsgrad_goes_on_only_where_it_was_and_still_is_wanted(tmp_path, had, wanted):
    """Adam's state lacks AMSGrad's maxima; and where the critics train the encoder, the contrast's would bind it."""

    def build(amsgrad):
        return tiny(acting_encoder="online", encoder_loss="contrast" if amsgrad else "both").build_algo()

    algo = build(had)
    assert optimizer_of(algo, "encoder").defaults["amsgrad"] is had
    for _ in range(2):
        algo.train()
    algo.save_to_path(tmp_path)
    algo.stop()
    algo = build(wanted)
    algo.restore_from_path(str(tmp_path))
    encoder = optimizer_of(algo, "encoder")
    assert encoder.state
    assert [group["amsgrad"] for group in encoder.param_groups] == [had and wanted]
    algo.train()
    algo.stop()


def test_no_update_before_learning_starts_and_actions_are_random_until_then():
    algo = tiny(env="test/Point", num_steps_sampled_before_learning_starts=210).build_algo()
    before = copied(weights_of(algo))
    results = [algo.train() for _ in range(2)]
    assert all(np.isnan(result["learners"]["default_policy"]["critic_loss"]) for result in results)
    assert results[-1]["learners"]["default_policy"]["num_updates_lifetime"] == 0
    assert unchanged(before, weights_of(algo)) == set(before)
    rows = algo.replay_buffer.store.gather(algo.replay_buffer.store.finished, 21)[:, 1:]
    assert np.abs(rows[..., 5:7].mean()) < 0.1
    assert rows[..., 5:7].std() == pytest.approx(1 / np.sqrt(3), abs=0.05)  # uniform
    result = algo.train()
    assert result["learners"]["default_policy"]["num_updates_lifetime"] == 10
    algo.stop()


def test_a_buffer_that_is_no_larger_than_the_warm_up_is_learned_from():
    # Rows of final observations take room too: it never holds 100 steps.
    algo = tiny(replay_buffer_config={"capacity": 100}).env_runners(num_envs_per_env_runner=1).build_algo()
    results = [algo.train() for _ in range(2)]
    assert len(algo.replay_buffer) < 100
    algo.stop()
    assert results[-1]["learners"]["default_policy"]["num_updates_lifetime"] > 5


@pytest.mark.timeout(300)  # else it goes on and on
def test_steps_that_were_trained_on_can_end_an_iteration():
    config = tiny(num_steps_sampled_before_learning_starts=21)
    config.reporting(min_sample_timesteps_per_iteration=0, min_train_timesteps_per_iteration=200)
    algo = config.build_algo()
    trained = [0]
    for _ in range(3):
        result = algo.train()["learners"]
        trained.append(result["__all_modules__"]["num_env_steps_trained_lifetime"])
        assert trained[-1] == 32 * result["default_policy"]["num_updates_lifetime"]
    algo.stop()
    # A round of 21 steps makes two updates or three, of 32 steps each.
    assert all(200 <= steps < 200 + 3 * 32 for steps in np.diff(trained))


# --- What is reported -----------------------------------------------------------------------------------------------

SAC_METRICS = {"critic_loss", "actor_loss", "alpha", "q_mean", "context_std"}
CONTRAST_METRICS = {"contrast_loss", "sance_bound", "log_k", "contrast_accuracy"}


@pytest.mark.parametrize("config_class", [SaCCMConfig, TESACConfig])
def test_metrics_have_their_names_and_finite_values(config_class):
    algo = tiny(config_class, num_steps_sampled_before_learning_starts=60).build_algo()
    for _ in range(2):
        result = algo.train()
    algo.stop()
    learned = result["learners"]["default_policy"]
    expected = SAC_METRICS | (CONTRAST_METRICS if config_class is SaCCMConfig else set())
    assert expected <= set(learned)
    assert (CONTRAST_METRICS & set(learned)) == (CONTRAST_METRICS & expected)
    assert all(np.isfinite(learned[name]) for name in expected)
    if config_class is SaCCMConfig:
        assert learned["log_k"] == pytest.approx(math.log(8))
        assert learned["sance_bound"] <= learned["log_k"]
        assert 0 <= learned["contrast_accuracy"] <= 1
    for name in ("sample", "buffer_add", "buffer_sample", "learner_update", "sync_weights"):
        assert 0 < result["timers"][name] < 10
    for path in ("episode_return_mean", "return_by_task/0", "num_env_steps_sampled_lifetime"):
        assert f"/env_runners/{path}" in flat_state(result)
    assert result["replay_buffer"]["num_tasks_stored"] == 4
    symptoms = ["skills_at_chance", "tasks_at_chance", "contexts_equal"]
    assert [*result["health"]] == (symptoms if config_class is SaCCMConfig else symptoms[2:])
    assert learned["num_module_steps_trained"] in (10 * 32, 11 * 32)


def test_one_warning_where_the_contrast_stays_at_chance(monkeypatch, caplog):
    monkeypatch.setattr(health, "CHANCE", 2.0)
    monkeypatch.setattr(health, "PATIENCE", 3)
    algo = tiny(updates_per_batch=4, contrast_interval=4, updates_per_env_step=0.4).build_algo()
    for _ in range(4):
        result = algo.train()
    algo.stop()
    updates = result["learners"]["default_policy"]["num_updates_lifetime"]
    # Since the first look, in encoder updates: one in four of the critics'.
    assert 3 <= result["health"]["tasks_at_chance"] < updates / 4
    texts = [record.getMessage() for record in caplog.records if record.name == "rllib_sami.algorithms.base.algorithm"]
    assert [text.partition(" is ")[0] for text in texts] == ["The contrast between tasks"]


def test_the_runner_acts_with_what_was_just_learned():
    algo = tiny().build_algo()
    for _ in range(3):
        algo.train()
    acting = copied(flat_state(algo.env_runner.module.get_state()))
    module = algo.learner_group._learner.module["default_policy"]
    assert unchanged(acting, flat_state(module.get_state())) == set(acting) != set()
    compat.update_learners(algo, [algo.replay_buffer.sample(1)])  # the control: without synchronisation
    assert unchanged(acting, flat_state(module.get_state())) == set()
    compat.sync_weights(algo)
    assert unchanged(acting, flat_state(algo.env_runner.module.get_state())) == set()
    algo.stop()


@pytest.mark.parametrize("config_class", [SaCCMConfig, TESACConfig, PlainSACConfig])
def test_episodes_that_never_end_are_told_where_whole_ones_are_read(config_class, monkeypatch, caplog):
    monkeypatch.setattr(debug, "_logged", set())  # as in a new process
    monkeypatch.setattr("rllib_sami.algorithms.sac.sac.LONG_EPISODE", 40)
    algo = tiny(config_class, env="test/Point", env_config={"max_steps": 10_000}).build_algo()
    with caplog.at_level(logging.WARNING, logger="rllib_sami"):
        for _ in range(3):
            algo.train()
    algo.stop()
    said = [record.getMessage() for record in caplog.records if "No episode has ended after" in record.getMessage()]
    assert len(said) == (config_class is not PlainSACConfig)
    assert all("max_episode_steps" in message for message in said)
    assert ["so there is no contrast" in message for message in said] == [config_class is SaCCMConfig] * len(said)


@pytest.mark.parametrize(
    ("config_class", "env", "warns"),
    [
        (CCMConfig, "test/Still", True),  # one task, which the environment does not say
        (CCMConfig, "test/Point", False),
        (SaTESACConfig, "test/Still", False),
        (TESACConfig, "test/Still", False),
    ],
)
def test_a_contrast_that_never_comes_is_said_once(config_class, env, warns, monkeypatch, caplog):
    monkeypatch.setattr(debug, "_logged", set())  # as in a new process
    algo = tiny(config_class, env=env, env_config={"max_steps": 2}, num_steps_sampled_before_learning_starts=60)
    algo = algo.build_algo()
    messages = []
    with caplog.at_level(logging.WARNING, logger="rllib_sami"):
        for _ in range(4):
            result = algo.train()
            messages.append([record.getMessage() for record in caplog.records])
    algo.stop()
    assert result["replay_buffer"]["num_episodes_stored"] > 150
    said = [sum("There is no contrast: none of" in message for message in so_far) for so_far in messages]
    assert said == ([0, 1, 1, 1] if warns else [0, 0, 0, 0])  # 51 episodes in each iteration
    if warns:
        assert any("`pairing` 'task'" in message and "check the 'task_id'" in message for message in messages[-1])
