"""Videos: which episodes, that they are the very ones of the results, and what happens without a picture."""

import contextlib
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from rllib_sami.evaluation import Results, evaluate
from rllib_sami.evaluation import video as filming


@pytest.fixture
def filmed(checkpoints, tmp_path):
    def run(**arguments):
        folder = tmp_path / "out"
        results = evaluate(checkpoints / "experiment/first", "extreme", video=folder / "videos", **arguments)
        results.save(folder)
        return results, folder

    return run


def test_best_median_and_worst_of_each_task(filmed):
    results, folder = filmed(episodes=4)
    videos = Results.load(folder).provenance["videos"]
    assert [(video["task_id"], video["kind"]) for video in videos] == [
        (task, kind) for task in (0, 1) for kind in ("best", "median", "worst")
    ]
    for video in videos:
        episodes = results.episodes.query("task_id == @video['task_id']")
        row = episodes.set_index("episode").loc[video["episode"]]
        assert (row["return"], row["episode_seed"]) == (video["return"], video["episode_seed"])
        expected = {"best": np.max, "worst": np.min}.get(video["kind"])
        assert expected is None or expected(episodes["return"]) == video["return"]
        frames = imageio_ffmpeg.read_frames(video["file"])
        meta = next(frames)
        assert sum(1 for _ in frames) == 21
        assert Image.open(video["poster"]).size == tuple(meta["size"])
    # Named as seen from the folder, so that this can be moved.
    assert '"file": "videos/first/extreme_task00_best.mp4"' in (folder / "provenance.json").read_text()


def test_the_poster_is_the_last_picture(tmp_path):
    """It shows how the episode went; films of two pictures a second, one brighter than the other."""
    pictures = iter(np.full((32, 32, 3), 20 * number, np.uint8) for number in range(10))
    env = SimpleNamespace(metadata={"render_fps": 2}, render=lambda: next(pictures))
    with contextlib.closing(filming.Film(tmp_path / "film.mp4", env)) as film:
        for _ in range(10):
            film.take()
    assert np.asarray(Image.open(tmp_path / "film.jpg")).mean() == pytest.approx(180, abs=3)


def test_an_agent_that_plays_otherwise_when_filmed_is_not_shown(filmed, monkeypatch):
    play = filming.open_packed

    def other(packed):
        agent, player = play(packed)
        agent.act, act = lambda *given: act(*given) * 0.5, agent.act
        return agent, player

    monkeypatch.setattr(filming, "open_packed", other)
    results, folder = filmed(episodes=1)
    assert results.provenance["videos"] == []
    assert "played again its return is" in results.provenance["left_out"][0]
    assert [path for path in (folder / "videos").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("missing", ["pictures", "ffmpeg", "folder"])
def test_without_videos_the_rest_is_there(checkpoints, tmp_path, monkeypatch, missing):
    folder = tmp_path / "videos"
    if missing == "ffmpeg":
        monkeypatch.setitem(filming.__dict__, "_try_to_film", lambda grid: __import__("no_such_module"))
    elif missing == "folder":
        folder.write_text("in the way")
    else:

        def no_display(grid):
            raise RuntimeError("no display")

        monkeypatch.setattr(filming, "_try_to_film", no_display)
    results = evaluate(checkpoints / "experiment/first", "extreme", episodes=1, video=folder)
    assert len(results.episodes) == 2
    assert results.provenance["videos"] == []
    words = {"pictures": "SaMI/Pendulum-v0: no display", "ffmpeg": "rllib-sami[report]", "folder": "cannot be written"}
    assert words[missing] in results.provenance["left_out"][0]
