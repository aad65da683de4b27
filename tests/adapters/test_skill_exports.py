"""Exported agents with skills act as they did, play a skill or go to a goal, and are actions of a higher level."""

import json
import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gymnasium.error import ResetNeeded
from ray.rllib.algorithms.ppo import PPOConfig

import rllib_sami
from rllib_sami import (
    CICConfig,
    CSFConfig,
    DADSConfig,
    DIAYNConfig,
    METRAConfig,
    PlainSACConfig,
    SaCCMConfig,
    VISRConfig,
)
from rllib_sami.evaluation import Results
from rllib_sami.evaluation.skill_tables import per_run
from rllib_sami.exports.agents import export_agent, load_exported
from rllib_sami_cli import main

POINT, CONTROL = "Skills/PosturePoint-v0", "Skills/Control-v0"
SKILLS = np.eye(3, dtype=np.float32)
# Settings that change what an agent does, so that it must be told them.
AGENTS = {
    "CSF": (CSFConfig, {}),
    "CSF with f(s, s')": (CSFConfig, {"representation_type": "mlp"}),
    "METRA": (METRAConfig, {}),
    "METRA with one-hot skills": (METRAConfig, {"skill_prior": "one_hot"}),
    "DIAYN": (DIAYNConfig, {}),
    "VISR": (VISRConfig, {}),
    "VISR without unit features": (VISRConfig, {"normalize_features": False}),
    "CIC": (CICConfig, {}),
    "DADS": (DADSConfig, {}),
}
NO_GOALS = ("CIC", "DADS")
SEVERAL = {key: [12] for key in ("actor_hidden", "critic_hidden", "representation_hidden")}


def skills_config(config_class=CSFConfig, env=POINT, env_config=None, **training):
    """A config with tiny networks and episodes of 10 steps."""
    return (
        config_class()
        .environment(env, env_config={"max_steps": 10} if env_config is None else env_config)
        .training(**SEVERAL, **{"skill_dim": 3} | training)
        .debugging(seed=4, log_level="ERROR")
    )


def module_of(config, obs_dim=8, action_dim=8, most=1.0):
    """A module that nothing has trained, whose actions depend clearly on observation and skill."""
    torch.manual_seed(3)
    module = config.get_default_rl_module_spec().module_class(
        observation_space=gym.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32),
        action_space=gym.spaces.Box(-most, most, (action_dim,), np.float32),
        model_config=config.model_config,
    )
    with torch.no_grad():
        module.acting.actor.net[-1].weight.mul_(10.0)
        module.acting.actor.net[0].bias.copy_(torch.linspace(-1.0, 1.0, len(module.acting.actor.net[0].bias)))
    return module


def exported(folder, config, module=None, **sizes):
    """An exported agent that nothing has trained."""
    name = type(config).__name__.removesuffix("Config")
    return export_agent(module or module_of(config, **sizes), config, folder, algorithm=name)


def by_hand(module, obs, skill):
    """What the policy does with a skill, in [-1, 1]."""
    with torch.no_grad():
        action = module.acting.actor.mode(torch.as_tensor(obs)[None], torch.as_tensor(skill)[None])
    return action[0].numpy()


