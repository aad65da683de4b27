"""The mathematics of tasks whose actions are skills: SkiMo, its planner, SPiRL, and windows of skills."""

import copy
import math

import numpy as np
import pytest
import torch
from skimo_helpers import ACTION, BATCH, OBS, SMALL, optimization

from rllib_sami.algorithms.skimo import downstream_update, spirl_update
from rllib_sami.algorithms.skimo.downstream_networks import (
    DownstreamNetworkConfig,
    SkillTaskNetworks,
    SkillTaskTrainingNetworks,
)
from rllib_sami.algorithms.skimo.downstream_update import DownstreamUpdateConfig
from rllib_sami.algorithms.skimo.networks import SkillModel, SkillModelConfig
from rllib_sami.algorithms.skimo.spirl_update import (
    SkillPrior,
    SPiRLNetworkConfig,
    SPiRLTrainingNetworks,
    SPiRLUpdateConfig,
)
from rllib_sami.algorithms.tdmpc.networks import ImaginedReturns
from rllib_sami.algorithms.tdmpc.sampling import sample_windows
from rllib_sami.core.tanh_normal import TanhNormal, divergence
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def task_networks(**settings):
    sizes = {key: value for key, value in SMALL.items() if key != "lstm_units"}
    config = DownstreamNetworkConfig(**sizes, **({"num_plan_samples": 32, "num_plan_elites": 8} | settings))
    acting = SkillTaskNetworks(OBS, 3, config, 0.9)
    model = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL))
    acting.load_model(model)
    training = SkillTaskTrainingNetworks(acting, 1.0)
    return acting, training, model


