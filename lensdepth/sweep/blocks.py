"""How many pairs go through together."""

STATE_BYTES = 2**28
"""States that are held at a time; pairs go through in blocks that fit."""


def pair_blocks(n_pairs: int, n_numbers: int) -> list[slice]:
    """Pairs that go through together, so that their states fit."""
    size = max(1, STATE_BYTES // (4 * n_numbers))
    return [slice(start, min(start + size, n_pairs)) for start in range(0, n_pairs, size)]
