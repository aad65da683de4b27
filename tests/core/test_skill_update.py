"""One update of a skill discovery method: who learns from what, in which order, and that nothing leaks."""

import copy
import math

import numpy as np
import pytest
import torch
from core_helpers import as_tensors, random_episode

from rllib_sami.algorithms.skill_discovery.cic import CICMethod
from rllib_sami.algorithms.skill_discovery.csf import CSFMethod
from rllib_sami.algorithms.skill_discovery.dads import DADSMethod
from rllib_sami.algorithms.skill_discovery.diayn import DIAYNMethod
from rllib_sami.algorithms.skill_discovery.metra import METRAMethod
from rllib_sami.algorithms.skill_discovery.networks import SkillNetworkConfig, SkillNetworks, SkillTrainingNetworks
from rllib_sami.algorithms.skill_discovery.priors import SkillPrior
from rllib_sami.algorithms.skill_discovery.sampling import sample_skill_steps
from rllib_sami.algorithms.skill_discovery.update import (
    SkillUpdateConfig,
    parameter_groups,
    skill_actor_loss,
    skill_critic_loss,
    skill_steps,
    skill_update,
)
from rllib_sami.algorithms.skill_discovery.visr import VISRMethod
from rllib_sami.core.optimization import Optimization
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore

OBS_DIM, ACTION_DIM, SKILL_DIM = 3, 2, 3
METHODS = {
    "csf": CSFMethod(num_negatives=8),
    "csf of pairs": CSFMethod(num_negatives=8, representation_type="mlp"),
    "csf with scalar critics": CSFMethod(num_negatives=8, critic_type="scalar"),
    "csf without the bottleneck": CSFMethod(num_negatives=8, information_bottleneck=False),
    "metra": METRAMethod(),
    "metra of one-hot skills": METRAMethod(skill_prior="one_hot"),
    "metra-c": METRAMethod(num_negatives=8, representation_objective="contrastive"),
    "metra without the bottleneck": METRAMethod(information_bottleneck=False),
    "diayn": DIAYNMethod(),
    "visr": VISRMethod(),
    "cic": CICMethod(neighbours=3),
    "dads": DADSMethod(num_alternatives=4),
}
CONFIG = SkillUpdateConfig(gamma=0.9, tau=0.1, target_entropy=-1.0)


def make_agent(method, lr=1e-2, kind=torch.optim.Adam, rates=None, alpha=0.5, seed=0):
    """Small networks and their optimisers; ``rates`` of some groups differ from ``lr``."""
    torch.manual_seed(seed)
    sizes = SkillNetworkConfig(skill_dim=SKILL_DIM, actor_hidden=[16], critic_hidden=[16], representation_hidden=[16])
    acting = SkillNetworks(OBS_DIM, ACTION_DIM, sizes, method)
    training = SkillTrainingNetworks(acting, alpha)
    return acting, training, optimization_of(acting, training, lr, kind, rates or {})


def optimization_of(acting, training, lr=1e-2, kind=torch.optim.Adam, rates=()):
    groups = parameter_groups(acting, training)
    rates = dict.fromkeys(groups, lr) | dict(rates)
    return Optimization(groups, {name: kind(group, lr=rates[name]) for name, group in groups.items() if group})


def copied(agent, lr=1e-2, kind=torch.optim.SGD):
    """An independent copy of an agent's networks, with new optimisers."""
    acting, training = copy.deepcopy(agent[:2])
    return acting, training, optimization_of(acting, training, lr, kind)


def make_batch(method, size=16, seed=0):
    rng = np.random.default_rng(seed)
    prior = SkillPrior(method.prior, SKILL_DIM)
    store = EpisodeStore(OBS_DIM, ACTION_DIM, 200, {"skill": SKILL_DIM})
    for number, length in enumerate((9, 5, 7, 8)):
        episode = random_episode(rng, length)
        fields = {"skill": prior.sample(rng, 1)[0]}
        parts = (episode.obs, episode.actions, episode.rewards)
        store.add(EpisodePiece(0, 0, 0, *parts, done=True, terminated=number % 2 == 0, fields=fields))
    return as_tensors(sample_skill_steps(store, size, prior, method.num_prior_skills, 1, rng))


