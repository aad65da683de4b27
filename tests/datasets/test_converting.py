"""Formats of other packages, on small files made here."""

import gzip
import pickle

import gymnasium
import numpy as np
import pandas as pd
import pytest

from rllib_sami.datasets.convert import FORMATS, bounds_of, convert

LENGTHS = (5, 8)


def arrays(length, width=4, actions=2, offset=0.0):
    steps = np.arange(length, dtype=np.float32)[:, None]
    return offset + steps + np.arange(width, dtype=np.float32), np.tanh(steps + np.arange(actions)).astype(np.float32)


def check(dataset, lengths, width=4, offsets=(0.0, 100.0)):
    """The trajectories have the numbers of :func:`arrays`."""
    assert dataset.lengths.tolist() == [*lengths]
    for one, length, offset in zip(dataset, lengths, offsets, strict=True):
        obs, actions = arrays(length + 1, offset=offset)
        np.testing.assert_array_equal(one.observations, obs[:, :width])
        np.testing.assert_array_equal(one.actions, actions[:length])


def test_spirl(tmp_path):
    h5py = pytest.importorskip("h5py")
    for number, length in enumerate(LENGTHS):
        obs, actions = arrays(length + 1, offset=100.0 * number)
        (tmp_path / "source" / "a").mkdir(parents=True, exist_ok=True)
        with h5py.File(tmp_path / "source" / "a" / f"{number}.h5", "w") as file:
            file["traj_per_file"] = 1
            group = file.create_group("traj0")
            group["states"] = np.concatenate([obs, np.zeros((3, 4))])  # padding
            group["actions"] = np.concatenate([actions, np.zeros((3, 2))])
            group["pad_mask"] = np.arange(length + 4) <= length
    check(convert(tmp_path / "source", tmp_path / "out", "spirl"), LENGTHS)


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_d4rl(tmp_path, caplog, kind):
    parts = [arrays(length + 1, offset=100.0 * number) for number, length in enumerate(LENGTHS)]
    obs, actions = (np.concatenate([part[index] for part in parts]) for index in range(2))
    timeouts = np.zeros(len(obs), bool)
    timeouts[LENGTHS[0]] = True
    content = {"observations": obs, "actions": actions, "terminals": np.zeros(len(obs), bool), "timeouts": timeouts}
    path = tmp_path / f"source.{kind}"
    if kind == "npz":
        np.savez(path, **content)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, values in content.items():
                file[name] = values
    dataset = convert(path, tmp_path / "out", "d4rl", observed=3, env="My-v0")
    check(dataset, LENGTHS, width=3)
    assert (dataset.observation_dim, dataset.about["env"]) == (3, "My-v0")
    [message] = caplog.messages
    assert "no `next_observations`: all episodes (2) lose their last step" in message


def test_d4rl_with_the_observations_that_follow(tmp_path, caplog):
    obs, actions = arrays(9)
    ended = np.arange(8) == 3
    content = {"observations": obs[:-1], "actions": actions[:-1], "terminals": ended, "next_observations": obs[1:]}
    np.savez(tmp_path / "source.npz", **content, rewards=np.arange(8.0))
    dataset = convert(tmp_path / "source.npz", tmp_path / "out", "d4rl")
    assert dataset.lengths.tolist() == [4, 4]
    assert dataset.terminated.tolist() == [True, False]
    np.testing.assert_array_equal(dataset[0].observations, obs[:5])
    np.testing.assert_array_equal(dataset[1].observations, obs[4:])
    np.testing.assert_array_equal(dataset[1].rewards, [4, 5, 6, 7])
    [message] = caplog.messages
    assert "no `timeouts`: episodes that were cut off are joined with the next ones" in message


class TestActionBounds:
    @pytest.fixture
    def source(self, tmp_path):
        """Actions of two numbers, from 0 to 2 and from -4 to 4."""
        actions = np.linspace([0, -4], [2, 4], 9)
        content = {"observations": np.zeros((9, 1)), "terminals": np.zeros(9), "timeouts": np.zeros(9)}
        np.savez(tmp_path / "source.npz", **content, actions=actions, next_observations=np.zeros((9, 1)))
        return tmp_path / "source.npz"

    @pytest.fixture
    def actions(self, source, tmp_path):
        return lambda bounds: convert(source, tmp_path / "out", "d4rl", action_bounds=bounds)[0].actions

    def test_each_number_is_scaled_from_its_own(self, actions, caplog):
        expected = np.linspace([-1, -1], [1, 1], 9)
        np.testing.assert_allclose(actions((np.array([0, -4]), np.array([2, 4]))), expected, atol=1e-6)
        assert caplog.messages == []

    def test_what_is_beyond_is_clipped_and_told(self, actions, source, caplog):
        np.testing.assert_allclose(actions((-2, 2))[[0, 4, 8]], [[0, -1], [0.5, 0], [1, 1]], atol=1e-6)
        assert caplog.messages == [f"{source}: 4 of 9 actions are beyond their bounds, and clipped."]

    def test_without_them_actions_beyond_1_are_refused(self, actions, tmp_path):
        with pytest.raises(ValueError, match=r"actions go to 4, but must be within ±1.*`--action-bounds LOW,HIGH`"):
            actions(None)
        assert not (tmp_path / "out").exists()

    def test_a_number_without_a_range_becomes_0(self, actions):
        assert (actions((np.array([0, -4]), np.array([0, 4])))[0] == [0, -1]).all()

    def test_those_of_another_environment_are_refused(self, actions):
        with pytest.raises(ValueError, match=r"actions have shape \[9, 2\], but their bounds have 1 numbers"):
            actions((np.array([-2]), np.array([2])))

    def test_spaces_without_bounds_have_none(self):
        assert bounds_of(gymnasium.spaces.Box(-2, 3, (1,))) == (-2, 3)
        for space in (gymnasium.spaces.Discrete(2), gymnasium.spaces.Box(-np.inf, 1, (1,))):
            with pytest.raises(ValueError, match="no bounded Box"):
                bounds_of(space)


