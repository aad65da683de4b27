"""Models of robots in other packages, which are read from their files: nothing of these packages is imported.

So nothing sets up a renderer, and MuJoCo steps the models without the layers of these packages.
"""

import importlib.util
import warnings
from pathlib import Path

# RLlib imports dm_control wherever it is installed, which warns if there is no display. Nothing here needs one.
warnings.filterwarnings("ignore", message=r"\(65550\) ")


class MissingPackageError(ImportError, ValueError):
    """A package that an environment needs is not installed.

    Being a ValueError, it is reported like an argument that the environment cannot have: before anything starts.
    """


def model_folder(package: str, extra: str, environment: str) -> Path:
    """Returns the folder of a package that has a robot's model.

    Args:
        package: The package that has to be installed.
        extra: The extra of this package that installs it.
        environment: Class of the environment that needs it.

    Raises:
        MissingPackageError: The package is missing; the message says how to install it.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            f"{environment} needs {package}, which is not installed: pip install 'rllib-sami[{extra}]'"
        )
    return Path(spec.origin).parent
