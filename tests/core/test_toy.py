"""Two tasks with a known optimum are solved with the context and not without it, through the core alone."""

import numpy as np
import pytest
import torch
import toy


@pytest.mark.learning
@pytest.mark.parametrize("world", ["actions are turned", "goals are told by the reward"])
def test_saccm_solves_what_only_the_context_can(world):
    """SaCCM, its encoder trained by the contrast alone; the same agent with its context held at zero is the control."""
    torch.set_num_threads(1)
    turned = world == "actions are turned"
    agent = toy.train(turned, seed=0)
    assert agent.closed >= 0.8, agent
    without = toy.train(turned, seed=0, zero_context=True)
    assert without.closed <= 0.5, without


@pytest.mark.parametrize("turned", [True, False])
def test_the_optimum_is_far_from_doing_nothing(turned):
    world = toy.PointWorld(turned, num_tasks=2, num_points=200)
    world.reset(np.random.default_rng(3))
    best = world.best_returns().mean()
    idle = sum(world.step(np.zeros((200, 2)))[1].mean() for _ in range(toy.NUM_STEPS))
    assert best > idle / 4  # both are negative
