"""Looks: one colour and place per agent everywhere, told apart by everyone on both pages."""

from __future__ import annotations

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")

from rllib_sami.evaluation import figures, style, tables  # noqa: E402
from rllib_sami.evaluation.names import order  # noqa: E402
from rllib_sami.evaluation.paper import paper_results  # noqa: E402

PAPER = paper_results().episodes
SPLIT_TABLE = tables.per_split(PAPER, resamples=50)


def test_colours_belong_to_algorithms_whoever_else_is_drawn():
    alone = style.looks(["SaCCM"], "light")["SaCCM"]
    many = style.looks(["TESAC", "PPO", "SaCCM", "SaCCM, zero context", "SAC"], "light")
    assert list(many) == ["SaCCM", "SaCCM, zero context", "TESAC", "PPO", "SAC"]
    assert many["SaCCM"] == alone
    assert many["SaCCM, zero context"] == (alone[0], 1)
    assert len({colour for colour, _ in many.values()}) == 4
    assert alone != style.looks(["SaCCM"], "dark")["SaCCM"]


def test_one_order_of_agents():
    shuffled = ["oracle", "Zeta", "SAC", "TESAC", "PlainSAC (oracle)", "Alpha", "SaCCM, zero context", "SaCCM", "CCM"]
    expected = ["SaCCM", "SaCCM, zero context", "CCM", "TESAC", "SAC", "Alpha", "Zeta", "PlainSAC (oracle)", "oracle"]
    assert order(shuffled) == expected
    assert list(style.looks(shuffled, "light")) == expected
    (axis,) = figures.iqm_bars(SPLIT_TABLE.iloc[::-1]).axes
    drawn = [label.partition(" ")[0] for label in axis.get_legend_handles_labels()[1]]
    assert drawn == ["SaCCM", "SaTESAC", "CCM", "TESAC"]
    assert list(SPLIT_TABLE["agent"].unique()) == ["SaCCM", "SaTESAC", "CCM", "TESAC"]
    assert list(tables.per_task(PAPER)["agent"].unique()) == ["SaCCM", "SaTESAC", "CCM", "TESAC"]


def test_further_agents_keep_their_looks_in_figures_of_some_of_them():
    everyone = ["SaCCM", "SaCCM, zero context", "Alpha", "Beta", "Zeta", *(f"Own{number}" for number in range(9))]
    for look in style.with_agents(everyone).values():
        together = style.looks(everyone, look)
        assert len(set(together.values())) == len(everyone)  # none looks like another, also beyond the last colour
        for agent in everyone:
            assert style.looks([agent], look) == {agent: together[agent]}
    (bars,) = figures.iqm_bars(SPLIT_TABLE.query("agent == 'CCM'").assign(agent="Zeta"),
                               style=style.with_agents(["Alpha", "Zeta"])["light"]).axes[0].containers[:1]  # fmt: skip
    assert matplotlib.colors.to_hex(bars[0].get_facecolor()) == style.STYLES["light"].others[1]


# How colours look to the colour-blind: Machado et al., 2009, severity 1, on linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
TO_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


def _linear(colour: str) -> np.ndarray:
    part = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    part = TO_XYZ @ linear / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("look", ["light", "dark"])
def test_colours_are_told_apart_by_everyone_and_stand_out_from_the_page(look):
    page = style.STYLES[look]
    colours = [*page.algorithms.values(), *page.others]
    for matrix in SIGHT.values():
        seen = [_lab(np.clip(np.asarray(matrix) @ _linear(colour), 0, 1)) for colour in colours]
        for index, one in enumerate(seen):
            assert all(np.linalg.norm(one - other) > 10 for other in seen[:index]), colours[index]
    luminance = [float(TO_XYZ[1] @ _linear(colour)) + 0.05 for colour in colours]
    ground = float(TO_XYZ[1] @ _linear(page.page)) + 0.05
    assert all(max(one, ground) / min(one, ground) >= 3 for one in luminance)


def test_numbers_in_names_count_as_numbers():
    names = ["SaCCM", "SaCCM, zero context", "TESAC", "noise 0.05", "noise 0.2", "stride 5", "stride 10", "oracle"]
    assert order(reversed(names)) == names
