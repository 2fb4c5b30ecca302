"""The fast exact engine: many interventions from one base run, rerunning only what they change."""

from lensdepth.replay.engine import Engine, Part, replay, replay_measure

__all__ = ["Engine", "Part", "replay", "replay_measure"]
