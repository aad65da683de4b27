"""The command answers at once; `import rllib_sami` anywhere else knows all names at once."""

import subprocess
import sys

import pytest

HEAVY = "not {'ray', 'torch', 'gymnasium'} & {*sys.modules}"


def python(code: str) -> None:
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("words", [["--help"], ["train", "file", "--help"], ["evaluate", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(words):
    python(
        "import sys\nfrom rllib_sami_cli import main\n"
        f"sys.argv[1:] = {words}\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"assert {HEAVY}, 'loaded'"
    )


REGISTERED = """
import gymnasium
from ray.tune.registry import ENV_CREATOR, TRAINABLE_CLASS, _global_registry
assert _global_registry.contains(TRAINABLE_CLASS, "SaCCM")
assert _global_registry.contains(ENV_CREATOR, "SaMI/Ant-v0")
assert "SaMI/Ant-v0" in gymnasium.registry
assert not hasattr(rllib_sami, "SaCMM")
"""


def test_names_are_registered_when_the_command_is_imported():
    python(f"import rllib_sami_cli.catalog, rllib_sami{REGISTERED}")


def test_an_environment_by_module_and_name_imports_the_package():
    python(
        "import gymnasium; gymnasium.make('rllib_sami:SaMI/Pendulum-v0').reset()\n"
        f"import rllib_sami, rllib_sami.evaluation as evaluation{REGISTERED}"
        "assert dir(rllib_sami) == sorted(rllib_sami.__all__)\n"
        "assert {'SaCCMConfig', 'envs', '__version__'} <= {*dir(rllib_sami)}\n"
        "assert dir(evaluation) == ['Contexts', 'Results', 'evaluate', 'report']"
    )
