"""Task inference that was learned on a toy, at work on another body.

A frozen agent of the toy reads the body through the toy's eyes. One step of the toy is a stride: several steps of the
body, in which a frozen low-level policy carries out a command. Two environments differ in what is chosen in them:
:class:`StridingEnv` the number of steps of each stride, :class:`HighLevelEnv` the commands.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from rllib_sami.core.inferred_tasks import InferredTask
from rllib_sami.core.settings import is_integer
from rllib_sami.envs.reuse.families import quantity_of
from rllib_sami.hierarchy.commands import PLACE, RANGES, Command, CommandEnv, Ranges, command_within
from rllib_sami.hierarchy.frozen_inference import FrozenInference
from rllib_sami.hierarchy.frozen_policy import FrozenPolicy
from rllib_sami.hierarchy.latent_action_env import LatentActionEnv

MAX_STRIDE = 20
# Who gives commands: the toy's agent; the same without its latent; the task itself; chance; nobody.
GUIDES = ("toy", "masked", "oracle", "random", "still")


class StrideChooser:
    """Chooses the steps of strides: always the same number, or what a policy of :class:`StridingEnv` chooses.

    Args:
        fixed_stride: The number; None: ``policy`` chooses.
        policy: Reads proprioception, and the command's slots as its latent.
    """

    def __init__(self, fixed_stride: int | None, policy: FrozenPolicy | None = None):
        self._fixed_stride, self._policy = fixed_stride, policy

    def begin(self) -> None:
        """Begins an episode."""
        if self._policy is not None:
            self._policy.begin()

    def __call__(self, proprioception: np.ndarray, slots: np.ndarray) -> int:
        """Returns the steps of the next stride, given ``[P]`` and ``[G]``."""
        if self._policy is None:
            assert self._fixed_stride is not None
            return self._fixed_stride
        return stride_of(self._policy.act(proprioception, slots)[0])


class TransferEnv(LatentActionEnv):
    """What both environments share: a body on which frozen agents of a toy and of the body itself act.

    A reward of the body's, as the agent of the toy reads it, is that of a stride's last step. Infos have ``env_steps``,
    the steps of the stride, and ``command``, its :class:`Command`.

    Args:
        body: The body with its task: attributes ``proprioception``, ``quantity(name)``, and rewards like the toy's.
        low_level: Carries out commands: reads ``proprioception`` and slots of ``quantities``.
        quantities: What it can be commanded, in the order of its slots.
        toy: The toy's environment, with ``observe_body`` and ``command_of``.
        inference: The toy's agent.
        ranges: Least and largest magnitude of the commands that the low level has learned, by quantity.
    """

    reward_tells_task = False  # the agents of these environments need not infer the task

    def __init__(
        self,
        body: gym.Env,
        low_level: FrozenPolicy,
        quantities: Sequence[str],
        toy: Any,
        inference: FrozenInference,
        ranges: Ranges = RANGES,
    ):
        state = "proprioception"
        super().__init__(
            body, low_level, steps=MAX_STRIDE, to_obs=lambda obs: body.get_wrapper_attr(state), store_steps=True
        )
        self.quantities, self.toy, self.inference, self.ranges = tuple(quantities), toy, inference, ranges
        self.quantity = body.get_wrapper_attr("quantity")
        self.command = Command(self.quantities[0], 0.0)
        self._toy_action = np.zeros(1)

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]
        """That of the body: what it is wrapped in is made by ``Reuse/…`` and takes agents, not settings."""
        return self.env.spec

    def inferred_task(self) -> InferredTask:
        """Returns what the toy's agent infers of the task."""
        return self.inference.inferred

    def num_steps(self, action: np.ndarray) -> int:
        """The steps of a stride, which are also written into pictures."""
        steps = self.stride_steps(action)
        self._write_notes(f"stride: {steps}")
        return steps

    def stride_steps(self, action: np.ndarray) -> int:
        """The steps of a stride that an action begins."""
        raise NotImplementedError

    def _write_notes(self, *notes: str) -> None:
        if self.render_mode is not None:
            family = [f"inferred: {self.inference.family}"] if self.inference.family else []
            self.env.set_wrapper_attr("notes", [*family, *notes], force=False)

    def latent(self, action: np.ndarray, obs: Any) -> np.ndarray:
        """What the low level reads of the command."""
        return self.command.slots(self.quantities, self.env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the body; the toy's agent begins an episode."""
        _, info = super().reset(seed=seed, options=options)
        self._last_obs = self.obs
        self.inference.begin(int(self.env.unwrapped.np_random.integers(2**31)))
        self._toy_action = self.inference.act(self.toy.observe_body(self.quantity))
        self._write_notes()
        return self.observe(), info

    def stride(self, action: np.ndarray) -> tuple[float, bool, bool, dict[str, Any]]:
        """Runs the steps of a stride; returns their summed reward, whether the episode ended, and the info."""
        self._last_obs, reward, terminated, truncated, info = LatentActionEnv.step(self, action)
        last_reward = float(info.pop("inner")["rewards"][-1])
        self._toy_action = self.inference.act(self.toy.observe_body(self.quantity), last_reward)
        return reward, terminated, truncated, {**info, "command": self.command}

    def observe(self) -> np.ndarray:
        """Returns the observation, float32."""
        raise NotImplementedError


class StridingEnv(TransferEnv):
    """The toy's agent steers the body; what is chosen is the number of steps of each stride.

    Observation ``[P + G]``: ``proprioception`` and slots of the next command. Action ``[1]`` in ±1: from 1 to 20 steps.
    Reward of a stride of k steps: ``clip(-|y - g| / n - step_cost k, -2, 1)`` with the commanded value g, what it is
    after the stride, y, and n the distance from it before the stride (for other quantities than places |g|).

    Args:
        *args: As for :class:`TransferEnv`.
        fixed_stride: Steps of each stride, whatever the action is; None: the action chooses.
        guide: Who gives commands: ``"toy"``; ``"masked"``, the same agent without its latent; ``"oracle"``, the task
            itself; ``"random"``; ``"still"``: velocity 0.
        place_gain: How much farther than the toy's step commanded places are, up to 1.5 m: a stride takes longer.
        step_cost: Cost of a step, β.
        task_reward: Whether rewards are those of the body's task, summed over a stride.
    """

    def __init__(
        self,
        *args: Any,
        fixed_stride: int | None = None,
        guide: str = "toy",
        place_gain: float = 3.0,
        step_cost: float = 0.03,
        task_reward: bool = False,
    ):
        super().__init__(*args)
        self.fixed_stride, self.guide = fixed_stride, guide
        self.place_gain, self.step_cost, self.task_reward = place_gain, step_cost, task_reward
        width = len(self.env.get_wrapper_attr("proprioception")) + len(self.quantities)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def stride_steps(self, action: np.ndarray) -> int:
        """The steps of a stride."""
        return self.fixed_stride or stride_of(action[0])

    def inferred_task(self) -> InferredTask:
        """Returns what the toy's agent infers of the task: nothing if it reads actions, but does not command."""
        is_blind = self.inference.reads_actions and self.guide not in ("toy", "masked")
        return InferredTask() if is_blind else super().inferred_task()

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Resets the body and gives the first command."""
        _, info = super().reset(**kwargs)
        self._give_command()
        return self.observe(), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes a stride."""
        command = self.command
        norm = command.error(self.env) if command.quantity == PLACE else abs(command.value)
        reward, terminated, truncated, info = self.stride(action)
        if not self.task_reward:
            error = command.error(self.env) / max(norm, 1e-6)
            reward = float(np.clip(-error - self.step_cost * info["env_steps"], -2.0, 1.0))
        self._give_command()
        return self.observe(), reward, terminated, truncated, info

    def observe(self) -> np.ndarray:
        """Returns proprioception and slots, float32 ``[P + G]``."""
        state = self.env.get_wrapper_attr("proprioception")
        return np.concatenate([state, self.command.slots(self.quantities, self.env)], dtype=np.float32)

    def toy_command(self, quantity: str) -> Command:
        """What the agent of the toy would do next in a task about a quantity, as a command to the body."""
        value = self.toy.command_of(self.quantity, self._toy_action, quantity)
        if quantity == PLACE:
            here = self.quantity(PLACE)
            value = here + self.place_gain * (value - here)
        return command_within(quantity, value, self.ranges, self.quantity)

    def _give_command(self) -> None:
        rng = self.env.unwrapped.np_random
        if self.guide == "oracle":
            # Places that are far away are approached.
            self.command = command_within(*self._true_task(), self.ranges, self.quantity)
        elif self.guide == "still":
            name = "velocity" if "velocity" in self.quantities else PLACE
            self.command = Command(name, self.quantity(PLACE) if name == PLACE else 0.0)
        elif self.guide == "random":
            self._toy_action = rng.uniform(-1.0, 1.0, self._toy_action.shape)
            quantities = self.inference.quantities
            self.command = self.toy_command(quantities[rng.integers(len(quantities))])
        else:
            self.command = self.toy_command(self.inference.quantity)

    def _true_task(self) -> tuple[str, float]:
        """What the present task is about, and its value."""
        family, _, wanted = self.env.get_wrapper_attr("tracked_quantity")()
        quantity = None if family is None else quantity_of(family)
        if quantity not in self.quantities:
            raise ValueError(
                f"The task is about {quantity or 'several quantities, or none'}, but the oracle can command one of "
                f"{', '.join(self.quantities)}. Play other tasks, or take another guide."
            )
        return quantity, wanted


class HighLevelEnv(TransferEnv):
    """Commands are chosen, with the latent that the toy's agent infers as part of the observation.

    Observation ``[B + L]``: the body's observation and the latent. Action ``[G]`` in ±1: the largest magnitude chooses
    the quantity; 0 is the least and ±1 the largest command that the low level has learned. Reward: that of the body's
    task, the mean over the stride, minus 0.05 of the actions' magnitudes.

    Args:
        *args: As for :class:`TransferEnv`.
        choose_stride: Chooses the steps of each stride.
        action_cost: Cost of the magnitude of actions.
        task_reward: Whether rewards are those of the body's task alone, summed over a stride.
    """

    def __init__(
        self,
        *args: Any,
        choose_stride: StrideChooser,
        action_cost: float = 0.05,
        task_reward: bool = False,
    ):
        super().__init__(*args)
        self.choose_stride = choose_stride
        self.action_cost, self.task_reward = action_cost, task_reward
        width = gym.spaces.flatdim(self.env.observation_space) + self.inference.latent_dim
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (len(self.quantities),), np.float32)

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Resets the body."""
        self.choose_stride.begin()
        return super().reset(**kwargs)

    def stride_steps(self, action: np.ndarray) -> int:
        """The steps of a stride."""
        state = self.env.get_wrapper_attr("proprioception")
        return self.choose_stride(state, self.command.slots(self.quantities, self.env))

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Carries out a command."""
        action = np.asarray(action, np.float64)
        self.command = command_of(action, self.quantities, self.ranges, self.quantity)
        reward, terminated, truncated, info = self.stride(action)
        if not self.task_reward:
            reward = reward / info["env_steps"] - self.action_cost * float(np.abs(action).sum())
        return self.observe(), reward, terminated, truncated, info

    def observe(self) -> np.ndarray:
        """Returns the body's observation and the latent, float32 ``[B + L]``."""
        flat: Any = gym.spaces.flatten(self.env.observation_space, self._last_obs)
        return np.concatenate([flat, self.inference.latent], dtype=np.float32)


