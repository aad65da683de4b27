"""The report on skills, and what it reads of training."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from rllib_sami.algorithms.skill_discovery.evaluation import GOALS, SKILLS
from rllib_sami.evaluation import Results
from rllib_sami.evaluation.progress import read_progress
from rllib_sami.evaluation.results import join
from rllib_sami.evaluation.skill_tables import per_run
from rllib_sami_cli import main

from .test_skills import FLAT, PLANE, play


def test_progress_tells_what_was_found_in_training(tmp_path):
    lines = {
        "num_env_steps_sampled_lifetime": [100, 200, 300],
        "time_total_s": [1, 2, 3],
        "cpu_time_total_s": [10, 20, 30],
        "evaluation/env_steps": [100, 100, 300],
        "evaluation/skills/state_coverage": [5, 5, 9],
        "evaluation/skills/end_distance": [1.5, 1.5, 2.5],
        "evaluation/goals/staying_time": [0.1, 0.1, 0.3],
        "evaluation/goals/success_rate": [0.2, 0.2, 0.4],
    }
    pd.DataFrame(lines).to_csv(tmp_path / "progress.csv", index=False)
    table = read_progress(tmp_path, "CSF", "it")
    np.testing.assert_array_equal(table["state_coverage_skills"], [5, np.nan, 9])  # not evaluated at 200
    np.testing.assert_array_equal(table["staying_time_goals"], [0.1, np.nan, 0.3])
    np.testing.assert_array_equal(table["success_rate_goals"], [0.2, np.nan, 0.4])
    np.testing.assert_array_equal(table["end_distance_skills"], [1.5, np.nan, 2.5])
    assert list(table["cpu_seconds"]) == [10, 20, 30]


@pytest.fixture(scope="module")
def page(agents, tmp_path_factory):
    """Results of two methods, the folder of the report on them that the command wrote, and its page."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    from .test_report import Page

    root = tmp_path_factory.mktemp("report")
    play([agents / "csf", agents / "metra"], episodes=4).save(root / "results")
    done = CliRunner().invoke(main, ["report", str(root / "results"), "--out", str(root / "out"), "-q"])
    assert done.exit_code == 0, done.output
    return Results.load(root / "results"), root / "out", Page((root / "out" / "index.html").read_text("utf-8"))


def test_a_report_on_two_methods_has_their_figures_in_two_styles(page):
    _, folder, html = page
    names = {"skills_posturepoint", "goals_posturepoint", "features_csf_posturepoint", "features_metra_posturepoint"}
    assert {file.stem for file in (folder / "figures").glob("*.svg")} == names
    assert {file.stem for file in (folder / "figures").glob("*.png")} == names
    assert {section: len(found) for section, found in html.figures.items() if found} == {
        "discovered_skills": 1,
        "goals": 1,
        "features": 2,
    }
    for found in html.figures.values():
        for styles in found:
            assert len(set(styles)) == 2, "a light and a dark one"
            assert all(one.startswith("data:image/svg+xml;base64,") for one in styles)


def test_the_report_has_no_returns_of_tasks(page):
    _, folder, html = page
    assert set(html.text) == {"runs", "discovered_skills", "goals", "features", "provenance"}
    for text in ("interquartile", "IQM", "returns per split", "Scores"):
        assert text not in html.text["discovered_skills"]
    assert "Learning curves" in html.text["provenance"]  # why they are left out
    text = (folder / "report.md").read_text()
    assert "## Skills" in text
    assert "## Goals, zero-shot" in text


def test_the_numbers_of_the_figures_are_those_of_the_table_and_of_the_episodes(page):
    from rllib_sami.evaluation.layout import text
    from rllib_sami.evaluation.sections import skills as sections

    results, _, html = page
    table = per_run(results).set_index("algorithm")
    section, goals = sections.coverage(results), sections.goals(results)
    [shown] = section.tables
    assert shown.caption == "2 runs: 4 skills and 4 goals"
    assert shown.caption in html.text["discovered_skills"]
    rows = {row[0]: dict(zip(shown.columns, row, strict=True)) for row in shown.rows}
    for plot, form in (
        (section.plots[0], "{0}, seed 4: {1[state_coverage]:,.0f} cells"),
        (goals.plots[0], "{0}, seed 4: {1[success_rate]:.0%} reached"),
    ):
        titles = [axis.get_title() for axis in plot.draw().axes]
        assert titles == [form.format(name, table.loc[name]) for name in ("CSF", "METRA")]
    for name, row in table.iterrows():
        assert rows[name]["cells covered"] == text(row["state_coverage"])
        assert rows[name]["start to end"] == text(row["end_distance"])
        assert rows[name]["away at the end"] == text(row["final_distance"])
    assert "within 3 of which they count as reached" in html.text["goals"]


def test_figures_tell_which_goals_were_reached_and_draw_one_coordinate_over_time():
    pytest.importorskip("matplotlib")
    from rllib_sami.evaluation.sections import skills as sections

    both = join([FLAT, PLANE])
    plots = {plot.name: plot for section in (sections.coverage, sections.goals) for plot in section(both).plots}
    assert set(plots) == {"skills_here", "skills_there", "goals_there"}
    axes = {name: plot.draw().axes for name, plot in plots.items()}
    titles = {name: [axis.get_title() for axis in found] for name, found in axes.items()}
    assert titles == {
        "skills_here": ["CSF, seed 1: 4 cells"],
        "skills_there": ["METRA, seed 1: 3 cells"],
        "goals_there": ["METRA, seed 1: 50% reached"],
    }
    assert [line.get_marker() for line in axes["goals_there"][0].lines[1::2]] == ["o", "x"]
    assert "within 2.5 of which" in plots["goals_there"].caption
    assert "in x over time" in plots["skills_here"].caption
    longest = axes["skills_here"][0].lines[2].get_xydata()
    np.testing.assert_array_equal(longest, [[0.0, 0.0], [1.0, -2.5], [2.0, -5.0]])


def test_a_figure_has_a_line_per_skill_and_a_mark_per_goal(page):
    from rllib_sami.evaluation.sections import skills as sections

    results, *_ = page
    [skills, goals] = (section.plots[0].draw() for section in (sections.coverage(results), sections.goals(results)))
    for figure in (skills, goals):
        for axis, name in zip(figure.axes, ("CSF", "METRA"), strict=True):
            mine = (results.episodes["algorithm"] == name).to_numpy()
            part = SKILLS if figure is skills else GOALS
            paths = results.paths.coordinates[mine & (results.episodes["split"] == part).to_numpy()]
            lines = [line.get_xydata() for line in axis.lines]
            np.testing.assert_allclose(np.stack(lines[::2]), paths, atol=1e-6)
            if figure is goals:
                ends = results.paths.goals[mine & (results.episodes["split"] == GOALS).to_numpy()]
                np.testing.assert_allclose(np.concatenate(lines[1::2]), ends, atol=1e-6)
