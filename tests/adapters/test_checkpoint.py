"""Checkpoints hold everything: a restored run goes on bit for bit, and what does not fit is refused."""

import copy
import pickle

import numpy as np
import pytest
from ray.rllib.algorithms.algorithm import Algorithm

from rllib_sami import TESAC, SaCCM, SaMIConfig, TESACConfig
from rllib_sami.checkpoints.files import MANIFEST
from rllib_sami.exports.checkpoints import load

from .tiny import differences, flat_state, snapshot, tiny, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")
POINT = {"env": "test/Point", "env_config": {"end_probability": 0.1}}

CONTINUE = """
import pickle, sys
import torch
import adapters.envs
from adapters.tiny import snapshot
from ray.rllib.algorithms.algorithm import Algorithm

runs = []
for path in sys.argv[3:]:
    torch.manual_seed(int(sys.argv[2]))  # not to matter
    algo = Algorithm.from_checkpoint(path)
    runs.append([snapshot(algo)] + [snapshot(algo, algo.train()) for _ in range(3)])
    algo.stop()
with open(sys.argv[1], "wb") as file:
    pickle.dump(runs, file)
"""


@pytest.fixture
def trained():
    """An algorithm after four iterations, with updates in the last three."""
    algo = tiny(**POINT).build_algo()
    for _ in range(4):
        algo.train()
    yield algo
    algo.stop()


# --- Going on -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [POINT, {"env": "SaMI/HalfCheetah-v0"}], ids=["point", "half-cheetah"])
def test_the_same_seed_gives_the_same_run_and_another_seed_does_not(settings):
    def run(seed):
        algo = tiny(**settings, seed=seed).build_algo()
        states = [snapshot(algo, algo.train()) for _ in range(3)]
        algo.stop()
        return states

    first = run(0)
    assert differences(first, run(0)) == []
    assert first[-1]["reported"]["learners"]["num_updates_lifetime"] == 21
    other = differences(first, run(1))
    for changed in ("critics", "encoder", "log_alpha", "exp_avg", "rows", "episode_return_mean"):
        assert any(changed in path for path in other), changed


@pytest.mark.slow
def test_two_restores_in_fresh_processes_go_on_bit_for_bit(fresh_python, tmp_path):
    paths, saved = [], []
    for number, seed in enumerate([0, None]):
        algo = tiny(**POINT, seed=seed).build_algo()
        for _ in range(4):
            algo.train()
        paths.append(algo.save_to_path(tmp_path / str(number)))
        saved.append(snapshot(algo))
        algo.stop()

    both = []
    for number in range(2):
        fresh_python(CONTINUE, tmp_path / f"{number}.pkl", number, *paths)
        both.append(pickle.loads((tmp_path / f"{number}.pkl").read_bytes()))
    for before, one, other in zip(saved, *both, strict=True):
        assert differences(before["state"], one[0]["state"]) == []  # all is there
        assert differences(one, other) == []  # and goes on alike
        assert one[-1]["reported"]["steps"] == 7 * 105
        assert one[-1]["reported"]["learners"]["num_updates_lifetime"] == 63  # a tenth, less the warm-up's
        # A control: it went on, in everything that learns.
        moved = differences(one[1], one[2])
        for changed in ("critics", "encoder", "log_alpha", "exp_avg", "rows", "table", "rng", "episode_return_mean"):
            assert any(changed in path for path in moved), changed
    # Without a seed the two runs are not the same one.
    assert differences(both[0][0][-1]["state"], both[0][1][-1]["state"]) != []


def test_counters_entropy_coefficient_buffer_and_credit_survive(trained, tmp_path):
    trained.save_to_path(tmp_path)
    restored = Algorithm.from_checkpoint(tmp_path)
    assert type(restored) is SaCCM
    assert differences(trained.replay_buffer.get_state(), restored.replay_buffer.get_state()) == []
    assert restored._update_credit == trained._update_credit != 0
    alpha = "/default_policy/learning.log_alpha"
    fresh = tiny(**POINT).build_algo()
    assert weights_of(restored)[alpha] == weights_of(trained)[alpha] != weights_of(fresh)[alpha]
    assert restored.iteration == 4
    result = restored.train()
    assert result["training_iteration"] == 5
    assert result["num_env_steps_sampled_lifetime"] == 5 * 105
    assert result["learners"]["default_policy"]["num_updates_lifetime"] == 42  # no second warm-up
    assert result["replay_buffer"]["num_env_steps_added_lifetime"] == 5 * 105
    for algo in (restored, fresh):
        algo.stop()


def test_one_in_msgpack_restores_what_a_pickled_one_does(trained, tmp_path):
    pytest.importorskip("msgpack_numpy")
    trained.evaluate()
    trained.save_to_path(tmp_path / "pickled")
    trained.save_to_path(tmp_path / "packed", use_msgpack=True)
    assert not list((tmp_path / "packed").rglob("*state.pkl"))
    assert [load(tmp_path / name).env_steps() for name in ("pickled", "packed")] == [4 * 105] * 2
    runs = []
    for name in ("pickled", "packed"):
        restored = Algorithm.from_checkpoint(tmp_path / name)
        runs.append([snapshot(restored), snapshot(restored, restored.train())])
        restored.stop()
    assert differences(snapshot(trained)["state"], runs[1][0]["state"]) == []
    assert differences(*runs) == []


