"""The lens by depth: what the model would predict if it stopped reading here.

`read` sends every residual state through the model's own final norm and unembedding, `tuned` holds
an affine map a depth that is put in front of them, `fit` finds such maps, on text that `texts`
reads, `files` reads those of other packages. `profile` is what comes out, `figures` draws it token
by token, `compare` puts several on one axis; `captured` reads states that were kept on disk.
"""

from lensdepth.lens.captured import captured_lens
from lensdepth.lens.compare import LensComparison, compare_lenses
from lensdepth.lens.files import load_jacobian_lens, load_tuned_lens
from lensdepth.lens.fit import fit_tuned_lens
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.read import logit_lens
from lensdepth.lens.texts import text_prompts
from lensdepth.lens.tuned import TunedLens

__all__ = [
    "LensComparison",
    "LensProfile",
    "TunedLens",
    "captured_lens",
    "compare_lenses",
    "fit_tuned_lens",
    "load_jacobian_lens",
    "load_tuned_lens",
    "logit_lens",
    "text_prompts",
]
