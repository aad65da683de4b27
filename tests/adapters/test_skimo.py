"""SkiMo as RLlib algorithms: from a data set to skills, from skills to a task."""

import copy
import json
import re
import shutil
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

import rllib_sami
from rllib_sami import PlainSACConfig, SkiMoConfig, SkiMoPretrainConfig, SPiRLConfig
from rllib_sami.algorithms.base.acting_batch import ENCODER_STATE
from rllib_sami.algorithms.base.environment_checks import check_environment
from rllib_sami.algorithms.skimo import downstream_update, pretraining_update, spirl_update
from rllib_sami.algorithms.skimo.networks import SkillModel
from rllib_sami.datasets import Dataset, DatasetWriter, Trajectory, recipes
from rllib_sami.evaluation import evaluate
from rllib_sami.evaluation.open_loop import open_loop
from rllib_sami.exports.checkpoints import load
from rllib_sami.exports.writing import export_agent
from rllib_sami_cli.export import _skills as skills_on_card

MAZE = "Maze/UMaze-v0"
SIZES = {"skill_dim": 3, "skill_length": 5, "num_skills": 3, "num_units": 16, "latent_state_dim": 8}


class WithGoal(gym.ObservationWrapper):
    """A maze that appends where to go, which the skills do not read."""

    def __init__(self, config=None):
        super().__init__(gym.make(MAZE))
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)

    def observation(self, observation):
        return np.append(observation, [3.0, 1.0]).astype(np.float32)


class InParts(gym.ObservationWrapper):
    """A maze that gives places and velocities apart."""

    def __init__(self, config=None):
        super().__init__(gym.make(MAZE))
        parts = {"place": gym.spaces.Box(-9, 9, (2,)), "velocity": gym.spaces.Box(-9, 9, (2,))}
        self.observation_space = gym.spaces.Dict(parts)

    def observation(self, observation):
        return {"place": observation[:2], "velocity": observation[2:]}


class Plain(gym.Wrapper):
    """A maze as anybody's class."""

    def __init__(self, config):
        super().__init__(gym.make(MAZE, **config))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "maze"
    recipes.make_maze(folder, env=MAZE, trajectories=20, min_steps=20)
    return str(folder)


def pretraining(data, **settings):
    given = SIZES | {"num_updates_per_iteration": 5, "train_batch_size_per_learner": 8, "validation_fraction": 0.1}
    return SkiMoPretrainConfig().environment(MAZE).training(data=data, **given | settings).debugging(seed=0)


@pytest.fixture(scope="module")
def skills(data, ray_cluster, tmp_path_factory):
    """A checkpoint of skills, the last result, and the networks."""
    algo = pretraining(data).build_algo()
    first, last = algo.train(), algo.train()
    path = algo.save_to_path(tmp_path_factory.mktemp("skills") / "checkpoint_000001")
    model = copy.deepcopy(algo.learner_group._learner.module["default_policy"].acting)
    algo.stop()
    return path, (first, last), model


def on(skills):
    return {"env": MAZE, "skills": skills[0], "max_steps": 60}


def task(path, **settings):
    given = {
        "num_skills": 3,
        "train_batch_size_per_learner": 8,
        "num_steps_sampled_before_learning_starts": 600,
        "num_plan_samples": 16,
        "num_plan_policy_samples": 4,
        "num_plan_elites": 4,
        "num_plan_iterations": 2,
        "plan_horizon_steps": 1_000,
    }
    config = SkiMoConfig().environment("Skills/Control-v0", env_config={"env": MAZE, "skills": path, "max_steps": 60})
    config.training(**given | settings).debugging(seed=0)
    return config.env_runners(num_envs_per_env_runner=4).reporting(min_sample_timesteps_per_iteration=400)


@pytest.fixture(scope="module")
def trained(skills, tmp_path_factory):
    """A run on the task, after four iterations: its results, its checkpoint."""
    algo = task(skills[0]).build_algo()
    results = [algo.train() for _ in range(4)]
    path = algo.save_to_path(tmp_path_factory.mktemp("task") / "checkpoint_000004")
    yield algo, results, path
    algo.stop()


