"""One gradient update: what it computes, and what may change what."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from core_helpers import as_tensors, make_agent, random_episode, random_store

from rllib_sami.core.contrast import CONTRAST_ARRAYS
from rllib_sami.core.losses import binary_nce_from_scores, sance_bound, similarity_scores
from rllib_sami.core.sampling import SamplingConfig, sample_updates
from rllib_sami.core.task_store import TaskStore
from rllib_sami.core.update import UpdateConfig, parameter_groups, update

SAMPLING = SamplingConfig(
    train_episodes=4,
    loss_timesteps=20,
    pairing="skill_task",
    contrast_episodes=8,
    contrast_timesteps=3,
    num_negatives=9,
)
CONFIG = UpdateConfig(contrast_coeff=0.3, encoder_critic_gradient=False, target_entropy=-2.0, key_encoder_tau=0.1)
TRAINED = ("encoder", "similarity_map", "critics", "actor", "log_alpha")
AVERAGED = ("target_critics", "key_encoder")


def make_batch(seed: int = 0, sampling: SamplingConfig = SAMPLING) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return as_tensors(sample_updates(random_store(rng), sampling, 1, rng))


def parts(agent) -> dict[str, list[torch.Tensor]]:
    """All parameters, by network."""
    acting, training, _ = agent
    modules = {"encoder": acting.encoder, "actor": acting.actor, "critics": training.critics}
    modules |= {name: getattr(training, name) for name in AVERAGED}
    lists = {name: list(module.parameters()) for name, module in modules.items()}
    return lists | {"similarity_map": [training.similarity_map], "log_alpha": [training.log_alpha]}


def snapshot(agent) -> dict[str, list[torch.Tensor]]:
    return {name: [p.detach().clone() for p in parameters] for name, parameters in parts(agent).items()}


def differing(first: dict, second: dict) -> set[str]:
    """Names of the networks that are not the same to the last bit."""
    return {name for name in first if any((a != b).any() for a, b in zip(first[name], second[name], strict=True))}


def run(batch, config=CONFIG, agent=None, **network):
    """One update of a fresh agent (or the given one): metrics, parameters before and after."""
    agent = make_agent(**network) if agent is None else agent
    before = snapshot(agent)
    metrics = update(*agent, batch, config)
    return metrics, before, snapshot(agent)


# --- Targets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["terminated", "truncated", "open"])
def test_targets_of_a_two_step_episode_are_the_hand_calculation(ending):
    """From the store to the update: only a terminal state has no value; a truncated or open episode bootstraps.

    The critics are zero, so that their loss is the mean square of both targets. The target critics are linear, so
    that their values can be written down. Actor and key encoder are arbitrary.
    """
    episode = random_episode(np.random.default_rng(3), 2, terminated=ending == "terminated")
    store = TaskStore(3, 2, 20)
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

    metrics = update(acting, training, optimizers, batch, UpdateConfig(gamma=gamma))
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
    config = replace(
        CONFIG, objective=objective, encoder_critic_gradient=critic_gradient, similarity="bilinear", grad_clip=1.0
    )
    batch = make_batch(sampling=replace(SAMPLING, loss_timesteps=None))
    first, second = (
        make_agent(encoder_type=kind, encoder_reward=True),
        make_agent(encoder_type=kind, encoder_reward=True),
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
    owned = [id(p) for group in vars(agent[2]).values() for some in group.param_groups for p in some["params"]]
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
    config = replace(CONFIG, tau=tau, key_encoder_tau=key_encoder_tau, encoder_critic_gradient=True)
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
    without_contrast = replace(CONFIG, contrast_coeff=0.0, encoder_critic_gradient=allowed)
    _, before, after = run(make_batch(), without_contrast)
    assert ("encoder" in differing(before, after)) == allowed
    # With the contrast too: other rewards, which the encoder does not read, mean another loss of the critics.
    config = replace(CONFIG, encoder_critic_gradient=allowed)
    batch = make_batch()
    other_rewards = {**batch, "rows": torch.cat([batch["rows"][..., :-1], 10 * batch["rows"][..., -1:]], dim=-1)}
    metrics, _, after = run(batch, config)
    other_metrics, _, other_after = run(other_rewards, config)
    assert metrics["critic_loss"] != other_metrics["critic_loss"]
    assert metrics["contrast_loss"] == other_metrics["contrast_loss"]
    assert "critics" in differing(after, other_after)
    assert ("encoder" in differing(after, other_after)) == allowed


def test_actors_loss_reaches_neither_the_encoder_nor_the_critics():
    config = replace(CONFIG, encoder_critic_gradient=True, similarity="bilinear", target_entropy=5.0)
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


# --- The contrast ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["sance", "binary_nce"])
@pytest.mark.parametrize("similarity", ["cosine", "bilinear"])
def test_reported_contrast_is_that_of_the_sampled_contexts(similarity, objective):
    acting, training, optimizers = make_agent()
    batch = make_batch()
    with torch.no_grad():
        for parameter in [*training.key_encoder.parameters(), training.similarity_map]:
            parameter += 0.2 * torch.randn_like(parameter)
        rows, num_rows = batch["contrast_rows"], batch["rows"].shape[1]
        queries, keys = acting.encoder(rows[..., :5]), training.key_encoder(rows[..., :5])

        def pick(contexts: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            return torch.stack([torch.stack([contexts[i // num_rows, i % num_rows] for i in line]) for line in index])

        query = pick(queries, batch["query_index"])
        # A bound for each set of keys: of the task's skills, and of tasks.
        bounds, losses, accuracies = [], [], []
        for index in range(2):
            positive, negative = (pick(keys, batch[f"{name}_index"][:, index]) for name in ("positive", "negative"))
            scores = similarity_scores(query, positive, negative, similarity, training.similarity_map.clone())
            bounds.append(sance_bound(query, positive, negative, 0.2, similarity, training.similarity_map.clone()))
            losses.append(-bounds[-1] if objective == "sance" else -binary_nce_from_scores(*scores, 0.2))
            accuracies.append((scores[0] > scores[1].max(dim=-1).values).float().mean())
        bound, loss, accuracy = ((0.25 * skill + task) / 1.25 for skill, task in (bounds, losses, accuracies))
        assert abs(bounds[0] - bounds[1]).item() > 1e-3
    config = replace(CONFIG, temperature=0.2, similarity=similarity, objective=objective, skill_weight=0.25)
    metrics = update(acting, training, optimizers, batch, config)
    assert metrics["sance_bound"].item() == pytest.approx(bound.item(), abs=1e-5)
    assert metrics["contrast_loss"].item() == pytest.approx(loss.item(), abs=1e-5)
    assert metrics["contrast_accuracy"].item() == pytest.approx(accuracy.item())
    assert metrics["log_k"].item() == pytest.approx(math.log(10))
    assert metrics["skill_bound"].item() == pytest.approx(bounds[0].item(), abs=1e-5)
    assert metrics["task_bound"].item() == pytest.approx(bounds[1].item(), abs=1e-5)
    assert abs(bound.item()) > 1e-3


@pytest.fixture
def averaged_agent():
    """An agent that acts on the average of the encoder that is trained, from which it differs."""
    agent = make_agent(averaged_context=True, normalize_inputs=True, initial_alpha=0.4)
    with torch.no_grad():
        for parameter in agent[1].query_encoder.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return agent


def test_with_averaged_contexts_only_the_other_encoder_is_trained_and_the_one_that_acts_follows(averaged_agent):
    acting, training, _ = averaged_agent
    acted, queried = copy.deepcopy(acting.encoder), copy.deepcopy(training.query_encoder)
    update(*averaged_agent, make_batch(), CONFIG)
    assert any((a != b).any() for a, b in zip(queried.parameters(), training.query_encoder.parameters(), strict=True))
    for before, after, source in zip(
        acted.parameters(), acting.encoder.parameters(), training.query_encoder.parameters(), strict=True
    ):
        torch.testing.assert_close(after, 0.9 * before + 0.1 * source)


def test_with_averaged_contexts_critics_and_actor_never_see_the_trained_encoder(averaged_agent):
    other = copy.deepcopy(averaged_agent[:2])
    with torch.no_grad():
        for parameter in other[1].query_encoder.parameters():
            parameter += torch.randn_like(parameter)
    groups = parameter_groups(*other).items()
    optimizers = type(averaged_agent[2])(**{name: torch.optim.Adam(group, lr=1e-2) for name, group in groups})
    first, second = update(*averaged_agent, make_batch(), CONFIG), update(*other, optimizers, make_batch(), CONFIG)
    for name in ("critic_loss", "actor_loss", "entropy"):
        assert first[name] == second[name]
    assert first["sance_bound"] != second["sance_bound"]


def test_with_averaged_contexts_keys_come_from_the_encoder_that_acts(averaged_agent):
    plain = make_agent(normalize_inputs=True)
    plain[0].encoder.load_state_dict(averaged_agent[1].query_encoder.state_dict())
    plain[1].key_encoder.load_state_dict(averaged_agent[0].encoder.state_dict())
    first, second = update(*averaged_agent, make_batch(), CONFIG), update(*plain, make_batch(), CONFIG)
    assert first["sance_bound"] == pytest.approx(second["sance_bound"].item(), abs=1e-6)


@pytest.mark.parametrize("averaged_context", [False, True])
def test_all_encoders_standardise_by_the_steps_that_were_drawn(averaged_context):
    agent = make_agent(averaged_context=averaged_context, normalize_inputs=True)
    batches = [make_batch(seed) for seed in range(3)]
    for batch in batches:
        update(*agent, batch, CONFIG)
    drawn = torch.cat([batch["rows"].flatten(0, 1)[batch["step_index"]][:, :5] for batch in batches])
    for encoder in (agent[0].encoder, agent[1].query_encoder or agent[1].key_encoder):
        torch.testing.assert_close(encoder.norm.mean, drawn.mean(dim=0))
        torch.testing.assert_close(encoder.norm.variance, drawn.var(dim=0, correction=0))


def encoder_step(batch, config) -> torch.Tensor:
    """How plain gradient descent with rate 1 moves the encoder."""
    agent = make_agent()
    optimizers = {name: torch.optim.SGD(group, lr=1.0) for name, group in parameter_groups(*agent[:2]).items()}
    agent = (*agent[:2], type(agent[2])(**optimizers))
    _, before, after = run(batch, config, agent)
    return torch.cat([(b - a).flatten() for a, b in zip(before["encoder"], after["encoder"], strict=True)])


def test_contrast_coeff_weights_the_contrast():
    batch = make_batch()
    unit = encoder_step(batch, replace(CONFIG, contrast_coeff=1.0))
    assert unit.norm() > 1e-2
    for coeff in (0.1, 2.5):
        step = encoder_step(batch, replace(CONFIG, contrast_coeff=coeff))
        torch.testing.assert_close(step, coeff * unit, atol=1e-6, rtol=1e-4)
    # Beside the critics' gradient it adds up.
    critics_only = encoder_step(batch, replace(CONFIG, contrast_coeff=0.0, encoder_critic_gradient=True))
    both = encoder_step(batch, replace(CONFIG, contrast_coeff=0.5, encoder_critic_gradient=True))
    torch.testing.assert_close(both, critics_only + 0.5 * unit, atol=1e-5, rtol=1e-3)
    assert critics_only.norm() > 1e-3


@pytest.mark.parametrize(("gap", "weight"), [(0.5, 0.15), (-1.0, 0.0), (100.0, 1.0)])
def test_return_gap_weight_scales_and_clips_the_coefficient(gap, weight):
    batch = make_batch() | {"return_gap": torch.tensor(gap)}
    unit = encoder_step(batch, replace(CONFIG, contrast_coeff=1.0))
    step = encoder_step(batch, replace(CONFIG, contrast_coeff=0.3, return_gap_weight=True))
    torch.testing.assert_close(step, weight * unit, atol=1e-6, rtol=1e-4)


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
    clipped = encoder_step(batch, replace(CONFIG, grad_clip=clip))
    assert free.norm() > 0.02
    expected = free if clip > 1 else clip * free / free.norm()
    torch.testing.assert_close(clipped, expected, atol=1e-6, rtol=1e-3)


def test_same_batch_gives_the_same_update():
    agent = make_agent()
    twin = copy.deepcopy(agent[:2])
    optimizers = {name: torch.optim.Adam(group, lr=1e-2) for name, group in parameter_groups(*twin).items()}
    twin = (*twin, type(agent[2])(**optimizers))
    for seed in range(3):
        metrics, _, after = run(make_batch(seed), CONFIG, agent)
        twin_metrics, _, twin_after = run(make_batch(seed), CONFIG, twin)
        assert metrics == twin_metrics
        assert not differing(after, twin_after)


# --- Several steps of actor and critics for one of the encoder ------------------------------------------------------

TWO = replace(SAMPLING, updates_per_batch=2, contrast_interval=2)


def halves(batch: dict) -> list[dict]:
    """The two updates that share a batch's episodes; the second one without contrast."""
    size = SAMPLING.loss_timesteps
    shared = {name: batch[name] for name in ("rows", *CONTRAST_ARRAYS)}
    parts_of = [
        {name: batch[name][at] for name in ("step_index", "terminated")} | {"noise": batch["noise"][:, at]}
        for at in (slice(0, size), slice(size, None))
    ]
    return [shared | parts_of[0], {"rows": batch["rows"]} | parts_of[1]]


