"""The contrast's part in an update: what it computes, what it weighs, and whose contexts are read."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from core_helpers import make_agent, optimization
from update_helpers import CONFIG, encoder_step, make_batch

from rllib_sami.algorithms.sami.update import sami_update as update
from rllib_sami.core.losses import binary_nce_from_scores, sance_bound, similarity_scores


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


AVERAGE = replace(CONFIG, acting_encoder="average")


@pytest.fixture
def averaged_agent():
    """An agent that acts on the average of the encoder that is trained, from which it differs."""
    agent = make_agent(acting_encoder="average", normalize_inputs=True, initial_alpha=0.4)
    with torch.no_grad():
        for parameter in agent[1].query_encoder.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return agent


def test_with_averaged_contexts_only_the_other_encoder_is_trained_and_the_one_that_acts_follows(averaged_agent):
    acting, training, _ = averaged_agent
    acted, queried = copy.deepcopy(acting.encoder), copy.deepcopy(training.query_encoder)
    update(*averaged_agent, make_batch(), AVERAGE)
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
    first, second = (
        update(*agent, make_batch(), AVERAGE) for agent in (averaged_agent, (*other, optimization(*other)))
    )
    for name in ("critic_loss", "actor_loss", "entropy"):
        assert first[name] == second[name]
    assert first["sance_bound"] != second["sance_bound"]


def test_with_averaged_contexts_keys_come_from_the_encoder_that_acts(averaged_agent):
    plain = make_agent(normalize_inputs=True)
    plain[0].encoder.load_state_dict(averaged_agent[1].query_encoder.state_dict())
    plain[1].key_encoder.load_state_dict(averaged_agent[0].encoder.state_dict())
    first, second = update(*averaged_agent, make_batch(), AVERAGE), update(*plain, make_batch(), CONFIG)
    assert first["sance_bound"] == pytest.approx(second["sance_bound"].item(), abs=1e-6)


@pytest.mark.parametrize("acting_encoder", ["online", "average"])
def test_all_encoders_standardise_by_the_steps_that_were_drawn(acting_encoder):
    agent = make_agent(acting_encoder=acting_encoder, normalize_inputs=True)
    batches = [make_batch(seed) for seed in range(3)]
    for batch in batches:
        update(*agent, batch, replace(CONFIG, acting_encoder=acting_encoder))
    drawn = torch.cat([batch["rows"].flatten(0, 1)[batch["step_index"]][:, :5] for batch in batches])
    for encoder in (agent[0].encoder, agent[1].query_encoder or agent[1].key_encoder):
        torch.testing.assert_close(encoder.norm.mean, drawn.mean(dim=0))
        torch.testing.assert_close(encoder.norm.variance, drawn.var(dim=0, correction=0))


def test_contrast_coeff_weights_the_contrast():
    batch = make_batch()
    unit = encoder_step(batch, replace(CONFIG, contrast_coeff=1.0))
    assert unit.norm() > 1e-2
    for coeff in (0.1, 2.5):
        step = encoder_step(batch, replace(CONFIG, contrast_coeff=coeff))
        torch.testing.assert_close(step, coeff * unit, atol=1e-6, rtol=1e-4)
    # Beside the critics' gradient it adds up.
    critics_only = encoder_step(batch, replace(CONFIG, has_contrast=False, critics_train_encoder=True))
    both = encoder_step(batch, replace(CONFIG, contrast_coeff=0.5, critics_train_encoder=True))
    torch.testing.assert_close(both, critics_only + 0.5 * unit, atol=1e-5, rtol=1e-3)
    assert critics_only.norm() > 1e-3


@pytest.mark.parametrize(("gap", "weight"), [(0.5, 0.15), (-1.0, 0.0), (100.0, 1.0)])
def test_return_gap_weight_scales_and_clips_the_coefficient(gap, weight):
    batch = make_batch() | {"return_gap": torch.tensor(gap)}
    unit = encoder_step(batch, replace(CONFIG, contrast_coeff=1.0))
    step = encoder_step(batch, replace(CONFIG, contrast_coeff=0.3, return_gap_weight=True))
    torch.testing.assert_close(step, weight * unit, atol=1e-6, rtol=1e-4)