class TestPretraining:
    def test_it_counts_updates_and_validates(self, skills):
        _, (first, last), _ = skills
        learned = [result["learners"]["default_policy"] for result in (first, last)]
        assert [one["num_updates_lifetime"] for one in learned] == [5, 10]
        assert learned[1]["behaviour_cloning_error"] < learned[0]["behaviour_cloning_error"]
        assert last["validation"]["behaviour_cloning_error"] < first["validation"]["behaviour_cloning_error"]

    def test_it_acts_with_skills_of_the_prior(self, skills):
        agent, env = rllib_sami.load(skills[0]), gym.make(MAZE)
        obs, _ = env.reset(seed=0)
        agent.reset(seed=3)
        actions = []
        for _ in range(12):
            actions.append(agent.act(obs))
            obs, *_ = env.step(actions[-1])
        assert np.std(actions, axis=0).max() > 1e-3
        obs, _ = env.reset(seed=0)
        agent.reset(seed=3)
        np.testing.assert_array_equal(agent.act(obs), actions[0])
        agent.reset(seed=4)
        assert not np.array_equal(agent.act(obs), actions[0])

    def test_it_plays_a_skill_that_is_given(self, skills):
        agent, env, control = rllib_sami.load(skills[0]), gym.make(MAZE), gym.make("Skills/Control-v0", **on(skills))
        skill = np.array([0.5, -0.9, 0.1], np.float32)
        obs, _ = env.reset(seed=0)
        control.reset(seed=0)
        agent.reset(skill=skill)
        for _ in range(2):  # longer than a skill of the prior
            for _ in range(5):
                obs, *_ = env.step(agent.act(obs))
            np.testing.assert_allclose(obs, control.step(skill)[0], atol=1e-5)  # in torch, and in NumPy
        np.testing.assert_array_equal(agent.skill, skill)
        with pytest.raises(ValueError, match="expected 3 finite numbers"):
            agent.reset(skill=[1.0])
        with pytest.raises(ValueError, match="no skill leads this agent to a goal"):
            agent.reset(goal=obs)

    def test_what_skills_are_imagined_to_lead_to_is_compared_with_what_happened(self, data, skills):
        model, dataset = skills[2], Dataset(data)
        found = open_loop(skills[0], dataset)
        count = found.real.shape[1] - 1
        assert count == int(np.quantile(dataset.lengths, 0.9, method="lower")) // 5
        index = int(np.flatnonzero(dataset.lengths >= 5 * count)[0])
        obs, actions = (
            torch.from_numpy(np.array(one)) for one in (dataset[index].observations, dataset[index].actions)
        )
        np.testing.assert_array_equal(found.real[0], obs[: 5 * count + 1 : 5])
        with torch.no_grad():
            latent = model.state_encoder(obs[:1])
            for step in range(count + 1):
                np.testing.assert_allclose(found.imagined[0, step], model.decode(latent)[0][0], atol=1e-5)
                part = slice(5 * step, 5 * step + 5)
                if step < count:
                    encoded = model.skill_policy.encoder(obs[part])
                    latent = model.step_latent(
                        latent, model.encode_skills(actions[None, None, part], encoded[None, None]).mode[0]
                    )
        errors, staying = found.errors()
        assert staying[0] == 0.0
        assert errors[2] == pytest.approx(np.linalg.norm(found.imagined[:, 2] - found.real[:, 2], axis=-1).mean())
        assert staying[2] == pytest.approx(np.linalg.norm(found.real[:, 0] - found.real[:, 2], axis=-1).mean())

    @pytest.mark.parametrize("joint", [True, False])
    def test_two_restores_go_on_alike(self, data, ray_cluster, tmp_path, joint):
        algo = pretraining(data, joint_training=joint).build_algo()
        algo.train()
        path = algo.save_to_path(tmp_path / "checkpoint")
        algo.stop()
        weights = []
        for _ in range(2):
            again = pretraining(data, joint_training=joint).build_algo()
            again.restore_from_path(path)
            assert again.train()["learners"]["default_policy"]["num_updates_lifetime"] == 10
            weights.append(again.get_module().state_dict())
            again.stop()
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())

    def test_data_that_are_made_are_checked_against_the_environment(self, ray_cluster, tmp_path, monkeypatch):
        monkeypatch.setenv(recipes.CACHE, str(tmp_path))
        recipe = {"make": "maze", "env": MAZE, "trajectories": 20}
        config = SkiMoPretrainConfig().environment("Pendulum-v1").training(data=recipe, **SIZES)
        with pytest.raises(ValueError, match="observations of 4 numbers and actions of 2, but the environment has 3"):
            config.build_algo()
        config = SkiMoPretrainConfig().environment(MAZE).training(data=recipe | {"trajectories": 1.5}, **SIZES)
        with pytest.raises(ValueError, match=r"`data`: trajectories=1\.5: expected an integer >= 1"):
            config.build_algo()

    def test_data_of_another_environment_are_told_once(self, data, caplog):
        for env, told in (("Maze/Medium-v0", 1), (MAZE, 0)):
            caplog.clear()
            for _ in range(2):
                check_environment(pretraining(data).environment(env))
            messages = [line for line in caplog.messages if f"is of {MAZE!r}, but `env` is {env!r}" in line]
            assert len(messages) == told

    def test_observations_in_parts_are_flattened(self, data):
        check_environment(pretraining(data).environment(InParts))

    @pytest.mark.parametrize(("scale", "is_told"), [(1.0, False), (1000.0, True)])
    def test_large_observations_are_told(self, data, tmp_path, caplog, scale, is_told):
        with DatasetWriter(tmp_path / "data") as writer:
            for one in Dataset(data):
                writer.add(Trajectory(one.observations * [1.0, scale, 1.0, 1.0], one.actions))
        check_environment(pretraining(str(tmp_path / "data")))
        assert any("number 1 of the observations" in line for line in caplog.messages) == is_told

    def test_a_relative_folder_in_a_search_space_is_that_of_the_script(self, data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # as trials are
        monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(Path(data).parent))
        config = SkiMoPretrainConfig().environment(MAZE).update_from_dict({"data": "maze"})
        assert str(config.open_data().folder) == data
        with pytest.raises(ValueError, match=f"{Path(data).parent}/other is no data set"):
            config.copy().update_from_dict({"data": "other"}).open_data()

    def test_what_is_wrong_with_the_data_is_told_first(self, data, tmp_path):
        damaged = shutil.copytree(data, tmp_path / "damaged")
        actions = np.load(damaged / "00000.actions.npy")
        actions[3] = np.nan
        np.save(damaged / "00000.actions.npy", actions)
        for config, message in (
            (pretraining(str(tmp_path)), "`data`: .* no data set: it has no dataset.json"),
            (pretraining(None), "`data`: None is no folder"),
            (pretraining({"make": "maize"}), "`data`: make='maize': no such recipe"),
            (pretraining(data, num_skills=100), "`data`: .* no trajectory has 500 steps"),
            (pretraining(str(damaged)), "`data`: .*trajectory 0: actions has a number that is not finite"),
            (pretraining(data).environment("SaMI/Pendulum-v0"), "observations of 4 numbers and actions of 2, but the"),
        ):
            with pytest.raises(ValueError, match=message):
                config.build_algo()