def test_a_batch_of_two_updates_is_two_updates_on_episodes_encoded_once():
    batch = make_batch(sampling=TWO)
    assert batch["step_index"].shape == (2 * SAMPLING.loss_timesteps,)
    agent, other = make_agent(), make_agent()
    for group in (agent[2].encoder, other[2].encoder):  # contexts stay as they are
        group.param_groups[0]["lr"] = 0.0
    config = replace(CONFIG, key_encoder_tau=1e-12)
    metrics = update(*agent, batch, replace(config, updates_per_batch=2, contrast_interval=2))
    found = [update(*other, half, config) for half in halves(batch)]
    assert differing(snapshot(agent), snapshot(other)) == set()
    assert metrics["critic_loss"] == pytest.approx(torch.stack([one["critic_loss"] for one in found]).mean())
    assert metrics["sance_bound"] == found[0]["sance_bound"]


def test_an_interval_of_two_takes_one_step_of_the_encoder_and_its_average():
    batch = make_batch(sampling=TWO)
    _, before, after = run(batch, replace(CONFIG, updates_per_batch=2, contrast_interval=2))
    _, _, expected = run(halves(batch)[0], CONFIG)
    for name in ("encoder", "key_encoder"):
        assert name in differing(before, after)
        for value, wanted in zip(after[name], expected[name], strict=True):
            torch.testing.assert_close(value, wanted)
    assert {"actor", "critics", "target_critics"} <= differing(after, expected)