@pytest.fixture(scope="module", params=AGENTS)
def agent(request, tmp_path_factory):
    """Name, config and module of an agent, and the folder of its export."""
    config_class, training = AGENTS[request.param]
    config = skills_config(config_class, **training)
    module = module_of(config, most=2.0)
    return request.param, config, module, exported(tmp_path_factory.mktemp("exported") / "it", config, module)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Exports by their name: a skill prior of each kind, skills of a robot, and agents without skills."""
    root = tmp_path_factory.mktemp("agents")
    for name, config in {
        "sphere": skills_config(),
        "one_hot": skills_config(METRAConfig, skill_prior="one_hot"),
        "diayn": skills_config(DIAYNConfig),
        "gaussian": skills_config(CICConfig),
        "uniform": skills_config(DADSConfig),
    }.items():
        exported(root / name, config)
    exported(root / "cheetah", skills_config(env="Skills/HalfCheetah-v0", env_config={}), obs_dim=18, action_dim=6)
    exported(root / "ant", skills_config(env="Skills/Ant-v0", env_config={}), obs_dim=29)
    sizes = {"actor_hidden": [8], "critic_hidden": [8]}
    for config, more in ((PlainSACConfig(), {}), (SaCCMConfig(), {"context_dim": 3, "encoder_hidden_dim": 8})):
        config.environment(POINT).training(**sizes, **more)
        exported(root / type(config).__name__.removesuffix("Config"), config)
    return root


# --- The same agent -------------------------------------------------------------------------------------------------


def test_it_acts_as_the_module_did(agent):
    _, config, module, path = agent
    found = load_exported(path)
    loaded = found.module()
    obs = torch.randn(5, 8)
    for skill in (torch.from_numpy(module.acting.prior.sample(np.random.default_rng(0), 5)), torch.zeros(5, 3)):
        batch = {"obs": obs, "state_in": {"skill": skill}}
        ours, theirs = module.forward_inference(batch), loaded.forward_inference(batch)
        assert torch.equal(ours["actions_for_env"], theirs["actions_for_env"])
        assert torch.equal(torch.as_tensor(theirs["state_out"]["skill"]), skill)
    assert (loaded.observation_space, loaded.action_space) == (module.observation_space, module.action_space)
    assert loaded.acting.prior == config.prior
    kept = config.method.acting_settings
    assert type(found.config.method) is type(config.method)
    assert {key: getattr(found.config, key) for key in kept} == {key: getattr(config, key) for key in kept}
    assert found.config.skill_dim == 3
    assert (found.algorithm, type(found.config)) == (config.algo_class, type(config))


def test_it_has_the_same_features_and_finds_the_same_skills(agent):
    name, config, module, path = agent
    loaded = load_exported(path).module()
    obs, goal = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
    ours, theirs = module.features(obs), loaded.features(obs)
    assert (ours is None) == (theirs is None) == (not config.method.has_state_features)
    if ours is not None:
        np.testing.assert_array_equal(ours, theirs)
    if name in NO_GOALS:
        with pytest.raises(ValueError, match=f"^{name} learns no features that lead to goals"):
            loaded.infer_skill(obs, goal)
        return
    skills = loaded.infer_skill(obs, goal)
    assert torch.equal(module.infer_skill(obs, goal), skills)
    assert len(torch.unique(skills, dim=0)) > 1
    if config.method.prior == "one_hot":
        assert set(skills.flatten().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(skills.norm(dim=-1), 1.0, atol=1e-6)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("config_class", [CSFConfig, METRAConfig, DIAYNConfig, VISRConfig, CICConfig, DADSConfig])
def test_every_algorithms_checkpoint_is_exported_and_acts_alike(config_class, tmp_path, monkeypatch):
    algo = skills_config(config_class).build_algo()
    algo.save_to_path(tmp_path / "run" / "checkpoint_000000")
    done = CliRunner().invoke(main, ["export", str(tmp_path / "run"), "--out", str(tmp_path / "it")])
    assert done.exit_code == 0, done.output
    one, other = (rllib_sami.load(tmp_path / name) for name in ("run", "it"))
    for skill in SKILLS:
        for each in (one, other):
            each.reset(skill=skill)
        for obs in np.random.default_rng(0).normal(size=(3, 8)):
            expected = by_hand(algo.get_module(), obs.astype(np.float32), skill)
            np.testing.assert_array_equal(one.act(obs), other.act(obs))
            np.testing.assert_allclose(other.act(obs), expected, atol=1e-6)
    algo.stop()
    monkeypatch.chdir(tmp_path / "it")
    card = (tmp_path / "it" / "README.md").read_text()
    name = config_class.__name__.removesuffix("Config")
    assert f"# {name} on {POINT}" in card
    assert f"learned without a reward, with {name}" in card


def test_the_loop_on_its_card_runs_as_printed(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder / "sphere")
    [code] = re.findall(r"```python\n(.*?)```", (folder / "sphere" / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["truncated"]
    assert names["agent"].skill.shape == (3,)
    assert capsys.readouterr().out == "return 0.0\n"


def test_evaluate_plays_skills_and_goals_of_an_export(folder, tmp_path):
    words = ["evaluate", folder / "sphere", "--episodes", "3", "-q", "--out", tmp_path / "results"]
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == 0, done.output
    table = per_run(Results.load(tmp_path / "results"))
    [row] = table.to_dict("records")
    assert (row["algorithm"], row["skills"], row["goals"], row["seed"]) == ("CSF", 3, 3, 4)
    assert f"  3 skills: {row['state_coverage']:,.0f} cells covered, {row['end_distance']:,.2f} from" in done.output
    assert f"  3 goals: {row['staying_time']:.0%} of the time near them" in done.output
    assert "6 episodes in " in done.output
    done = CliRunner().invoke(main, [*map(str, words[:4]), "--split", "train"])
    assert done.exit_code == 2
    [line] = done.stderr.strip().splitlines()[-1:]
    assert "'train' is no part of an evaluation of skills" in line


def change(path, **changes):
    """Writes other network settings, as who does it on purpose has to."""
    (path / "manifest.json").unlink(missing_ok=True)
    content = json.loads((path / "config.json").read_text())
    content["network"] |= changes
    (path / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "XYZ"}, "config.json cannot be read: KeyError: 'XYZ'"),
        ({"method": "DIAYN"}, r"its `network` has the keys \['actor_activation', "),
        ({"method": None}, "config.json cannot be read"),
        ({"representation_type": "mlp"}, "model.safetensors cannot be loaded into the networks of config.json"),
        ({"skill_dim": 4}, "model.safetensors cannot be loaded into the networks of config.json"),
    ],
)
def test_a_changed_config_is_refused(tmp_path, changes, message):
    path = exported(tmp_path / "it", skills_config())
    (path / "config.json").write_text((path / "config.json").read_text().replace('"xi": 5.0', '"xi": 6.0'))
    with pytest.raises(ValueError, match=r"exported agent .* is damaged: config.json "):
        rllib_sami.load(path)
    change(path, **changes)
    with pytest.raises(ValueError, match=message):
        rllib_sami.load(path)


# --- A skill or a goal ----------------------------------------------------------------------------------------------


def test_a_given_skill_is_what_the_policy_reads_until_the_next_episode(agent):
    name, _, module, path = agent
    loaded, rng = rllib_sami.load(path), np.random.default_rng(0)
    assert loaded.skill is None
    actions = []
    for skill in SKILLS:
        loaded.reset(skill=skill)
        for obs in rng.normal(size=(3, 8)).astype(np.float32):
            actions.append(loaded.act(obs))
            np.testing.assert_allclose(actions[-1], 2.0 * by_hand(module, obs, skill), atol=1e-6)
            np.testing.assert_array_equal(loaded.skill, skill)
    assert np.abs(actions).max() > 0.1
    drawn = []
    for seed in (0, 1, 0, *range(20)):
        loaded.reset(seed)
        first = loaded.act(np.ones(8))
        drawn.append(loaded.skill)
        np.testing.assert_allclose(first, 2.0 * by_hand(module, np.ones(8, np.float32), drawn[-1]), atol=1e-6)
        loaded.act(np.zeros(8))
        np.testing.assert_array_equal(loaded.skill, drawn[-1])
    np.testing.assert_array_equal(drawn[0], drawn[2])
    is_finite = module.acting.prior.kind == "one_hot"
    assert len(np.unique(drawn, axis=0)) == (3 if is_finite else 20)
    if name in NO_GOALS:
        assert np.ptp(np.linalg.norm(drawn, axis=1)) > 0.1
    else:
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0, atol=1e-6)


def test_for_a_goal_the_skill_is_chosen_anew_at_each_step(agent):
    name, _, module, path = agent
    loaded, rng = rllib_sami.load(path), np.random.default_rng(1)
    goal = rng.normal(size=8).astype(np.float32)
    loaded.reset(goal=goal)
    if name in NO_GOALS:
        with pytest.raises(ValueError, match=f"^{name} learns no features that lead to goals"):
            loaded.act(goal)
        return
    chosen = []
    for obs in 2.0 * rng.normal(size=(12, 8)).astype(np.float32):
        action = loaded.act(obs)
        expected = module.infer_skill(obs[None], goal[None])[0].numpy()
        np.testing.assert_allclose(loaded.skill, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(action, 2.0 * by_hand(module, obs, expected), atol=1e-6)
        chosen.append(loaded.skill)
    follows_state = name not in ("DIAYN", "VISR", "VISR without unit features")  # they only look at the goal
    assert (len(np.unique(chosen, axis=0)) > 1) == follows_state
    loaded.reset(skill=SKILLS[0])  # the goal is forgotten
    loaded.act(goal)
    np.testing.assert_array_equal(loaded.skill, SKILLS[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"skill": [1.0, 0.0]}, "expected 3 finite numbers"),
        ({"skill": 1}, "skill=1: expected 3 finite numbers"),
        ({"skill": [[1.0, 0.0, 0.0]]}, "expected 3 finite numbers"),
        ({"skill": [1.0, np.nan, 0.0]}, "expected 3 finite numbers"),
        ({"goal": [0.0] * 7}, r"has shape \[7\], but this agent reads \[8\]"),
        ({"goal": "home"}, "The observation 'home' does not fit"),
        ({"skill": SKILLS[0], "goal": [0.0] * 8}, "was given a skill and a goal, .* Give one of them"),
        ({"seed": -1, "skill": SKILLS[0]}, "seed=-1: expected an integer >= 0"),
    ],
)
def test_what_reset_refuses(folder, given, message):
    loaded = rllib_sami.load(folder / "sphere")
    loaded.reset(skill=SKILLS[1])
    with pytest.raises(ValueError, match=message):
        loaded.reset(**given)
    loaded.act(np.zeros(8))
    np.testing.assert_array_equal(loaded.skill, SKILLS[1])  # still the episode before


@pytest.mark.parametrize("name", ["PlainSAC", "SaCCM"])
@pytest.mark.parametrize("given", [{"skill": [1.0]}, {"goal": np.zeros(8)}])
def test_agents_without_skills_take_none(folder, name, given):
    loaded = rllib_sami.load(folder / name)
    with pytest.raises(ValueError, match=r"has no skills: call reset\(\) without `skill` and `goal`"):
        loaded.reset(**given)
    loaded.reset(skill=None, goal=None)
    loaded.act(np.zeros(8), 0.0)
    assert loaded.skill is None


# --- Skills as actions ----------------------------------------------------------------------------------------------


class Rewarding(gym.Env):
    """The point's observation and one number more; step n has reward n; it ends after 60, or before."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (9,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (8,), np.float32)

    def __init__(self, config=None):
        self.ends, self.told = (config or {}).get("ends", 10**6), (config or {}).get("told", 7.0)

    def reset(self, *, seed=None, options=None):
        self.place, self.steps = np.zeros(8), 0
        return self._obs(), {}

    def step(self, action):
        self.place, self.steps = self.place + 0.1 * np.asarray(action, np.float64), self.steps + 1
        return self._obs(), float(self.steps), self.steps >= self.ends, self.steps >= 60, {"at": self.steps}

    def _obs(self):
        return np.append(self.place, self.told).astype(np.float32)


