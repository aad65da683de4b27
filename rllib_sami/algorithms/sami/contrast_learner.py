"""The contrast for your own learners: a store of recent episodes and one more term in the loss."""

import logging
from functools import partial
from typing import Any

import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.annotations import override
from ray.util.debug import log_once

from rllib_sami import compat
from rllib_sami.algorithms.base.learner import RestorableLearner, average_gradients
from rllib_sami.algorithms.sami.sampling import ContrastSampling, sample_contrast
from rllib_sami.core.env_values import TaskIdRule, TaskIds
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

logger = logging.getLogger(__name__)
RECENT_EPISODES = "recent_episodes"


class ContrastLearner(RestorableLearner):
    """Adds the contrastive loss to another learner; a mixin that comes before it.

    .. code-block:: python

        class MySaMILearner(ContrastLearner, MyLearner):
            contrast_sampling = ContrastSampling(pairing="skill_task")

    ``MyLearner`` may be any ``TorchLearner`` that learns from episodes with one module and one loss, such as
    ``PPOTorchLearner`` or your own. The module must be a ``rllib_sami.ContextTorchRLModule``. Arriving episodes are
    stored with their task and return before any of RLlib's connectors changes them. Each gradient step draws a contrast
    from the store and adds its loss to yours; then the key encoder moves towards the encoder.

    With several learners, gradients are averaged. RLlib cuts episodes so that each learner gets the same number of
    steps. An episode whose pieces go to different learners is not contrasted, so each learner contrasts fewer episodes.

    Attributes:
        contrast_sampling: Which of the recent episodes are contrasted, and how many; without ``pairing`` there is no
            contrast.
        contrast_capacity: Environment steps of recent episodes that are stored, also in checkpoints.
        task_id_rule: Whether the infos of resets must have task ids: ``"each reset"``, or ``"each reset or none"``; in
            the latter case, episodes without task ids count as one task.
    """

    contrast_sampling: ContrastSampling = ContrastSampling(pairing="skill_task")
    contrast_capacity: int = 50_000
    task_id_rule: TaskIdRule = "each reset or none"

    @override(TorchLearner)
    def build(self) -> None:
        super().build()
        module = self._context_module(compat.DEFAULT_MODULE_ID)
        self.recent_episodes = TaskEpisodeReplayBuffer(
            module.obs_dim,
            module.action_dim,
            partial(sample_contrast, config=self.contrast_sampling),
            capacity=self.contrast_capacity,
            seed=self.config.seed,
        )
        self.recent_episodes.task_ids = TaskIds(self.task_id_rule)
        self._contrast_metrics: list[dict[str, torch.Tensor]] = []  # one per update since the last report
        if self.contrast_sampling.pairing is not None:
            compat.prepend_learner_connector(self, _StoreEpisodes(self.recent_episodes))

    def _context_module(self, module_id: str) -> Any:
        module: Any = self.module.get(module_id)
        if not (hasattr(module, "encoder") and hasattr(module, "contrast")):
            raise ValueError(
                f"{type(self).__name__} needs a ContextTorchRLModule (with `encoder` and `contrast`) as module "
                f"{module_id!r}, but got {type(module).__name__}. Set `rl_module(rl_module_spec=RLModuleSpec("
                "module_class=...))` to a subclass of it."
            )
        return module

    @override(TorchLearner)
    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out) -> torch.Tensor:
        loss = super().compute_loss_for_module(module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
        arrays = self.recent_episodes.sample(num_updates=1)
        if arrays is None:  # still too few episodes
            return loss
        contrast = {name: torch.as_tensor(values[0], device=self._device) for name, values in arrays.items()}
        module = self._context_module(module_id)
        weighted_loss, metrics = module.contrast(module.encoder, contrast)
        self._contrast_metrics.append(metrics)
        return loss + weighted_loss

    @override(TorchLearner)
    def get_parameters(self, module) -> list[torch.nn.Parameter]:
        return [parameter for parameter in module.parameters() if parameter.requires_grad]  # not the key encoder's

    @override(TorchLearner)
    def compute_gradients(self, loss_per_module, **kwargs) -> dict[Any, torch.Tensor]:
        gradients = super().compute_gradients(loss_per_module, **kwargs)
        # Parameters that no loss depends on, such as the encoder's before the first contrast, do not change.
        gradients = {
            key: torch.zeros_like(self._params[key]) if gradient is None else gradient
            for key, gradient in gradients.items()
        }
        if self.config.num_learners > 1:
            gradients = dict(zip(gradients, average_gradients(list(gradients.values())), strict=True))
        return gradients

    @override(TorchLearner)
    def apply_gradients(self, gradients_dict) -> None:
        super().apply_gradients(gradients_dict)
        for module_id in self.module.keys():  # noqa: SIM118 (an RLModule, no dict)
            module = self._context_module(module_id)
            module.contrast.follow(module.encoder)

    @override(TorchLearner)
    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().after_gradient_based_update(timesteps=timesteps)
        several, self._contrast_metrics = self._contrast_metrics, []
        for name in several[-1] if several else ():  # means, because one update contrasts few episodes
            # Before there is a second task, there are fewer metrics.
            mean = torch.stack([metrics[name] for metrics in several if name in metrics]).mean()
            self.metrics.log_value((compat.DEFAULT_MODULE_ID, name), mean, window=1)

    @override(TorchLearner)
    def get_state(self, components=None, *, not_components=None, **kwargs) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(RECENT_EPISODES, components, not_components):
            state[RECENT_EPISODES] = self.recent_episodes.get_state()
        return state

    @override(TorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if RECENT_EPISODES in state:
            self.recent_episodes.set_state(state[RECENT_EPISODES])


class _StoreEpisodes(ConnectorV2):
    """Adds a learner's episodes to its store and passes everything on unchanged."""

    def __init__(self, recent_episodes: TaskEpisodeReplayBuffer):
        super().__init__()
        self._recent_episodes = recent_episodes

    @override(ConnectorV2)
    def __call__(self, *, batch: dict[str, Any], episodes: list[SingleAgentEpisode], **kwargs) -> dict[str, Any]:
        capacity = self._recent_episodes.store.capacity
        short = [episode for episode in episodes if episode.t_started + len(episode) < capacity]
        if len(short) < len(episodes) and log_once("contrast-capacity"):
            logger.warning(
                "Episodes of %d or more steps are not contrasted. Raise `contrast_capacity`, or let the environment "
                "end its episodes.",
                capacity,
            )
        self._recent_episodes.add(sorted(short, key=lambda episode: episode.t_started))
        # Every environment sends something in every round, unless it is lost.
        self._recent_episodes.drop_all_but(episodes)
        return batch
