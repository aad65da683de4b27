"""One gradient update: what it computes, and what may change what."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from core_helpers import as_tensors, constants, make_agent, optimization, random_episode
from update_helpers import AVERAGED, CONFIG, SAMPLING, TRAINED, differing, encoder_step, make_batch, parts, run

from rllib_sami.algorithms.sami.sampling import SamplingConfig, sample_updates
from rllib_sami.algorithms.sami.update import parameter_groups
from rllib_sami.algorithms.sami.update import sami_update as update
from rllib_sami.replay_buffers.episode_store import EpisodeStore

# --- Targets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["terminated", "truncated", "open"])
def test_targets_of_a_two_step_episode_are_the_hand_calculation(ending):
    """From the store to the update: only a terminal state has no value; a truncated or open episode bootstraps.

    The critics are zero, so that their loss is the mean square of both targets. The target critics are linear, so
    that their values can be written down. Actor and key encoder are arbitrary.
    """
    episode = random_episode(np.random.default_rng(3), 2, terminated=ending == "terminated")
    store = EpisodeStore(3, 2, 20)
    store.add(episode.piece("a", 0, 1))
    piece = episode.piece("a", 1, 2)
    store.add(piece if ending != "open" else replace(piece, done=False))
    batch = as_tensors(
        sample_updates(store, SamplingConfig(train_episodes=1, loss_timesteps=None), 1, np.random.default_rng(0))
    )
    acting, training, optimizers = make_agent(critic_hidden=(), initial_alpha=0.4)
    gamma, alpha = 0.9, 0.4
    with torch.no_grad():
        for parameter in training.critics.parameters():
            parameter.zero_()
        for parameter in training.key_encoder.parameters():
            parameter += 0.3 * torch.randn_like(parameter)

        # By hand: contexts step by step, the next action from the online context, its value from the key context.
        weight = torch.stack([net[0].weight[0] for net in training.target_critics.nets])
        bias = torch.stack([net[0].bias for net in training.target_critics.nets])
        states = {encoder: torch.zeros(1, encoder.state_dim) for encoder in (acting.encoder, training.key_encoder)}
        contexts = {encoder: [] for encoder in states}
        previous_action = torch.zeros(1, 2)
        for t in range(3):
            obs = torch.from_numpy(episode.obs[t : t + 1])
            for encoder in states:
                inputs = torch.cat([obs, previous_action], dim=1)
                context, states[encoder] = encoder.step(inputs, states[encoder])
                contexts[encoder].append(context)
            previous_action = torch.from_numpy(episode.actions[t : t + 1]) if t < 2 else None
        targets, values = [], []
        for t in range(2):
            next_obs = torch.from_numpy(episode.obs[t + 1 : t + 2])
            noise = batch["noise"][0, t : t + 1]
            next_action, log_prob = acting.actor.sample(next_obs, contexts[acting.encoder][t + 1], noise)
            read = torch.cat([next_obs, next_action, contexts[training.key_encoder][t + 1]], dim=1)[0]
            lesser = min(float(weight[i] @ read + bias[i]) for i in range(2))
            values.append(lesser - alpha * log_prob.item())
            terminal = ending == "terminated" and t == 1
            targets.append(float(episode.rewards[t]) + (0.0 if terminal else gamma * values[t]))

    metrics = update(acting, training, optimizers, batch, constants(gamma=gamma))
    assert metrics["critic_loss"].item() == pytest.approx(np.square(targets).mean(), rel=1e-4)
    # Had the last step been taken for the other kind of ending, or had the final observation been the one before:
    targets[1] = float(episode.rewards[1]) + (gamma * values[1] if ending == "terminated" else 0.0)
    assert metrics["critic_loss"].item() != pytest.approx(np.square(targets).mean(), rel=1e-2)
    targets[1] = float(episode.rewards[1]) + gamma * values[0]
    assert metrics["critic_loss"].item() != pytest.approx(np.square(targets).mean(), rel=1e-2)


# --- Padding --------------------------------------------------------------------------------------------------------


def last_rows(rows: torch.Tensor) -> torch.Tensor:
    """Where the repeated last row of each episode begins, ``[...]``."""
    same_as_next = (rows[:, 1:] == rows[:, :-1]).all(dim=-1)
    return rows.shape[1] - 1 - same_as_next.flip(1).cumprod(dim=1).sum(dim=1)


def with_garbage(batch: dict, first: int) -> dict:
    """The batch with everything changed from ``first`` rows after the episodes' last ones on."""
    changed = dict(batch)
    for name in ("rows", "contrast_rows"):
        rows = batch[name].clone()
        padded = torch.arange(rows.shape[1]) >= last_rows(rows)[:, None] + first
        assert padded.any()
        rows[padded] = 1000 * torch.randn_like(rows)[padded]
        changed[name] = rows
    return changed