class TestDownstream:
    def batch(self):
        torch.manual_seed(1)
        noise = torch.randn(2, BATCH, 3, 3)
        return {
            "obs": torch.randn(BATCH, 4, OBS),
            "actions": torch.rand(BATCH, 3, 3) * 2 - 1,
            "rewards": torch.randn(BATCH, 3),
            "terminated": torch.tensor([[0.0, 0.0, 1.0]]).repeat(BATCH, 1),
            "weights": torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).repeat(BATCH // 2, 1),
            "noise": noise[0],
            "next_noise": noise[1],
        }

    def test_it_begins_with_what_was_learned_from_data(self):
        acting, training, model = task_networks()
        obs = torch.randn(5, OBS)
        expected = TanhNormal.of(model.prior(model.state_encoder(obs)))
        for one in (acting.distribution(acting.state_encoder(obs)), training.prior_of(obs)):
            torch.testing.assert_close(one.mean, expected.mean)
            torch.testing.assert_close(one.std, expected.std)
        assert acting.predicted_values(acting.state_encoder(obs), torch.zeros(5, 3)).abs().max() < 0.2

    def test_mixed_precision_rounds_hidden_layers_alone(self):
        results, batch = {}, self.batch()
        for mixed in (False, True):
            torch.manual_seed(0)
            acting, training, _ = task_networks()
            config = DownstreamUpdateConfig(gamma=0.9, mixed_precision=mixed)
            optimizer = optimization(downstream_update.parameter_groups(acting, training))
            results[mixed] = downstream_update.downstream_update(acting, training, optimizer, batch, config)
            seen = []
            acting.policy[0].register_forward_hook(lambda _, __, output, seen=seen: seen.append(output.dtype))
            downstream_update.downstream_update(acting, training, optimizer, batch, config)
            assert seen == [torch.bfloat16 if mixed else torch.float32] * 3  # once for the model, twice for the policy
            with config.precision(torch.device("cpu")):
                latent = acting.state_encoder(batch["obs"])
                assert latent.dtype == acting.distribution(latent).mean.dtype == torch.float32
        assert {value.dtype for value in results[True].values()} == {torch.float32}
        for name in ("consistency_loss", "value_loss", "actor_loss"):
            assert results[True][name] != results[False][name]
            torch.testing.assert_close(results[True][name], results[False][name], atol=2e-2, rtol=2e-2, msg=name)

    @pytest.mark.parametrize("regularized", [False, True])
    def test_the_model_s_loss_is_that_of_its_definition(self, regularized):
        acting, training, _ = task_networks()
        for parameters in (training.target_values.parameters(), training.prior.parameters()):
            for parameter in parameters:
                parameter.data.add_(0.05)
        batch, config = self.batch(), DownstreamUpdateConfig(gamma=0.9, prior_reg_critic=regularized)
        loss, _ = downstream_update.model_loss(acting, training, batch, config)
        obs, z, r, d, w = (batch[name] for name in ("obs", "actions", "rewards", "terminated", "weights"))
        imagined, expected = acting.state_encoder(obs[:, 0]), torch.zeros(3, BATCH)
        for t in range(3):
            here, after = acting.state_encoder(obs[:, t]), acting.state_encoder(obs[:, t + 1])
            policy = acting.distribution(after)
            value = training.target_of(after, policy.sample(batch["next_noise"][:, t]))
            value = value - (divergence(policy, training.prior_of(obs[:, t + 1])) if regularized else 0.0)
            y = (r[:, t] + (1 - d[:, t]) * 0.9 * value).detach()
            both = ((0.5**t, imagined), (1.0, here))
            expected[1] += w[:, t] * sum(c * (acting.predicted_reward(s, z[:, t]) - r[:, t]).square() for c, s in both)
            for number in range(2):
                q = [(c, acting.predicted_values(s, z[:, t])[number]) for c, s in both]
                expected[2] += w[:, t] * sum(c * (one - y).square() for c, one in q)
            imagined = acting.step_latent(imagined, z[:, t])
            target = training.target_encoder(obs[:, t + 1])
            expected[0] += w[:, t] * 0.5**t * (imagined - target).square().mean(-1)
        consistency, reward, value = expected.mean(dim=1)
        torch.testing.assert_close(loss, (2 * consistency + 0.25 * reward + 0.1 * value) / 3)

    @pytest.mark.parametrize("states", ["first", "encoded", "imagined"])
    def test_the_policy_s_loss_is_that_of_its_definition(self, states):
        acting, training, _ = task_networks()
        for parameter in training.prior.parameters():
            parameter.data.add_(0.05)
        training.log_alpha.data.fill_(math.log(0.3))
        batch, config = self.batch(), DownstreamUpdateConfig(gamma=0.9, actor_states=states)
        loss, cost = downstream_update.actor_loss(acting, training, batch, config)
        obs, z, w = batch["obs"], batch["actions"], batch["weights"]
        imagined, expected, costs = acting.state_encoder(obs[:, 0]), 0.0, []
        for t in range(3):
            here = acting.state_encoder(obs[:, t])
            at = {"first": acting.state_encoder(obs[:, 0]), "encoded": here, "imagined": imagined}[states]
            skill = acting.distribution(at).sample(batch["noise"][:, t])
            q = acting.predicted_values(at, skill).amin(0)
            costs.append(divergence(acting.distribution(here), training.prior_of(obs[:, t])))
            expected = expected + (w[:, t] * 0.5**t * (0.3 * costs[-1] - q)).mean() / 3
            imagined = acting.step_latent(imagined, z[:, t])
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(cost, (w * torch.stack(costs, dim=1)).sum() / w.sum())

    @pytest.mark.parametrize("tuned", [True, False])
    def test_an_update_leaves_the_prior_as_it_is(self, tuned):
        acting, training, _ = task_networks()
        before = copy.deepcopy({**acting.state_dict(), **training.state_dict()})
        groups = downstream_update.parameter_groups(acting, training)
        config = DownstreamUpdateConfig(gamma=0.9, tune_alpha=tuned)
        downstream_update.downstream_update(acting, training, optimization(groups), self.batch(), config)
        now = {**acting.state_dict(), **training.state_dict()}
        same = {name for name, value in now.items() if torch.equal(value, before[name])}
        fixed = {name for name in now if name.startswith(("prior.", "prior_encoder.", "horizon", "plan_std"))}
        assert same == fixed | (set() if tuned else {"log_alpha"})
        first = "target_encoder.0.weight"
        moved = before[first].lerp(acting.state_encoder[0].weight, 0.005)
        torch.testing.assert_close(now[first], moved)

    @pytest.mark.parametrize(("target", "sign"), [(1e-3, 1), (1e3, -1)])
    def test_the_coefficient_grows_where_the_policy_is_too_far_from_the_prior(self, target, sign):
        acting, training, _ = task_networks()
        for parameter in acting.policy.parameters():
            parameter.data.add_(0.1)
        config = DownstreamUpdateConfig(gamma=0.9, target_divergence=target)
        groups = downstream_update.parameter_groups(acting, training)
        downstream_update.downstream_update(acting, training, optimization(groups), self.batch(), config)
        assert sign * training.log_alpha.item() > 0


