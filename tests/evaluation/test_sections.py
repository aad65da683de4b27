"""Sections: baselines beside scores, a gallery of twelve videos at once, tasks in words."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from rllib_sami.evaluation import Results, baselines
from rllib_sami.evaluation.layout import VIDEOS_SHOWN, text
from rllib_sami.evaluation.reporting import _render
from rllib_sami.evaluation.sections import gallery, maps, scores
from rllib_sami.evaluation.task_words import task_values

from .synthetic import cheetah
from .test_report import Page


def test_baselines_are_lines_and_rows_where_episodes_are_as_usual():
    results = cheetah(with_contexts=False)
    environment = "SaMI/CrippledHalfCheetah-v0"
    (raw,) = [results.episodes[results.episodes["algorithm"] == "SaCCM"]]  # in units of TESAC there are none
    assert "measured beforehand" not in scores.splits(Results(raw)).plots[0].caption  # length of episodes unknown
    results = Results(raw, None, {"max_steps": {environment: 1000}})
    section = scores.splits(results)
    assert "Lines: the means of zero action, random actions, measured" in section.plots[0].caption
    rows = {(row[0], row[1]): row[3] for row in section.tables[0].rows}
    known = pd.read_csv(baselines.FILE).set_index(["env_id", "split", "policy"])["return_mean"]
    assert rows["extreme", "random actions"] == text(known[environment, "extreme", "random"])
    labels = [line.get_label() for line in section.plots[0].draw().axes[0].collections]
    assert {"random actions", "zero action"} <= set(labels)
    for provenance in (
        {"max_steps": {environment: 200}},
        results.provenance | {"env_settings": {environment: {"a": 1}}},
    ):
        assert "measured" not in scores.splits(Results(raw, None, provenance)).plots[0].caption


def test_the_recorded_oracle_gives_way_to_one_among_the_agents():
    episodes = cheetah(with_contexts=False).episodes.assign(environment="SaMI/PointGoal-v0")
    provenance = [{"max_steps": {"SaMI/PointGoal-v0": 25}}]
    assert set(baselines.levels(episodes, provenance)["baseline"]) == set(baselines.NAMES.values())
    assert set(baselines.levels(episodes, provenance, "success")["baseline"]) == set(baselines.NAMES.values())
    assert baselines.levels(episodes, provenance, "length").empty
    told = episodes.assign(algorithm=episodes["algorithm"].replace("TESAC", "PlainSAC (oracle)"))
    assert set(baselines.levels(told, provenance)["baseline"]) == {"random actions", "zero action"}


def test_a_vector_is_one_value_in_words():
    episodes = pd.DataFrame({"environment": "SaMI/PointGoal-v0", "split": "train", "task_id": [0, 1],
                             "task_direction_x": [0.8660254, -0.0], "task_direction_y": [0.5, 1.0]})  # fmt: skip
    assert list(task_values(episodes).values()) == ["direction (0.866, 0.5)", "direction (0, 1)"]


def test_no_more_than_twelve_videos_are_shown_at_once(tmp_path):
    """The rest is folded; the first ones have something of every run and split."""
    (tmp_path / "some.mp4").write_bytes(b"some")
    results = cheetah(with_contexts=False)
    results.provenance["videos"] = [
        {"run": run, "algorithm": run[:5], "environment": "SaMI/CrippledHalfCheetah-v0", "split": split,
         "task_id": task, "episode": 0, "kind": "best", "return": 1.0, "success": None,
         "file": str(tmp_path / "some.mp4")}
        for run in ("SaCCM seed 0", "TESAC seed 0") for split in ("train", "extreme") for task in range(8)
    ]  # fmt: skip
    section = gallery.gallery(results, tmp_path)
    first = section.videos[:VIDEOS_SHOWN]
    assert len({(video.labels["algorithm"], video.labels["split"]) for video in first[:4]}) == 4
    page = Page(_render("report.html.j2", {"sections": [section], "inlined": {}, "title": "", "lead": "", "facts": [],
                                           "swatches": {}, "videos_shown": VIDEOS_SHOWN}))  # fmt: skip
    assert len(page.videos) == 32
    assert [("details" in around) for _, around in page.videos] == [False] * 12 + [True] * 20
    assert all(attrs["preload"] == "none" for attrs, _ in page.videos)
    assert not [name for name, *_ in section.filters if name == "environment"]  # all are of one


def _crippled(**changes):
    """Tasks of CrippledHalfCheetah: masses with joint 0 dead in training, with joints 4 and 5 elsewhere."""
    episodes = cheetah(with_contexts=False).episodes
    joint = episodes.pop("task_joint").to_numpy()
    dead = {f"task_cripple_{part}": (joint == part).astype(float) for part in range(6)}
    return Results(episodes.assign(**dead, **changes))


def test_sets_of_parts_are_one_factor_in_words():
    results = _crippled()
    words = task_values(results.episodes)
    environment = "SaMI/CrippledHalfCheetah-v0"
    assert words[environment, "train", 0] == "dead joint 3, mass_scale 1"
    assert words[environment, "moderate", 1] == "dead joint 1, mass_scale 1"
    (first, _) = maps.maps(results).plots
    assert "over mass scale (× the model's own value) and cripple (dead joints)" in first.caption or (
        "over cripple (dead joints) and mass scale" in first.caption
    )
    ticks = {tick.get_text() for axis in first.draw().axes for tick in axis.get_xticklabels()}
    assert {"0", "1", "3", "4", "5"} <= ticks


def test_maps_leave_out_what_differs_in_a_third_factor():
    """Damping differs with the mass on the extreme split only; a factor of unknown neutral value forbids the map."""
    results = _crippled()
    far = results.episodes["split"] == "extreme"
    grid = maps.maps(Results(results.episodes.assign(task_damping_scale=np.where(far, 2.0, 1.0)))).plots[0]
    assert "only the 108 of 144 episodes with damping scale (× the model's own value) at 1.0" in grid.caption
    unknown = maps.maps(Results(results.episodes.assign(task_wind=np.where(far, 2.0, 1.0))))
    assert not unknown.plots
    assert "No environment here" in unknown.missing
    assert unknown.empty


def test_shortened_episodes_do_not_stand_beside_the_papers():
    results = cheetah(with_contexts=False)
    results.provenance["max_steps"] = {"SaMI/CrippledHalfCheetah-v0": 1000}
    assert len(scores.tasks(results).tables) == 2
    results.provenance["max_steps"] = {"SaMI/CrippledHalfCheetah-v0": 40}
    section = scores.tasks(results)
    assert len(section.tables) == 1
    assert "end after 40 steps here and after 1,000" in section.notes[0]
