"""Exported agents with skills act as they did, play a skill or go to a goal, and are actions of a higher level."""

import json
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import rllib_sami
from rllib_sami import (
    CICConfig,
    CSFConfig,
    DADSConfig,
    DIAYNConfig,
    METRAConfig,
    VISRConfig,
)
from rllib_sami.evaluation import Results
from rllib_sami.evaluation.skill_tables import per_run
from rllib_sami.exports.agents import load_exported
from rllib_sami_cli import main

from .skill_agents import POINT, SKILLS, by_hand, exported, module_of, skills_config

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


@pytest.fixture(scope="module", params=AGENTS)
def agent(request, tmp_path_factory):
    """Name, config and module of an agent, and the folder of its export."""
    config_class, training = AGENTS[request.param]
    config = skills_config(config_class, **training)
    module = module_of(config, most=2.0)
    return request.param, config, module, exported(tmp_path_factory.mktemp("exported") / "it", config, module)


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


def test_for_a_goal_the_skill_is_chosen_at_each_step(agent):
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
