"""Residual streams on disk: kept once, read later without the model.

`capture` runs a model and keeps the states of chosen depths and positions in shards, with an index
of what they are; `Capture` reads them, a depth of a shard at a time. Reach for it where a model is
dear, slow or elsewhere, or where the states of all prompts do not fit into memory.

    >>> capture(model, load_task("months", model), "states", readout=True)
    >>> ResidualStream.open("states").read(depths=[4]).shape  # depth prompt pos d_model
"""

from lensdepth.captures.make import capture
from lensdepth.captures.opened import Capture, open_capture

__all__ = ["Capture", "capture", "open_capture"]
