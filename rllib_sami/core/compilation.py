"""The loss functions of an update through ``torch.compile``."""

import dataclasses
from functools import partial
from typing import Any, TypeVar

import torch

# On a GPU: CUDA graphs, as `mode="reduce-overhead"` has them, but none for sizes that keep changing.
OPTIONS: dict[str, Any] = {"triton.cudagraphs": True, "triton.cudagraph_skip_dynamic_graphs": True}
Functions = TypeVar("Functions", bound=Any)


def compiled(functions: Functions, first: str = "critics") -> Functions:
    """The loss functions of an update, compiled at their first call (up to a minute).

    What they return is valid until the next update. The recurrent calls stay outside: each is one call of cuDNN or
    oneDNN, which ``torch.compile`` could only take apart into its steps.

    Args:
        functions: A dataclass of functions, with the modules that act and learn as first arguments.
        first: The one that an update calls first.
    """
    # What agents before this one have compiled would count against this one's limit, and make its sizes seem to change.
    torch.compiler.reset()
    fast = {
        field.name: torch.compile(getattr(functions, field.name), options=OPTIONS)
        for field in dataclasses.fields(functions)
    }
    return dataclasses.replace(functions, **fast | {first: partial(_begin_update, fast[first])})


def _begin_update(function: Any, acting: torch.nn.Module, training: torch.nn.Module, *arguments: Any) -> Any:
    # All that CUDA graphs gave in the last update, gradients too, may be overwritten from here on.
    acting.zero_grad()
    training.zero_grad()
    torch.compiler.cudagraph_mark_step_begin()
    return function(acting, training, *arguments)


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