@pytest.fixture
def checked(monkeypatch):
    """What Gymnasium's checks find wrong with an environment, of which it only warns, is an error."""
    monkeypatch.setattr(gym.logger, "warn", lambda *given: pytest.fail(str(given)))


def control(folder, name, env=POINT, **settings):
    return gym.make(CONTROL, env=env, skills=str(folder / name), **settings)


@pytest.mark.parametrize(
    ("name", "action", "skill"),
    [
        ("sphere", [3.0, 0.0, 4.0], [0.6, 0.0, 0.8]),
        ("sphere", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ("one_hot", 2, [0.0, 0.0, 1.0]),
        ("diayn", 0, [1.0, 0.0, 0.0]),
        ("gaussian", [0.4, -1.0, 0.0], [0.6, -1.5, 0.0]),
        ("uniform", [0.4, -1.0, 0.0], [0.4, -1.0, 0.0]),
    ],
)
def test_an_action_is_a_skill_that_is_played_for_25_steps(checked, folder, name, action, skill):
    env, body = control(folder, name), gym.make(POINT)
    module = rllib_sami.load(folder / name).module
    discrete = name in ("one_hot", "diayn")
    space = gym.spaces.Discrete(3) if discrete else gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    assert env.action_space == space
    assert env.observation_space == body.observation_space
    start, _ = env.reset(seed=0)
    obs, _ = body.reset(seed=0)
    np.testing.assert_array_equal(start, obs)
    for number in range(2):
        given = action if discrete else np.asarray(action, np.float32)
        ours, _, terminated, truncated, info = env.step(given)
        for _ in range(25):
            obs, _, _, body_truncated, _ = body.step(by_hand(module, obs, np.asarray(skill, np.float32)))
        np.testing.assert_allclose(ours, obs, atol=1e-5)
        assert info["env_steps"] == 25
        assert (terminated, truncated, body_truncated) == (False, number == 1, number == 1)
    with pytest.raises(ResetNeeded):
        env.step(given)


@pytest.mark.parametrize(("ends", "last"), [(10**6, 10), (42, 17), (50, 25)])
def test_the_reward_is_the_sum_of_its_steps_and_an_episode_ends_within_them(folder, ends, last):
    env = control(folder, "sphere", env=f"{__name__}.Rewarding", env_config={"ends": ends})
    env.reset()
    taken, action = 0, np.ones(3, np.float32)
    for steps in (25, 25, 10)[: 2 + (ends > 60)]:
        steps = last if taken + steps >= min(ends, 60) else steps
        _, reward, terminated, truncated, info = env.step(action)
        assert reward == sum(range(taken + 1, taken + steps + 1))
        taken += steps
        assert (info["env_steps"], info["at"]) == (steps, taken)
    assert (terminated, truncated) == (ends < 60, ends > 60)


def test_what_the_task_appends_is_for_the_higher_level_only(folder):
    last = []
    for told in (7.0, -500.0):
        env = control(folder, "sphere", env=Rewarding, env_config={"told": told}, steps=3)
        env.reset()
        obs, reward, *_ = env.step(np.ones(3, np.float32))
        assert env.observation_space == Rewarding.observation_space
        assert (obs[8], reward) == (told, 6.0)
        last.append(obs[:8])
    np.testing.assert_array_equal(*last)
    assert np.abs(last[0]).max() > 0.05


def test_a_robots_task_has_eight_actions_of_its_skills(checked, folder):
    env = control(folder, "cheetah", env="Skills/HalfCheetahGoal-v0")
    obs, _ = env.reset(seed=0)
    assert obs.shape == (19,)
    ends = []
    while not any(ends):
        obs, _, terminated, truncated, info = env.step(np.ones(3, np.float32))
        ends.append(terminated or truncated)
    assert (len(ends), terminated) == (8, False)
    assert obs.shape == (19,)
    assert "is_success" in info


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("SaCCM", {}, "SaCCM'.*it has no skills. Give a checkpoint of CSF, METRA or another"),
        ("PlainSAC", {}, "PlainSAC'.*it has no skills"),
        ("ant", {"env": "Skills/HalfCheetahGoal-v0"}, "ant'.* observations of 29 numbers, .* gives 18"),
        ("sphere", {"env": "Pendulum-v1"}, "observations of 8 numbers, but 'Pendulum-v1' gives 3"),
        ("cheetah", {"env": "Skills/AntMultiGoal-v0"}, "observations of 18 numbers, .* gives 29"),
        ("nothing", {}, "nothing: no such folder"),
        ("", {"env": "Skills/PosturePont-v0", "name": "sphere"}, "'Skills/PosturePont-v0'"),
        ("sphere", {"steps": 0}, "steps=0: expected an integer >= 1"),
        ("sphere", {"env_config": {"maxsteps": 3}}, "maxsteps"),
    ],
)
def test_what_cannot_be_controlled(folder, name, settings, message):
    name = settings.pop("name", name)
    with pytest.raises(ValueError, match=message):
        control(folder, name, **settings)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", ["sphere", "one_hot"])
