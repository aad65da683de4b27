"""SaPPO: RLlib's PPO sampling and learning as it does, with contexts and one more loss."""

import math
import re

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec

from rllib_sami import SaPPO, SaPPOConfig

from .tiny import differences, refusal, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")
MODULE = "default_policy"


def config_of(env="SaMI/Pendulum-v0", env_config=None, **training) -> SaPPOConfig:
    """Tiny networks; 4 slots, 200 steps to an iteration, episodes of 20."""
    settings = {
        "context_dim": 3,
        "encoder_hidden_dim": 16,
        "actor_hidden": [16],
        "critic_hidden": [16],
        "contrast_episodes": 8,
        "contrast_timesteps": 4,
        "num_negatives": 7,
        "train_batch_size_per_learner": 200,
        "minibatch_size": 50,
        "num_epochs": 2,
        "lr": 3e-3,
    }
    return (
        SaPPOConfig()
        .environment(env, env_config={"max_steps": 20} | (env_config or {}))
        .env_runners(num_envs_per_env_runner=4)
        .training(**settings | training)
        .debugging(seed=0, log_level="ERROR")
    )


@pytest.fixture(scope="module")
def trained():
    """An algorithm after three iterations, and what each reported."""
    algo = config_of().build_algo()
    yield algo, [algo.train() for _ in range(3)]
    algo.stop()


def learner_of(algo):
    return algo.learner_group._learner


def module_of(algo):
    return learner_of(algo).module[MODULE]


def encoder_weights(algo) -> torch.Tensor:
    return torch.cat([parameter.detach().ravel().clone() for parameter in module_of(algo).encoder.parameters()])


def test_an_iteration_reports_both_losses(trained):
    _, results = trained
    learned = results[-1]["learners"][MODULE]
    for name in ("policy_loss", "vf_loss", "contrast_loss", "sance_bound", "contrast_accuracy"):
        assert np.isfinite(learned[name]), name
    assert learned["log_k"] == pytest.approx(np.log(8))
    assert learned["sance_bound"] <= learned["log_k"]
    assert np.isfinite(results[-1]["env_runners"]["episode_return_mean"])


def test_whole_episodes_are_kept_with_task_and_return(trained):
    algo, _ = trained
    store = learner_of(algo).recent_episodes.store
    table = store.finished
    assert len(table) == 4 * (3 * 50 // 20)  # of each slot's 150 steps
    assert set(table["length"]) == {20}
    assert len(np.unique(table["task_id"])) > 1
    sums = [store.rows[line["start"] : line["start"] + 21, -1].sum() for line in table]
    np.testing.assert_allclose(table["episode_return"], sums, rtol=1e-5)


@pytest.mark.parametrize("coefficient", [0.0, 0.1])
def test_the_encoder_is_trained_by_the_contrast_or_by_ppo(coefficient):
    with_ppo = coefficient == 0.0
    algo = config_of(contrast_coeff=coefficient, encoder_ppo_gradient=with_ppo).build_algo()
    module = module_of(algo)
    before = encoder_weights(algo)
    algo.train()
    assert not torch.equal(before, encoder_weights(algo))
    key = torch.cat([parameter.ravel() for parameter in module.contrast.key_encoder.parameters()])
    assert not torch.equal(key, before)  # it follows
    assert not torch.equal(key, encoder_weights(algo))
    algo.stop()


def test_ppo_alone_leaves_the_encoder_alone(monkeypatch):
    algo = config_of().build_algo()
    monkeypatch.setattr(learner_of(algo).recent_episodes, "sample", lambda num_updates: None)
    before = encoder_weights(algo)
    algo.train()
    assert torch.equal(before, encoder_weights(algo))
    algo.stop()


def test_the_contrast_learns_to_tell_tasks_apart_that_can_be_seen():
    algo = config_of(env_config={"observe_task": True}).build_algo()
    for _ in range(3):
        algo.train()
    learner, module = learner_of(algo), module_of(algo)
    encoder, contrast = module.encoder, module.contrast
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-2)
    bounds = []
    for _ in range(500):
        arrays = learner.recent_episodes.sample(1)
        loss, metrics = contrast(encoder, {key: torch.as_tensor(value[0]) for key, value in arrays.items()})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        contrast.follow(encoder)
        bounds.append(metrics["task_bound"].item())
    algo.stop()
    assert np.mean(bounds[-100:]) > np.mean(bounds[:100]) + 0.5  # nats, of log 8 at most


