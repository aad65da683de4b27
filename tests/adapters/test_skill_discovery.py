"""The skill discovery algorithms in RLlib: they train, keep skills with episodes, restore, act alone, are evaluated."""

import copy
import logging
import math
import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core.rl_module.rl_module import RLModule

from rllib_sami import CICConfig, CSFConfig, DADSConfig, DIAYNConfig, METRAConfig, VISRConfig, compat
from rllib_sami.algorithms.skill_discovery import skill_discovery
from rllib_sami.algorithms.skill_discovery.update import SkillUpdateConfig
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner

from .parity import sharpen, stored_episodes
from .tiny import differences, flat_state, refusal, runner_of, snapshot, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")
CONFIGS = (CSFConfig, METRAConfig, DIAYNConfig, VISRConfig, CICConfig, DADSConfig)
MODULE_PATH = "learner_group/learner/rl_module/default_policy"
POINT = "Skills/PosturePoint-v0"
SKILLS = ("state_coverage", "end_distance", "return_mean", "return_max")
GOALS = ("staying_time", "staying_time_close", "success_rate", "final_distance")


def tiny_skills(config_class=CSFConfig, env=POINT, env_config=None, seed=0, **training):
    """A config with tiny networks: 3 slots, fragments of 7 steps, episodes of 10, 63 steps to an iteration."""
    sizes = {key: [16] for key in ("actor_hidden", "critic_hidden", "representation_hidden")}
    usual = {
        "skill_dim": 3,
        "train_batch_size_per_learner": 16,
        "updates_per_env_step": 0.1,
        "num_steps_sampled_before_learning_starts": 50,
        "replay_buffer_config": {"capacity": 5_000},
    }
    training = sizes | usual | training
    return (
        config_class()
        .environment(env, env_config={"max_steps": 10} if env_config is None else env_config)
        .env_runners(num_envs_per_env_runner=3, rollout_fragment_length=7)
        .training(**training)
        .reporting(min_sample_timesteps_per_iteration=60)
        .evaluation(evaluation_duration=4, evaluation_goals=3)
        .debugging(seed=seed, log_level="ERROR")
    )


def learned(result):
    return result["learners"]["default_policy"]


def without_times(paths):
    return [path for path in paths if "cpu_time" not in path]


class Run:
    """An algorithm after three iterations, the second one evaluated, and its checkpoint."""

    def __init__(self, config_class, path):
        self.config_class = config_class
        self.algo = tiny_skills(config_class).evaluation(evaluation_interval=2).build_algo()
        self.results = [copy.deepcopy(self.algo.train()) for _ in range(3)]
        self.path = self.algo.save_to_path(path)
        self.state = snapshot(self.algo)["state"]

    @property
    def finds_skills(self):
        return self.config_class not in (CICConfig, DADSConfig)


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda cls: cls.__name__.removesuffix("Config"))
def run(request, ray_cluster, tmp_path_factory):
    made = Run(request.param, tmp_path_factory.mktemp("checkpoint"))
    yield made
    made.algo.stop()


# --- Training -------------------------------------------------------------------------------------------------------


def test_it_trains_and_every_number_is_finite(run):
    config, result = run.algo.config, run.results[-1]
    metrics = {name: learned(result)[name] for name in config.learner_metrics if name in learned(result)}
    optional = {"alpha_loss"} if "alpha_lr" not in config.settings else set()
    assert metrics.keys() >= set(config.method.metrics) | {"critic_loss", "q_mean", "actor_loss", "entropy", "alpha"}
    for name, value in metrics.items():
        assert math.isfinite(value) or name in optional, name
    assert learned(result)["num_updates_lifetime"] == 12  # a tenth of the steps after the warm-up
    assert math.isfinite(result["env_runners"]["episode_return_mean"])
    fresh = tiny_skills(run.config_class).get_default_rl_module_spec()
    assert fresh.module_class is type(run.algo.get_module())


def test_the_same_seed_gives_the_same_run_and_another_one_does_not(run):
    weights = []
    for seed in (0, 5):
        algo = tiny_skills(run.config_class, seed=seed).evaluation(evaluation_interval=2).build_algo()
        for _ in range(3):
            algo.train()
        weights.append(weights_of(algo))
        algo.stop()
    assert differences(weights_of(run.algo), weights[0]) == []
    assert any("critics" in path for path in differences(weights[0], weights[1]))


