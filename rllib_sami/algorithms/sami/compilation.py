"""The loss functions of an update through ``torch.compile``."""

from functools import partial
from typing import Any

import torch

from rllib_sami.algorithms.sami.update import LossFunctions
from rllib_sami.core.networks import ActorNetworks, TrainingNetworks

# On a GPU: CUDA graphs, as `mode="reduce-overhead"` has them, but none for sizes that keep changing.
OPTIONS: dict[str, Any] = {"triton.cudagraphs": True, "triton.cudagraph_skip_dynamic_graphs": True}


def compiled_loss_functions() -> LossFunctions:
    """The loss functions of ``update``, compiled at their first call (up to a minute).

    What they return is valid until the next update. The recurrent calls stay outside: each is one call of cuDNN or
    oneDNN, which ``torch.compile`` could only take apart into its steps.
    """
    # What agents before this one have compiled would count against this one's limit, and make its sizes seem to change.
    torch.compiler.reset()
    plain, fast = LossFunctions(), partial(torch.compile, options=OPTIONS)
    compiled_critics = fast(plain.critics)

    def critics(acting: ActorNetworks, training: TrainingNetworks, *arguments: Any) -> Any:
        # The first call of an update: all that CUDA graphs gave in the last one, gradients too, may be overwritten.
        acting.zero_grad()
        training.zero_grad()
        torch.compiler.cudagraph_mark_step_begin()
        return compiled_critics(acting, training, *arguments)

    return LossFunctions(critics, fast(plain.contrast), fast(plain.actor))


def check_compilation(device: str = "cpu") -> None:
    """Compiles and runs something small.

    Args:
        device: Where; a GPU needs another compiler than the CPU.

    Raises:
        RuntimeError: If that fails, with the reason in one line.
    """
    try:
        torch.compile(lambda x: x.sin() + 1, fullgraph=True)(torch.zeros(3, device=device))
    except Exception as error:
        reason = " ".join(str(error).split("\n\n")[0].split())  # what follows is advice on debugging
        raise RuntimeError(f"{type(error).__name__}: {reason}") from error
