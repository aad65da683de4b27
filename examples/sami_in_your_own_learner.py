"""SaMI added to a learner of your own: ``python examples/sami_in_your_own_learner.py``.

``MyLearner`` stands for your algorithm's learner (here REINFORCE on rewards to come). What SaMI needs is marked: a
module that has a context encoder, one class that mixes the contrast in, and an environment that tells its ``task_id``.
"""

import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_sami import ContextTorchRLModule, ContrastLearner, ContrastSampling


class MyModule(ContextTorchRLModule):  # SaMI: brings `encoder`, its state and its contrast
    """A linear Gaussian policy of observation and context."""

    def setup(self):
        """Makes the policy beside the encoder."""
        super().setup()
        self.policy = torch.nn.Linear(self.obs_dim + self.context_dim, 2 * self.action_dim)

    def action_dist_inputs(self, obs, context):
        """Means and log standard deviations."""
        return self.policy(torch.cat([obs, context.detach()], dim=-1))  # the contrast alone trains the encoder


class MyLearner(TorchLearner):
    """REINFORCE: knows nothing of tasks or contexts."""

    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        """Log-probabilities weighted by the discounted rewards to come in the sequence, less their mean."""
        kind = self.module[module_id].get_train_action_dist_cls()
        log_prob = kind.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS]).logp(batch[Columns.ACTIONS])
        returns = batch[Columns.REWARDS].clone()
        for step in reversed(range(returns.shape[1] - 1)):
            returns[:, step] += config.gamma * returns[:, step + 1]
        mask = batch[Columns.LOSS_MASK]
        return -(log_prob * (returns - returns[mask].mean()))[mask].mean()


class MySaMILearner(ContrastLearner, MyLearner):  # SaMI: the contrast comes on top
    """The same with the contrast of skills and tasks."""

    contrast_sampling = ContrastSampling(pairing="skill_task")


config = (
    PPOConfig()  # only its sampling: the learner below has a loss of its own
    .environment("rllib_sami:SaMI/Pendulum-v0")
    .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
    .rl_module(rl_module_spec=RLModuleSpec(module_class=MyModule, model_config={"context_dim": 4}))
    .learners(learner_class=MySaMILearner)
    .training(train_batch_size_per_learner=1600, minibatch_size=400, num_epochs=2, lr=1e-3)
)

if __name__ == "__main__":
    algo = config.build_algo()
    for iteration in range(5):
        results = algo.train()
        bound = results["learners"]["default_policy"].get("sance_bound", float("nan"))
        print(iteration, f"return {results['env_runners']['episode_return_mean']:.0f}, SaNCE bound {bound:.3f} nats")