def test_a_batch_of_two_updates_may_have_two_contrasts():
    batch = make_batch(sampling=replace(TWO, contrast_interval=1))
    assert batch["return_gap"].shape == (2,)
    first, second = ({name: batch[name][index] for name in CONTRAST_ARRAYS} for index in range(2))
    agent, other = make_agent(), make_agent()
    metrics = update(*agent, batch, replace(CONFIG, updates_per_batch=2))
    found = [update(*other, half | one, CONFIG) for half, one in zip(halves(batch), (first, second), strict=True)]
    after, expected = snapshot(agent), snapshot(other)
    assert differing(after, expected) & {"encoder", "key_encoder"} == set()
    assert "critics" in differing(after, expected)  # the second update has read contexts of the encoder as it was
    assert metrics["sance_bound"] == pytest.approx(torch.stack([one["sance_bound"] for one in found]).mean())


def test_steps_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match="has 20 steps, which 3 `updates_per_batch` cannot share"):
        run(make_batch(), replace(CONFIG, updates_per_batch=3))


def test_a_contrast_without_whole_episodes_is_refused():
    with pytest.raises(ValueError, match="`pairing` is 'skill_task', but a contrast needs `whole_episodes`"):
        make_batch(sampling=replace(SAMPLING, whole_episodes=False))