@pytest.mark.parametrize("objective", ["sance", "binary_nce"])
@pytest.mark.parametrize("critic_gradient", [True, False])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_padded_steps_change_no_loss_no_gradient_and_no_parameter(objective, critic_gradient, kind):
    config = replace(CONFIG, objective=objective, critics_train_encoder=critic_gradient, similarity="bilinear")
    batch = make_batch(sampling=replace(SAMPLING, loss_timesteps=None))
    first, second = (
        make_agent(encoder_type=kind, encoder_reward=True, grad_clip=1.0),
        make_agent(encoder_type=kind, encoder_reward=True, grad_clip=1.0),
    )
    for _ in range(2):
        metrics, _, after = run(batch, config, first)
        padded_metrics, _, padded_after = run(with_garbage(batch, 1), config, second)
        assert metrics == padded_metrics
        assert not differing(after, padded_after)
        for mine, others in zip(parts(first)["encoder"], parts(second)["encoder"], strict=True):
            assert (mine.grad == others.grad).all()
            assert mine.grad.abs().max() > 0
    # The control: the last rows themselves, each with the final observation, do count.
    control_metrics, _, _ = run(with_garbage(batch, 0), config, second)
    assert control_metrics["critic_loss"] != metrics["critic_loss"]


# --- What is trained, and by what -----------------------------------------------------------------------------------


def test_everything_trained_is_in_an_optimiser_and_changes():
    config = replace(CONFIG, similarity="bilinear")
    agent = make_agent()
    _, before, after = run(make_batch(), config, agent)
    assert differing(before, after) >= set(TRAINED)
    owned = [id(p) for group in agent[2].optimizers.values() for some in group.param_groups for p in some["params"]]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for name in TRAINED for p in parts(agent)[name]}
    assert set(owned) == {id(p) for group in parameter_groups(*agent[:2]).values() for p in group}
    for name in ("encoder", "critics", "actor"):  # every single tensor of them
        assert all((a != b).any() for a, b in zip(before[name], after[name], strict=True)), name


def test_similarity_map_stays_without_the_bilinear_similarity():
    _, before, after = run(make_batch())
    assert "similarity_map" not in differing(before, after)


@pytest.mark.parametrize(("tau", "key_encoder_tau"), [(0.25, 0.1), (1.0, 0.5)])
def test_target_and_key_networks_move_by_their_averages_alone(tau, key_encoder_tau):
    config = replace(CONFIG, tau=tau, key_encoder_tau=key_encoder_tau, critics_train_encoder=True)
    agent = make_agent()
    for seed in range(3):
        _, before, after = run(make_batch(seed), config, agent)
        for average, source, rate in [("target_critics", "critics", tau), ("key_encoder", "encoder", key_encoder_tau)]:
            for old, new, trained in zip(before[average], after[average], after[source], strict=True):
                assert (new == torch.lerp(old, trained, rate)).all()
                assert (new != old).any()
    for name in AVERAGED:
        for parameter in parts(agent)[name]:
            assert parameter.grad is None
            assert not parameter.requires_grad