def test_the_learner_sees_what_the_runner_saw():
    """Logits of the stored steps, computed again from sequences and stored states, are those of sampling."""
    algo = config_of().build_algo()
    runner = algo.env_runner
    episodes = [*runner.sample(num_timesteps=132), *runner.sample(num_timesteps=132)]  # pieces that cross episodes
    assert any(episode.t_started > 0 for episode in episodes)
    learner = learner_of(algo)
    # In the order of the batch, which is that of the episodes, each with one step more for its last value.
    then = [np.concatenate([e.get_extra_model_outputs(Columns.ACTION_DIST_INPUTS)]) for e in episodes]
    batch = learner._learner_connector(rl_module=learner.module, batch={}, episodes=episodes, shared_data={})[MODULE]
    with torch.no_grad():
        now = module_of(algo).forward_train(batch)[Columns.ACTION_DIST_INPUTS]
    mask = batch[Columns.LOSS_MASK]
    np.testing.assert_allclose(now[mask].numpy(), np.concatenate(then), atol=1e-5)
    values = module_of(algo).compute_values(batch)
    assert values.shape == mask.shape
    algo.stop()


def test_a_restored_run_has_all_of_it(trained, tmp_path):
    algo, _ = trained
    path = algo.save_to_path(tmp_path / "checkpoint")
    other = SaPPO.from_checkpoint(path)
    assert differences(weights_of(algo), weights_of(other)) == []
    saved, restored = (learner_of(one).get_state(components="recent_episodes") for one in (algo, other))
    assert differences(saved["recent_episodes"], restored["recent_episodes"]) == []
    moments = [one.learner_group.get_state()["learner"]["optimizer"] for one in (algo, other)]
    assert differences(*moments) == []
    assert other.train()["training_iteration"] == 4
    other.stop()

    module = RLModule.from_checkpoint(f"{path}/learner_group/learner/rl_module/{MODULE}")
    state = {key: torch.as_tensor(value)[None] for key, value in module.get_initial_state().items()}
    out = module.forward_inference({Columns.OBS: torch.zeros(1, 3), Columns.STATE_IN: state})
    assert out[Columns.ACTIONS].shape == (1, 1)


@pytest.mark.slow
def test_two_learners_stay_alike():
    config = config_of(train_batch_size_per_learner=100).learners(num_learners=2)
    algo = config.build_algo()
    algo.train()
    bound = algo.train()["learners"][MODULE]["sance_bound"]
    assert np.isfinite(bound)
    results = algo.learner_group.foreach_learner(
        lambda learner: (learner.module[MODULE].get_state(), learner.recent_episodes.store.finished["length"])
    )
    (one, lengths), (other, _) = (result.get() for result in results)
    assert differences(one, other) == []
    assert set(lengths) == {20}  # whole episodes only, although RLlib cuts some
    algo.stop()


def test_a_task_id_that_is_missing_at_a_later_reset_stops_training():
    algo = config_of("test/Changing", {"later": {"info": {}}}).build_algo()
    with pytest.raises(ValueError, match="An environment gave no 'task_id' in the info of a reset"):
        algo.train()
    algo.stop()