def test_the_target_entropy_is_minus_half_the_action_dimension():
    assert CSFConfig().get_update_config(6).target_entropy == -3.0
    assert CSFConfig().training(target_entropy=-2.5).get_update_config(6).target_entropy == -2.5
    assert CSFConfig().training(gamma=0.7, tau=0.3).get_update_config(1).gamma == 0.7


def test_settings_reach_the_networks_and_the_update(run):
    config, module = run.algo.config, run.algo.learner_group._learner.module["default_policy"]
    assert module.acting.method == config.method
    assert module.acting.prior == config.prior
    width = config.skill_dim if config.method.has_successor_features else 1
    assert module.learning.critics.nets[0][-1].out_features == width
    assert config.episode_fields == {"skill": 3}


RATES = {"representation": 1e-3, "critic": 2e-3, "actor": 3e-3, "alpha": 4e-3, "dual": 5e-3}


def test_learning_rates_coefficients_and_constants_reach_the_learner(monkeypatch):
    constants, update = [], skill_discovery.skill_update

    def record(*args):
        constants.extend(arg for arg in args if isinstance(arg, SkillUpdateConfig))
        return update(*args)

    monkeypatch.setattr(skill_discovery, "skill_update", record)
    rates = {f"{group}_lr": rate for group, rate in RATES.items()}
    given = {"gamma": 0.7, "tau": 0.3, "ignore_termination": False}
    algo = tiny_skills(METRAConfig, initial_alpha=0.3, initial_dual=7.0, **rates, **given).build_algo()
    learner = algo.learner_group._learner
    learning = learner.module["default_policy"].learning
    found = {name: learner.get_optimizer("default_policy", name).param_groups[0]["lr"] for name in RATES}
    assert found == RATES
    assert learning.log_alpha.exp().item() == pytest.approx(0.3)
    assert learning.auxiliary.log_value.exp().item() == pytest.approx(7.0)
    for _ in range(2):
        result = algo.train()
    algo.stop()
    assert {name: learned(result)[f"{name}_learning_rate"] for name in RATES} == pytest.approx(RATES)
    assert {**vars(constants[0])} == {**given, "target_entropy": -4.0}  # of 8 actions


def test_a_fixed_entropy_coefficient_stays():
    algo = tiny_skills(DIAYNConfig, fixed_alpha=0.7).build_algo()
    results = [algo.train() for _ in range(2)]
    algo.stop()
    assert learned(results[-1])["num_updates_lifetime"] > 0
    assert learned(results[-1])["alpha"] == pytest.approx(0.7)


# --- Skills of episodes ---------------------------------------------------------------------------------------------


def test_an_episode_keeps_its_skill_is_stored_with_it_and_the_next_one_draws_another():
    runner = runner_of(tiny_skills(env="test/Walker", env_config={"end_probability": 0.1}))
    sharpen(runner.module.acting)
    fragments = [runner.sample(explore=False) for _ in range(12)]
    skills, slots = {}, {}
    for piece in (piece for fragment in fragments for piece in fragment):
        skill = piece.custom_data["episode_fields"]["skill"]
        np.testing.assert_array_equal(skills.setdefault(piece.id_, skill), skill)
        slots.setdefault(piece.custom_data["slot"], []).append(piece.id_)
        # The policy acted with it, and not with that of the episode before.
        obs, actions = torch.from_numpy(piece.get_observations()[:-1]), torch.from_numpy(piece.get_actions())
        expected = runner.module.acting.actor.mode(obs, torch.from_numpy(skill).expand(len(obs), -1))
        torch.testing.assert_close(actions, expected.detach(), rtol=0, atol=1e-5)
    assert len(slots) == 3
    assert all(len(set(of_slot)) > 3 for of_slot in slots.values())
    assert len(np.unique(np.stack([*skills.values()]), axis=0)) == len(skills)
    np.testing.assert_allclose([np.linalg.norm(skill) for skill in skills.values()], 1.0, atol=1e-6)
    assert any(not np.allclose(a, b) for a, b in zip(skills.values(), [*skills.values()][1:], strict=False))