def test_calvin(tmp_path):
    source = tmp_path / "training"
    source.mkdir()
    np.save(source / "ep_start_end_ids.npy", np.array([[10, 13], [20, 22]]))
    for step in (*range(10, 14), *range(20, 23)):
        action = np.full(7, 0.1)
        action[-1] = 0.3 if step % 2 else -0.3
        state = {"robot_obs": np.full(15, float(step)), "scene_obs": np.full(24, float(-step))}
        np.savez(source / f"episode_{step:07d}.npz", **state, rel_actions=action)
    dataset = convert(source, tmp_path / "out", "calvin")
    assert (dataset.lengths.tolist(), dataset.observation_dim) == ([3, 2], 21)
    np.testing.assert_array_equal(dataset[0].observations[:, 0], [10, 11, 12, 13])
    np.testing.assert_array_equal(dataset[0].observations[:, -1], [-10, -11, -12, -13])
    np.testing.assert_array_equal(dataset[0].actions[:, -1], [-1, 1, -1])


def test_minari(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    from minari.data_collector import EpisodeBuffer

    env, buffers = gymnasium.make("Pendulum-v1", max_episode_steps=5), []
    for number in range(2):
        obs, _ = arrays(6, width=3, offset=10.0 * number)
        more = {"rewards": [1.0] * 5, "terminations": [False] * 5, "truncations": [False] * 4 + [True], "infos": {}}
        buffers.append(EpisodeBuffer(number, 0, None, obs, np.full((5, 1), 0.5, np.float32), **more))
    minari.create_dataset_from_buffers("test/pendulum-v0", buffers, env=env)
    dataset = convert("test/pendulum-v0", tmp_path / "out", "minari")
    monkeypatch.chdir(tmp_path / "minari")  # by a relative folder, too
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "elsewhere"))
    assert convert("test/pendulum-v0", tmp_path / "again", "minari").lengths.tolist() == [5, 5]
    given = convert("test/pendulum-v0", tmp_path / "given", "minari", action_bounds=(-1, 1))
    assert (given[0].actions == 0.5).all()
    assert dataset.lengths.tolist() == [5, 5]
    for number, one in enumerate(dataset):
        np.testing.assert_array_equal(one.observations, arrays(6, width=3, offset=10.0 * number)[0])
        assert (one.actions == 0.25).all()  # of 2, Pendulum's bound
        assert (one.rewards == 1.0).all()


def test_rllib(tmp_path):
    import pandas as pd

    rows = []
    for number, length in enumerate(LENGTHS):
        obs, actions = arrays(length + 1, offset=100.0 * number)
        rows += [
            {
                **{"eps_id": f"e{number}", "obs": obs[step], "actions": actions[step], "new_obs": obs[step + 1]},
                **{"rewards": 1.5, "terminateds": number == 0 and step == length - 1},
            }
            for step in range(length)
        ]
    (tmp_path / "source").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "source" / "a.parquet")
    dataset = convert(tmp_path / "source", tmp_path / "out", "rllib")
    check(dataset, LENGTHS)
    assert dataset.terminated.tolist() == [True, False]
    assert (dataset[0].rewards == 1.5).all()


def test_compressed_columns_of_rllib_are_told(tmp_path):
    import pandas as pd
    from ray.rllib.utils.compression import pack

    obs = pack(np.zeros(2, np.float32))
    (tmp_path / "source").mkdir()
    rows = [{"eps_id": "e", "obs": obs, "actions": np.zeros(1), "new_obs": obs}]
    pd.DataFrame(rows).to_parquet(tmp_path / "source" / "a.parquet")
    with pytest.raises(ValueError, match=r"observations are compressed.*output_compress_columns=\[\]"):
        convert(tmp_path / "source", tmp_path / "out", "rllib")


@pytest.fixture
def pickled(tmp_path):
    content = [
        dict(zip(("obs", "actions"), arrays(length + 1, offset=100.0 * number), strict=True))
        for number, length in enumerate(LENGTHS)
    ]
    with gzip.open(tmp_path / "source.gz", "wb") as file:
        pickle.dump(content, file)
    return tmp_path / "source.gz"