def parts(agent):
    """All parameters, by network."""
    acting, training, _ = agent
    lists = {
        "representation": acting.representation.parameters(),
        "auxiliary": training.auxiliary.parameters(),
        "critics": training.critics.parameters(),
        "target critics": training.target_critics.parameters(),
        "actor": acting.actor.parameters(),
        "alpha": [training.log_alpha],
    }
    return {name: [p.detach().clone() for p in some] for name, some in lists.items()}


def changed(before, after):
    return {name for name in before if any((a != b).any() for a, b in zip(before[name], after[name], strict=True))}


def vector(agent):
    return torch.cat([p.flatten() for some in parts(agent).values() for p in some])


@pytest.fixture(params=METHODS, ids=lambda name: name.replace(" ", "-"))
def method(request):
    return METHODS[request.param]


# --- Networks -------------------------------------------------------------------------------------------------------


def test_features_read_the_state_alone_and_critics_are_as_wide_as_what_they_add_up(method):
    acting, training, _ = make_agent(method)
    critics = [[layer for layer in net if isinstance(layer, torch.nn.Linear)] for net in training.critics.nets]
    assert [net[0].in_features for net in critics] == [OBS_DIM + SKILL_DIM + ACTION_DIM] * 2
    assert [net[-1].out_features for net in critics] == [SKILL_DIM if method.has_successor_features else 1] * 2
    assert not torch.equal(critics[0][0].weight, critics[1][0].weight)
    if not isinstance(method, DADSMethod):
        pairs = isinstance(method, CSFMethod) and method.representation_type == "mlp"
        assert acting.representation[0].in_features == OBS_DIM * (2 if pairs else 1)
        assert acting.representation[-1].out_features == SKILL_DIM
    for critic, target in zip(training.critics.parameters(), training.target_critics.parameters(), strict=True):
        assert torch.equal(critic, target)
    assert training.log_alpha.exp().item() == pytest.approx(0.5)


def test_the_actor_has_tanh_units_a_small_last_layer_and_no_bias():
    torch.manual_seed(0)
    wide = SkillNetworkConfig(skill_dim=2, actor_hidden=[400, 400])
    actor = SkillNetworks(OBS_DIM, ACTION_DIM, wide, CSFMethod()).actor
    assert [type(layer).__name__ for layer in actor.net] == ["Linear", "Tanh", "Linear", "Tanh", "OutputLayer"]
    assert actor.log_std_min == pytest.approx(math.log(1e-6))
    assert actor.net[-1].weight.std().item() == pytest.approx(0.1 * math.sqrt(2 / (400 + 4)), rel=0.1)
    assert actor.net[2].weight.abs().max().item() == pytest.approx(math.sqrt(6 / 800), rel=0.01)
    assert all((layer.bias == 0).all() for layer in actor.net if hasattr(layer, "bias"))


# --- Nothing leaks --------------------------------------------------------------------------------------------------


def test_every_trained_parameter_has_one_optimiser_and_the_targets_have_none(method):
    acting, training, optimization = make_agent(method)
    owned = [id(parameter) for group in optimization.groups.values() for parameter in group]
    assert len(owned) == len(set(owned))
    trained = [*acting.parameters(), *training.parameters()]
    targets = {id(parameter) for parameter in training.target_critics.parameters()}
    assert set(owned) == {id(parameter) for parameter in trained} - targets
    assert ("dual" in optimization.groups) == (isinstance(method, METRAMethod) and not method.is_contrastive)


OWNED = {
    "representation": {"representation"},
    "critic": {"critics", "target critics"},
    "actor": {"actor"},
    "alpha": {"alpha"},
}


def test_each_step_moves_its_own_networks_only(method):
    owned = dict(OWNED)
    if isinstance(method, CICMethod):
        owned["representation"] = {"representation", "auxiliary"}
    if isinstance(method, DADSMethod):
        owned["representation"] = {"auxiliary"}
    if isinstance(method, METRAMethod) and not method.is_contrastive:
        owned["dual"] = {"auxiliary"}
    batch = make_batch(method)
    for group, expected in owned.items():
        agent = make_agent(method, lr=0.0, kind=torch.optim.SGD, rates={group: 0.1})
        before = parts(agent)
        skill_update(*agent, batch, CONFIG)
        assert changed(before, parts(agent)) == expected, group