def test_the_buffer_has_the_skill_with_which_each_stored_step_was_taken():
    algo = tiny_skills(env="test/Walker", env_config={"end_probability": 0.1}).build_algo()
    acting, drawn = algo.get_module().acting, []
    sharpen(acting)
    runner = algo.env_runner
    for _ in range(8):
        algo.replay_buffer.add(runner.sample(num_timesteps=21, explore=False))
    store = algo.replay_buffer.store
    lines = store.episodes
    for episode, line in zip(stored_episodes(store), lines, strict=True):
        obs, skill = torch.tensor(episode.obs[:-1]), torch.tensor(line["skill"])
        drawn.append(line["skill"])
        expected = acting.actor.mode(obs, skill.expand(len(obs), -1)).detach().numpy()
        np.testing.assert_allclose(episode.actions, expected, atol=1e-5)
    assert len(lines) > 10
    assert len(np.unique(drawn, axis=0)) == len(lines)
    batch = algo.replay_buffer.sample(2)
    assert batch["skill"].shape == (2, 16, 3)
    algo.stop()


def test_a_time_limit_is_no_termination_and_a_terminal_state_is_one():
    stored = {}
    for env, options in ((POINT, {"max_steps": 10}), ("test/Walker", {"end_probability": 0.1})):
        algo = tiny_skills(env=env, env_config=options, ignore_termination=False).build_algo()
        algo.train()
        store, batch = algo.replay_buffer.store, algo.replay_buffer.sample(20)
        stored[env] = store.finished["terminated"], batch["terminated"], store.finished["length"]
        algo.stop()
    lines, steps, lengths = stored[POINT]
    assert set(lengths) == {10}
    assert not lines.any()
    assert not steps.any()
    assert stored["test/Walker"][0].any()
    assert stored["test/Walker"][1].any()


@pytest.mark.slow
def test_two_remote_env_runners_bring_episodes_with_skills_of_their_own():
    algo = tiny_skills().env_runners(num_env_runners=2).build_algo()
    for _ in range(3):
        result = algo.train()
    finished = algo.replay_buffer.store.finished
    algo.stop()
    assert learned(result)["num_updates_lifetime"] > 0
    assert math.isfinite(learned(result)["critic_loss"])
    assert len(finished) > 10
    assert len(np.unique(finished["skill"], axis=0)) == len(finished)
    np.testing.assert_allclose(np.linalg.norm(finished["skill"], axis=-1), 1.0, atol=1e-6)


# --- Checkpoints ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_has_everything_and_two_restores_go_on_alike(run):
    state = run.state
    one, other = (Algorithm.from_checkpoint(run.path) for _ in range(2))
    assert type(one) is type(run.algo)
    assert without_times(differences(state, snapshot(one)["state"])) == []
    lines, restored = (algo.replay_buffer.store.finished for algo in (run.algo, one))
    np.testing.assert_array_equal(restored["skill"], lines["skill"])
    assert len(np.unique(lines["skill"], axis=0)) >= min(3, len(lines))
    results = [restored.train() for restored in (one, other)]
    ends = [snapshot(restored, result) for restored, result in zip((one, other), results, strict=True)]
    assert without_times(differences(*ends)) == []
    assert learned(results[0])["num_updates_lifetime"] > 12

    # What is in it, and that all of it has changed since the beginning and goes on changing.
    fresh = tiny_skills(run.config_class, seed=0).evaluation(evaluation_interval=2).build_algo()
    moved = [differences(state, snapshot(fresh)["state"]), differences(state, ends[0]["state"])]
    trained = ["learning.critics", "learning.target_critics", "acting.actor", "rows", "table", "rng"]
    trained += ["learning.auxiliary" if run.config_class is DADSConfig else "acting.representation"]
    trained += ["learning.log_alpha"] if "alpha_lr" in run.algo.config.settings else []
    trained += {METRAConfig: ["auxiliary.log_value"], CICConfig: ["auxiliary.distance.mean"]}.get(run.config_class, [])
    for part in trained:
        for paths in moved:
            assert any(part in path for path in paths), part
    optimizers = state["learner_group"]["learner"]["optimizer"]
    groups = run.algo.config.learner_class.LEARNING_RATE_OF
    assert {name.removeprefix("default_policy_") for name in optimizers} == set(groups)
    for name, optimizer in optimizers.items():
        steps = [value for path, value in flat_state(optimizer).items() if path.endswith("/step")]
        assert {float(step) for step in steps} == {12.0}, name
    for algo in (one, other, fresh):
        algo.stop()


