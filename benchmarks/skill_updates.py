"""The command ``update --algo CSF``: an update ÷ its matrix products, and the time to draw its batch."""

from collections.abc import Callable

import numpy as np
import torch
from floor import product, weights
from measure import Case, Options, figures, interleave, number, repeat, report, spread, table_of
from workloads import EPISODE_LENGTH, HALF_CHEETAH

import rllib_sami
from rllib_sami.algorithms.skill_discovery.networks import SKILL, SkillNetworks, SkillTrainingNetworks
from rllib_sami.algorithms.skill_discovery.skill_discovery import SkillDiscoveryConfig
from rllib_sami.algorithms.skill_discovery.update import parameter_groups, skill_update
from rllib_sami.core.images import ImageShape
from rllib_sami.core.networks import polyak_update
from rllib_sami.core.optimization import Optimization
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore

METHODS = ("CSF", "METRA", "DIAYN", "VISR", "CIC", "DADS")
UPDATES = 50  # drawn at once, as after eight episodes of the paper


class SkillAgent:
    """Networks and optimisers of a method, without Ray.

    Args:
        config: Of the method.
        widths: Of observation and action.
        images: Layout of observations that are images.
    """

    def __init__(
        self, config: SkillDiscoveryConfig, widths: tuple[int, int] = HALF_CHEETAH, images: ImageShape | None = None
    ):
        obs_dim, action_dim = widths
        self.acting = SkillNetworks(obs_dim, action_dim, config.network_config, config.method, images)
        self.training = SkillTrainingNetworks(self.acting, 0.01)
        rates = config.get_default_learner_class().LEARNING_RATE_OF
        groups = {name: some for name, some in parameter_groups(self.acting, self.training).items() if name in rates}
        self.optimizers = {
            name: torch.optim.Adam(some, lr=getattr(config, rates[name]), fused=True) for name, some in groups.items()
        }
        self.optimization = Optimization(groups, self.optimizers)
        self.constants = config.get_update_config(action_dim)

    def update(self, batch: dict[str, torch.Tensor]) -> None:
        """One update, as the learner makes it."""
        skill_update(self.acting, self.training, self.optimization, batch, self.constants)


class SkillFloor:
    """Calling it does the products of one update, forward and backward, and nothing else.

    Those of the method's further networks (CIC, DADS) are left out, so it is a floor for the others.
    """

    def __init__(self, networks: SkillNetworks, critic_width: int, batch_size: int, num_negatives: int):
        obs_dim, action_dim, config = networks.obs_dim, networks.action_dim, networks.config
        skill_dim, self.obs_dim, self.skill_dim, self.action_dim = (
            config.skill_dim,
            obs_dim,
            config.skill_dim,
            action_dim,
        )
        self.representation = weights([obs_dim, *config.representation_hidden, skill_dim])
        self.actor = weights([obs_dim + skill_dim, *config.actor_hidden, 2 * action_dim])
        sizes = [obs_dim + skill_dim + action_dim, *config.critic_hidden, critic_width]
        self.critics, self.targets = ([weights(sizes) for _ in range(2)] for _ in range(2))
        self.states = [torch.randn(batch_size, obs_dim) for _ in range(2)]
        self.actor_inputs = torch.randn(batch_size, obs_dim + skill_dim)
        self.critic_inputs = torch.randn(batch_size, sizes[0])
        self.gradients = [torch.ones(batch_size, critic_width)] * 2
        self.negatives = torch.randn(skill_dim, num_negatives) if num_negatives else None
        self.feature_gradients = [torch.ones(batch_size, skill_dim)] * 2

    def __call__(self) -> None:
        features = [product(states, self.representation) for states in self.states]
        outputs, gradients = list(features), list(self.feature_gradients)
        if self.negatives is not None:
            outputs.append((features[1] - features[0]) @ self.negatives)
            gradients.append(torch.ones_like(outputs[-1]))
        torch.autograd.grad(outputs, self.representation, gradients)
        with torch.no_grad():
            for states in self.states:
                product(states, self.representation)
            product(self.actor_inputs, self.actor)
            for target in self.targets:
                product(self.critic_inputs, target)
        values = [product(self.critic_inputs, critic) for critic in self.critics]
        torch.autograd.grad(values, [weight for critic in self.critics for weight in critic], self.gradients)
        output = product(self.actor_inputs, self.actor)
        inputs = self.critic_inputs.detach().requires_grad_()
        values = [product(inputs, critic) for critic in self.critics]
        (gradient,) = torch.autograd.grad(values, inputs, self.gradients)
        action_gradient = gradient[:, -self.action_dim :]
        torch.autograd.grad(output, self.actor, torch.cat([action_gradient, action_gradient], dim=1))