def test_the_losses_of_critics_and_actor_have_no_gradient_elsewhere(method):
    acting, training, optimization = make_agent(method)
    steps, alpha = skill_steps(acting, make_batch(method), CONFIG), training.log_alpha.exp()
    of_critics, _ = skill_critic_loss(acting, training, steps, alpha.detach(), CONFIG)
    of_actor, log_prob = skill_actor_loss(acting, training, steps, alpha.detach())
    assert not log_prob.requires_grad
    for loss, own in ((of_critics, "critic"), (of_actor, "actor")):
        for group, parameters in optimization.groups.items():
            if parameters:
                found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
                assert any(gradient is not None for gradient in found) == (group == own), (own, group)


# --- The order of the steps -----------------------------------------------------------------------------------------


def test_the_steps_come_in_order_and_the_targets_move_between_critics_and_actor(method):
    agent = acting, training, optimization = make_agent(method)
    start, seen = parts(agent), []
    for name, optimizer in optimization.optimizers.items():

        def step(name=name, optimizer=optimizer, take=optimizer.step):
            seen.append((name, changed(start, parts(agent))))
            take()

        optimizer.step = step
    batch = make_batch(method)
    skill_update(acting, training, optimization, batch, CONFIG)
    names = [name for name, _ in seen]
    assert names == [*method.groups, "critic", "actor", "alpha"]
    moved = dict(seen)
    assert moved[names[0]] == set()
    learned = {"auxiliary"} if isinstance(method, DADSMethod) else {"representation"}
    assert learned <= moved["critic"]
    assert not {"critics", "target critics", "actor", "alpha"} & moved["critic"]
    assert {"critics", "target critics"} <= moved["actor"]
    assert not {"actor", "alpha"} & moved["actor"]
    assert {"actor"} <= moved["alpha"]
    assert "alpha" not in moved["alpha"]


def test_the_targets_are_a_moving_average_of_the_critics_after_their_step():
    method = METHODS["csf"]
    agent = make_agent(method)
    before = parts(agent)
    skill_update(*agent, make_batch(method), CONFIG)
    after = parts(agent)
    for old, critic, target in zip(before["target critics"], after["critics"], after["target critics"], strict=True):
        torch.testing.assert_close(target, 0.9 * old + 0.1 * critic, rtol=1e-4, atol=1e-7)


def squashed(actor, obs, skill, noise):
    """Actions and log-probabilities as arXiv:2412.08021 has them, without the constant that keeps logarithms finite."""
    mean, log_std = actor.net(torch.cat([obs, skill], -1)).chunk(2, -1)
    raw = mean + log_std.exp() * noise
    gaussian = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw).sum(-1)
    return raw.tanh(), gaussian - torch.log(1 - raw.tanh() ** 2 + 1e-7).sum(-1)


def one_by_one(agent, batch, rate, deviation=None):
    """CSF's update by gradient descent, written out from the paper, or with a ``deviation`` from it."""
    acting, training, _ = agent
    width = OBS_DIM + ACTION_DIM
    now, after = batch["rows"].unbind(1)
    obs, action, next_obs, skill = now[:, :OBS_DIM], after[:, OBS_DIM:width], after[:, :OBS_DIM], batch["skill"]
    phi, negatives, alpha = acting.representation, batch["prior_skills"], training.log_alpha.exp().detach()

    def descend(loss, parameters):
        parameters = [*parameters]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.data -= rate * gradient

    def values(critics, obs, skill, action):
        return [net(torch.cat([obs, skill, action], -1)) for net in critics.nets]

    before, first_critics = phi(next_obs) - phi(obs), copy.deepcopy(training.critics)
    bound = (before * skill).sum(-1) - 5.0 * torch.stack([before @ z for z in negatives], -1).exp().sum(-1).log()
    descend(-bound.mean(), phi.parameters())
    features = before if deviation == "features from before their step" else phi(next_obs) - phi(obs)

    next_action, next_log_prob = squashed(acting.actor, next_obs, skill, batch["noise"][0])
    candidates = values(training.target_critics, next_obs, skill, next_action)
    first_is_smaller = (candidates[0] * skill).sum(-1, keepdim=True) < (candidates[1] * skill).sum(-1, keepdim=True)
    smaller = torch.where(first_is_smaller, *candidates)
    if deviation == "smaller in each component":
        smaller = torch.minimum(*candidates)
    if deviation == "entropy in the target":
        smaller = smaller - alpha * next_log_prob[:, None]
    target = (features + 0.9 * smaller).detach()
    loss = sum((psi - target).square().mean() for psi in values(training.critics, obs, skill, action))
    descend(loss, training.critics.parameters())

    for old, critic in zip(training.target_critics.parameters(), training.critics.parameters(), strict=True):
        old.data += 0.1 * (critic.data - old.data)

    chosen, log_prob = squashed(acting.actor, obs, skill, batch["noise"][1])
    critics = first_critics if deviation == "critics from before their step" else training.critics
    q = torch.minimum(*[(psi * skill).sum(-1) for psi in values(critics, obs, skill, chosen)])
    descend((alpha * log_prob - q).mean(), acting.actor.parameters())

    descend(-training.log_alpha * (log_prob.detach() + CONFIG.target_entropy).mean(), [training.log_alpha])


