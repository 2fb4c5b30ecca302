"""Where in its depth a language model stops reading its context and forms its prediction.

>>> from lensdepth import load_model, load_task, patch_sweep, find_crossing
>>> model = load_model("calendar")
>>> find_crossing(patch_sweep(model, load_task("months", model))).depth

Names are imported when they are first used, so that importing the package costs nothing.
"""

from typing import Any

import lazy_loader

__version__ = "0.2.0"

_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _import(name)
    raise AttributeError(f"module 'lensdepth' has no attribute {name!r}")