def test_ppo_of_rllib_trains_on_skills(folder, name):
    config = PPOConfig().environment(CONTROL, env_config={"env": POINT, "skills": str(folder / name), "steps": 10})
    config.env_runners(num_env_runners=0).debugging(log_level="ERROR", seed=0)
    config.training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=1).rl_module(
        model_config={"fcnet_hiddens": [8]}
    )
    algo = config.build_algo()
    result = algo.train()
    discrete = isinstance(algo.get_module().action_space, gym.spaces.Discrete)
    algo.stop()
    assert discrete == (name == "one_hot")
    assert result["num_env_steps_sampled_lifetime"] == 32
    assert result["env_runners"]["episode_len_mean"] == 5  # 50 steps of the body
    assert np.isfinite(result["learners"]["default_policy"]["total_loss"])


def sac_on(path):
    config = PlainSACConfig().environment(CONTROL, env_config={"env": POINT, "skills": str(path)})
    config.training(actor_hidden=[8], critic_hidden=[8], train_batch_size_per_learner=8, updates_per_env_step=0.5)
    config.training(num_steps_sampled_before_learning_starts=10, replay_buffer_config={"capacity": 500})
    config.env_runners(num_envs_per_env_runner=2, rollout_fragment_length=2)
    return config.reporting(min_sample_timesteps_per_iteration=20).debugging(log_level="ERROR", seed=0)


@pytest.mark.usefixtures("ray_cluster")
def test_plain_sac_trains_on_skills_that_are_directions_and_refuses_one_hot_ones(folder):
    algo = sac_on(folder / "sphere").build_algo()
    result = algo.train()
    algo.stop()
    assert result["env_runners"]["episode_len_mean"] == 2
    assert np.isfinite(result["learners"]["default_policy"]["critic_loss"])
    with pytest.raises(ValueError, match=r"has the action space Discrete\(3\), but only continuous actions"):
        sac_on(folder / "one_hot").build_algo()
