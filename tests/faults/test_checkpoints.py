"""Whole algorithms: what cannot be saved, and what cannot be restored."""

import pickle
import re

import pytest
from adapters.tiny import differences, snapshot, tiny
from ray.rllib.algorithms.algorithm import Algorithm

from rllib_sami.checkpoints.files import MANIFEST, manifest_of

from .test_checkpoint_files import file_size_limit

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def trained():
    algorithm = tiny(env="test/Point").build_algo()
    algorithm.results = [algorithm.train() for _ in range(3)]
    yield algorithm
    algorithm.stop()


def is_restored(algorithm, path):
    restored = Algorithm.from_checkpoint(path)
    found = differences(snapshot(algorithm)["state"], snapshot(restored)["state"])
    restored.stop()
    return found == []


def test_a_full_disk_stops_the_saving_not_the_training_and_spares_the_last_checkpoint(trained, tmp_path):
    path = trained.save_to_path(tmp_path / "last")
    before = snapshot(trained)["state"]
    trained.train()
    with (
        file_size_limit(4096),
        pytest.raises(OSError, match=r"checkpoint .*last could not be written: .*File too large.*MiB are free there"),
    ):
        trained.save_to_path(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"]
    trained.train()
    trained.restore_from_path(path)
    changed = ([], ["/env_runner/num_env_steps_sampled_lifetime"])  # RLlib sets it with the next iteration
    assert differences(before, snapshot(trained)["state"]) in changed
    assert is_restored(trained, trained.save_to_path(path))


def test_a_manifest_tells_how_far_training_was(trained, tmp_path):
    trained.save_to_path(tmp_path)
    facts = manifest_of(tmp_path)
    assert (facts["algorithm"], facts["training_iteration"]) == ("SaCCM", 3)
    assert facts["num_env_steps_sampled_lifetime"] == 315
    assert facts["episode_return_mean"] == trained.results[-1]["env_runners"]["episode_return_mean"]
    assert facts["time_total_s"] > 0


def test_a_truncated_one_is_refused_before_anything_is_loaded(trained, tmp_path):
    for name in ("a", "b"):
        trained.save_to_path(tmp_path / name)
    trained.train()
    before = snapshot(trained)["state"]
    rows = tmp_path / "b" / "replay_buffer" / "store.rows.npy"
    rows.write_bytes(rows.read_bytes()[:1000])
    with pytest.raises(
        ValueError, match=rf"b is damaged: replay_buffer/store.rows.npy has 1000 .*next to it: {tmp_path}/a"
    ):
        trained.restore_from_path(tmp_path / "b")
    assert differences(before, snapshot(trained)["state"]) == []


def as_version_0_1_0(path, buffer):
    """Makes of a checkpoint what was written before buffers had files of their own."""
    (path / MANIFEST).unlink()
    for file in (path / "replay_buffer").iterdir():
        file.unlink()
    (path / "replay_buffer").rmdir()
    state = pickle.loads((path / "algorithm_state.pkl").read_bytes()) | {"replay_buffer": buffer}
    (path / "algorithm_state.pkl").write_bytes(pickle.dumps(state))


def test_one_of_an_older_version_is_restored(trained, tmp_path):
    trained.save_to_path(tmp_path)
    as_version_0_1_0(tmp_path, trained.replay_buffer.get_state())
    assert is_restored(trained, tmp_path)


def test_an_older_one_that_is_truncated_is_named(trained, tmp_path):
    trained.save_to_path(tmp_path)
    as_version_0_1_0(tmp_path, trained.replay_buffer.get_state())
    file = tmp_path / "algorithm_state.pkl"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))} cannot be read.* cut short, or another version"):
        trained.restore_from_path(tmp_path)


def test_a_state_that_is_given_is_saved_with_its_buffer(trained, tmp_path):
    state = trained.get_state()
    restored = Algorithm.from_checkpoint(trained.save_to_path(tmp_path, state=state))
    assert len(restored.replay_buffer) == trained.replay_buffer.store.finished["length"].sum() > 0
    restored.stop()
    del state["replay_buffer"]
    restored = Algorithm.from_checkpoint(trained.save_to_path(tmp_path, state=state))
    assert len(restored.replay_buffer) == 0
    restored.stop()
