"""From checkpoints on disk to saved results: the same bit by bit however it is done."""

import hashlib
import os

import numpy as np
import pandas as pd
import pytest
from adapters.tiny import tiny

from rllib_sami import SaCCMConfig
from rllib_sami.envs import ENVIRONMENTS
from rllib_sami.evaluation import Results, evaluate
from rllib_sami.evaluation.play import _env_settings, _load_agent, labels
from rllib_sami.exports.checkpoints import find, load
from rllib_sami.exports.writing import export_agent


class Keeps(ENVIRONMENTS["SaMI/Pendulum-v0"]):
    """Does not let the split in its ``env_config`` through."""

    def __init__(self, env_config):
        super().__init__(split="moderate", max_steps=5)


OUTER = ("train", "moderate", "extreme")


def digest(folder, file):
    return hashlib.sha256((folder / file).read_bytes()).hexdigest()


def test_every_task_of_every_split(checkpoints):
    results = evaluate(checkpoints / "experiment", episodes=2)
    episodes = results.episodes
    assert set(episodes["split"]) == {*OUTER}
    assert sorted(set(episodes["run"])) == ["first", "second"]
    assert {(row.algorithm, row.seed) for row in episodes.itertuples()} == {("SaCCM", 0), ("TESAC", 1)}
    assert len(episodes) == 2 * 2 * episodes.groupby("split")["task_id"].nunique().sum()
    assert (episodes["length"] == 20).all()
    # All agents play the same episodes.
    seeds = episodes.pivot_table(index=["split", "task_id", "episode"], columns="run", values="episode_seed")
    assert (seeds["first"] == seeds["second"]).all()
    for task in ("task_mass", "task_length"):
        values = episodes.pivot_table(index=["split", "task_id", "episode"], columns="run", values=task)
        assert (values["first"] == values["second"]).all()
    assert set(episodes.loc[episodes["split"] == "extreme", "task_mass"]) <= {0.2, 0.4, 1.6, 1.8}
    assert results.provenance["max_steps"] == {"SaMI/Pendulum-v0": 20}
    assert results.provenance["env_settings"] == {}
    assert results.provenance["episodes_per_task"] == 2
    assert [one["algorithm"] for one in results.provenance["checkpoints"]] == ["SaCCM", "TESAC"]


def test_twice_and_in_processes_it_is_the_same(checkpoints, tmp_path):
    arguments = {"checkpoints": [checkpoints / "experiment" / name for name in ("first", "second")], "episodes": 5}
    for name, more in {"once": {}, "twice": {}, "processes": {"workers": 2}}.items():
        evaluate(**arguments, **more, explore=True).save(tmp_path / name)
    for file in ("results.parquet", "embeddings.npz"):
        assert digest(tmp_path / "once", file) == digest(tmp_path / "twice", file)
        assert digest(tmp_path / "once", file) == digest(tmp_path / "processes", file)
    other = evaluate(**arguments, explore=True, seed=1).episodes["return"]
    assert not np.array_equal(other, Results.load(tmp_path / "once").episodes["return"])


def test_an_exported_agent_plays_as_its_checkpoint(checkpoints, tmp_path):
    first = load(checkpoints / "experiment/first")
    exported = export_agent(first.module(), first.config, tmp_path / "agent", algorithm="SaCCM")
    results = [evaluate(path, "moderate", 2).episodes for path in (first.path, exported)]
    pd.testing.assert_frame_equal(*(one.drop(columns=["run", "env_steps"]) for one in results))


def test_an_agent_of_rllib_plays_the_same_tasks(checkpoints):
    ours, theirs = (evaluate(checkpoints / name, "moderate", 1) for name in ("experiment/first", "plain"))
    assert theirs.contexts is None
    assert theirs.episodes["algorithm"].unique().tolist() == ["PPO"]
    pd.testing.assert_series_equal(ours.episodes["episode_seed"], theirs.episodes["episode_seed"])
    with pytest.raises(ValueError, match="has no context to change"):
        evaluate(checkpoints / "plain", "moderate", 1, context="zero")


def test_an_agent_with_tasks_of_its_own(checkpoints):
    """It plays them unless splits are asked for."""
    first = checkpoints / "experiment" / "first"
    elsewhere = {"env": "SaMI/Pendulum-v0", "env_config": {"tasks": [{"mass": 0.5}, {"mass": 2.0}], "max_steps": 5}}
    here = evaluate(first, episodes=1, **elsewhere)
    assert set(here.episodes["split"]) == {"own"}
    assert sorted(here.episodes["task_mass"]) == [0.5, 2.0]
    there = evaluate(first, "moderate", episodes=1, **elsewhere)
    assert set(there.episodes["split"]) == {"moderate"}
    assert (there.episodes["length"] == 5).all()


