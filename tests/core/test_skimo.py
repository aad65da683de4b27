"""The mathematics of pre-training: skills, their policy, prior and dynamics."""

import copy
import itertools

import numpy as np
import pytest
import torch
from skimo_helpers import ACTION, BATCH, OBS, SMALL, optimization

from rllib_sami.algorithms.skimo import pretraining_update
from rllib_sami.algorithms.skimo.networks import SkillModel, SkillModelConfig, SkillPolicyNetworks
from rllib_sami.algorithms.skimo.pretraining_update import PretrainingNetworks, PretrainingUpdateConfig
from rllib_sami.core.precision import fast_bfloat16
from rllib_sami.core.tanh_normal import TanhNormal, divergence, divergence_from_standard


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class TestPretraining:
    def batch(self, num_skills=3):
        steps = num_skills * SMALL["skill_length"]
        return {
            "obs": torch.randn(BATCH, steps + 1, OBS),
            "actions": torch.rand(BATCH, steps, ACTION) * 2 - 1,
            "noise": torch.randn(BATCH, num_skills, SMALL["skill_dim"]),
        }

    def loss(self, model, batch, **settings):
        config = PretrainingUpdateConfig(**settings)
        target = PretrainingNetworks(model).target_encoder
        return pretraining_update.pretraining_loss(model, target, *batch.values(), config)

    @pytest.mark.parametrize("kind", ["mlp", "lstm"])
    def test_the_loss_is_that_of_its_definition(self, kind):
        model, batch = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL, skill_encoder=kind)), self.batch()
        target = copy.deepcopy(model.state_encoder)
        for parameter in target.parameters():
            parameter.data.add_(0.1)
        config = PretrainingUpdateConfig()
        loss, metrics = pretraining_update.pretraining_loss(model, target, *batch.values(), config)
        obs, actions, noise = batch.values()
        cloning = prior = normal = reconstruction = 0.0
        latent = model.state_encoder(obs[:, 0])
        errors = torch.zeros(BATCH)
        for skill in range(3):
            at = slice(4 * skill, 4 * skill + 4)
            encoded = model.skill_policy.encoder(obs[:, at])
            q = model.encode_skills(actions[:, None, at], encoded[:, None])
            z = q.sample(noise[:, skill, None])[:, 0]
            for step in range(4):
                chosen = model.skill_policy(encoded[:, step], z)
                cloning += (chosen - actions[:, 4 * skill + step]).square().mean() / 12
            here = model.state_encoder(obs[:, 4 * skill])
            p = TanhNormal.of(model.prior(here))
            prior += divergence(TanhNormal(q.mean[:, 0], q.std[:, 0]), p).mean() / 3
            normal += divergence_from_standard(q).mean() / 3
            latent = model.dynamics(torch.cat([latent, z], dim=-1))
            errors += 0.5**skill * (latent - target(obs[:, 4 * skill + 4])).square().mean(-1)
        for boundary in range(4):
            mean, std = model.decode(model.state_encoder(obs[:, 4 * boundary]))
            reconstruction -= torch.distributions.Normal(mean, std).log_prob(obs[:, 4 * boundary]).sum(-1).mean() / 4
        expected = 2 * cloning + 1e-4 * normal + prior + (reconstruction + 2 * errors.mean()) / 3
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(metrics["behaviour_cloning_error"], cloning.detach())

    @pytest.mark.parametrize("joint", [True, False])
    def test_only_joint_training_shapes_skills_by_what_they_lead_to(self, joint):
        model, batch = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL)), self.batch()
        off = dict.fromkeys(("cloning_coeff", "skill_kl_coeff", "reconstruction_coeff"), 0.0)
        loss, _ = self.loss(model, batch, joint_training=joint, **off, prior_coeff=0.0)
        gradients = torch.autograd.grad(loss, [*model.skill_encoder.parameters()], allow_unused=True, retain_graph=True)
        assert any(one is not None and one.abs().sum() > 0 for one in gradients) == joint
        loss, _ = self.loss(model, batch, joint_training=joint, **off, consistency_coeff=0.0)
        encoder = torch.autograd.grad(loss, [*model.state_encoder.parameters()], allow_unused=True, retain_graph=True)
        assert any(one is not None and one.abs().sum() > 0 for one in encoder) == joint
        skills = torch.autograd.grad(loss, [*model.skill_encoder.parameters()], allow_unused=True)
        assert all(one is None or one.abs().sum() == 0 for one in skills)  # the prior follows the skills

    @pytest.mark.parametrize("joint", [True, False])
    def test_every_parameter_has_one_optimiser_and_learns(self, joint):
        model = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL))
        groups = pretraining_update.parameter_groups(model, joint)
        assert sorted(id(p) for group in groups.values() for p in group) == sorted(id(p) for p in model.parameters())
        before = copy.deepcopy(model.state_dict())
        config, training = PretrainingUpdateConfig(joint_training=joint), PretrainingNetworks(model)
        target = copy.deepcopy(training.target_encoder.state_dict())
        pretraining_update.pretraining_update(model, training, optimization(groups), self.batch(), config)
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {*dict(model.named_parameters())}
        for name, value in training.target_encoder.state_dict().items():
            torch.testing.assert_close(value, target[name].lerp(model.state_encoder.state_dict()[name], 0.005))

    @pytest.mark.skipif(not fast_bfloat16(), reason="needs a CPU with bfloat16")
    @pytest.mark.parametrize("kind", ["mlp", "lstm"])
    def test_mixed_precision_keeps_the_losses_in_float32(self, kind):
        results, batch = {}, self.batch()
        for mixed in (False, True):
            torch.manual_seed(0)
            model = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL, skill_encoder=kind))
            optimizer = optimization(pretraining_update.parameter_groups(model, True))
            config = PretrainingUpdateConfig(mixed_precision=mixed)
            results[mixed] = pretraining_update.pretraining_update(
                model, PretrainingNetworks(model), optimizer, batch, config
            )
        for name, value in results[True].items():
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, results[False][name], atol=2e-2, rtol=2e-2, msg=name)
        assert results[True]["behaviour_cloning_error"] != results[False]["behaviour_cloning_error"]

    def test_it_learns_the_actions_of_skills(self):
        model = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL))
        training = PretrainingNetworks(model)
        optimizer, batch = optimization(pretraining_update.parameter_groups(model, True)), self.batch()
        errors = [
            float(
                pretraining_update.pretraining_update(model, training, optimizer, batch, PretrainingUpdateConfig())[
                    "behaviour_cloning_error"
                ]
            )
            for _ in range(300)
        ]
        assert errors[-1] < 0.5 * errors[0]


