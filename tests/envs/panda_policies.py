"""Scripted arms: one that grips the cube and carries it to the goal, one that pushes it."""

import itertools

import numpy as np


def towards(env, point, grip):
    """The action that moves the end effector to ``point``, the fingers as ``grip`` says."""
    step = (np.asarray(point) - env.simulation.end_effector) / 0.05
    return np.append(np.clip(step, -1.0, 1.0), grip).astype(np.float32)


def carry(env, goal):
    """Yields actions: open, above the cube, down, close, to the goal."""
    state = env.simulation
    above = np.array([0.0, 0.0, 0.06])
    while np.linalg.norm(np.subtract(state.end_effector, state.cube) - above) > 0.015:
        yield towards(env, state.cube + above, 1.0)
    while np.linalg.norm(np.subtract(state.end_effector, state.cube)) > 0.008:
        yield towards(env, state.cube, 1.0)
    for _ in range(6):
        yield towards(env, state.cube, -1.0)
    while True:
        action = towards(env, goal, -1.0)
        action[:3] *= 0.5
        yield action


def push(env, goal, height=0.02):
    """Yields actions: closed fingers to behind the cube, down, straight to the goal."""
    state = env.simulation
    way = np.subtract(goal, state.cube)[:2]
    way /= np.linalg.norm(way)
    above = np.array([0.0, 0.0, 0.1])
    behind = np.array([*(state.cube[:2] - 0.06 * way), height])
    while np.linalg.norm(state.end_effector - behind - above) > 0.02:
        yield towards(env, behind + above, -1.0)
    while np.linalg.norm(state.end_effector - behind) > 0.01:
        yield towards(env, behind, -1.0)
    while True:
        yield np.array([*way, np.clip((height - state.end_effector[2]) / 0.05, -1.0, 1.0), -1.0], np.float32)


def play(env, policy=None, steps=None, **reset):
    """One episode: observations ``[T + 1, 25]``, rewards ``[T]``, the last info. Random actions without a policy."""
    observation, info = env.reset(**reset)
    rng = np.random.default_rng(0)
    actions = policy(env, env.goal) if policy else itertools.repeat(None)
    observations, rewards = [observation], []
    for action in itertools.islice(actions, steps):
        action = rng.uniform(-1, 1, 4).astype(np.float32) if action is None else action
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        if terminated or truncated:
            break
    return np.array(observations), np.array(rewards), info
