"""Which token of one prompt stands for which of another, where the two have different lengths."""

from collections.abc import Sequence

from lensdepth.arguments import checked


@checked
def map_positions(
    base: Sequence[int], source: Sequence[int], positions: Sequence[int]
) -> list[int | None]:
    """For positions in one prompt's tokens, the places in another's that correspond.

    Tokens that both prompts begin with, and those that both end with, correspond one to one. In
    between stands what differs: it corresponds one to one where it has as many tokens in both, and
    otherwise by its last token alone, which has read all of it.

    Args:
        base: token ids of the prompt that the positions are of.
        source: token ids of the other one.
        positions: not negative.
    Returns:
        Positions in `source`; None where nothing corresponds.
    """
    shorter = min(len(base), len(source))
    start = 0
    while start < shorter and base[start] == source[start]:
        start += 1
    end = 0
    while end < shorter - start and base[-1 - end] == source[-1 - end]:
        end += 1
    stop, other_stop = len(base) - end, len(source) - end  # what differs ends there
    found: list[int | None] = []
    for position in positions:
        if position < start or len(base) == len(source):
            found.append(position)
        elif position >= stop:
            found.append(position - stop + other_stop)
        elif position == stop - 1 and other_stop > start:
            found.append(other_stop - 1)
        else:
            found.append(None)
    return found