@pytest.mark.parametrize("allowed", [False, True])
def test_critics_loss_reaches_the_encoder_only_if_allowed(allowed):
    without_contrast = replace(CONFIG, has_contrast=False, critics_train_encoder=allowed)
    _, before, after = run(make_batch(), without_contrast)
    assert ("encoder" in differing(before, after)) == allowed
    # With the contrast too: other rewards, which the encoder does not read, mean another loss of the critics.
    config = replace(CONFIG, critics_train_encoder=allowed)
    batch = make_batch()
    other_rewards = {**batch, "rows": torch.cat([batch["rows"][..., :-1], 10 * batch["rows"][..., -1:]], dim=-1)}
    metrics, _, after = run(batch, config)
    other_metrics, _, other_after = run(other_rewards, config)
    assert metrics["critic_loss"] != other_metrics["critic_loss"]
    assert metrics["contrast_loss"] == other_metrics["contrast_loss"]
    assert "critics" in differing(after, other_after)
    assert ("encoder" in differing(after, other_after)) == allowed


def test_actors_loss_reaches_neither_the_encoder_nor_the_critics():
    config = replace(CONFIG, critics_train_encoder=True, similarity="bilinear", target_entropy=5.0)
    batch = make_batch()
    noise = batch["noise"].clone()
    noise[1] *= 6.0  # the actor's own: enough to turn the sign of what trains the entropy coefficient
    _, _, after = run(batch, config)
    _, _, other_after = run({**batch, "noise": noise}, config)
    assert differing(after, other_after) == {"actor", "log_alpha"}
    noise = batch["noise"].clone()
    noise[0] += 1.0  # the targets'
    _, _, other_after = run({**batch, "noise": noise}, config)
    assert differing(after, other_after) >= {"critics", "encoder"}


def test_actor_learns_from_the_critics_just_trained_and_its_own_noise():
    agent, batch = make_agent(initial_alpha=0.4), make_batch()
    acting = copy.deepcopy(agent[0])
    metrics, _, _ = run(batch, CONFIG, agent)
    with torch.no_grad():
        context = acting.encoder(batch["rows"][..., :5]).flatten(0, 1)[batch["step_index"]]
        obs = batch["rows"].flatten(0, 1)[batch["step_index"], :3]
        action, log_prob = acting.actor.sample(obs, context, batch["noise"][1])
        loss = (0.4 * log_prob - agent[1].critics(obs, action, context).amin(dim=0)).mean()
    assert metrics["actor_loss"].item() == pytest.approx(loss.item(), abs=1e-5)
    assert metrics["entropy"].item() == pytest.approx(-log_prob.mean().item(), abs=1e-5)


@pytest.mark.parametrize(("target_entropy", "direction"), [(100.0, 1), (-100.0, -1)])
def test_entropy_coefficient_rises_while_the_entropy_is_too_low(target_entropy, direction):
    _, before, after = run(make_batch(), replace(CONFIG, target_entropy=target_entropy))
    assert math.copysign(1, after["log_alpha"][0] - before["log_alpha"][0]) == direction


def test_batch_without_pairs_still_trains_the_rest():
    batch = make_batch(sampling=replace(SAMPLING, pairing=None))
    metrics, before, after = run(batch)
    assert "sance_bound" not in metrics
    assert differing(before, after) >= {"critics", "actor", "log_alpha"}
    assert "encoder" not in differing(before, after)


@pytest.mark.parametrize("clip", [0.01, 1e6])
def test_grad_clip_limits_the_gradient_norm_of_each_network(clip):
    batch = make_batch()
    free = encoder_step(batch, CONFIG)
    clipped = encoder_step(batch, CONFIG, grad_clip=clip)
    assert free.norm() > 0.02
    expected = free if clip > 1 else clip * free / free.norm()
    torch.testing.assert_close(clipped, expected, atol=1e-6, rtol=1e-3)


def test_same_batch_gives_the_same_update():
    agent = make_agent()
    twin = copy.deepcopy(agent[:2])
    twin = (*twin, optimization(*twin))
    for seed in range(3):
        metrics, _, after = run(make_batch(seed), CONFIG, agent)
        twin_metrics, _, twin_after = run(make_batch(seed), CONFIG, twin)
        assert metrics == twin_metrics
        assert not differing(after, twin_after)
