"""Skills where something is missing or joined: reports, tables, control and loops of one's own."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import rllib_sami
from rllib_sami import DADSConfig, METRAConfig, SaCCMConfig
from rllib_sami.algorithms.skill_discovery.evaluation import of_skills, skill_grids
from rllib_sami.env_runners.agents import make_agent
from rllib_sami.envs.skills import PosturePoint
from rllib_sami.evaluation import Results, evaluate, report
from rllib_sami.evaluation.skill_tables import per_run

from .envs import Nowhere
from .skill_agents import CONTROL, POINT, exported, module_of, skills_config
from .test_skill_control import sac_on


def played(paths, **settings):
    return evaluate(paths, **{"episodes": 3, "progress": False} | settings)


@pytest.fixture
def csf(tmp_path):
    return exported(tmp_path / "csf", skills_config())


# --- Reports --------------------------------------------------------------------------------------------------------


def test_a_report_on_agents_with_and_without_skills_shows_both(csf, tmp_path):
    config = SaCCMConfig().environment("SaMI/Pendulum-v0", env_config={"max_steps": 5})
    config.training(encoder_hidden_dim=8, context_dim=3, actor_hidden=[8])
    saccm = exported(tmp_path / "saccm", config, obs_dim=3, action_dim=1, most=2.0)
    for folder, agent in (("a", csf), ("b", saccm)):
        played(agent).save(tmp_path / folder)
    page = report(Results.load([tmp_path / "a", tmp_path / "b"]), tmp_path / "out").read_text()
    assert all(f'id="{key}"' in page for key in ("discovered_skills", "goals", "splits", "contexts"))


def test_a_method_without_features_of_states_beside_one_that_has_them(csf, tmp_path):
    dads = exported(tmp_path / "dads", skills_config(DADSConfig))
    assert 'id="features"' in report(played([csf, dads]), tmp_path / "out").read_text()


def test_a_report_on_a_single_skill(csf, tmp_path):
    report(played(csf, episodes=1), tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "skills_posturepoint.svg").is_file()


def test_a_report_where_nobody_knows_the_place(csf, tmp_path):
    page = report(played(csf, env=Nowhere), tmp_path / "out").read_text()
    assert 'id="discovered_skills"' in page
    assert 'id="goals"' not in page


def test_ways_of_playing_a_run_are_not_mixed(csf, tmp_path):
    ways = {"a": {}, "b": {"context": "zero"}, "c": {"explore": True}}
    for folder, how in ways.items():
        played(csf, **how).save(tmp_path / folder)
    table = per_run(Results.load([tmp_path / folder for folder in ways]))
    assert list(table["skills"]) == [3, 3, 3]
    assert set(zip(table["context"], table["explore"], strict=True)) == {
        ("learned", False),
        ("zero", False),
        ("learned", True),
    }


def test_edges_of_cells_are_where_training_has_them(tmp_path):
    config = skills_config(env_config={"max_steps": 50})
    module = module_of(config)
    with torch.no_grad():  # straight on, along edges of cells
        module.acting.actor.net[-1].weight.zero_()
        module.acting.actor.net[-1].bias[:8] = 20.0
    path = exported(tmp_path / "it", config, module)
    (grid,) = skill_grids(config, ["skills"], 1, 0, 0)
    in_training = of_skills(grid, grid.player().play(make_agent(module, None, False), grid.episodes))
    assert per_run(played(path, splits=["skills"], episodes=1))["state_coverage"][0] == in_training["state_coverage"]


def test_the_way_to_a_goal_does_not_depend_on_how_many_there_are(csf):
    few, many = played(csf, splits=["goals"]), played(csf, splits=["goals"], episodes=16)
    np.testing.assert_array_equal(few.paths.coordinates, many.paths.coordinates[:3])


# --- Agents and control ---------------------------------------------------------------------------------------------


def test_goals_and_skills_that_are_no_numbers_are_refused(csf):
    agent = rllib_sami.load(csf)
    with pytest.raises(ValueError, match=r"goal=.*finite"):
        agent.reset(goal=[np.nan] * 8)
    with pytest.raises(ValueError, match="skill='abc': expected 3 finite numbers"):
        agent.reset(skill="abc")


def test_an_export_with_an_unknown_prior_is_refused(tmp_path):
    path = exported(tmp_path / "it", skills_config(METRAConfig))
    config = path / "config.json"
    config.write_text(config.read_text().replace('"sphere"', '"nonsense"'))
    (path / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"skill_prior.*nonsense.*sphere"):
        rllib_sami.load(path)


def test_skills_of_another_body_with_as_many_actions_are_refused(csf):
    with pytest.raises(ValueError, match="observations of 8 numbers, but 'Skills/AntMultiGoal-v0' gives 29"):
        gym.make(CONTROL, env="Skills/AntMultiGoal-v0", skills=str(csf))


def test_settings_of_the_task_may_be_given_directly(csf):
    env = gym.make(CONTROL, env=POINT, skills=str(csf), render_mode="rgb_array", max_steps=20)
    env.reset(seed=0)
    assert env.render().shape[2] == 3
    assert env.unwrapped.max_steps == 20
    for given, missing in (({}, "env"), ({"env": POINT}, "skills")):
        with pytest.raises(ValueError, match=f"needs '{missing}' in its `env_config`"):
            gym.make(CONTROL, **given)


def test_one_hot_skills_for_a_higher_level_with_continuous_actions(tmp_path):
    path = exported(tmp_path / "it", skills_config(METRAConfig, skill_prior="one_hot"))
    ends = []
    for action, continuous in ((np.array([-0.2, 0.7, 0.1], np.float32), True), (1, False)):
        env = gym.make(CONTROL, env=POINT, skills=str(path), continuous=continuous, steps=5)
        env.reset(seed=0)
        ends.append(env.step(action)[0])
    np.testing.assert_array_equal(*ends)


def test_a_higher_level_can_be_evaluated(ray_cluster, csf, tmp_path):
    algo = sac_on(csf).build_algo()
    algo.save_to_path(tmp_path / "sac")
    algo.stop()
    assert len(played(tmp_path / "sac").episodes) == 3


# --- Wrapped environments -------------------------------------------------------------------------------------------


class TenTimes(gym.ObservationWrapper):
    """Observations in another unit."""

    def observation(self, obs):
        return 10.0 * obs


class Doubled(gym.Wrapper):
    """Changes observations in a way that nobody can tell of a goal."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (16,), np.float32)