# --- Several learners -----------------------------------------------------------------------------------------------


def weights_of_each(algo):
    """Weights of every learner."""
    results = algo.learner_group.foreach_learner(lambda learner: learner.module["default_policy"].get_state())
    return [copy.deepcopy(flat_state(result.get())) for result in results.result_or_errors]


def joined(first, second):
    """The batches ``[U, N, ...]`` of two learners as one; both have the same further skills of the prior."""
    axes = {name: 2 if name == "noise" else 1 for name in first if name != "prior_skills"}
    return first | {name: np.concatenate([first[name], second[name]], axis) for name, axis in axes.items()}


def largest_difference(one, other):
    return max(np.abs(np.asarray(one[name]) - np.asarray(other[name])).max(initial=0.0) for name in one)


@pytest.mark.repeated
def test_two_learners_make_the_update_of_one_on_all_the_data():
    two, one = tiny_skills().learners(num_learners=2).build_algo(), tiny_skills().build_algo()
    for _ in range(2):
        two.train()
    assert differences(*weights_of_each(two)) == []
    first, second = (two.replay_buffer.sample(3) for _ in range(2))
    second["prior_skills"] = first["prior_skills"]
    # Two halves of the data, and the same batch for both: what one learner does with all of it.
    for samples, alone, control in ([first, second], joined(first, second), first), ([first] * 2, first, second):
        state, before = two.learner_group.get_state(), weights_of_each(two)[0]
        compat.update_learners(two, samples)
        after, of_other = weights_of_each(two)
        assert differences(after, of_other) == []
        assert largest_difference(before, after) > 1e-4
        for batch, is_same in ((alone, True), (control, False)):
            one.learner_group.set_state(copy.deepcopy(state))
            compat.update_learners(one, [batch])
            assert (largest_difference(after, weights_of_each(one)[0]) < 2e-5) == is_same
    for algo in (two, one):
        algo.stop()


# --- The module alone -----------------------------------------------------------------------------------------------


def play(module, skill, env):
    obs, _ = env.reset(seed=3)
    state, actions, done = {"skill": skill[None]}, [], False
    while not done:
        out = module.forward_inference({"obs": obs[None], "state_in": state})
        state = out["state_out"]
        np.testing.assert_array_equal(np.asarray(state["skill"])[0], skill)
        actions.append(out["actions_for_env"][0].numpy())
        obs, _, terminated, truncated, _ = env.step(actions[-1])
        done = terminated or truncated
    return np.stack(actions)


def test_a_saved_module_acts_alone_with_a_skill_that_it_keeps(run):
    module, env = RLModule.from_checkpoint(f"{run.path}/{MODULE_PATH}"), gym.make(POINT, max_steps=10)
    skills = [module.get_initial_state()["skill"] for _ in range(3)]
    assert all(skill.shape == (3,) and skill.dtype == np.float32 for skill in skills)
    if run.config_class in (CSFConfig, METRAConfig, VISRConfig, DIAYNConfig):
        np.testing.assert_allclose([np.linalg.norm(skill) for skill in skills], 1.0, atol=1e-6)
    if run.config_class is not DIAYNConfig:
        assert len(np.unique(skills, axis=0)) == 3
    one, other = np.eye(3, dtype=np.float32)[:2]
    assert len(play(module, one, env)) == 10
    np.testing.assert_array_equal(play(module, one, env), play(module, one, env))
    assert np.abs(play(module, one, env) - play(module, other, env)).max() > 1e-3
    trained = run.algo.get_module()
    np.testing.assert_array_equal(play(trained, one, env), play(module, one, env))
    with pytest.raises(ValueError, match="needs 'state_in'"):
        module.forward_inference({"obs": np.zeros((1, 8), np.float32)})
    env.close()


