"""A commented configuration that runs as it is, on the smallest bundled model."""

from pathlib import Path

EXAMPLE = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
