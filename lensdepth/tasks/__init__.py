"""Tasks: pairs of prompts that differ in one place and have different answers.

Names are imported when they are first used: the catalogue alone, which names tasks and wordings,
needs no torch, and completion in a shell must not wait for it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