class TestTask:
    def test_steps_are_those_of_the_task(self, trained):
        _, results, _ = trained
        steps = [result["num_env_steps_sampled_lifetime"] for result in results]
        # 4 environments, fragments of 6 skills of 5 steps, of which episodes of 60 have 12.
        assert steps == [480, 960, 1440, 1920]
        updates = [result["learners"]["default_policy"]["num_updates_lifetime"] for result in results]
        # Learning starts after 600 steps, and then makes up for those before: 0.02 updates for each.
        assert updates == [0, int(0.02 * 960), int(0.02 * 1440), int(0.02 * 1920)]
        assert results[-1]["replay_buffer"]["num_env_steps_stored"] == 1920 / 5

    def test_it_begins_with_the_skills_and_leaves_the_prior_alone(self, skills, trained):
        algo, _, _ = trained
        model: SkillModel = skills[2]
        module = algo.get_module()
        learning = algo.learner_group._learner.module["default_policy"].learning
        prior = {**dict(model.prior.state_dict(prefix="prior."))}
        prior |= model.state_encoder.state_dict(prefix="prior_encoder.")
        for name, value in prior.items():
            assert torch.equal(learning.state_dict()[name], value)
        assert not torch.equal(module.acting.state_encoder[0].weight, model.state_encoder[0].weight)
        frozen = algo.env_runner.env.envs[0].get_wrapper_attr("policy")._policy._networks.skill_policy
        for name, value in frozen.state_dict().items():
            assert torch.equal(value, model.skill_policy.state_dict()[name])

    def test_the_model_may_begin_anew(self, skills):
        algo = task(skills[0], model_from_data=False).build_algo()
        module = algo.learner_group._learner.module["default_policy"]
        model, learning = skills[2], module.learning
        assert torch.equal(learning.prior[0].weight, model.prior[0].weight)
        assert torch.equal(learning.prior_encoder[0].weight, model.state_encoder[0].weight)
        for mine, theirs in (
            ("state_encoder", model.state_encoder),
            ("policy", model.prior),
            ("dynamics", model.dynamics),
        ):
            assert not torch.equal(getattr(module.acting, mine)[0].weight, theirs[0].weight)
        assert torch.equal(learning.target_encoder[0].weight, module.acting.state_encoder[0].weight)
        algo.stop()

    def test_plans_reach_farther_as_training_goes_on(self, trained):
        algo, _, _ = trained
        assert int(algo.get_module().acting.horizon) == 3
        std = 0.5 + 1920 / 1_000_000 * (0.01 - 0.5)
        assert float(algo.get_module().acting.plan_std) == pytest.approx(std)

    def test_two_restores_go_on_alike(self, skills, trained):
        path = trained[2]
        ends = []
        for _ in range(2):
            algo = task(skills[0]).build_algo()
            algo.restore_from_path(path)
            result = algo.train()
            assert result["num_env_steps_sampled_lifetime"] == 2400
            assert result["env_runners"]["episode_len_mean"] == 60
            ends.append((result["env_runners"]["episode_return_mean"], algo.get_module().state_dict()))
            algo.stop()
        assert ends[0][0] == ends[1][0]
        assert all(torch.equal(value, ends[1][1][name]) for name, value in ends[0][1].items())

    @pytest.mark.parametrize("planner", ["cem", "none"])
    def test_with_remote_runners(self, skills, planner):
        algo = task(skills[0], planner=planner).env_runners(num_env_runners=1).build_algo()
        for _ in range(3):
            result = algo.train()
        assert result["learners"]["default_policy"]["num_updates_lifetime"] > 0
        assert result["num_env_steps_sampled_lifetime"] == 1440
        algo.stop()

    @pytest.mark.parametrize("explore", [False, True])
    def test_it_acts_in_the_task_itself(self, trained, tmp_path, explore):
        checkpoint = load(trained[2])
        export_agent(checkpoint.module(), checkpoint.config, tmp_path / "first", algorithm="SkiMo", progress={})
        (tmp_path / "first").rename(tmp_path / "agent")
        assert evaluate(tmp_path / "agent", episodes=1, progress=False).episodes["length"].item() == 60
        agents = [rllib_sami.load(trained[2])]
        agents += [rllib_sami.load(path, primitive_actions=True) for path in (trained[2], tmp_path / "agent")]
        control, env = gym.make("Skills/Control-v0", **checkpoint.config.env_config), gym.make(MAZE, max_steps=60)
        of_skills, _ = control.reset(seed=0)
        obs, _ = env.reset(seed=0)
        for agent in agents:
            agent.reset(seed=1)
        with pytest.raises(ValueError, match="act\\(\\) was given the observation"):
            agents[1].act(np.full(4, np.nan))
        for _ in range(3):
            skill = agents[0].act(of_skills, explore=explore)
            of_skills, total, *_ = control.step(skill)
            rewards = []
            for _ in range(5):
                actions = [agent.act(obs, explore=explore) for agent in agents[1:]]
                np.testing.assert_array_equal(*actions)
                np.testing.assert_array_equal(agents[1].skill, skill)
                assert env.action_space.contains(actions[0])
                obs, reward, *_ = env.step(actions[0])
                rewards.append(reward)
            np.testing.assert_array_equal(obs, of_skills)
            assert sum(rewards) == total

    def test_other_agents_have_no_skills_to_play(self, skills):
        with pytest.raises(ValueError, match="this agent acts in 'Maze/UMaze-v0', not with skills"):
            rllib_sami.load(skills[0], primitive_actions=True)

    def test_an_agent_of_one_s_own_environment_is_exported(self, trained, tmp_path):
        checkpoint = load(trained[2])
        config = checkpoint.config.copy(copy_frozen=False)
        own = f"{__name__}:Plain"
        config.environment(env_config=checkpoint.config.env_config | {"env": own})
        export_agent(checkpoint.module(), config, tmp_path / "agent", algorithm="SkiMo", progress={})
        option = f""" --env-config '{{"env": "{own}"}}'"""
        assert f"rllib evaluate .{option}\n" in (tmp_path / "agent" / "README.md").read_text("utf-8")
        with pytest.raises(ValueError, match=re.escape(f"could run code: they have env='{own}', which")) as error:
            evaluate(tmp_path / "agent", episodes=1, progress=False)
        assert str(error.value).endswith(f"{option}.")
        with pytest.raises(ValueError, match="could run code"):  # what is given must be all of it
            evaluate(tmp_path / "agent", episodes=1, env_config={"steps": 5}, progress=False)
        played = evaluate(tmp_path / "agent", episodes=1, env_config={"env": own}, progress=False)
        assert played.episodes["length"].item() == 60
        agent = rllib_sami.load(tmp_path / "agent", primitive_actions=True)
        env = Plain({})
        assert env.action_space.contains(agent.act(env.reset(seed=0)[0]))
        (tmp_path / "agent" / "manifest.json").unlink()
        settings = json.loads((tmp_path / "agent" / "config.json").read_text("utf-8"))
        settings["environment"]["config"]["skills"] = skills_of = str(tmp_path / "elsewhere")
        (tmp_path / "agent" / "config.json").write_text(json.dumps(settings), "utf-8")
        with pytest.raises(ValueError, match=re.escape(f"{skills_of!r}, could run code")):
            rllib_sami.load(tmp_path / "agent", primitive_actions=True)

    def test_an_exported_agent_acts_like_its_checkpoint(self, trained, tmp_path):
        checkpoint = load(trained[2])
        export_agent(checkpoint.module(), checkpoint.config, tmp_path / "agent", algorithm="SkiMo", progress={})
        assert "chooses skills of 5 steps" in (tmp_path / "agent" / "README.md").read_text("utf-8")
        obs = np.array([0.1, -0.3, 0.0, 0.2], np.float32)
        agents = [rllib_sami.load(path) for path in (trained[2], tmp_path / "agent")]
        for agent in agents:
            agent.reset(seed=1)
        for _ in range(3):  # the second plan goes on from the first
            np.testing.assert_array_equal(agents[0].act(obs), agents[1].act(obs))

    def test_exported_skills_are_those_of_their_checkpoint(self, skills, tmp_path):
        checkpoint = load(skills[0])
        progress = {"num_env_steps_sampled_lifetime": 0, "training_iteration": 2}
        given = {"algorithm": "SkiMoPretrain", "progress": progress}
        export_agent(checkpoint.module(), checkpoint.config, tmp_path / "skills", **given)
        card = (tmp_path / "skills" / "README.md").read_text("utf-8")
        assert "Skills that were learned from data" in card
        assert "stop: {training_iteration: 2}" in card
        assert "train_batch_size_per_learner: 8" in card
        # Mazes have paths, but a card describes skills only of agents that are played skill by skill.
        assert skills_on_card(evaluate(tmp_path / "skills", episodes=1, progress=False)) == {}
        ends = []
        for path in (skills[0], str(tmp_path / "skills")):
            env = gym.make("Skills/Control-v0", env=MAZE, skills=path)
            env.reset(seed=0)
            ends.append(env.step(np.full(3, 0.5, np.float32))[0])
        np.testing.assert_array_equal(*ends)
        algo = task(str(tmp_path / "skills")).build_algo()
        assert torch.equal(algo.get_module().acting.dynamics[0].weight, skills[2].dynamics[0].weight)
        algo.stop()

    @pytest.mark.parametrize(("env", "is_told"), [(MAZE, False), ("Maze/Medium-v0", True)])
    def test_skills_of_another_environment_are_told(self, skills, caplog, env, is_told):
        config = task(skills[0]).environment(env_config={"env": env, "skills": skills[0], "max_steps": 60})
        config.build_algo().stop()
        message = f"the skills were learned in {MAZE!r}, but the task is {env!r}"
        assert any(message in line for line in caplog.messages) == is_told

    def test_an_agent_with_other_skills_than_in_training_is_told(self, skills, trained, tmp_path, caplog):
        checkpoint = load(skills[0])
        module = checkpoint.module()
        folder = export_agent(module, checkpoint.config, tmp_path / "same", algorithm="SkiMoPretrain")
        with torch.no_grad():
            module.acting.skill_policy.net[0].bias.add_(1.0)
        other = export_agent(module, checkpoint.config, tmp_path / "other", algorithm="SkiMoPretrain")
        for path, is_told in ((folder, False), (other, True)):
            caplog.clear()
            evaluate(trained[2], episodes=1, env_config={"skills": str(path)}, progress=False)
            algo = task(str(path)).build_algo()
            algo.restore_from_path(trained[2])
            algo.stop()
            told = [line for line in caplog.messages if "has learned with other skills" in line]
            assert len(told) == 2 * is_told

    def test_an_environment_without_skills_is_refused(self):
        with pytest.raises(ValueError, match="set `env` to 'Skills/Control-v0'"):
            SkiMoConfig().environment(MAZE).build_algo()

    def test_skills_of_another_body_are_refused(self, skills):
        config = task(skills[0])
        config.environment(env_config={"env": "SaMI/Pendulum-v0", "skills": skills[0], "max_steps": 60})
        with pytest.raises(ValueError, match="they read observations of 4 numbers"):
            config.build_algo()

    def test_a_task_that_adds_to_the_observations_of_the_skills_is_refused(self, skills):
        config = task(skills[0])
        env_config = {"env": f"{__name__}:WithGoal", "skills": skills[0]}
        config.environment(env_config=env_config)
        with pytest.raises(ValueError, match=r"observations of 4 numbers, but the task .*WithGoal' gives 6"):
            config.build_algo()
        # Others have networks of their own.
        assert gym.make("Skills/Control-v0", **env_config).observation_space.shape == (6,)

    def test_without_plans_their_noise_has_no_effect(self, skills):
        of_noise = {"plan_std_steps", "initial_plan_std", "final_plan_std"}
        assert of_noise <= set(task(skills[0], planner="none").without_effect())
        assert not of_noise & set(task(skills[0]).without_effect())

    def test_settings_of_plans_that_exclude_each_other_are_refused(self, skills):
        elites, noise = {"num_plan_elites": 21}, {"initial_plan_std": 0.001}
        for settings in (elites, noise):
            with pytest.raises(ValueError, match="must be at most"):
                task(skills[0], **settings).validate()
        task(skills[0], planner="none", **elites, **noise).validate()

    def test_an_env_runner_that_counts_skills_is_refused(self, skills):
        with pytest.raises(ValueError, match="needs ArrayEnvRunner: RLlib's own env runners count skills"):
            task(skills[0]).env_runners(env_runner_cls=SingleAgentEnvRunner).build_algo()

    def test_a_coefficient_that_is_not_tuned_may_change_on_restore(self, trained, skills):
        algo = task(skills[0], tune_alpha=False, initial_alpha=0.25, final_plan_std=0.1).build_algo()
        algo.restore_from_path(trained[2])
        assert algo.learner_group._learner.module["default_policy"].learning.log_alpha.exp().item() == pytest.approx(
            0.25
        )
        assert algo.train()["learners"]["default_policy"]["alpha"] == pytest.approx(0.25)
        algo.stop()

    def test_restored_without_its_episodes_it_fills_the_buffer_first(self, skills, tmp_path):
        settings = {"planner": "none", "store_buffer_in_checkpoints": False, "updates_per_env_step": 0.05}
        algo = task(skills[0], **settings).build_algo()
        learned = [algo.train()["learners"]["default_policy"]["num_updates_lifetime"] for _ in range(2)]
        path = algo.save_to_path(tmp_path / "checkpoint")
        algo.stop()
        again = task(skills[0], **settings).build_algo()
        again.restore_from_path(path)
        after = [again.train()["learners"]["default_policy"]["num_updates_lifetime"] for _ in range(2)]
        again.stop()
        assert after[0] == learned[-1] > 0  # 480 steps of the 600
        assert after[1] < learned[-1] + 0.05 * 960

    def test_episodes_outside_the_env_runner_have_random_numbers_of_their_own(self, trained, skills):
        for module in (trained[0].get_module(), rllib_sami.load(skills[0]).module):
            states = [module.get_initial_state()[ENCODER_STATE] for _ in range(2)]
            assert not np.array_equal(*states)

    def test_spirl_learns_and_two_restores_go_on_alike(self, skills, tmp_path):
        def made():
            env_config = {"env": MAZE, "skills": skills[0], "max_steps": 60}
            config = SPiRLConfig().environment("Skills/Control-v0", env_config=env_config)
            config.training(num_steps_sampled_before_learning_starts=400, critic_hidden=[8], updates_per_env_step=0.05)
            config.env_runners(num_envs_per_env_runner=4).reporting(min_sample_timesteps_per_iteration=400)
            return config.debugging(seed=0).build_algo()

        algo = made()
        results = [algo.train() for _ in range(2)]
        learned = results[-1]["learners"]["default_policy"]
        assert learned["num_updates_lifetime"] == int(0.05 * 960)
        assert results[-1]["num_env_steps_sampled_lifetime"] == 960
        path = algo.save_to_path(tmp_path / "checkpoint")
        algo.stop()
        ends = []
        for _ in range(2):
            again = made()
            again.restore_from_path(path)
            again.train()
            ends.append(again.get_module().state_dict())
            again.stop()
        assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())

    def test_other_algorithms_learn_with_the_skills_too(self, skills):
        env_config = {"env": MAZE, "skills": skills[0], "max_steps": 60}
        config = PlainSACConfig().environment("Skills/Control-v0", env_config=env_config)
        config.training(num_steps_sampled_before_learning_starts=20, actor_hidden=[8], critic_hidden=[8])
        algo = config.env_runners(num_envs_per_env_runner=2).reporting(min_sample_timesteps_per_iteration=100)
        built = algo.build_algo()
        assert built.train()["learners"]["default_policy"]["num_updates_lifetime"] > 0
        built.stop()


@pytest.mark.parametrize("metrics", [pretraining_update.METRICS, downstream_update.METRICS, spirl_update.METRICS])
def test_metrics_are_explained(metrics):
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
    assert [name for name in metrics if f"`learners/default_policy/{name}`" not in page] == []


def test_a_skill_is_played_for_its_length(skills):
    env = gym.make("Skills/Control-v0", env=MAZE, skills=skills[0], max_steps=12)
    env.reset(seed=0)
    infos = [env.step(np.zeros(3, np.float32)) for _ in range(3)]
    assert [info["env_steps"] for *_, info in infos] == [5, 5, 2]
    assert [truncated for *_, truncated, _ in infos] == [False, False, True]
    assert env.action_space.shape == (3,)
