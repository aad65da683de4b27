"""Figures: what is drawn is what the tables say, in both styles, labelled, and inside the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

matplotlib = pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from rllib_sami.envs import ENVIRONMENTS  # noqa: E402
from rllib_sami.evaluation import figures, heat_maps, style, tables  # noqa: E402
from rllib_sami.evaluation.baselines import NAMES  # noqa: E402
from rllib_sami.evaluation.layout import text  # noqa: E402
from rllib_sami.evaluation.paper import paper_cells, paper_results, paper_skill_rates  # noqa: E402
from rllib_sami.evaluation.progress import read_progress  # noqa: E402
from rllib_sami.evaluation.task_words import factor_label  # noqa: E402

PAPER = paper_results().episodes
CELLS = ("task_table_friction", "task_cube_mass")
SPLIT_TABLE = tables.per_split(PAPER, resamples=50)
STEPS = np.array([0, 1, 2, 4, 8, 16])


def progress(agents=("SaCCM", "TESAC"), runs: int = 2) -> pd.DataFrame:
    steps = np.arange(0, 50_000, 1000)
    return pd.concat(
        [
            pd.DataFrame({"agent": agent, "run": f"{agent} {run}", "env_steps": steps + 100 * run, "seconds": steps / 9,
                          "return_mean": steps * (1 + run), "return_mean_extreme": steps * 0.5,
                          "sance_bound": steps / 5e4, "log_k": np.log(64)})
            for agent in agents for run in range(runs)
        ]
    )  # fmt: skip


def sweep() -> pd.DataFrame:
    rows = [
        {"information": information, "num_keys": keys, "log_k": np.log(keys), "standard_error": 0.01,
         "bound": min(information, np.log(keys))}
        for information in (1.0, 4.0) for keys in (2, 16, 128)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def sparse() -> pd.DataFrame:
    """Twenty pairs of 20 x 20 values."""
    values = np.linspace(0.2, 4, 20)
    return pd.DataFrame({"agent": "SaCCM", "environment": "SaMI/PandaPush-v0", CELLS[0]: values,
                         CELLS[1]: values[::-1], "mean": values, "trained": values < 1})  # fmt: skip


def settling() -> pd.DataFrame:
    one = pd.DataFrame({"step": STEPS, "distance": 1.0 / (1 + STEPS), "standard_error": 0.02, "accuracy": 0.5})
    return pd.concat([one.assign(agent=agent) for agent in ("SaCCM", "CCM")])


SPLIT = pd.Series(["train", "extreme", "moderate", None] * 10, name="split")
POINTS = np.random.default_rng(0).normal(size=(40, 2))
DRAWINGS = {
    "bars": lambda look: figures.iqm_bars(SPLIT_TABLE, style=look),
    "bars of two environments": lambda look: figures.iqm_bars(
        tables.per_split(PAPER[PAPER["environment"].str.contains("Ant")], reference=None, resamples=9), style=look
    ),
    "profiles": lambda look: figures.performance_profiles(tables.profiles(PAPER, resamples=20), style=look),
    "maps": lambda look: heat_maps.heat_maps(paper_cells(), *CELLS, "success", style=look),
    "differences": lambda look: heat_maps.heat_map_differences(paper_cells(), *CELLS, "TESAC", "success", style=look),
    "difference of two": lambda look: heat_maps.heat_map_differences(
        paper_cells().query("agent in ('SaCCM', 'TESAC') and task_cube_mass < 5").assign(environment="own"),
        *CELLS,
        "TESAC",
        style=look,
    ),
    "sparse map": lambda look: heat_maps.heat_maps(sparse(), *CELLS, style=look),
    "skills": lambda look: heat_maps.panda_skills(paper_skill_rates(), *CELLS, style=look),
    "curves over steps": lambda look: figures.learning_curves(progress(), style=look),
    "curves over time": lambda look: figures.learning_curves(progress(), "seconds", "return_mean_extreme", style=look),
    "bound in training": lambda look: figures.bound_in_training(progress(), style=look),
    "bound versus keys": lambda look: figures.bound_versus_keys(sweep(), style=look),
    "contexts by task": lambda look: figures.context_scatter(
        POINTS, [pd.Series([f"train {i % 14}" for i in range(40)], name="task")], "PCA", style=look
    ),
    "contexts by everything": lambda look: figures.context_scatter(
        POINTS,
        [SPLIT, pd.Series(POINTS[:, 0], name="cube mass (kg)"), pd.Series(POINTS[:, 1], name="return")],
        "PCA",
        "SaCCM",
        style=look,
    ),
    "settling": lambda look: figures.context_settling(settling(), style=look),
}


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("name", DRAWINGS)
def test_drawn_in_its_style_labelled_and_within_the_picture(name, look):
    before = dict(matplotlib.rcParams)
    figure = DRAWINGS[name](look)
    assert isinstance(figure, Figure)
    assert matplotlib.colors.to_hex(figure.get_facecolor()) == style.STYLES[look].page
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # Constrained layout has had its say: what still sticks out would be cut off.
    drawn, page = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
    assert drawn.x0 > -0.05
    assert drawn.y0 > -0.05
    assert drawn.x1 < page[0] + 0.05
    assert drawn.y1 < page[1] + 0.05
    if figure.get_supxlabel():
        label = figure._supxlabel.get_window_extent(canvas.get_renderer())
        assert not any(label.overlaps(legend.get_window_extent(canvas.get_renderer())) for legend in figure.legends)
    scales = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    for axis in scales or figure.axes:
        assert axis.get_ylabel() or figure.get_supylabel()
    if not scales:
        assert all(axis.get_xlabel() or axis.get_xticklabels()[0].get_text() for axis in figure.axes)


def test_bars_are_the_tables_numbers_with_their_unit():
    (axis,) = figures.iqm_bars(SPLIT_TABLE).axes
    assert axis.get_ylabel() == "IQM of return\n÷ TESAC's mean per task"
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["train", "moderate", "extreme"]
    saccm = next(bars for bars in axis.containers if bars.get_label() == "SaCCM (5 runs)")
    iqm = SPLIT_TABLE[(SPLIT_TABLE["statistic"] == "IQM") & (SPLIT_TABLE["agent"] == "SaCCM")]["estimate"]
    np.testing.assert_allclose([bar.get_height() for bar in saccm], iqm)
    assert [round(float(bar.get_height()), 2) for bar in saccm] == [1.08, 1.19, 1.59]


def test_each_bar_has_its_number():
    (axis,) = figures.iqm_bars(SPLIT_TABLE).axes
    written = sorted(note.get_text() for note in axis.texts)
    iqm = SPLIT_TABLE[SPLIT_TABLE["statistic"] == "IQM"]["estimate"]
    assert written == sorted(text(float(number)) for number in iqm)
    down = SPLIT_TABLE.assign(**{name: -SPLIT_TABLE[of] for name, of in
                                 (("estimate", "estimate"), ("low", "high"), ("high", "low"))})  # fmt: skip
    (axis,) = figures.iqm_bars(down).axes
    assert all(note.xyann[1] < 0 for note in axis.texts)  # below bars that hang down
    assert min(note.xy[1] for note in axis.texts) > axis.get_ylim()[0]


def _raw() -> pd.DataFrame:
    """Returns on two environments, of which one has a split more, with an oracle among the agents."""
    rows = [
        {"agent": agent, "environment": environment, "split": split, "statistic": "IQM", "estimate": place + 1.0,
         "low": np.nan, "high": np.nan, "runs": 1, "tasks": 2, "normalised_by": "nothing", "value": "return"}
        for place, agent in enumerate(("SaCCM", "CCM", "oracle"))
        for environment, split in (("A", "train"), ("A", "extreme"), ("B", "train"))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_oracle_and_baselines_are_lines_across_their_splits():
    levels = pd.DataFrame({"environment": ["A", "A", "B"], "split": ["train", "extreme", "extreme"],
                           "baseline": NAMES["random"], "mean": [0.1, 0.2, 0.3]})  # fmt: skip
    first, second = figures.iqm_bars(_raw(), levels=levels).axes
    assert [bars.get_label() for bars in first.containers if bars.get_label()[0] != "_"] == [
        "SaCCM (1 run)",
        "CCM (1 run)",
    ]
    lines = {line.get_label(): line.get_segments() for line in first.collections if line.get_label()[0] != "_"}
    assert [segment[0][1] for segment in lines["oracle"]] == [3, 3]
    assert sorted(segment[0][1] for segment in lines[NAMES["random"]]) == [0.1, 0.2]
    assert [tick.get_text() for tick in second.get_xticklabels()] == ["train"]  # it has no other
    assert NAMES["random"] not in [line.get_label() for line in second.collections]
    (alone,) = figures.iqm_bars(_raw().query("agent == 'oracle' and environment == 'A'")).axes
    assert [bar.get_height() for bars in alone.containers[:1] for bar in bars] == [3, 3]


def test_curves_have_the_levels_of_their_split():
    levels = pd.DataFrame({"environment": "A", "split": "extreme", "baseline": [*NAMES.values()], "mean": [1, 2, 3]})
    (axis,) = figures.learning_curves(progress(), y="return_mean_extreme", levels=levels).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert [drawn[name] for name in NAMES.values()] == [[1, 1], [2, 2], [3, 3]]


def test_outline_is_the_border_of_the_region_of_training():
    inside = np.array([[True, True], [True, False]])  # an L of three cells: eight unit sides
    segments = [tuple(map(tuple, segment)) for segment in heat_maps._outline(inside)]
    assert len(segments) == 8
    assert ((0.5, -0.5), (0.5, 0.5)) not in segments  # between two cells inside
    assert ((0.5, 0.5), (0.5, 1.5)) in segments
    assert heat_maps._outline(np.zeros((2, 3), bool)).shape == (0, 2, 2)
    heat_maps.heat_maps(paper_cells().query("not trained"), *CELLS).canvas.draw()


def test_heat_maps_share_one_scale_and_differences_are_centred():
    maps = [axis for axis in heat_maps.heat_maps(paper_cells(), *CELLS).axes if axis.images]
    assert [axis.get_title() for axis in maps] == ["SaCCM", "SaTESAC", "CCM", "TESAC"]
    assert len({axis.images[0].get_clim() for axis in maps}) == 1
    gains = heat_maps.heat_map_differences(paper_cells(), *CELLS, "TESAC").axes[0]
    assert gains.get_title() == "SaCCM − TESAC"
    low, high = gains.images[0].get_clim()
    assert low == -high
    cells = paper_cells().set_index(["agent", *CELLS])["mean"]
    assert np.asarray(gains.images[0].get_array())[0, 0] == pytest.approx(
        cells["SaCCM", 0.1, 1.0] - cells["TESAC", 0.1, 1.0]
    )


def test_a_sparse_map_shows_dots_where_their_values_lie():
    axis = heat_maps.heat_maps(sparse(), *CELLS).axes[0]
    assert not axis.images
    *borders, dots = axis.collections
    np.testing.assert_allclose(dots.get_offsets(), sparse()[list(CELLS)])
    assert [len(border.get_offsets()) for border in borders] == [int(sparse()["trained"].sum())] * 2


def test_factors_are_named_with_their_units():
    assert factor_label("task_cube_mass", "SaMI/PandaPush-v0") == "cube mass (kg)"
    assert factor_label("task_mass_scale", "SaMI/Ant-v0") == "mass scale (× the model's own value)"
    assert factor_label("task_direction_x", "SaMI/PointGoal-v0") == "direction x"
    assert factor_label("task_direction", "SaMI/HalfCheetahDir-v0") == "direction (1 forward, -1 backward)"
    assert factor_label("task_wind", "my/Own-v0") == "wind"
    for environment, cls in ENVIRONMENTS.items():
        for factor in cls.factors:
            for key in factor.keys:
                label = factor_label(f"task_{key}", environment)
                assert label.count("(") == label.count(")"), label  # none is cut


def test_a_curve_is_the_mean_of_runs_as_far_as_all_of_them_go():
    table = progress(("SaCCM",))
    table = table[(table["run"] != "SaCCM 1") | (table["env_steps"] < 20_000)]
    line = next(line for line in figures.learning_curves(table).axes[0].lines if line.get_label() == "SaCCM (2 runs)")
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert (x[0], x[-1]) == (100, 19_100)
    assert y[-1] == pytest.approx((19_100 + 2 * 19_000) / 2)


def test_runs_of_one_point_each_are_seen_and_named():
    one = progress(("SaCCM",)).groupby("run").head(1)  # at different steps: no mean that both have
    alone = one[one["run"] == "SaCCM 0"]
    for table, names in ((alone, "SaCCM (1 run)"), (one, "SaCCM (2 runs)")):
        axis = figures.learning_curves(table).axes[0]
        assert [text.get_text() for text in axis.get_legend().get_texts()] == [names]
        assert sum(len(line.get_xdata()) == 1 and line.get_marker() == "o" for line in axis.lines) == len(table)


@pytest.mark.parametrize(("seconds", "unit"), [(2.0, "seconds"), (600.0, "minutes"), (90_000.0, "hours")])
def test_time_is_in_a_legible_unit(seconds, unit):
    table = progress(("SaCCM",), runs=1)
    table["seconds"] *= seconds / table["seconds"].max()
    axis = figures.learning_curves(table, "seconds").axes[0]
    assert axis.get_xlabel() == f"time of training ({unit})"
    assert 1 < axis.lines[0].get_xdata().max() < 100


def test_settling_of_one_agent_does_not_flatten_the_other():
    table = settling()
    assert figures.context_settling(table).axes[0].get_yscale() == "linear"
    far = table.assign(distance=np.where(table["agent"] == "CCM", 100.0, 1.0) * table["distance"])
    assert figures.context_settling(far).axes[0].get_yscale() == "log"


def test_messages():
    with pytest.raises(ValueError, match="style='pink': expected one of light, dark"):
        figures.iqm_bars(SPLIT_TABLE, style="pink")
    with pytest.raises(ValueError, match="baseline='PEARL': expected one of several agents, but there are: SaCCM"):
        heat_maps.heat_map_differences(paper_cells(), *CELLS, "PEARL")
    two = pd.concat([paper_cells(), paper_cells().assign(environment="SaMI/PandaPickAndPlace-v0")])
    with pytest.raises(ValueError, match="environment: SaMI/PandaPush-v0, SaMI/PandaPickAndPlace-v0 in one figure"):
        heat_maps.heat_maps(two, *CELLS)


def test_progress_of_a_trial(tmp_path: Path):
    columns = {
        "num_env_steps_sampled_lifetime": [200, 100, 200],
        "time_total_s": [2.0, 1.0, 3.0],
        "env_runners/episode_return_mean": [np.nan, 1.0, 5.0],
        "evaluation/extreme/return_mean": [0.0, 1.0, 2.0],
        "evaluation/extreme/success_rate": [0.0, 0.1, 0.2],
        "evaluation/extreme/return_by_task/0": [0.0, 1.0, 2.0],
        "evaluation/env_runners/success_rate": [0.0, 0.3, 0.4],  # of all splits together
    }
    pd.DataFrame(columns).to_csv(tmp_path / "progress.csv", index=False)
    table = read_progress(tmp_path, "SaCCM", "a")
    assert list(table["env_steps"]) == [100, 200]
    assert list(table["return_mean"]) == [1, 5]
    assert list(table["return_mean_extreme"]) == [1, 2]
    assert list(table["success_rate_extreme"]) == [0.1, 0.2]
    assert table["sance_bound"].isna().all()
    assert not any("by_task" in name or "env_runners" in name for name in table)
    assert read_progress(tmp_path / "progress.csv", "SaCCM", "a").equals(table)
    with pytest.raises(ValueError, match=r"nothing/progress\.csv|no such file"):
        read_progress(tmp_path / "nothing", "SaCCM", "a")
    (tmp_path / "progress.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column num_env_steps_sampled_lifetime, time_total_s"):
        read_progress(tmp_path, "SaCCM", "a")
    (tmp_path / "progress.csv").write_text("")
    with pytest.raises(ValueError, match="cannot be read"):
        read_progress(tmp_path, "SaCCM", "a")