def test_weights_sent_to_runners_hold_no_episodes_and_no_learning_parts(trained):
    algo, _ = trained
    state = algo.learner_group.get_state(components=f"learner/rl_module/{MODULE}", inference_only=True)
    weights = state["learner"]["rl_module"][MODULE]
    assert "recent_episodes" not in state["learner"]
    assert not [key for key in weights if key.startswith(("contrast.", "critic."))]
    assert [key for key in weights if key.startswith("encoder.")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairing": "skil"}, "`pairing` is 'skil', but must be one of .*did you mean 'skill'"),
        ({"pairing": None}, "`encoder_ppo_gradient` is False and there is no contrast .* nothing would train"),
        ({"contrast_capacity": 1}, "`contrast_capacity` is 1, but must be an integer >= 2"),
        ({"encoder_ppo_gradient": 1}, "`encoder_ppo_gradient` is 1, but must be True or False"),
        ({"num_negatives": 0}, "`num_negatives` is 0, but must be an integer >= 1"),
        ({"lr": math.nan}, "`lr` is nan, but must be a number of at least 0, or a schedule"),
        ({"lr": [[0, 1e-3], [9, math.inf]]}, "`lr` is .*inf.*, but must be a number of at least 0, or a schedule"),
        ({"entropy_coeff": math.nan}, "`entropy_coeff` is nan, but must be a number of at least 0, or a schedule"),
        ({"lambda_": math.nan}, r"`lambda_` is nan, but must be a number in \[0, 1\]"),
        ({"clip_param": math.nan}, "`clip_param` is nan, but must be a number above 0"),
        ({"vf_clip_param": math.nan}, "`vf_clip_param` is nan, but must be a number above 0, or infinity"),
        ({"minibatch_size": math.nan}, "`minibatch_size` is nan, but must be an integer >= 1"),
        *[
            ({name: math.nan}, f"`{name}` is nan, but must be a number of at least 0")
            for name in ("kl_coeff", "kl_target", "vf_loss_coeff")
        ],
        *[
            ({name: math.nan}, f"`{name}` is nan, but must be an integer >= 1")
            for name in ("num_epochs", "train_batch_size")
        ],
    ],
)
def test_wrong_settings_are_named(settings, message):
    assert re.search(message, refusal(config_of(**settings)))


def test_other_wrong_input_is_named():
    assert "gives no 'task_id' in its reset infos, which SaPPO needs" in refusal(
        config_of("test/Point", {"task_id": "none"})
    )
    assert "only continuous actions" in refusal(config_of("test/Discrete"))
    model_config = config_of().rl_module(model_config={"context_dim": 3})
    assert "`model_config` has the key 'context_dim', which is a setting of its own" in refusal(model_config)
    with pytest.raises(ValueError, match="no setting 'contrast_coef'; did you mean 'contrast_coeff'"):
        SaPPOConfig().update_from_dict({"contrast_coef": 0.1})
    with pytest.raises(ValueError, match=r"`encoder_reward` is True, but has no effect here. RLlib's own env runners"):
        SaPPOConfig().update_from_dict({"encoder_reward": True}).validate()
    with pytest.raises(ValueError, match="no setting 'reads_task_ids'"):
        SaPPOConfig().update_from_dict({"reads_task_ids": False})
    assert "add `FlattenObservations`" in refusal(config_of("test/Walker", {"as_dict": True}))


def test_another_module_is_refused_with_what_to_use():
    spec = RLModuleSpec(module_class=DefaultPPOTorchRLModule, model_config={"fcnet_hiddens": [16]})
    message = refusal(config_of().rl_module(rl_module_spec=spec))
    assert "SaPPOTorchLearner needs a ContextTorchRLModule" in message
    assert "got DefaultPPOTorchRLModule" in message


def test_an_earlier_checkpoint_takes_the_place_of_newer_weights(tmp_path):
    algo = config_of(contrast_capacity=15).build_algo()  # shorter than an episode: these are left out
    algo.train()
    algo.save_to_path(tmp_path)
    saved = {name: value.clone() for name, value in algo.get_module().state_dict().items()}
    algo.train()
    assert any(not torch.equal(value, saved[name]) for name, value in algo.get_module().state_dict().items())
    algo.restore_from_path(tmp_path)
    assert all(torch.equal(value, saved[name]) for name, value in algo.get_module().state_dict().items())
    algo.stop()