class TestSPiRL:
    def parts(self):
        sizes = {key: value for key, value in SMALL.items() if key != "lstm_units"}
        acting = SkillPrior(OBS, 3, SPiRLNetworkConfig(**sizes, critic_hidden=[64]))
        model = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL))
        acting.load_model(model)
        training = SPiRLTrainingNetworks(acting, 0.5)
        return acting, training, model

    def batch(self):
        noise = torch.randn(2, BATCH, 1, 3)
        given = {"obs": torch.randn(BATCH, 2, OBS), "actions": torch.rand(BATCH, 1, 3) * 2 - 1}
        given |= {"rewards": torch.randn(BATCH, 1), "terminated": torch.tensor([[0.0], [1.0]]).repeat(BATCH // 2, 1)}
        return given | {"noise": noise[0], "next_noise": noise[1]}

    def test_it_begins_as_the_prior(self):
        acting, training, model = self.parts()
        obs = torch.randn(5, OBS)
        expected = TanhNormal.of(model.prior(model.state_encoder(obs)))
        for one in (acting, training.prior):
            torch.testing.assert_close(one.distribution(obs).mean, expected.mean)

    def test_its_losses_are_those_of_its_definition(self):
        acting, training, _ = self.parts()
        for parameter in training.prior.parameters():
            parameter.data.add_(0.05)
        batch, config = self.batch(), SPiRLUpdateConfig(gamma=0.9)
        obs, after = batch["obs"][:, 0], batch["obs"][:, 1]
        nothing = obs.new_zeros(BATCH, 0)
        policy = acting.distribution(after)
        value = training.target_critics(after, policy.sample(batch["next_noise"][:, 0]), nothing).amin(0)
        value = value - 0.5 * divergence(policy, training.prior.distribution(after))
        y = batch["rewards"][:, 0] + 0.9 * (1 - batch["terminated"][:, 0]) * value
        q = training.critics(obs, batch["actions"][:, 0], nothing)
        expected = 0.5 * (q - y).square().mean(1).sum()
        cost = divergence(acting.distribution(obs), training.prior.distribution(obs))
        before = copy.deepcopy(training.prior.state_dict())
        groups = spirl_update.parameter_groups(acting, training)
        metrics = spirl_update.spirl_update(acting, training, optimization(groups), batch, config)
        torch.testing.assert_close(metrics["critic_loss"], expected.detach())
        torch.testing.assert_close(metrics["prior_divergence"], cost.mean().detach())
        # The policy's loss is taken after the critics' step.
        assert all(torch.equal(value, before[name]) for name, value in training.prior.state_dict().items())
        assert (training.log_alpha.exp() > 0.5) == (cost.mean() > 3.0)

    def test_it_learns_what_pays(self):
        acting, training, _ = self.parts()
        groups = spirl_update.parameter_groups(acting, training)

        fast = optimization(groups, rate=1e-2)
        config, wanted = SPiRLUpdateConfig(gamma=0.0, tune_alpha=False), torch.tensor([0.7, -0.5, 0.1])
        training.log_alpha.data.fill_(math.log(1e-3))
        for _ in range(400):
            batch = self.batch()
            batch["rewards"] = -(batch["actions"] - wanted).square().sum(-1)
            spirl_update.spirl_update(acting, training, fast, batch, config)
        mode = acting.distribution(torch.randn(16, OBS)).mode.mean(0)
        torch.testing.assert_close(mode, wanted, atol=0.35, rtol=0.0)


class TestPlanningAgent:
    def act(self, acting, obs, state, noise=None):
        size = len(obs)
        return acting.act(obs, torch.zeros(size, 3), torch.zeros(size, 1), state, noise)

    def test_before_learning_the_policy_chooses(self):
        acting, _, _ = task_networks()
        obs, noise = torch.randn(2, OBS), torch.randn(2, 3)
        state = torch.from_numpy(acting.initial_state(2))
        skill, _, after = self.act(acting, obs, state, noise)
        torch.testing.assert_close(skill, acting.distribution(acting.state_encoder(obs)).sample(noise))
        torch.testing.assert_close(after, state)

    @pytest.mark.parametrize("initial", ["gaussian", "policy"])
    def test_it_plans_for_reward(self, initial, monkeypatch):
        acting, _, _ = task_networks(
            num_plan_iterations=15, num_plan_samples=1024, num_plan_elites=64, initial_plan=initial
        )
        acting.horizon.fill_(2)
        acting.plan_std.fill_(0.05)
        wanted = torch.tensor([0.6, -0.4, 0.2])

        def returns(self, skills, noise):
            return -10 * (skills - wanted).square().sum((-2, -1))

        monkeypatch.setattr(ImaginedReturns, "__call__", returns)
        state = torch.from_numpy(acting.initial_state(2, np.random.default_rng(0)))
        skill, _, state = self.act(acting, torch.randn(2, OBS), state)
        torch.testing.assert_close(skill, wanted.expand(2, 3), atol=0.2, rtol=0.0)
        plan = state[:, :-3].unflatten(1, (3, 3))
        torch.testing.assert_close(plan[:, :2], wanted.expand(2, 2, 3), atol=0.2, rtol=0.0)
        assert (plan[:, 2] == 0).all()
        assert state[:, -3].tolist() == [2, 2]
        assert state[:, -1].tolist() == [1, 1]

    def test_one_sequence_of_the_policy_is_enough_to_begin_with(self):
        acting, _, _ = task_networks(num_plan_policy_samples=1, initial_plan="policy")
        acting.horizon.fill_(2)
        state = torch.from_numpy(acting.initial_state(2, np.random.default_rng(0)))
        assert self.act(acting, torch.randn(2, OBS), state)[0].isfinite().all()

    def test_a_plan_goes_on_where_the_last_one_ended(self):
        # With one iteration and samples that are not spread, the mean stays where it began.
        acting, _, _ = task_networks(num_plan_iterations=1, plan_momentum=0.999999)
        acting.horizon.fill_(3)
        state = torch.from_numpy(acting.initial_state(1, np.random.default_rng(0)))
        before = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
        state[:, :9] = before.flatten()
        state[:, -3] = 3
        _, _, after = self.act(acting, torch.randn(1, OBS), state)
        expected = torch.cat([before[1:], torch.zeros(1, 3)])
        torch.testing.assert_close(after[0, :9].unflatten(0, (3, 3)), expected, atol=1e-4, rtol=0.0)
        state[:, -3] = 2  # of another horizon
        _, _, after = self.act(acting, torch.randn(1, OBS), state)
        torch.testing.assert_close(after[0, :9], torch.zeros(9), atol=1e-4, rtol=0.0)

    def test_an_episode_s_plans_do_not_depend_on_others(self):
        acting, _, _ = task_networks()
        acting.horizon.fill_(3)
        state = torch.from_numpy(acting.initial_state(4, np.random.default_rng(1)))
        obs, noise = torch.randn(4, OBS), torch.randn(4, 3)
        together, _, after = self.act(acting, obs, state, noise)
        alone, _, of_one = self.act(acting, obs[2:3], state[2:3], noise[2:3])
        torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=0.0)
        torch.testing.assert_close(after[2:3], of_one, atol=1e-5, rtol=0.0)


def finished_store(lengths, terminated):
    store = EpisodeStore(1, 1, 200)
    for slot, (length, ended) in enumerate(zip(lengths, terminated, strict=True)):
        obs = 100.0 * slot + np.arange(length + 1, dtype=np.float32)[:, None]
        actions = (obs[:-1] / 1000).astype(np.float32)
        store.add(EpisodePiece(slot, 0, 0, obs, actions, obs[1:, 0], done=True, terminated=ended))
    return store


class TestSkillWindows:
    def draw(self, store, timeout_is_terminal=True, scale=1.0):
        return sample_windows(store, 500, 4, timeout_is_terminal, scale, 2, np.random.default_rng(0))

    def test_windows_are_neighbouring_steps_and_end_with_the_episode_most_often(self):
        batch = self.draw(finished_store([10, 6], [True, False]), scale=0.5)
        obs, rewards = batch["obs"][..., 0], batch["rewards"]
        assert {name: values.shape for name, values in batch.items()} == {
            **{"obs": (2, 500, 5, 1), "actions": (2, 500, 4, 1), "rewards": (2, 500, 4), "terminated": (2, 500, 4)},
            **{"weights": (2, 500, 4), "noise": (2, 500, 4, 1), "next_noise": (2, 500, 4, 1)},
        }
        np.testing.assert_array_equal(np.diff(obs), 1.0)
        np.testing.assert_array_equal(rewards, 0.5 * obs[..., 1:])
        np.testing.assert_allclose(batch["actions"][..., 0], obs[..., :-1] / 1000, rtol=1e-6)
        assert (batch["weights"] == 1).all()
        starts, counts = np.unique(obs[..., 0] % 100 + (obs[..., 0] // 100) * 100, return_counts=True)
        assert set(starts) == {*range(7), *(100 + start for start in range(3))}
        of_first = dict(zip(starts.tolist(), (counts / counts.sum()).tolist(), strict=True))
        assert of_first[6.0] == pytest.approx(0.5 * 4 / 10, abs=0.04)  # steps 6, 7, 8 and 9
        assert of_first[102.0] == pytest.approx(0.5 * 4 / 6, abs=0.04)

    @pytest.mark.parametrize("counts", [True, False])
    def test_a_timeout_ends_the_value_if_it_should(self, counts):
        batch = self.draw(finished_store([10, 6], [True, False]), timeout_is_terminal=counts)
        last = batch["obs"][..., 1:, 0]
        ended = (last == 10) | ((last == 106) & counts)
        np.testing.assert_array_equal(batch["terminated"], ended)

    def test_what_follows_a_short_episode_weighs_nothing(self):
        batch = self.draw(finished_store([2], [True]))
        np.testing.assert_array_equal(batch["weights"], np.broadcast_to([1.0, 1.0, 0.0, 0.0], (2, 500, 4)))
        np.testing.assert_array_equal(batch["terminated"], np.broadcast_to([0.0, 1.0, 0.0, 0.0], (2, 500, 4)))

    def test_nothing_is_drawn_before_an_episode_has_ended(self):
        assert self.draw(EpisodeStore(1, 1, 10)) is None