DEVIATIONS = (
    "features from before their step",
    "critics from before their step",
    "smaller in each component",
    "entropy in the target",
)


def test_an_update_of_csf_is_the_five_steps_of_the_paper_in_its_order():
    method, rate = METHODS["csf"], 0.5
    agent = make_agent(method, alpha=0.3)
    for some in agent[1].target_critics.parameters():  # as they are after a while: not the critics
        some.data += 0.3 * torch.randn_like(some)
    others = {name: copied(agent) for name in (None, *DEVIATIONS)}
    agent = copied(agent, lr=rate)
    for seed in range(2):
        batch = make_batch(method, seed=seed)
        skill_update(*agent, batch, CONFIG)
        for name, other in others.items():
            one_by_one(other, batch, rate, name)
    errors = {name: (vector(agent) - vector(other)).abs().max().item() for name, other in others.items()}
    assert errors.pop(None) < 1e-5
    assert min(errors.values()) > 1e-3, errors


# --- What critics and actor learn -----------------------------------------------------------------------------------


def both_losses(method, alpha):
    acting, training, _ = make_agent(method)
    steps = skill_steps(acting, make_batch(method), CONFIG)
    loss, metrics = skill_critic_loss(acting, training, steps, torch.tensor(alpha), CONFIG)
    return loss, metrics, (acting, training, steps)


@pytest.mark.parametrize("name", ["csf", "csf of pairs", "visr"])
def test_entropy_is_no_part_of_what_successor_features_add_up(name):
    assert both_losses(METHODS[name], 0.0)[0] == both_losses(METHODS[name], 10.0)[0]


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.has_successor_features])
def test_scalar_critics_value_reward_and_entropy_as_in_sac(name):
    method = METHODS[name]
    loss, metrics, (acting, training, steps) = both_losses(method, 0.7)
    with torch.no_grad():
        action, log_prob = squashed(acting.actor, steps.next_obs, steps.skill, steps.noise[0])
        following = [
            net(torch.cat([steps.next_obs, steps.skill, action], -1))[:, 0] for net in training.target_critics.nets
        ]
        reward = method.reward(acting.representation, training.auxiliary, steps)
        target = reward + 0.9 * (torch.minimum(*following) - 0.7 * log_prob)
        inputs = torch.cat([steps.obs, steps.skill, steps.action], -1)
        values = [net(inputs)[:, 0] for net in training.critics.nets]
    expected = sum(0.5 * (value - target).square().mean() for value in values)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-6)
    assert metrics["q_mean"].item() == pytest.approx(torch.stack(values).mean().item(), rel=1e-4, abs=1e-6)
    assert abs(both_losses(method, 0.0)[0].item() - loss.item()) > 1e-3


@pytest.mark.parametrize("name", ["csf", "diayn"])
@pytest.mark.parametrize("ignore", [True, False])
def test_a_terminal_state_has_no_future_unless_that_is_ignored(name, ignore):
    method = METHODS[name]
    acting, training, _ = make_agent(method)
    batch = make_batch(method)
    assert 0 < batch["terminated"].sum() < len(batch["terminated"])
    config = SkillUpdateConfig(gamma=0.9, target_entropy=-1.0, ignore_termination=ignore)
    losses = []
    for given in (batch, batch | {"terminated": torch.zeros_like(batch["terminated"])}):
        loss, _ = skill_critic_loss(acting, training, skill_steps(acting, given, config), torch.tensor(0.1), config)
        losses.append(loss.item())
    assert (losses[0] == losses[1]) == ignore


