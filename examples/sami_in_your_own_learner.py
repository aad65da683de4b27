"""SaMI added to your own learner: ``python examples/sami_in_your_own_learner.py``.

``MyLearner`` stands for your algorithm's learner (here REINFORCE). What SaMI needs is marked: a module with a context
encoder, a class that adds the contrast to the learner, and an environment that reports its ``task_id``.
"""

import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_sami import ContextTorchRLModule, ContrastLearner, ContrastSampling


class MyModule(ContextTorchRLModule):  # SaMI: adds `encoder`, its state and its contrast
    """A linear Gaussian policy that reads observation and context."""

    def setup(self):
        """Creates the policy."""
        super().setup()
        self.policy = torch.nn.Linear(self.obs_dim + self.context_dim, 2 * self.action_dim)

    def action_dist_inputs(self, obs, context):
        """Means and log standard deviations."""
        return self.policy(torch.cat([obs, context.detach()], dim=-1))  # only the contrast trains the encoder


class MyLearner(TorchLearner):
    """REINFORCE: knows nothing of tasks or contexts."""

    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        """Log-probabilities weighted by the discounted reward-to-go in the sequence, minus its mean."""
        kind = self.module[module_id].get_train_action_dist_cls()
        log_prob = kind.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS]).logp(batch[Columns.ACTIONS])
        returns = batch[Columns.REWARDS].clone()
        for step in reversed(range(returns.shape[1] - 1)):
            returns[:, step] += config.gamma * returns[:, step + 1]
        mask = batch[Columns.LOSS_MASK]
        return -(log_prob * (returns - returns[mask].mean()))[mask].mean()


class MySaMILearner(ContrastLearner, MyLearner):  # SaMI: adds the contrast
    """REINFORCE with the contrast of skills and tasks."""

    contrast_sampling = ContrastSampling(pairing="skill_task")


config = (
    PPOConfig()  # only for sampling: the learner has its own loss
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
