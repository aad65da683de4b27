"""Results: one order of rows, files that come back equal, and refusal of what cannot be compared."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from rllib_sami import evaluation
from rllib_sami.evaluation.results import Contexts, Results
from rllib_sami.evaluation.tracks import AXES, Tracks

STEPS = np.array([0, 1, 2, 4, 8])
NUM_EPISODES = 2 * 2 * 3  # splits, tasks, episodes


def make(algorithm: str = "SaCCM", run: str = "a", width: int = 3, steps: np.ndarray = STEPS, **columns) -> Results:
    rows = [
        {
            "algorithm": algorithm, "run": run, "seed": 7, "env_steps": 1000, "context": "learned", "explore": False,
            "environment": "SaMI/Ant-v0", "split": split, "task_id": task, "episode": episode,
            "episode_seed": 100 * task + episode, "return": float(10 * task + episode), "length": 200,
            "task_mass_scale": 1.0 + task,
        }
        for split in ("extreme", "train") for task in range(2) for episode in range(3)
    ]  # fmt: skip
    episodes = pd.DataFrame(rows).assign(**columns)
    values = np.arange(len(rows) * len(steps) * width, dtype=np.float32).reshape(len(rows), len(steps), width)
    return Results(episodes, Contexts(steps, values), {"max_steps": {"SaMI/Ant-v0": 200}, "commit": run})


def test_contexts_follow_their_episodes_into_order():
    results = make()
    assert list(results.episodes["split"].unique()) == ["train", "extreme"]
    assert results.contexts.values[0, 0, 0] == 6 * len(STEPS) * 3  # "extreme" came first when made


def test_equal_results_are_equal_files_whatever_the_order_of_rows(tmp_path):
    results = make()
    shuffled = np.random.default_rng(0).permutation(NUM_EPISODES)
    contexts = Contexts(STEPS, results.contexts.values[shuffled])
    Results(results.episodes.iloc[shuffled], contexts, results.provenance).save(tmp_path / "a")
    results.save(tmp_path / "b")
    for name in ("results.parquet", "embeddings.npz", "provenance.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_comes_back_as_saved(tmp_path):
    results = make(success=[True, None] * 6, skill=["push", None] * 6)
    back = Results.load(results.save(tmp_path / "new" / "folder"))
    pd.testing.assert_frame_equal(back.episodes, results.episodes)
    assert back.episodes.dtypes["success"] == "boolean"
    assert back.episodes["success"].isna().sum() == back.episodes["reference_skill"].notna().sum() + 6
    np.testing.assert_array_equal(back.contexts.values, results.contexts.values)
    assert back.provenance == results.provenance


def test_results_without_contexts_leave_none_behind(tmp_path):
    make().save(tmp_path)
    Results(make().episodes).save(tmp_path)
    assert Results.load(tmp_path).contexts is None


def test_several_folders_with_contexts_of_other_widths_and_steps(tmp_path):
    make().save(tmp_path / "a")
    make("CCM", "b", width=2, steps=np.array([0, 1, 3])).save(tmp_path / "b")
    Results(make("TESAC", "c").episodes, None, {"commit": "c"}).save(tmp_path / "c")
    both = Results.load([tmp_path / name for name in "abc"])
    assert list(both.episodes["algorithm"].unique()) == ["CCM", "SaCCM", "TESAC"]
    assert list(both.contexts.steps) == [0, 1, 2, 3, 4, 8]
    ccm, saccm, tesac = np.split(both.contexts.values, 3)
    np.testing.assert_array_equal(saccm[:, [0, 1, 2, 4, 5]], make().contexts.values)
    assert np.isfinite(ccm[:, [0, 1, 3], :2]).all()
    assert np.isnan(ccm[:, [2, 4, 5]]).all()
    assert np.isnan(ccm[:, :, 2]).all()
    assert np.isnan(tesac).all()
    assert [part["commit"] for part in both.provenance["parts"]] == ["a", "b", "c"]
    again = Results.load(both.save(tmp_path / "both"))
    pd.testing.assert_frame_equal(again.episodes, both.episodes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episode_seed": 5}, "episode_seed is 5 instead of 0 in split train, task_id 0, episode 0"),
        ({"task_mass_scale": 1.0}, "task_mass_scale is 1.0 instead of 2.0 in split train, task_id 1, episode 0"),
        ({"split": ["extreme"] * 6 + ["moderate"] * 6}, "it lacks split train"),
        ({"task_id": [0, 0, 0, 2, 2, 2] * 2}, "it lacks split extreme, task_id 1"),
        ({"task_mass_scale": np.nan, "task_damping_scale": 1.0}, "tasks have task_damping_scale instead of task_mass"),
    ],
)
def test_other_task_grids_are_refused(tmp_path, change, message):
    make().save(tmp_path / "a")
    make("CCM", "b", **change).save(tmp_path / "b")
    with pytest.raises(ValueError, match=r"/b, b .*other tasks of SaMI/Ant-v0 than in .*/a") as error:
        Results.load([tmp_path / "a", tmp_path / "b"])
    assert message in str(error.value)


def test_other_caps_are_refused_and_other_environments_are_not(tmp_path):
    make().save(tmp_path / "a")
    other = make("CCM", "b")
    Results(other.episodes, None, {"max_steps": {"SaMI/Ant-v0": 1000}}).save(tmp_path / "b")
    with pytest.raises(ValueError, match="max_steps 1000 instead of 200"):
        Results.load([tmp_path / "a", tmp_path / "b"])
    make("CCM", "b", environment="SaMI/Hopper-v0", episode_seed=3).save(tmp_path / "b")
    assert len(Results.load([tmp_path / "a", tmp_path / "b"]).episodes) == 2 * NUM_EPISODES


def test_the_same_run_twice_is_refused(tmp_path):
    for name in "ab":
        make().save(tmp_path / name)
    with pytest.raises(ValueError, match=r"a \(learned context\) on SaMI/Ant-v0 is in .*/a too, with the same"):
        Results.load([tmp_path / "a", tmp_path / "b"])
    make(episode_seed=5).save(tmp_path / "b")
    with pytest.raises(ValueError, match=r"is in .*/a too, with other episodes \(their seeds or tasks differ\)"):
        Results.load([tmp_path / "a", tmp_path / "b"])
    make(context="zero").save(tmp_path / "b")
    assert set(Results.load([tmp_path / "a", tmp_path / "b"]).episodes["context"]) == {"learned", "zero"}


def test_agents_that_share_the_label_of_a_run_are_told_apart(tmp_path):
    for name, run in (("stride 5", "a"), ("stride 10", "a"), ("learned", "b")):
        played = make(name, run)
        played.provenance |= {
            "checkpoints": [{"run": run, "algorithm": name, "path": "/a"}],
            "videos": [{"run": run, "algorithm": name, "file": f"{name}.mp4"}],
        }
        played.save(tmp_path / name)
    results = Results.load([tmp_path / name for name in ("stride 5", "stride 10", "learned")])
    runs = {"learned": "b", "stride 5": "stride 5/a", "stride 10": "stride 10/a"}
    assert dict(zip(results.episodes["algorithm"], results.episodes["run"], strict=True)) == runs
    for key in ("checkpoints", "videos"):
        assert {row["algorithm"]: row["run"] for part in results.parts for row in part[key]} == runs
    make("learned", "b", environment="SaMI/Hopper-v0").save(tmp_path / "elsewhere")
    both = Results.load([tmp_path / "learned", tmp_path / "elsewhere"])
    assert set(both.episodes["run"]) == {"b"}  # one agent


def test_arrays_must_be_of_the_episodes(tmp_path):
    results = make()
    short = Contexts(STEPS, results.contexts.values[1:])
    with pytest.raises(ValueError, match=f"contexts: values of {NUM_EPISODES - 1} episodes, but there are"):
        Results(results.episodes, short)
    width = {"latents": (2, 3, 4)}
    arrays = {name: np.zeros(width.get(name, (2, 3)), np.float32) for name in AXES} | {"names": np.array(["goal+"])}
    with pytest.raises(ValueError, match="tracks: values of 2 episodes, but there are"):
        Results(results.episodes, tracks=Tracks(**arrays))
    for name, wrong in (("wanted", (2, 4)), ("latents", (2, 3)), ("values", (2,)), ("ends", (3, 3))):
        with pytest.raises(ValueError, match=r"tracks: \w+ \(.*do not match"):
            Tracks(**arrays | {name: np.zeros(wrong)})
    results.save(tmp_path)
    np.savez(tmp_path / "tracks.npz", **arrays)
    with pytest.raises(ValueError, match="do not fit each other: tracks: values of 2"):
        Results.load(tmp_path)


def test_what_is_interrupted_leaves_former_results_as_they_are(tmp_path, monkeypatch):
    make().save(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def killed(file, **arrays):
        open(file, "wb").close()
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", killed)
    with pytest.raises(KeyboardInterrupt):
        make(run="b").save(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_videos_are_found_from_anywhere(tmp_path):
    videos = [{"file": "videos/a.mp4", "poster": None}, {"file": "/else/b.mp4"}]
    Results(make().episodes, None, {"videos": videos}).save(tmp_path)
    first, second = Results.load(tmp_path).provenance["videos"]
    assert first == {"file": str(tmp_path / "videos" / "a.mp4"), "poster": None}
    assert second["file"] == "/else/b.mp4"


def test_prints_a_small_table():
    text = str(make(success=[True, False] * 6))
    assert text.splitlines()[0].split()[-1] == "success"
    assert "context" not in text
    assert "SaMI/Ant-v0" in text
    assert "zero" in str(make(context="zero"))
    assert "<table" in make()._repr_html_()


def test_clear_messages(tmp_path):
    with pytest.raises(ValueError, match=r"no results\.parquet in it"):
        Results.load(tmp_path)
    (tmp_path / "results.parquet").write_text("not parquet")
    with pytest.raises(ValueError, match=r"results\.parquet: cannot be read"):
        Results.load(tmp_path)
    make().save(tmp_path)
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(ValueError, match=r"provenance\.json: cannot be read"):
        Results.load(tmp_path)
    (tmp_path / "file").write_text(json.dumps(1))
    with pytest.raises(ValueError, match="file: results cannot be written there"):
        make().save(tmp_path / "file")
    with pytest.raises(ValueError, match="no column return"):
        Results(make().episodes.drop(columns="return"))
    with pytest.raises(ValueError, match="values of 2 episodes, but there are 12"):
        Results(make().episodes, Contexts(STEPS, np.zeros((2, 5, 3))))


def test_no_figure_library_is_needed_for_results_and_tables():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['matplotlib', 'sklearn', 'jinja2', 'imageio_ffmpeg']));"
        "from rllib_sami.evaluation import Results, tables;"
        "from rllib_sami.evaluation.paper import paper_results;"
        "print(len(tables.per_split(paper_results().episodes)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == str(4 * 3 * 4), found.stderr


def test_report_is_the_function_also_after_its_module_was_imported():
    pytest.importorskip("matplotlib")
    importlib.import_module("rllib_sami.evaluation.reporting")
    assert inspect.isfunction(evaluation.report)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        evaluation.nothing  # noqa: B018
