"""Subspaces between a direction and the whole state: how many dimensions carry the prediction?

`sweep` exchanges states within subspaces at every depth, `fitting` makes these from other pairs
than those that they judge, `learned` trains them by gradient, and `smallest` says how many
dimensions do what the whole state does.
"""

from lensdepth.subspaces.profile import SubspaceProfile
from lensdepth.subspaces.sweep import subspace_sweep

__all__ = ["SubspaceProfile", "subspace_sweep"]
