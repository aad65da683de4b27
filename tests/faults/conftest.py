"""The test environments of the adapters, which Ray's workers find as ``adapters.envs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