def test_goals_are_observed_through_the_wrappers_of_the_policy():
    bare, scaled = (skills_config(env=env) for env in (PosturePoint, lambda context: TenTimes(PosturePoint())))
    bare.env_config = {}
    (one,), (other,) = (skill_grids(config, ["goals"], 1, 4, 0) for config in (bare.environment(POINT), scaled))
    for mine, theirs in zip(one.episodes, other.episodes, strict=True):
        np.testing.assert_allclose(theirs.goal.obs, 10.0 * mine.goal.obs, rtol=1e-6)
        np.testing.assert_array_equal(theirs.goal.coordinates, mine.goal.coordinates)


def test_goals_that_a_wrapper_would_change_in_an_unknown_way_are_left_out():
    config = skills_config(env=lambda context: Doubled(PosturePoint()))
    assert [grid.split for grid in skill_grids(config, None, 2, 2, 0)] == ["skills"]
    with pytest.raises(ValueError, match="'goals' cannot be played: Doubled changes observations"):
        skill_grids(config, ["goals"], 2, 2, 0)


def test_goals_without_a_number_of_them_are_refused():
    config = skills_config().evaluation(evaluation_splits=["goals"], evaluation_goals=0)
    with pytest.raises(ValueError, match="`evaluation_goals` is 0"):
        config.validate()
