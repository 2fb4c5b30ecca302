"""Models with hand-set weights, whose answers to our questions are known.

The language: "from X is", where X is one of two kinds of inputs, in several wordings. Weights are
saved as Hugging Face folders of Llama, GPT-2, GPT-NeoX or Gemma 2 architecture, which both
TransformerLens lines load. `language` holds words and prompts, `blank` the empty models and how a
block is made to do something, `models` the models, `mechanisms` those whose answers take a longer
way. They teach (a model without a transition, one in which the norm decides), and the tests and
benchmarks hold the toolkit against them.
"""

from lensdepth.teaching.planted.blank import D_MODEL, Architecture
from lensdepth.teaching.planted.language import INPUTS, OUTPUTS, WORDINGS, N, prompt_file
from lensdepth.teaching.planted.mechanisms import FRAMED, Mechanism, planted_way
from lensdepth.teaching.planted.models import backup, deaf, dimmer, gate, gradual, hedge, switch

__all__ = [
    "D_MODEL",
    "FRAMED",
    "INPUTS",
    "OUTPUTS",
    "WORDINGS",
    "Architecture",
    "Mechanism",
    "N",
    "backup",
    "deaf",
    "dimmer",
    "gate",
    "gradual",
    "hedge",
    "planted_way",
    "prompt_file",
    "switch",
]