def test_a_pickle_is_read_only_if_that_is_allowed(tmp_path, pickled):
    with pytest.raises(ValueError, match=r"can run any code.*--allow-pickle"):
        convert(pickled, tmp_path / "out", "pickle")
    assert not (tmp_path / "out").exists()
    check(convert(pickled, tmp_path / "out", "pickle", allow_pickle=True), LENGTHS)


def test_a_single_observation_is_no_trajectory(tmp_path):
    content = [dict(zip(("obs", "actions"), arrays(length), strict=True)) for length in (1, 4)]
    (tmp_path / "source.pkl").write_bytes(pickle.dumps(content))
    assert convert(tmp_path / "source.pkl", tmp_path / "out", "pickle", allow_pickle=True).lengths.tolist() == [3]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_empty_folder_is_told_with_what_is_expected(tmp_path, kind):
    if kind in ("spirl", "d4rl", "minari"):
        pytest.importorskip("h5py")
        pytest.importorskip("minari")
    (tmp_path / "source").mkdir()
    with pytest.raises(ValueError, match=f"{tmp_path}/source cannot be read as {kind}: ") as caught:
        convert(tmp_path / "source", tmp_path / "out", kind, allow_pickle=True)
    assert str(caught.value).endswith(f". Expected {FORMATS[kind].layout}.")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"observations": None}, r"a\.h5 has no group 'traj0', but \['observations'\]"),
        ({"traj0": "obs"}, r"traj0 of .*a\.h5 has no \['actions', 'states'\], but \['obs'\]"),
    ],
)
def test_hdf5_of_another_layout_than_spirl_s_is_told(tmp_path, groups, message):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, array in groups.items():
            file[name if array is None else f"{name}/{array}"] = np.zeros((3, 2))
    with pytest.raises(ValueError, match=rf"{message}. Expected .*traj0/{{states,actions,pad_mask}}"):
        convert(tmp_path, tmp_path / "out", "spirl")
    (tmp_path / "a.h5").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a\.h5 is no HDF5 file"):
        convert(tmp_path, tmp_path / "out", "spirl")


def test_a_full_disk_is_not_blamed_on_the_source(tmp_path, pickled, monkeypatch):
    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("rllib_sami.datasets.writing.DatasetWriter.add", fail)
    with pytest.raises(OSError, match=r"^No space left"):
        convert(pickled, tmp_path / "out", "pickle", allow_pickle=True)


def test_files_of_another_kind_are_named(tmp_path):
    np.savez(tmp_path / "source.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"no array \['actions', 'observations', 'terminals'\]"):
        convert(tmp_path / "source.npz", tmp_path / "out", "d4rl")
    with pytest.raises(ValueError, match="no such file"):
        convert(tmp_path / "nothing", tmp_path / "out", "d4rl")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "source.npz").read_bytes()[:60])
    with pytest.raises(ValueError, match="cannot be read as d4rl"):
        convert(tmp_path / "cut.npz", tmp_path / "out", "d4rl")
    (tmp_path / "source.gz").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match="cannot be read as pickle"):
        convert(tmp_path / "source.gz", tmp_path / "out", "pickle", allow_pickle=True)


def test_d4rl_arrays_of_other_lengths_are_refused(tmp_path):
    arrays = {"observations": np.zeros((4, 2)), "actions": np.zeros((4, 1)), "terminals": np.zeros(4)}
    for name, values in (("rewards", np.zeros((4, 2))), ("actions", np.zeros((5, 1)))):
        np.savez(tmp_path / "source.npz", **arrays | {name: values})
        with pytest.raises(ValueError, match=f"`{name}` has {len(values.ravel())} steps, but `observations` 4"):
            convert(tmp_path / "source.npz", tmp_path / "out", "d4rl")


def test_rows_out_of_order_are_refused(tmp_path):
    obs = np.arange(5.0)
    columns = {"eps_id": ["a"] * 4, "obs": obs[:-1, None].tolist(), "new_obs": obs[1:, None].tolist()}
    table = pd.DataFrame(columns | {"actions": [[0.0]] * 4})
    table.to_parquet(tmp_path / "rows.parquet")
    assert len(convert(tmp_path / "rows.parquet", tmp_path / "out", "rllib")) == 1
    table.iloc[[1, 0, 2, 3]].to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="the rows of episode 'a' are not in the order of its steps"):
        convert(tmp_path / "rows.parquet", tmp_path / "other", "rllib")


@pytest.mark.parametrize(
    ("given", "words"), [({"kind": "d4lr"}, "Did you mean 'd4rl'"), ({"observed": 0}, "observed=0")]
)
def test_wrong_arguments_are_named(tmp_path, given, words):
    np.savez(tmp_path / "source.npz", observations=np.zeros((4, 2)), actions=np.zeros((4, 1)), terminals=np.zeros(4))
    with pytest.raises(ValueError, match=words):
        convert(tmp_path / "source.npz", tmp_path / "out", **{"kind": "d4rl"} | given)
    assert not (tmp_path / "out").exists()
