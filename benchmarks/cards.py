"""Writes the model cards of ``models/`` again, after a change of their template: ``python benchmarks/cards.py``."""

import json
from pathlib import Path

from safetensors.torch import load_file

from rllib_sami.checkpoints.files import manifest_of, write_manifest
from rllib_sami.exports.agents import CARD, CONFIG, WEIGHTS
from rllib_sami.exports.model_card import model_card

MODELS = Path(__file__).parents[1] / "models"


def card_of(folder: Path) -> str:
    """The card that an export would write today."""
    content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return model_card(content, {name: value.numel() for name, value in load_file(folder / WEIGHTS).items()})


if __name__ == "__main__":
    for config in sorted(MODELS.glob(f"*/{CONFIG}")):
        (config.parent / CARD).write_text(card_of(config.parent), encoding="utf-8")
        write_manifest(config.parent, manifest_of(config.parent) or {})
        print(config.parent)