def test_without_a_future_the_critics_learn_the_features_themselves():
    method = METHODS["csf"]
    acting, training, optimization = make_agent(method, rates={"representation": 0.0})
    batch, config = make_batch(method), SkillUpdateConfig(gamma=0.0, target_entropy=-1.0)
    steps = skill_steps(acting, batch, config)
    features = method.features(acting.representation, steps).detach()
    for _ in range(400):
        skill_update(acting, training, optimization, batch, config)
    found = training.critics(steps.obs, steps.action, steps.skill).detach()
    errors = (found - features).square().mean(dim=(1, 2))
    assert (errors < 0.02 * features.var()).all()


@pytest.mark.parametrize(("target", "rises"), [(-100.0, False), (100.0, True)])
def test_the_entropy_coefficient_falls_while_there_is_more_entropy_than_wanted(target, rises):
    method = METHODS["csf"]
    agent = make_agent(method)
    metrics = skill_update(*agent, make_batch(method), SkillUpdateConfig(gamma=0.9, target_entropy=target))
    assert metrics["alpha"].item() == pytest.approx(0.5)
    assert (agent[1].log_alpha.exp().item() > 0.5) == rises
    expected = -math.log(0.5) * (-metrics["entropy"].item() + target)
    assert metrics["alpha_loss"].item() == pytest.approx(expected, rel=1e-4)


def test_a_coefficient_without_optimiser_stays():
    method = METHODS["diayn"]
    acting, training, optimization = make_agent(method)
    groups = {name: group for name, group in optimization.groups.items() if name != "alpha"}
    metrics = skill_update(acting, training, Optimization(groups, optimization.optimizers), make_batch(method), CONFIG)
    assert training.log_alpha.exp().item() == pytest.approx(0.5)
    assert "alpha_loss" not in metrics


# --- METRA ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "rises"), [(0.01, False), (50.0, True)])
def test_metras_dual_variable_falls_while_the_constraint_is_slack_and_rises_while_it_is_violated(scale, rises):
    method = METHODS["metra"]
    agent = make_agent(method)
    agent[0].representation[-1].weight.data *= scale
    before = agent[1].auxiliary.log_value.item()
    metrics = skill_update(*agent, make_batch(method), CONFIG)
    assert (metrics["feature_norm_squared"].item() > 1) == rises
    assert (agent[1].auxiliary.log_value.item() > before) == rises
    assert agent[1].auxiliary.log_value.item() != before


def test_metra_with_csfs_loss_is_csf_with_scalar_critics():
    one, other = METHODS["metra-c"], METHODS["csf with scalar critics"]
    agents = [make_agent(method) for method in (one, other)]
    agents[1][0].load_state_dict(agents[0][0].state_dict())
    for network in ("critics", "target_critics"):
        getattr(agents[1][1], network).load_state_dict(getattr(agents[0][1], network).state_dict())
    for seed in range(3):
        batch = make_batch(one, seed=seed)
        of_metra, of_csf = (skill_update(*agent, batch, CONFIG) for agent in agents)
        assert of_metra == of_csf
    same = [{name: some for name, some in parts(agent).items() if name != "auxiliary"} for agent in agents]
    assert changed(*same) == set()


# --- All ------------------------------------------------------------------------------------------------------------


def test_updates_are_finite_move_everything_and_are_the_same_each_time(method):
    runs = []
    for _ in range(2):
        agent = make_agent(method)
        before = parts(agent)
        for seed in range(3):
            metrics = skill_update(*agent, make_batch(method, seed=seed), CONFIG)
            assert all(math.isfinite(value) for value in metrics.values())
        runs.append(vector(agent))
    expected = {*method.metrics, "critic_loss", "q_mean", "actor_loss", "entropy", "alpha", "alpha_loss"}
    assert {name for name in expected if name != "dual" or name in method.groups} == set(metrics)
    assert torch.equal(*runs)
    still = {"representation"} if isinstance(method, DADSMethod) else set()
    has_more = isinstance(method, (CICMethod, DADSMethod)) or (
        isinstance(method, METRAMethod) and not method.is_contrastive
    )
    still |= set() if has_more else {"auxiliary"}
    assert changed(before, parts(agent)) == before.keys() - still