def test_it_finds_the_skill_for_a_goal_or_says_that_it_cannot(run):
    module = RLModule.from_checkpoint(f"{run.path}/{MODULE_PATH}")
    obs, goal = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
    if not run.finds_skills:
        name = run.config_class.__name__.removesuffix("Config")
        with pytest.raises(
            ValueError, match=f"^{name} learns no features that lead to goals. CSF, METRA, DIAYN and VISR do"
        ):
            module.infer_skill(obs, goal)
        return
    skills = module.infer_skill(obs, goal)
    method, phi = run.algo.config.method, module.acting.representation
    expected = method.skill_for_goal(phi, torch.from_numpy(obs), torch.from_numpy(goal))
    torch.testing.assert_close(skills, expected.detach())
    assert not skills.requires_grad
    np.testing.assert_allclose(skills.norm(dim=-1), 1.0, atol=1e-6)
    assert len(torch.unique(skills, dim=0)) > 1
    with pytest.raises(ValueError, match=r"`goal` has shape \[4, 7\], but must be \[B, 8\]"):
        module.infer_skill(obs, goal[:, :7])


# --- Evaluation -----------------------------------------------------------------------------------------------------


def test_every_result_has_the_newest_evaluation(run):
    before, first, between = (result["evaluation"] for result in run.results)
    assert ("goals" in before) == run.finds_skills
    for part, names in (("skills", SKILLS), ("goals", GOALS if run.finds_skills else ())):
        for name in names:
            assert math.isnan(before[part][name]), name
            assert math.isfinite(first[part][name]), name
            assert first[part][name] == between[part][name]
    assert first["skills"]["state_coverage"] >= 1
    assert first["env_runners"]["episode_len_mean"] == 10
    assert not any(isinstance(value, dict) and "return_by_task" in value for value in before.values())


def test_without_coordinates_a_warning_says_what_to_add_and_training_goes_on(caplog):
    config = tiny_skills(env="Pendulum-v1", env_config={}).evaluation(evaluation_interval=1, evaluation_duration=1)
    with caplog.at_level(logging.WARNING, logger="rllib_sami"):
        algo = config.build_algo()
        results = [algo.train() for _ in range(2)]
        algo.stop()
    warnings = [record.getMessage() for record in caplog.records if "coordinates" in record.getMessage()]
    assert len(set(warnings)) == 1
    for part in ("'Pendulum-v1' tells no coordinates", "attribute `coordinates`", "info['coordinates'] = [x, y]"):
        assert part in warnings[0]
    assert math.isfinite(learned(results[-1])["critic_loss"])
    for result in results:
        skills = result["evaluation"]["skills"]
        assert math.isfinite(skills["return_mean"])
        for name in ("state_coverage", "end_distance"):
            assert math.isnan(skills.get(name, math.nan))
        assert "goals" not in result["evaluation"]


# --- Mistakes -------------------------------------------------------------------------------------------------------

MISTAKES = {
    "no skill": (lambda: tiny_skills(skill_dim=0), "`skill_dim` is 0, but must be an integer >= 1"),
    "half a skill": (lambda: tiny_skills(skill_dim=2.5), "`skill_dim` is 2.5, but must be an integer >= 1"),
    "no weight": (lambda: tiny_skills(xi=0), "`xi` is 0, but must be a number above 0"),
    "no negatives": (lambda: tiny_skills(num_negatives=0), "`num_negatives` is 0, but must be an integer >= 1"),
    "one one-hot skill": (
        lambda: tiny_skills(METRAConfig, skill_prior="one_hot", skill_dim=1),
        "`skill_dim` is 1, but there must be at least 2 one-hot skills",
    ),
    "one skill of DIAYN": (
        lambda: tiny_skills(DIAYNConfig, skill_dim=1),
        "`skill_dim` is 1, but there must be at least 2 one-hot skills",
    ),
    "a prior": (
        lambda: tiny_skills(METRAConfig, skill_prior="onehot"),
        "`skill_prior` is 'onehot', but must be one of ['sphere', 'one_hot']; did you mean 'one_hot'?",
    ),
    "a split": (
        lambda: tiny_skills().evaluation(evaluation_interval=1, evaluation_splits=["train"]),
        "'train' is no part of an evaluation of skills: it plays 'skills' and 'goals'",
    ),
    "goals of DADS": (
        lambda: tiny_skills(DADSConfig).evaluation(evaluation_interval=1, evaluation_splits=["goals"]),
        "'goals' cannot be played: DADS finds no skill for a goal",
    ),
    "goals where there are none": (
        lambda: tiny_skills(env="Pendulum-v1", env_config={}).evaluation(evaluation_splits=["goals"]),
        "'goals' cannot be played: 'Pendulum-v1' has no method `sample_goal(rng)`",
    ),
    "a negative number of goals": (
        lambda: tiny_skills().evaluation(evaluation_goals=-1),
        "`evaluation_goals` is -1, but must be an integer >= 0",
    ),
    "steps in place of skills": (
        lambda: tiny_skills().evaluation(evaluation_interval=1, evaluation_duration_unit="timesteps"),
        "`evaluation_duration` is 4 timesteps, but must be the number of skills to play",
    ),
    "discrete actions": (
        lambda: tiny_skills(env="CartPole-v1", env_config={}),
        "The environment 'CartPole-v1' has the action space Discrete(2), but only continuous actions",
    ),
}


