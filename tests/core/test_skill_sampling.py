"""Skills as they are drawn, and batches of steps with the skills of their episodes."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from core_helpers import as_tensors, make_episode
from scipy import stats

from rllib_sami.algorithms.skill_discovery.csf import CSFMethod
from rllib_sami.algorithms.skill_discovery.networks import SkillNetworkConfig, SkillNetworks
from rllib_sami.algorithms.skill_discovery.priors import SkillPrior
from rllib_sami.algorithms.skill_discovery.sampling import sample_skill_steps
from rllib_sami.algorithms.skill_discovery.update import SkillUpdateConfig, skill_steps
from rllib_sami.replay_buffers.episode_store import EpisodeStore

LENGTHS = {1: 2, 2: 40, 3: 7, 4: 1, 5: 20, 6: 5}  # by episode number; the last one stays open
TERMINATED = {2, 4}
OPEN_STEPS = 3  # of episode 6
SPHERE = SkillPrior("sphere", 2)


# --- Priors ---------------------------------------------------------------------------------------------------------


def drawn(kind, dim, *shape):
    return SkillPrior(kind, dim).sample(np.random.default_rng(0), *shape)


@pytest.mark.parametrize("kind", ["sphere", "one_hot", "gaussian", "uniform"])
def test_skills_have_the_shape_that_is_asked_for_and_float32(kind):
    skills = drawn(kind, 3, 4, 5)
    assert skills.shape == (4, 5, 3)
    assert skills.dtype == np.float32
    assert len(np.unique(skills.reshape(20, 3), axis=0)) == (3 if kind == "one_hot" else 20)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_skills_on_the_sphere_have_length_one_and_no_preferred_direction(dim):
    skills = drawn("sphere", dim, 20_000)
    np.testing.assert_allclose(np.linalg.norm(skills, axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(skills.mean(0), 0.0, atol=0.03)
    np.testing.assert_allclose(skills.T @ skills / len(skills), np.eye(dim) / dim, atol=0.03)


def test_directions_in_the_plane_are_evenly_spread():
    skills = drawn("sphere", 2, 20_000)
    angles = np.arctan2(skills[:, 1], skills[:, 0]) / (2 * np.pi) + 0.5
    assert stats.kstest(angles, "uniform").pvalue > 1e-3


def test_one_hot_skills_are_equally_likely():
    skills = drawn("one_hot", 5, 5_000)
    assert (np.sort(skills, axis=-1) == [0, 0, 0, 0, 1]).all()
    assert stats.chisquare(skills.sum(0)).pvalue > 1e-3


def test_uniform_skills_fill_their_range_and_gaussian_ones_are_standard():
    for number in range(3):
        uniform, gaussian = (drawn(kind, 3, 20_000)[:, number] for kind in ("uniform", "gaussian"))
        assert stats.kstest(uniform, "uniform", (-1.0, 2.0)).pvalue > 1e-3
        assert stats.kstest(gaussian, "norm").pvalue > 1e-3


@pytest.mark.parametrize(("count", "expected"), [(48, [12] * 4), (10, [3, 3, 2, 2]), (3, [1, 1, 1, 0])])
def test_an_evaluation_plays_each_one_hot_skill_equally_often(count, expected):
    skills = SkillPrior("one_hot", 4).spread(np.random.default_rng(0), count)
    assert (skills.sum(-1) == 1).all()
    assert skills.sum(0).tolist() == expected


@pytest.mark.parametrize("kind", ["sphere", "gaussian", "uniform"])
def test_of_other_priors_an_evaluation_draws(kind):
    prior = SkillPrior(kind, 3)
    np.testing.assert_array_equal(
        prior.spread(np.random.default_rng(0), 48), prior.sample(np.random.default_rng(0), 48)
    )


# --- Batches --------------------------------------------------------------------------------------------------------


def skill_of(number):
    return np.float32([np.cos(number), np.sin(number)])


def make_store(capacity=200, numbers=tuple(LENGTHS)) -> EpisodeStore:
    """Episodes whose every number is ``episode + step / 1000``, in pieces; their skills tell the number too."""
    store = EpisodeStore(2, 1, capacity, {"skill": 2})
    for number in numbers:
        episode = make_episode(number, LENGTHS[number], terminated=number in TERMINATED)
        length = stored_length(number)
        for begin in range(0, length, 3):
            piece = episode.piece(slot=number, begin=begin, end=min(begin + 3, length))
            assert store.add(replace(piece, fields={"skill": skill_of(number)}))
    return store


def stored_length(number):
    return OPEN_STEPS if number == 6 else LENGTHS[number]


def sample(store, batch_size=50, num_updates=40, seed=0, num_prior_skills=4):
    return sample_skill_steps(store, batch_size, SPHERE, num_prior_skills, num_updates, np.random.default_rng(seed))


def decode(row):
    """Episode number and step of rows ``[..., F]``."""
    number = np.floor(row[..., 0] + 1e-4)
    return number.astype(int), np.round((row[..., 0] - number) * 1000).astype(int)


def test_a_pair_is_a_step_and_what_came_of_it_and_never_crosses_a_reset():
    rows = sample(make_store())["rows"]
    assert rows.shape == (40, 50, 2, 4)
    (number, step), (next_number, next_step) = decode(rows[:, :, 0]), decode(rows[:, :, 1])
    np.testing.assert_array_equal(next_number, number)
    np.testing.assert_array_equal(next_step, step + 1)
    np.testing.assert_allclose(rows[:, :, 1, 2], -(number + step / 1000), atol=1e-5)  # the action in between
    assert (step < np.vectorize(stored_length)(number)).all()
    assert set(number.flat) == set(LENGTHS)


def test_nor_does_it_once_old_episodes_are_overwritten():
    store = make_store(capacity=60, numbers=(2, 3, 5, 1, 4, 6))
    assert 2 not in decode(store.rows[store.episodes["start"]])[0]  # the longest one had to go
    batch = sample(store)
    (number, step), (next_number, next_step) = decode(batch["rows"][:, :, 0]), decode(batch["rows"][:, :, 1])
    np.testing.assert_array_equal(next_number, number)
    np.testing.assert_array_equal(next_step, step + 1)
    np.testing.assert_array_equal(batch["skill"], np.stack([skill_of(n) for n in number.flat]).reshape(40, 50, 2))
    assert set(number.flat) == {1, 3, 4, 5, 6}


def test_the_skill_of_a_row_is_that_of_its_episode():
    batch = sample(make_store())
    number, _ = decode(batch["rows"][:, :, 0])
    expected = np.stack([skill_of(n) for n in number.flat]).reshape(40, 50, 2)
    np.testing.assert_array_equal(batch["skill"], expected)


def test_all_steps_are_equally_likely_however_long_their_episodes_are():
    number, step = decode(sample(make_store(), batch_size=500)["rows"][:, :, 0])
    counts = Counter(zip(number.flat, step.flat, strict=True))
    every = [(number, step) for number in LENGTHS for step in range(stored_length(number))]
    assert set(counts) == set(every)
    assert stats.chisquare([counts[pair] for pair in every]).pvalue > 1e-3


def test_only_the_last_step_of_a_terminated_episode_is_terminal():
    batch = sample(make_store(), batch_size=200)
    number, step = decode(batch["rows"][:, :, 0])
    last = step == np.vectorize(LENGTHS.get)(number) - 1
    np.testing.assert_array_equal(batch["terminated"], (np.isin(number, list(TERMINATED)) & last).astype(np.float32))
    assert batch["terminated"].any()
    assert (last & (batch["terminated"] == 0)).any()  # an episode that was cut off goes on


@pytest.mark.parametrize("ignore", [True, False])
def test_what_is_terminal_can_be_ignored(ignore):
    batch = as_tensors(sample(make_store(), batch_size=200))
    networks = SkillNetworks(2, 1, SkillNetworkConfig(actor_hidden=[4], representation_hidden=[4]), CSFMethod())
    constants = SkillUpdateConfig(gamma=0.99, target_entropy=-1.0, ignore_termination=ignore)
    steps = skill_steps(networks, batch, constants)
    assert batch["terminated"].any()
    assert torch.equal(steps.terminated, torch.zeros(200) if ignore else batch["terminated"])
    # The columns of the rows are where they belong.
    rows = batch["rows"]
    for found, expected in (
        (steps.obs, rows[:, 0, :2]),
        (steps.action, rows[:, 1, 2:3]),
        (steps.next_obs, rows[:, 1, :2]),
        (steps.skill, batch["skill"]),
    ):
        assert torch.equal(found, expected)


def test_further_skills_of_the_prior_and_noise_are_fresh_for_each_update():
    batch = sample(make_store(), num_prior_skills=256)
    skills, noise = batch["prior_skills"], batch["noise"]
    assert skills.shape == (40, 256, 2)
    np.testing.assert_allclose(np.linalg.norm(skills, axis=-1), 1.0, atol=1e-6)
    assert len(np.unique(skills.reshape(-1, 2), axis=0)) > 10_000
    assert noise.shape == (40, 2, 50, 1)
    assert abs(noise.std() - 1) < 0.05
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.1
    assert sample(make_store(), num_prior_skills=0)["prior_skills"].shape == (40, 0, 2)


def test_the_same_seed_gives_the_same_batch():
    store = make_store()
    first, again, other = (sample(store, seed=seed) for seed in (1, 1, 2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        assert (value != other[name]).any()
