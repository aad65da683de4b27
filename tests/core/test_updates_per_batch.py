"""Several steps of actor and critics on one batch, for one of the encoder."""

from dataclasses import replace

import pytest
import torch
from core_helpers import make_agent
from update_helpers import CONFIG, SAMPLING, differing, make_batch, run, snapshot

from rllib_sami.algorithms.sami.contrast import CONTRAST_ARRAYS
from rllib_sami.algorithms.sami.update import sami_update as update

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
    for group in (agent[2].optimizers["encoder"], other[2].optimizers["encoder"]):  # contexts stay as they are
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
    with pytest.raises(ValueError, match="has 20 steps, which cannot be divided by `updates_per_batch`"):
        run(make_batch(), replace(CONFIG, updates_per_batch=3))