@pytest.mark.parametrize(("make", "expected"), MISTAKES.values(), ids=[name.replace(" ", "-") for name in MISTAKES])
def test_a_mistake_has_one_message_before_anything_starts(make, expected, monkeypatch, caplog):
    def started(*args, **kwargs):
        raise AssertionError("an env runner has started")

    monkeypatch.setattr(ArrayEnvRunner, "__init__", started)
    message = refusal(make())
    assert expected in message
    assert message.startswith(expected[:20])
    assert "\n" not in message


@pytest.fixture
def warnings_of(monkeypatch, caplog):
    """What giving and checking settings warns of, as if for the first time."""
    monkeypatch.setattr("rllib_sami.config.unused_settings.log_once", lambda key: True)

    def messages(config_class, **training):
        caplog.clear()
        config = tiny_skills(config_class)
        config.training(**training)
        config.validate()
        return [record.getMessage() for record in caplog.records if record.name == "rllib_sami.config.unused_settings"]

    return messages


IN_VAIN = [
    (DIAYNConfig, {"xi": 3.0}, "DIAYNConfig: `xi` is 3.0, but has no effect here. .*only CSF and METRA use it"),
    (VISRConfig, {"dual_lr": 1e-4}, "VISRConfig: `dual_lr` is 0.0001, but has no effect here. .*only METRA uses it"),
    (CSFConfig, {"neighbours": 4}, "CSFConfig: `neighbours` is 4, but has no effect here. .*only CIC uses it"),
    (
        DADSConfig,
        {"alpha_lr": 1e-4},
        "DADSConfig: `alpha_lr` is 0.0001, but has no effect here. Its entropy coefficient",
    ),
    (
        CSFConfig,
        {"fixed_alpha": 0.2},
        "CSFConfig: `fixed_alpha` is 0.2, but has no effect here. Its entropy coefficient",
    ),
    (DIAYNConfig, {"target_entropy": -3}, "DIAYNConfig: `target_entropy` is -3, but has no effect here. The entropy"),
]


@pytest.mark.parametrize(("config_class", "training", "expected"), IN_VAIN, ids=[next(iter(row[1])) for row in IN_VAIN])
def test_settings_of_other_methods_are_only_warned_of(config_class, training, expected, warnings_of):
    [message] = warnings_of(config_class, **training)
    assert re.match(expected, message)


@pytest.mark.parametrize("config_class", CONFIGS)
def test_defaults_warn_of_nothing_and_are_valid(config_class, warnings_of):
    assert warnings_of(config_class) == []
    config_class().environment(POINT).validate()


@pytest.mark.parametrize("config_class", CONFIGS)
def test_settings_of_inferred_contexts_are_refused_and_those_of_none_are_taken(config_class):
    for key, value in (
        ("pairing", "skill"),
        ("encoder_loss", "both"),
        ("context_dim", 6),
        ("acting_encoder", "average"),
    ):
        with pytest.raises(ValueError, match=f"`{key}` is {value!r}, but has no effect here. Skills are drawn"):
            config_class().training(**{key: value})
    config_class().training(pairing=None, encoder_loss=None, context_dim=0, acting_encoder="online")
