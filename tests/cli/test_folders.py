"""Runs on disk: found, kept apart, never overwritten."""

import pytest

from rllib_sami_cli.errors import UserError
from rllib_sami_cli.folders import Run, differences, find_runs, new_run, plain, storage_folder


def test_a_new_run_never_takes_a_folder_that_is_taken(tmp_path):
    first = new_run(tmp_path, "ant")
    assert first.path == tmp_path / "ant"
    first.write(started="2026-01-01")
    second = new_run(tmp_path, "ant")
    second.write(started="2026-01-02")
    third = new_run(tmp_path, "ant")
    third.write(started="2026-01-03")
    assert len({first.path, second.path, third.path}) == 3
    Run(tmp_path / "ant-smoke").write(started="2026-01-04")
    Run(tmp_path / "giant").write(started="2026-01-04")
    (tmp_path / "ant_2026-01-01_00-00-00").mkdir()  # of somebody else: no record in it
    assert [run.path for run in find_runs(tmp_path, "ant")] == [third.path, second.path, first.path]


def test_the_record_is_read_back(tmp_path):
    Run(tmp_path / "a").write(config={"gamma": 0.9, "sizes": (1, 2), "callbacks": Run}, finished=False)
    [run] = find_runs(tmp_path, "a")
    assert run.record["config"] == {"gamma": 0.9, "sizes": [1, 2], "callbacks": "rllib_sami_cli.folders.Run"}
    assert not run.finished


def test_a_lock_is_of_one_and_ends_with_it(tmp_path):
    first, second = Run(tmp_path / "a"), Run(tmp_path / "a")
    assert first.lock()
    assert not second.lock()
    first.unlock()
    assert second.lock()


def test_differences_name_what_changed():
    old = plain({"gamma": 0.9, "env_config": {"split": "train"}, "lr": 1})
    new = {"gamma": 0.9, "env_config": {"split": "extreme"}, "tau": 0.1}
    assert differences(old, new) == [
        "env_config/split: train -> extreme",
        "lr: 1 -> (not set)",
        "tau: (not set) -> 0.1",
    ]


def test_storage(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert storage_folder(None) == tmp_path / "ray_results"
    assert storage_folder("here") == tmp_path / "here"
    with pytest.raises(UserError, match="only folders of this machine"):
        storage_folder("gs://bucket/x")
