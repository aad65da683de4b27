"""Sub-tasks of an evaluation: when each was done is kept, drawn and tabled."""

import math

import gymnasium as gym
import numpy as np
import pandas as pd

from rllib_sami.env_runners.episodes import EpisodeSpec, Slot
from rllib_sami.envs.ordered import OrderedSubtasks
from rllib_sami.evaluation.reporting import report
from rllib_sami.evaluation.results import Results, join, subtask_columns
from rllib_sami.evaluation.sections.subtasks import timelines

FLAT, SKILLED = "Kitchen/Light-v0", "Skills/Control-v0 (Kitchen/Light)"


class Errands(gym.Env):
    """Two sub-tasks of four steps, of which the first is done at the third."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
    action_space = gym.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        self.errands, self.step_ = OrderedSubtasks(["post a letter", "buy bread"]), 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.step_ += 1
        reward = self.errands.count(lambda name: name == "post a letter" and self.step_ == 3)
        over = self.step_ == 4
        return np.zeros(2, np.float32), float(reward), False, over, self.errands.info() if over else {}


def results_of(agent, environment, *episodes):
    """Episodes of an agent with the steps at which their sub-tasks were done."""
    rows = [
        {
            **{"algorithm": agent, "run": agent, "seed": 0, "env_steps": 0, "context": "learned", "explore": False},
            **{"environment": environment, "split": "train", "task_id": 0, "episode": number, "episode_seed": number},
            **{"return": 1.0, "length": 9, "success": False},
            **{f"subtask_{name}": step for name, step in steps.items()},
        }
        for number, steps in enumerate(episodes)
    ]
    return Results(pd.DataFrame(rows))


def test_the_steps_of_an_episode_are_kept():
    slot = Slot(Errands(), np.zeros(2, np.float32))
    slot.reset(EpisodeSpec("train", None, 0, 3, 3))
    while not slot.done:
        slot.step(np.zeros(1, np.float32))
    assert slot.result(None).subtasks == {"post a letter": 3.0, "buy bread": math.inf}


def test_columns_keep_the_order_of_the_sub_tasks_in_files(tmp_path):
    results = results_of("SkiMo", SKILLED, {"microwave": 30, "kettle": 50}, {"microwave": 40, "kettle": math.inf})
    results.save(tmp_path)
    read = Results.load(tmp_path).episodes
    assert subtask_columns(read) == ["subtask_microwave", "subtask_kettle"]
    np.testing.assert_array_equal(read["subtask_kettle"], [50.0, np.inf])


def test_agents_with_and_without_skills_share_a_figure_and_a_table(tmp_path):
    skilled = results_of("SkiMo", SKILLED, {"microwave": 30, "kettle": 50}, {"microwave": 40, "kettle": math.inf})
    flat = results_of("PlainSAC", FLAT, {"microwave": math.inf, "kettle": math.inf})
    other = results_of("SAC", "SaMI/Ant-v0", {})
    section = timelines(join([skilled, flat, other]))
    [plot] = section.plots
    figure = plot.draw()
    assert {axis.get_title() for axis in figure.axes} == {"SkiMo: 1.50 of 2", "PlainSAC: 0.00 of 2"}
    [axis] = [axis for axis in figure.axes if axis.get_title().startswith("SkiMo")]
    marks = {line.get_label(): line.get_xydata() for line in axis.lines}
    np.testing.assert_array_equal(marks["microwave"], [[30.0, 0.0], [40.0, 1.0]])
    assert np.isfinite(marks["kettle"]).all(axis=1).tolist() == [True, False]
    table = section.tables[0].frame.set_index(["agent", "sub-task"])
    assert table.loc[("SkiMo", "kettle"), ["done", "median step"]].tolist() == [0.5, 50.0]
    assert table.loc[("PlainSAC", "microwave"), "done"] == 0.0
    assert "SAC" not in table.index.get_level_values("agent")
    assert "Sub-tasks" in report(join([skilled, flat, other]), tmp_path / "report").read_text("utf-8")


def test_an_agent_with_fewer_sub_tasks_is_not_measured_by_others():
    short = results_of("PlainSAC", FLAT, {"kettle": 20})
    long = results_of("SkiMo", SKILLED, {"microwave": 30, "kettle": 50})
    nothing = results_of("CCM", FLAT, {})
    section = timelines(join([short, long, nothing]))
    figure = section.plots[0].draw()
    assert {axis.get_title() for axis in figure.axes} == {"SkiMo: 2.00 of 2", "PlainSAC: 1.00 of 1"}
    assert len(section.tables[0].frame) == 3
    # A sub-task has one colour, and all are in the legend.
    colours = {(line.get_label(), line.get_color()) for axis in figure.axes for line in axis.lines}
    assert len(colours) == 2
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"microwave", "kettle"}


def test_without_sub_tasks_there_is_no_section():
    assert timelines(results_of("SAC", "SaMI/Ant-v0", {})).empty