class SteeredEnv(CommandEnv):
    """A body that a trained high level commands, where its low level is trained further.

    Observation, action and reward are those of :class:`CommandEnv`; commands are those of the high level, which infers
    the body's task, and last as long as its strides. Episodes and tasks are the body's.

    Args:
        body: The body with its tasks.
        quantities: As for :class:`CommandEnv`.
        toy: As for :class:`TransferEnv`.
        inference: Likewise.
        high_level: Gives commands: reads the body's observation and the latent.
        choose_stride: As for :class:`HighLevelEnv`.
        ranges: As for :class:`TransferEnv`.
        scales: As for :class:`CommandEnv`.
    """

    def __init__(
        self,
        body: gym.Env,
        quantities: Sequence[str],
        toy: Any,
        inference: FrozenInference,
        high_level: FrozenPolicy,
        choose_stride: StrideChooser,
        ranges: Ranges = RANGES,
        scales: Mapping[str, float] | None = None,
    ):
        super().__init__(body, quantities, {name: ranges[name] for name in quantities}, scales, max_steps=None)
        self.toy, self.inference = toy, inference
        self.high_level, self.choose_stride = high_level, choose_stride

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Resets the body; the toy's agent and the high level begin an episode."""
        self.high_level.begin()
        self.choose_stride.begin()
        return super().reset(seed=seed, options=options)

    def _reset_body(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        self.body_obs, info = self.body.reset(seed=seed, options=options)
        self.inference.begin(int(self.np_random.integers(2**31)))
        return info

    def _is_there(self, error: float) -> bool:
        return False  # a command lasts as long as its stride

    def _draw_command(self) -> None:
        quantity = self.body.get_wrapper_attr("quantity")
        self.inference.act(self.toy.observe_body(quantity), self.body_reward)
        flat: Any = gym.spaces.flatten(self.body.observation_space, self.body_obs)
        action = self.high_level.act(flat, self.inference.latent).astype(np.float64)
        self.command = command_of(action, self.quantities, self.ranges, quantity)
        state = self.body.get_wrapper_attr("proprioception")
        self._switch_in = self.choose_stride(state, self.command.slots(self.quantities, self.body))


def command_of(
    action: np.ndarray, quantities: Sequence[str], ranges: Ranges, quantity: Callable[[str], float]
) -> Command:
    """Returns the command that an action of a high level stands for.

    Args:
        action: ``[G]`` in ±1. The largest magnitude chooses the quantity; 0 is its least and ±1 its largest command.
        quantities: Names of what can be commanded, in the order of actions.
        ranges: Least and largest magnitude of commands by quantity.
        quantity: Returns a present value by its name.
    """
    slot = int(np.abs(action).argmax())
    name, chosen = quantities[slot], float(action[slot])
    least, most = ranges[name]
    value = math.copysign(least + abs(chosen) * (most - least), chosen)
    return command_within(name, value + quantity(PLACE) if name == PLACE else value, ranges, quantity)


def stride_of(action: float) -> int:
    """Returns the steps of a stride, 1 to 20, for an action in ±1; the same share of actions for each."""
    return int(np.clip(math.floor((float(action) + 1.0) / 2.0 * MAX_STRIDE) + 1, 1, MAX_STRIDE))


def check_stride(fixed_stride: Any) -> None:
    """Raises a ValueError for what is no stride."""
    if fixed_stride is not None and not (is_integer(fixed_stride) and fixed_stride >= 1):
        raise ValueError(
            f"fixed_stride={fixed_stride!r}: expected an integer >= 1, or None for a stride that is learned."
        )