def test_a_saved_config_without_todays_settings_is_read_as_what_they_were(trained, tmp_path):
    trained.save_to_path(tmp_path)
    file = tmp_path / "class_and_ctor_args.pkl"
    content = pickle.loads(file.read_bytes())
    state = content["ctor_args_and_kwargs"][0][0]
    for key in SaMIConfig.former_defaults:
        del state[key]
    file.write_bytes(pickle.dumps(content))
    (tmp_path / MANIFEST).unlink()  # it has the size of the file
    config = load(tmp_path).config
    assert {key: getattr(config, key) for key in SaMIConfig.former_defaults} == SaMIConfig.former_defaults
    assert {key: getattr(trained.config, key) for key in SaMIConfig.former_defaults} != SaMIConfig.former_defaults


def test_going_back_to_an_earlier_state_undoes_what_was_learned_since(trained, tmp_path):
    before, path = snapshot(trained)["state"], trained.save_to_path(tmp_path)
    ways = [lambda: trained.set_state(copy.deepcopy(before)), lambda: trained.restore_from_path(path)]
    for go_back in ways:
        trained.train()
        assert any("critics" in changed for changed in differences(before, snapshot(trained)["state"]))
        go_back()
        # RLlib sets the runner's step counter with the next iteration.
        left = differences(before, snapshot(trained)["state"])
        assert left in ([], ["/env_runner/num_env_steps_sampled_lifetime"])
        acting = flat_state(trained.env_runner.module.get_state())
        learned = flat_state(before["learner_group"]["learner"]["rl_module"]["default_policy"])
        assert [name for name in acting if not np.array_equal(acting[name], learned[name])] == []


def test_without_its_buffer_a_restored_run_first_fills_it(tmp_path):
    algo = tiny(**POINT, store_buffer_in_checkpoints=False).build_algo()
    for _ in range(2):
        algo.train()
    algo.save_to_path(tmp_path)
    restored = Algorithm.from_checkpoint(tmp_path)
    weights = weights_of(restored)
    assert differences(weights_of(algo), weights) == []
    stored = []
    while differences(weights, weights_of(restored)) == []:
        stored.append(len(restored.replay_buffer))
        restored.training_step()
    # 21 steps at a time: no update before there are 100, then at once.
    assert stored == [0, 21, 42, 63, 84]
    for some in (algo, restored):
        some.stop()


# --- What does not fit ----------------------------------------------------------------------------------------------


def test_from_checkpoint_of_another_class_names_both(trained, tmp_path):
    trained.save_to_path(tmp_path)
    with pytest.raises(ValueError, match=r"SaCCM.*subclass.*TESAC"):
        TESAC.from_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="not found"):
        SaCCM.from_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"config_class": TESACConfig},
            r"checkpoint of SaCCM and cannot be .* TESAC.*SaCCM.from_checkpoint",
        ),
        ({"context_dim": 4}, r"`context_dim` 3, but this SaCCM has 4.*SaCCM.from_checkpoint"),
        ({"encoder_type": "gru"}, r"`encoder_type` lstm, but this SaCCM has gru"),
        ({"normalize_context": False}, r"`normalize_context` True, but this SaCCM has False"),
        ({"acting_encoder": "online"}, r"`acting_encoder` average, but this SaCCM has online"),
        ({"critic_hidden": [16, 16]}, r"`critic_hidden` \[16\], but this SaCCM has \[16, 16\]"),
        ({"env": "SaMI/Pendulum-v0"}, r"`observation_space` \(5,\), but this SaCCM has \(3,\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_checkpoint_that_does_not_fit_is_refused_before_anything_is_loaded(trained, tmp_path, settings, message):
    trained.save_to_path(tmp_path)
    algo = tiny(**{"env": "test/Point"} | settings).build_algo()
    before = snapshot(algo)["state"]
    with pytest.raises(ValueError, match=message):
        algo.restore_from_path(tmp_path)
    assert differences(before, snapshot(algo)["state"]) == []
    algo.stop()


@pytest.mark.slow
def test_another_librarys_algorithm_is_refused(trained, tmp_path):
    from ray.rllib.algorithms.ppo import PPOConfig

    ppo = (
        PPOConfig()
        .environment("test/Point")
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1)
        .build_algo()
    )
    ppo.save_to_path(tmp_path)
    ppo.stop()
    with pytest.raises(ValueError, match=r"checkpoint of PPO and cannot be restored into SaCCM.*PPO.from_checkpoint"):
        trained.restore_from_path(tmp_path)


def test_another_seed_buffer_and_rate_may_restore_it(trained, tmp_path):
    trained.save_to_path(tmp_path)
    algo = tiny(**POINT, seed=5, actor_lr=5e-4, replay_buffer_config={"capacity": 200}).build_algo()
    algo.restore_from_path(tmp_path)
    assert differences(weights_of(trained), weights_of(algo)) == []
    assert 150 < len(algo.replay_buffer) <= 200
    newest = trained.replay_buffer.store.finished["episode_return"][-5:]
    np.testing.assert_array_equal(algo.replay_buffer.store.finished["episode_return"][-5:], newest)
    assert np.isfinite(algo.train()["learners"]["default_policy"]["critic_loss"])
    algo.stop()