def skill_updates(name: str, options: Options) -> None:
    """Measures one method with its default configuration, on HalfCheetah."""
    config: SkillDiscoveryConfig = getattr(rllib_sami, f"{name}Config")()
    store = skill_store(config, 20_000 if options.quick else 200_000)
    sampler, rng = config.make_sampler(), np.random.default_rng(0)
    agent = SkillAgent(config)
    arrays = {key: torch.from_numpy(values) for key, values in sampler(store, num_updates=UPDATES, rng=rng).items()}
    batch = {key: values[0] for key, values in arrays.items()}
    width = config.skill_dim if config.method.has_successor_features else 1
    negatives = config.method.num_prior_skills if name in ("CSF", "METRA") else 0
    floor = SkillFloor(agent.acting, width, config.train_batch_size_per_learner, negatives)

    def optimisers() -> None:
        for optimizer in agent.optimizers.values():
            optimizer.step()

    def averages() -> None:
        with torch.no_grad():
            polyak_update(agent.training.target_critics, agent.training.critics, agent.constants.tau)

    calls = 3 if options.quick else 20
    actions: dict[str, Callable[[], int]] = {
        "update": repeat(lambda: agent.update(batch), calls),
        "floor": repeat(floor, calls),
        "sampling": repeat(lambda: sampler(store, num_updates=UPDATES, rng=rng), 1, UPDATES),
    }
    times = interleave(actions, options.rounds)
    parts = interleave({"optimisers": repeat(optimisers, calls), "averages": repeat(averages, calls)}, options.rounds)
    cells = [spread(some.cpu, 1e3) for some in times.values()]
    cells += [number(1e3 * float(np.median(some.cpu))) for some in parts.values()]
    ratio = times["update"].cpu / times["floor"].cpu
    columns = ["", "update", "floor", "sampling", "optimisers", "averages", "÷ floor"]
    title = f"CPU-ms per update: default configuration, HalfCheetah, {config.train_batch_size_per_learner} transitions"
    cases = [
        Case(f"{name} ÷ floor", ratio, target=1.35),
        Case("sampling ÷ update", times["sampling"].cpu / times["update"].cpu, target=0.03),
    ]
    report(
        f"update --algo {name}",
        [table_of(title, columns, [[name, *cells, spread(ratio)]])],
        cases,
        options,
        cpu_ms={side: figures(some.cpu, 1e3) for side, some in (times | parts).items()},
    )


def skill_store(config: SkillDiscoveryConfig, num_steps: int) -> EpisodeStore:
    """A store of whole episodes of noise with skills."""
    rng = np.random.default_rng(0)
    store = EpisodeStore(*HALF_CHEETAH, num_steps + num_steps // EPISODE_LENGTH, config.episode_fields)
    for _ in range(num_steps // EPISODE_LENGTH):
        obs = rng.standard_normal((EPISODE_LENGTH + 1, store.obs_dim), dtype=np.float32)
        actions = rng.uniform(-1, 1, (EPISODE_LENGTH, store.action_dim)).astype(np.float32)
        skill = {SKILL: config.prior.sample(rng, 1)[0]}
        store.add(EpisodePiece(0, 0, 0, obs, actions, np.zeros(EPISODE_LENGTH, np.float32), done=True, fields=skill))
    return store
