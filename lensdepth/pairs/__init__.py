"""A task pair by pair: who is right, where control passes, and which pairs are unlike the others.

A mean curve is not a prompt: `pair_table` has a row for each pair.
"""

from lensdepth.pairs.measure import pair_table
from lensdepth.pairs.table import PairTable

__all__ = ["PairTable", "pair_table"]
