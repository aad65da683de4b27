"""Several learners: one update each on their part of a batch, with averaged gradients."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import update_helpers
from core_helpers import as_tensors, constants, make_agent, random_store

from rllib_sami.algorithms.sami.sampling import sample_updates
from rllib_sami.algorithms.sami.update import sami_update as update

SAMPLING = replace(update_helpers.SAMPLING, loss_timesteps=24)
CONFIG = constants(contrast_coeff=0.3, critics_train_encoder=True, similarity="bilinear", tau=0.1)


class Averaging:
    """Stands in for the network between learners that run as threads: each gets the mean of what all bring."""

    def __init__(self, num_learners: int):
        self._barrier = threading.Barrier(num_learners, timeout=60)
        self._brought: dict[int, list[torch.Tensor]] = {}

    def for_learner(self, number: int):
        def average(gradients):
            self._brought[number] = gradients
            self._barrier.wait()
            everyone = [self._brought[key] for key in sorted(self._brought)]
            means = [torch.stack(some).mean(dim=0) for some in zip(*everyone, strict=True)]
            self._barrier.wait()  # nobody brings the next ones before all have read these
            return means

        return average


def halves(seed: int) -> list[dict[str, torch.Tensor]]:
    """Two batches of the same shapes, as two learners get them."""
    rng = np.random.default_rng(seed)
    store = random_store(rng)
    return [as_tensors(sample_updates(store, SAMPLING, 1, rng)) for _ in range(2)]


def merge(first: dict, second: dict) -> dict[str, torch.Tensor]:
    """Both batches as one: episodes side by side, indices shifted to where they have gone."""
    num_rows = first["rows"].shape[1]
    num_episodes, num_contrasted = len(first["rows"]), len(first["contrast_rows"])
    merged = {name: torch.cat([first[name], second[name]]) for name in ("rows", "contrast_rows", "terminated")}
    merged["noise"] = torch.cat([first["noise"], second["noise"]], dim=1)
    merged["step_index"] = torch.cat([first["step_index"], second["step_index"] + num_episodes * num_rows])
    for name in ("query_index", "positive_index", "negative_index"):
        merged[name] = torch.cat([first[name], second[name] + num_contrasted * num_rows])
    return merged


def trained_alone(batches, config, average=None) -> tuple[torch.Tensor, dict]:
    acting, training, optimization = make_agent(lr=1e-3, grad_clip=0.5)
    for batch in batches:
        metrics = update(acting, training, replace(optimization, average=average), batch, config)
    vector = torch.cat([p.detach().flatten() for p in [*acting.parameters(), *training.parameters()]])
    return vector, metrics


def trained_together(parts, config) -> list[tuple[torch.Tensor, dict]]:
    """One learner to each list of batches, gradients averaged."""
    averaging, results = Averaging(len(parts)), {}

    # Made one after the other: the seed of what they start from is everybody's.
    agents = [make_agent(lr=1e-3, grad_clip=0.5) for _ in parts]

    def learn(number: int) -> None:
        acting, training, optimization = agents[number]
        optimization = replace(optimization, average=averaging.for_learner(number))
        for batch in parts[number]:
            metrics = update(acting, training, optimization, batch, config)
        vector = torch.cat([p.detach().flatten() for p in [*acting.parameters(), *training.parameters()]])
        results[number] = vector, metrics

    threads = [threading.Thread(target=learn, args=(number,)) for number in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(len(parts))]


@pytest.mark.parametrize("objective", ["sance", "binary_nce"])
def test_two_learners_on_halves_equal_one_on_the_merged_batch(objective):
    config = replace(CONFIG, objective=objective)
    pairs = [halves(seed) for seed in range(3)]
    (first, first_metrics), (second, second_metrics) = trained_together(
        [[first for first, _ in pairs], [second for _, second in pairs]], config
    )
    merged, metrics = trained_alone([merge(*pair) for pair in pairs], config)
    assert (first == second).all()
    torch.testing.assert_close(first, merged, atol=1e-5, rtol=0)
    for name in ("critic_loss", "contrast_loss", "sance_bound", "q_mean"):
        mean = (first_metrics[name] + second_metrics[name]) / 2
        torch.testing.assert_close(mean, metrics[name], atol=1e-4, rtol=1e-4)
    # The control: half of the data alone leads elsewhere.
    alone, _ = trained_alone([first for first, _ in pairs], config)
    assert (alone - merged).abs().max() > 1e-3


def test_averaging_alike_gradients_changes_nothing():
    batches = [halves(seed)[0] for seed in range(3)]
    alone, _ = trained_alone(batches, CONFIG)
    averaged, _ = trained_alone(batches, CONFIG, average=lambda gradients: [(g + g) / 2 for g in gradients])
    assert (alone == averaged).all()