class TestSkillModelActs:
    def test_a_skill_lasts_as_long_as_it_should(self):
        model = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL))
        state = torch.from_numpy(model.initial_state(2, np.random.default_rng(0)))
        skills = []
        for _ in range(9):
            _, _, state = model.act(torch.randn(2, OBS), torch.zeros(2, ACTION), torch.zeros(2, 1), state)
            skills.append(state[:, :3])
        same = [bool(torch.equal(a, b)) for a, b in itertools.pairwise(skills)]
        assert same == [True, True, True, False] * 2
        assert not torch.equal(skills[0][0], skills[0][1])  # two episodes

    def test_episodes_repeat_with_their_seed_alone(self):
        model, obs = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL)), torch.randn(1, OBS)
        other = torch.randn(1, OBS)
        state = torch.from_numpy(model.initial_state(2, np.random.default_rng(3)))
        rest = torch.zeros(2, ACTION), torch.zeros(2, 1)
        both, _, _ = model.act(torch.cat([obs, other]), *rest, state)
        alone, _, _ = model.act(obs, *(part[:1] for part in rest), state[:1])
        torch.testing.assert_close(both[:1], alone)

    def test_the_policy_of_skills_is_a_copy_that_reads_them_after_the_observation(self):
        model = SkillModel(OBS, ACTION, SkillModelConfig(**SMALL))
        networks = SkillPolicyNetworks(model)
        obs, skill = torch.randn(5, OBS), torch.rand(5, 3)
        rest = torch.zeros(5, ACTION), torch.zeros(5, 1), torch.zeros(5, 0)
        action, _, _ = networks.act(torch.cat([obs, skill], dim=1), *rest)
        expected = model.skill_policy(model.skill_policy.encoder(obs), skill)
        torch.testing.assert_close(action, expected)
        in_numpy, _, state = networks.array_step().act(
            torch.cat([obs, skill], dim=1).numpy(), *(part.numpy() for part in rest)
        )
        np.testing.assert_allclose(in_numpy, expected.detach(), atol=1e-6)
        assert state.shape == (5, 0)
        model.skill_policy.net[0].weight.data.zero_()
        torch.testing.assert_close(networks.act(torch.cat([obs, skill], dim=1), *rest)[0], action)
