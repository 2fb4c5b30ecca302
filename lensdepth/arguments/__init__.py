"""Arguments of the wrong kind are refused on entry, in one line, by every public function alike.

`check` holds what a function is given against its own annotations, `fit` is that comparison for
one value, and `wording` says what was needed, what came instead and what to do about it.
"""

from lensdepth.arguments.check import checked
from lensdepth.arguments.names import renamed
from lensdepth.arguments.wording import HUGGING_FACE, is_hugging_face

__all__ = ["HUGGING_FACE", "checked", "is_hugging_face", "renamed"]
