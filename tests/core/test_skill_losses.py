"""What each method of skill discovery learns and rewards, against closed forms and numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import gammaln, iv, ive
from torch import nn

from rllib_sami.algorithms.skill_discovery.cic import CICMethod, contrastive_predictive_loss
from rllib_sami.algorithms.skill_discovery.csf import CSFMethod, contrastive_scores
from rllib_sami.algorithms.skill_discovery.dads import DADSMethod, SkillDynamics, predictability_reward
from rllib_sami.algorithms.skill_discovery.diayn import DIAYNMethod
from rllib_sami.algorithms.skill_discovery.method import SkillSteps
from rllib_sami.algorithms.skill_discovery.metra import METRAMethod, constraint_penalty, direction
from rllib_sami.algorithms.skill_discovery.priors import SkillPrior
from rllib_sami.algorithms.skill_discovery.update import successor_loss, successor_target
from rllib_sami.algorithms.skill_discovery.visr import VISRMethod

OBS_DIM, NO_AUXILIARY = 3, nn.Module()


def skills(kind, dim, count, seed=0):
    return torch.from_numpy(SkillPrior(kind, dim).sample(np.random.default_rng(seed), count))


def steps_with(skill, prior_skills=None, seed=0, **given):
    """Random transitions with these skills ``[N, d]``."""
    generator = torch.Generator().manual_seed(seed)
    size, width = skill.shape
    obs, next_obs = torch.randn(2, size, OBS_DIM, generator=generator)
    prior_skills = torch.zeros(0, width) if prior_skills is None else prior_skills
    rest = {"action": torch.zeros(size, 2), "terminated": torch.zeros(size), "noise": torch.zeros(2, size, 2)}
    return SkillSteps(
        **{"obs": obs, "next_obs": next_obs, "skill": skill, "prior_skills": prior_skills, **rest} | given
    )


def linear(rows):
    """Features that are linear in the observation: ``rows`` is their matrix ``[d, O]``."""
    layer = nn.Linear(len(rows[0]), len(rows))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows, dtype=torch.float32))
        layer.bias.zero_()
    return layer


def norm_squared(vectors):
    return (vectors * vectors).sum(-1)


# --- The contrastive objective --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("xi", "num_negatives"), [(5.0, 256), (1.0, 256), (5.0, 10)])
def test_features_that_do_not_move_have_the_loss_xi_log_n(xi, num_negatives):
    method = CSFMethod(xi=xi, num_negatives=num_negatives)
    steps = steps_with(skills("sphere", 2, 6), skills("sphere", 2, num_negatives, seed=1))
    loss, metrics = method.representation_loss(linear([[0.0] * OBS_DIM] * 2), NO_AUXILIARY, steps)
    assert loss.item() == pytest.approx(xi * math.log(num_negatives), rel=1e-6)
    assert metrics["feature_norm_squared"] == 0
    assert method.num_prior_skills == num_negatives


def log_mean_exp(radius, dim):
    """``log E exp(v . z)`` over the unit sphere, for ``v`` of length ``radius``."""
    order = dim / 2 - 1
    return float(gammaln(dim / 2) + order * np.log(2 / radius) + np.log(iv(order, radius)))


@pytest.mark.parametrize("radius", [0.1, 0.408, 1.0, 3.0])
@pytest.mark.parametrize("dim", [2, 4, 8])
def test_the_negative_term_is_the_log_mean_over_the_sphere(radius, dim):
    if dim == 2:
        assert log_mean_exp(radius, 2) == pytest.approx(np.log(iv(0, radius)))
    negatives = skills("sphere", dim, 200_000)
    change = radius * skills("sphere", dim, 3, seed=1)
    without_positive = contrastive_scores(change, torch.zeros_like(change), negatives, xi=1.0)
    found = -without_positive.numpy() - math.log(len(negatives))
    np.testing.assert_allclose(found, log_mean_exp(radius, dim), atol=0.01 * radius)


def test_the_positive_term_is_weighed_with_one_and_the_negative_one_with_xi():
    change, skill, negatives = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0], [0, -1]])
    expected = 2.0 - 5.0 * math.log(math.exp(2.0) + math.exp(-1.0))
    assert contrastive_scores(change, skill, negatives, 5.0).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("dim", "told"), [(2, 0.408), (4, 0.822), (8, 1.654)])
def test_features_free_to_move_align_with_their_skills_at_the_radius_that_xi_sets(dim, told):
    radius = brentq(lambda r: ive(dim / 2, r) / ive(dim / 2 - 1, r) - 1 / 5, 1e-3, 10)
    assert radius == pytest.approx(told, abs=1e-3)
    skill, negatives = skills("sphere", dim, 16), skills("sphere", dim, 20_000, seed=1)
    change = torch.zeros(16, dim, requires_grad=True)
    for _ in range(60):
        (gradient,) = torch.autograd.grad(contrastive_scores(change, skill, negatives, 5.0).sum(), change)
        change.data += 0.3 * gradient
    lengths = change.detach().norm(dim=-1)
    np.testing.assert_allclose(lengths, radius, atol=0.1 * radius)
    assert lengths.mean().item() == pytest.approx(radius, rel=0.02)
    assert (change.detach() * skill).sum(-1).div(lengths).min() > 0.99


def test_features_of_a_step_are_those_of_the_next_state_less_those_of_this_one():
    steps = steps_with(skills("sphere", 2, 5), skills("sphere", 2, 7, seed=1))
    phi = linear([[1.0, 2.0, 0.0], [0.0, -1.0, 1.0]])
    moved = steps.next_obs - steps.obs
    expected = torch.stack([moved[:, 0] + 2 * moved[:, 1], moved[:, 2] - moved[:, 1]], -1)
    torch.testing.assert_close(CSFMethod().features(phi, steps), expected)
    _, metrics = CSFMethod().representation_loss(phi, NO_AUXILIARY, steps)
    assert metrics["feature_norm_squared"].item() == pytest.approx(norm_squared(expected).mean().item(), rel=1e-5)
    both = linear([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    pair = CSFMethod(representation_type="mlp").features(both, steps)
    torch.testing.assert_close(pair, torch.stack([steps.next_obs[:, 0], steps.obs[:, 0]], -1))


def test_the_reward_has_the_positive_term_only_unless_the_bottleneck_is_left_out():
    steps = steps_with(skills("sphere", 2, 5), skills("sphere", 2, 7, seed=1))
    phi = linear([[1.0, 2.0, 0.0], [0.0, -1.0, 1.0]])
    change = phi(steps.next_obs - steps.obs)
    positive = (change * steps.skill).sum(-1)
    negative = torch.stack([change @ z for z in steps.prior_skills]).exp().sum(0).log()
    with_it, without = CSFMethod(critic_type="scalar"), CSFMethod(information_bottleneck=False)
    torch.testing.assert_close(with_it.reward(phi, NO_AUXILIARY, steps), positive)
    torch.testing.assert_close(without.reward(phi, NO_AUXILIARY, steps), positive - 5.0 * negative)
    kinds = (CSFMethod(), CSFMethod(representation_type="mlp"), with_it, without)
    assert [method.has_successor_features for method in kinds] == [True, True, False, False]


# --- Successor features ---------------------------------------------------------------------------------------------


def test_the_target_takes_whichever_critic_has_the_smaller_product_with_the_skill():
    skill = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    first = torch.tensor([[1.0, 5.0], [-4.0, 3.0], [1.0, 0.0], [5.0, 0.0]])  # products 1, 3, -1, 3
    second = torch.tensor([[2.0, -7.0], [6.0, 2.0], [2.0, 1.0], [-5.0, 10.0]])  # products 2, 2, -2, 5
    chosen = torch.tensor([[1.0, 5.0], [6.0, 2.0], [2.0, 1.0], [5.0, 0.0]])
    features = torch.arange(8.0).view(4, 2)
    terminated = torch.tensor([0.0, 0.0, 0.0, 1.0])
    target = successor_target(features, terminated, torch.stack([first, second]), skill, gamma=0.5)
    torch.testing.assert_close(target, features + 0.5 * (1 - terminated)[:, None] * chosen)
    # Twins that change places change nothing; the smaller one in each component would be another target.
    swapped = successor_target(features, terminated, torch.stack([second, first]), skill, gamma=0.5)
    torch.testing.assert_close(swapped, target)
    assert not torch.equal(torch.minimum(first, second)[:3], chosen[:3])


def test_without_a_future_the_target_is_the_features_and_has_no_gradient():
    features = torch.randn(6, 3, requires_grad=True)
    target = successor_target(features, torch.zeros(6), 100 * torch.randn(2, 6, 3), torch.randn(6, 3), gamma=0.0)
    torch.testing.assert_close(target, features.detach())
    assert not target.requires_grad


def test_the_critics_loss_is_averaged_over_steps_and_features_and_summed_over_twins():
    psi = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 4.0], [0.0, 0.0]]])
    loss = successor_loss(psi, torch.zeros(3, 2))
    assert loss.item() == pytest.approx((1 + 4 + 9) / 6 + 16 / 6)


# --- METRA ----------------------------------------------------------------------------------------------------------


def test_the_penalty_sums_over_features_and_is_cut_at_the_slack():
    change = torch.tensor([[0.0, 0.0], [0.8, 0.6], [2.0, 1.0], [0.9997, 0.0]])
    expected = [1e-3, 0.0, -4.0, 1.0 - 0.9997**2]
    torch.testing.assert_close(constraint_penalty(change, 1e-3), torch.tensor(expected), atol=1e-6, rtol=0)
    assert expected[3] < 1e-3


@pytest.mark.parametrize(("scale", "falls"), [(0.01, True), (5.0, False)])
def test_the_dual_variable_falls_while_features_are_close_and_rises_once_they_are_not(scale, falls):
    method, steps = METRAMethod(), steps_with(skills("sphere", 2, 64))
    phi, auxiliary = linear(scale * np.eye(2, OBS_DIM)), METRAMethod().make_auxiliary(OBS_DIM, 2, [4])
    assert auxiliary.log_value.exp().item() == pytest.approx(30.0, rel=1e-5)
    total, metrics = method.representation_loss(phi, auxiliary, steps)
    of_dual, of_phi = torch.autograd.grad(total, [auxiliary.log_value, phi.weight])
    change = (phi(steps.next_obs) - phi(steps.obs)).detach()
    penalty = torch.minimum(1 - norm_squared(change), torch.tensor(1e-3))
    assert of_dual.item() == pytest.approx(penalty.mean().item(), rel=1e-4)
    assert (of_dual > 0) == falls  # a step goes against the gradient
    # φ maximises v . z + λ penalty, whatever the dual variable's own step is.
    change = phi(steps.next_obs) - phi(steps.obs)
    wanted = (change * steps.skill).sum(-1) + 30.0 * constraint_penalty(change, 1e-3)
    torch.testing.assert_close(of_phi, torch.autograd.grad(-wanted.mean(), phi.weight)[0], rtol=1e-4, atol=1e-6)
    assert metrics["representation_loss"].item() == pytest.approx(-wanted.mean().item(), rel=1e-5)
    assert metrics["dual"].item() == pytest.approx(30.0, rel=1e-5)


def test_one_hot_skills_stand_for_centred_and_scaled_directions():
    one_hot = torch.eye(4)[[0, 2]]
    expected = torch.full((2, 4), -1 / 3)
    expected[0, 0] = expected[1, 2] = 1.0
    torch.testing.assert_close(direction(one_hot, True), expected)
    torch.testing.assert_close(direction(one_hot, False), one_hot)
    # In rewards and in the loss.
    method, steps = METRAMethod(skill_prior="one_hot"), steps_with(torch.eye(4)[[0, 2, 2, 1]])
    phi = linear(np.random.default_rng(0).normal(size=(4, OBS_DIM)))
    change = phi(steps.next_obs) - phi(steps.obs)
    others = (change.sum(-1) - (change * steps.skill).sum(-1)) / 3
    reward = (change * steps.skill).sum(-1) - others
    torch.testing.assert_close(method.reward(phi, NO_AUXILIARY, steps), reward, rtol=1e-4, atol=1e-5)
    loss = method.representation_loss(phi, method.make_auxiliary(OBS_DIM, 4, [4]), steps)[1]["representation_loss"]
    wanted = (reward + 30.0 * constraint_penalty(change, 1e-3)).mean()
    assert loss.item() == pytest.approx(-wanted.item(), rel=1e-4)


def test_metra_without_the_bottleneck_is_rewarded_with_what_its_representation_maximises():
    steps = steps_with(skills("sphere", 2, 5), skills("sphere", 2, 7, seed=1))
    phi = linear([[0.3, 0.2, 0.0], [0.0, -0.1, 0.7]])
    for method in (
        METRAMethod(information_bottleneck=False, initial_dual=2.0),
        METRAMethod(information_bottleneck=False, representation_objective="contrastive"),
    ):
        auxiliary = method.make_auxiliary(OBS_DIM, 2, [4])
        reward = method.reward(phi, auxiliary, steps)
        loss = method.representation_loss(phi, auxiliary, steps)[1]["representation_loss"]
        assert reward.mean().item() == pytest.approx(-loss.item(), rel=1e-5)
        plain = METRAMethod().reward(phi, auxiliary, steps)
        torch.testing.assert_close(plain, ((phi(steps.next_obs) - phi(steps.obs)) * steps.skill).sum(-1))
        assert (reward - plain).abs().min() > 1e-3


# --- DIAYN ----------------------------------------------------------------------------------------------------------


def test_diayn_rewards_how_much_likelier_the_next_state_makes_the_skill():
    steps, phi = steps_with(torch.eye(4)[[0, 2, 2, 1, 3]]), linear(np.random.default_rng(0).normal(size=(4, OBS_DIM)))
    reward = DIAYNMethod().reward(phi, NO_AUXILIARY, steps)
    loss, metrics = DIAYNMethod().representation_loss(phi, NO_AUXILIARY, steps)
    rewards, right = [], []
    for next_obs, skill in zip(steps.next_obs.numpy(), [0, 2, 2, 1, 3], strict=True):
        odds = np.exp(phi.weight.detach().numpy() @ next_obs)
        rewards.append(np.log(odds[skill] / odds.sum()) - np.log(1 / 4))
        right.append(odds.argmax() == skill)
    np.testing.assert_allclose(reward.detach(), rewards, rtol=1e-4)
    assert loss.item() == pytest.approx(math.log(4) - np.mean(rewards), rel=1e-5)
    assert metrics["discriminator_accuracy"].item() == pytest.approx(np.mean(right))
    assert 0 < np.mean(right) < 1


def test_a_discriminator_that_knows_nothing_gives_diayn_no_reward():
    steps = steps_with(torch.eye(50)[[0, 7, 49]])
    reward = DIAYNMethod().reward(linear([[0.0] * OBS_DIM] * 50), NO_AUXILIARY, steps)
    torch.testing.assert_close(reward, torch.zeros(3), atol=1e-6, rtol=0)


# --- DADS -----------------------------------------------------------------------------------------------------------


def test_dads_compares_the_skill_with_alternatives():
    log_prob, alternatives = torch.tensor([-1.0, -2.0, 0.0, 0.0]), torch.zeros(4, 3)
    alternatives[0] = torch.tensor([-1.5, -3.0, 0.5])
    alternatives[1] = -2.0  # no better and no worse
    alternatives[2] = -1e4  # impossible
    alternatives[3] = 1e4
    expected = [
        math.log(4) - math.log(1 + math.exp(-0.5) + math.exp(-2.0) + math.exp(1.5)),
        0.0,
        math.log(4) - math.log(1 + 3 * math.exp(-50)),
        math.log(4) - math.log(1 + 3 * math.exp(50)),
    ]
    torch.testing.assert_close(predictability_reward(log_prob, alternatives), torch.tensor(expected))


def moved_dynamics():
    """Dynamics with statistics of their own, and the same in NumPy: ``log_prob(obs, change, skill)``."""
    torch.manual_seed(3)
    dynamics = SkillDynamics(OBS_DIM, 2, [5])
    rng = np.random.default_rng(1)
    for norm in (dynamics.obs_norm, dynamics.change_norm):
        norm.mean.copy_(torch.from_numpy(rng.normal(size=OBS_DIM)))
        norm.variance.copy_(torch.from_numpy(rng.uniform(0.5, 2.0, OBS_DIM)))

    def standardized(norm, values):
        return (values - norm.mean.numpy()) / np.sqrt(norm.variance.numpy())

    def log_prob(obs, change, skill):
        inputs = np.concatenate([standardized(dynamics.obs_norm, obs), skill])
        mean = dynamics.mean(torch.tensor(inputs, dtype=torch.float32)).detach().numpy()
        return -0.5 * np.square(standardized(dynamics.change_norm, change) - mean).sum()

    return dynamics, log_prob


def test_dads_model_is_a_gaussian_of_deviation_one_of_normalised_changes():
    dynamics, log_prob = moved_dynamics()
    steps = steps_with(skills("uniform", 2, 6), skills("uniform", 2, 4, seed=1))
    change = steps.next_obs - steps.obs
    rows = [*zip(steps.obs.numpy(), change.numpy(), steps.skill.numpy(), strict=True)]
    found = dynamics(steps.obs, change, steps.skill).detach()
    np.testing.assert_allclose(found, [log_prob(*row) for row in rows], rtol=1e-4)

    # Each step is compared with all alternatives, and they with its own change.
    reward = DADSMethod(num_alternatives=4).reward(nn.Module(), dynamics, steps).detach()
    expected = [
        math.log(5)
        - math.log(1 + sum(math.exp(log_prob(o, c, other) - log_prob(o, c, z)) for other in steps.prior_skills.numpy()))
        for o, c, z in rows
    ]
    np.testing.assert_allclose(reward, expected, rtol=1e-3, atol=1e-5)
    assert DADSMethod(num_alternatives=4).num_prior_skills == 4


def test_dads_standardises_states_and_changes():
    method, steps = DADSMethod(), steps_with(skills("uniform", 2, 200), skills("uniform", 2, 4, seed=1))
    steps = steps._replace(obs=3 * steps.obs + 1)
    auxiliary = method.make_auxiliary(OBS_DIM, 2, [5])
    change = steps.next_obs - steps.obs
    normalized = method.normalized(nn.Module(), auxiliary, steps)
    assert [norm for norm, _ in normalized] == [auxiliary.obs_norm, auxiliary.change_norm]
    for (norm, given), expected in zip(normalized, (steps.obs, change), strict=True):
        assert torch.equal(given, expected)
        norm.update(given.mean(0), given.var(0, unbiased=False))
    loss, _ = method.representation_loss(nn.Module(), auxiliary, steps)
    normal = [(x - x.mean(0)) / x.var(0, unbiased=False).sqrt() for x in (steps.obs, change)]
    mean = auxiliary.mean(torch.cat([normal[0], steps.skill], -1))
    assert loss.item() == pytest.approx(0.5 * norm_squared(normal[1] - mean).mean().item(), rel=1e-4)


# --- CIC ------------------------------------------------------------------------------------------------------------


def test_cic_rewards_the_distance_to_the_nearest_neighbours():
    method = CICMethod(neighbours=3, distance_clip=0.2)
    steps, phi = steps_with(skills("gaussian", 2, 9)), linear([[0.3, 0.2, 0.0], [0.0, -0.1, 0.7]])
    auxiliary = method.make_auxiliary(OBS_DIM, 2, [4])
    auxiliary.distance.mean.fill_(0.6)
    now, after = phi(steps.obs).detach().numpy(), phi(steps.next_obs).detach().numpy()
    expected = []
    for one in now:
        nearest = sorted(float(np.linalg.norm(one - other)) for other in after)[:3]
        expected.append(math.log(1 + np.mean([max(distance / 0.6 - 0.2, 0.0) for distance in nearest])))
    np.testing.assert_allclose(method.reward(phi, auxiliary, steps).detach(), expected, rtol=1e-4)
    assert min(expected) >= 0
    assert method.neighbours < len(now)
    many = CICMethod(neighbours=100).reward(phi, auxiliary, steps)  # more than there are steps: all of them
    assert many.shape == (9,)


def test_cics_distances_are_relative_to_their_mean():
    method, phi = CICMethod(neighbours=2), linear([[0.3, 0.2, 0.0], [0.0, -0.1, 0.7]])
    auxiliary, steps = method.make_auxiliary(OBS_DIM, 2, [4]), steps_with(skills("gaussian", 2, 9))
    ((norm, given),) = method.normalized(phi, auxiliary, steps)
    expected = torch.cdist(phi(steps.obs), phi(steps.next_obs)).sort(-1).values[:, :2].detach()
    torch.testing.assert_close(given, expected.reshape(-1, 1))
    norm.update(given.mean(0), given.var(0, unbiased=False))
    _, metrics = method.representation_loss(phi, auxiliary, steps)
    assert metrics["neighbour_distance"].item() == pytest.approx(expected.mean().item(), rel=1e-5)


def test_cic_contrasts_skills_with_steps_by_the_angle():
    query, key = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.6, 0.8], [-5.0, 0.0]])
    cosines = np.array([[0.6, -1.0], [0.8, 0.0]]) / 0.5
    expected = -np.mean([cosines[i, i] - np.log(np.exp(cosines[i]).sum()) for i in range(2)])
    assert contrastive_predictive_loss(query, key, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_cics_steps_are_told_by_the_features_of_both_states_and_its_skills_by_themselves():
    method, steps = CICMethod(), steps_with(skills("gaussian", 2, 9))
    phi = linear([[0.3, 0.2, 0.0], [0.0, -0.1, 0.7]])
    auxiliary = method.make_auxiliary(OBS_DIM, 2, [4])
    loss, _ = method.representation_loss(phi, auxiliary, steps)
    keys = auxiliary.key(torch.cat([phi(steps.obs), phi(steps.next_obs)], -1))
    expected = contrastive_predictive_loss(auxiliary.query(steps.skill), keys, 0.5)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


# --- VISR -----------------------------------------------------------------------------------------------------------


def test_visrs_features_are_those_of_the_present_state_on_the_unit_sphere():
    steps, phi = steps_with(skills("sphere", 2, 6)), linear([[0.3, 0.2, 0.0], [0.0, -0.1, 0.7]])
    features = VISRMethod().features(phi, steps)
    torch.testing.assert_close(norm_squared(features), torch.ones(6))
    raw = VISRMethod(normalize_features=False).features(phi, steps)
    torch.testing.assert_close(raw, phi(steps.obs))
    torch.testing.assert_close(features * raw.norm(dim=-1, keepdim=True), raw)
    for method in (VISRMethod(), VISRMethod(normalize_features=False)):  # the loss always has unit features
        loss, metrics = method.representation_loss(phi, NO_AUXILIARY, steps)
        assert loss.item() == pytest.approx(-(features * steps.skill).sum(-1).mean().item(), rel=1e-5)
        assert metrics["feature_norm_squared"].item() == pytest.approx(norm_squared(raw).mean().item(), rel=1e-5)
        assert method.has_successor_features


# --- Skills for goals -----------------------------------------------------------------------------------------------


def test_the_skill_for_a_goal_is_what_the_method_says():
    obs, goal = torch.tensor([[1.0, 0, 0], [0, 2.0, 0]]), torch.tensor([[1.0, 3.0, 0], [-4.0, 2.0, 0]])
    phi = linear([[1.0, 0, 0], [0, 1.0, 0]])  # changes (0, 3) and (-4, 0)
    toward = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(CSFMethod().skill_for_goal(phi, obs, goal), toward)
    torch.testing.assert_close(METRAMethod().skill_for_goal(phi, obs, goal), toward)
    one_hot = METRAMethod(skill_prior="one_hot").skill_for_goal(phi, obs, goal)
    torch.testing.assert_close(one_hot, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    nearer = torch.tensor([[0.0, 5.0, 0.0]]), torch.tensor([[1.0, 4.0, 0.0]])  # the change counts, not the goal
    found = METRAMethod(skill_prior="one_hot").skill_for_goal(phi, *nearer)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(
        VISRMethod().skill_for_goal(phi, obs, goal),
        torch.tensor([[1.0, 3.0], [-4.0, 2.0]]) / torch.tensor([[10], [20]]).sqrt(),
    )
    torch.testing.assert_close(DIAYNMethod().skill_for_goal(phi, obs, goal), torch.eye(2)[[1, 1]])
    pair = linear([[0, 0, 0, 1.0, 0, 0], [1.0, 0, 0, 0, 0, 0]])  # the goal's first number, the state's first
    found = CSFMethod(representation_type="mlp").skill_for_goal(pair, obs, goal)
    torch.testing.assert_close(found, torch.tensor([[0.5**0.5, 0.5**0.5], [-1.0, 0.0]]))


def test_cic_and_dads_find_none():
    methods = (CSFMethod, METRAMethod, DIAYNMethod, VISRMethod, CICMethod, DADSMethod)
    assert [method().finds_skills_for_goals for method in methods] == [True, True, True, True, False, False]