def test_settings_of_evaluations_during_training_are_used(tmp_path, ray_cluster):
    config = tiny(SaCCMConfig, seed=0).evaluation(
        evaluation_interval=1, evaluation_config={"env_config": {"max_steps": 7, "split": "extreme"}}
    )
    algorithm = config.build_algo()
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    algorithm.stop()
    played = evaluate(path, "moderate", 1).episodes
    assert set(played["split"]) == {"moderate"}
    assert (played["length"] == 7).all()
    assert (evaluate(path, "moderate", 1, env_config={"max_steps": 4}).episodes["length"] == 4).all()


def test_agents_have_the_name_that_they_are_given(checkpoints):
    played = {"episodes": 1, "splits": "extreme", "env_config": {"max_steps": 3}}
    named = evaluate(checkpoints / "experiment", **played, name="short")
    assert (
        set(named.episodes["algorithm"]) == {one["algorithm"] for one in named.provenance["checkpoints"]} == {"short"}
    )
    one = evaluate(checkpoints / "plain", **played | {"env_config": {"observe_task": False}}, name="other")
    assert set(one.episodes["algorithm"]) == {"other"}


def test_an_environment_that_keeps_its_split_plays_that_one(checkpoints):
    assert set(evaluate(checkpoints / "experiment/first", episodes=1, env=Keeps).episodes["split"]) == {"moderate"}


def test_an_agent_that_is_told_the_task_is_another_one(checkpoints):
    """Else a report would take both for runs of one agent; settings of the environment are known afterwards."""
    path = load(checkpoints / "experiment" / "first").path
    for observes, name in ((True, "SaCCM (oracle)"), (False, "SaCCM")):
        env_config = {"observe_task": observes, "max_steps": 5, "gravity": 3}
        agent = _load_agent(path, "SaMI/Pendulum-v0", env_config, False, "learned", None)
        assert agent.algorithm == name
        assert _env_settings([agent.grid]) == {"SaMI/Pendulum-v0": {"gravity": 3}}


@pytest.mark.parametrize(
    ("given", "arguments", "words"),
    [
        ("nowhere", {}, "no such folder"),
        ("experiment/first", {"splits": "extrem"}, "Did you mean 'extreme'?"),
        ("experiment/first", {"env": "SaMI/CartPole-v0"}, "trained on 3 observations and 1 actions"),
        ("experiment/first", {"env_config": {"maxsteps": 3}}, "maxsteps"),
        ("experiment/first", {"splits": []}, "splits: none given"),
        ("experiment/first", {"name": "SaCCM, larger"}, "name='SaCCM, larger': expected a name"),
        ("experiment/first", {"name": " "}, "expected a name"),
        ("experiment/first", {"splits": "train", "env": Keeps}, "Keeps, which would play 'moderate'"),
    ],
)
def test_what_cannot_be_evaluated(checkpoints, given, arguments, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (words)
        evaluate(checkpoints / given, **arguments)
    assert words in str(error.value)


def test_labels_are_as_short_as_they_can_be(tmp_path):
    trials = [tmp_path / name / "SaCCM_x_0_2026" for name in ("first", "second")]
    checkpoints = [trial / "checkpoint_000010" for trial in trials]
    assert labels(checkpoints[:1]) == ["SaCCM_x_0_2026"]
    assert labels(checkpoints) == ["first/SaCCM_x_0_2026", "second/SaCCM_x_0_2026"]
    assert labels([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert labels([trials[0] / "checkpoint_000010", trials[0] / "checkpoint_000020"]) == [
        "checkpoint_000010",
        "checkpoint_000020",
    ]
    for trial in trials:
        trial.mkdir(parents=True)
        (trial / "params.json").write_text("{}")
    assert labels(checkpoints) == ["first", "second"]


def test_the_newest_checkpoint_of_a_trial_is_told_by_its_number(tmp_path):
    """Copying a folder may give its files any time."""
    names = ("one/checkpoint_000009", "one/checkpoint_000010", "two/checkpoint_000002")
    for age, name in enumerate(names):
        (tmp_path / name).mkdir(parents=True)
        mark = tmp_path / name / "rllib_checkpoint.json"
        mark.touch()
        os.utime(mark, (1e9 - age, 1e9 - age))
    assert find(tmp_path / "one").name == "checkpoint_000010"
    assert find(tmp_path) == tmp_path / names[1]  # newer than the other trial's


def test_an_empty_list():
    with pytest.raises(ValueError, match="none given"):
        evaluate([])
