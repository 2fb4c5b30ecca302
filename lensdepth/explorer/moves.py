"""What a state did that was taken out of one place and put into another, in words."""

import math
from collections.abc import Sequence

from lensdepth.explorer.scopes import transfer_of, turn_of
from lensdepth.explorer.state import Screen
from lensdepth.intervention import Intervention
from lensdepth.telling.depths import explained
from lensdepth.telling.numbers import change
from lensdepth.telling.tokens import signed

LOCAL = "local"


def said_of_move(
    found: Intervention, screen: Screen, giving: Sequence[str], taking: Sequence[str]
) -> str:
    """What was taken, where it was put, and what the model then says.

    Args:
        found: what the move did.
        screen: which it was.
        giving: tokens of the prompt that it was taken of.
        taking: of the one that it was put into.
    """
    took, put = giving[screen.from_position], taking[screen.into_position]
    said = (
        f"The state at depth {screen.from_depth}, token {screen.from_position} ({signed(took)}) of "
        f"the {screen.giver} prompt, put at depth {screen.into_depth}, token "
        f"{screen.into_position} ({signed(put)}) of the {screen.taker} prompt: the next token "
        f"{turn_of(found, LOCAL)}"
    )
    effect = found.number(LOCAL, "effect")
    if not math.isnan(effect.value):
        shown = str(effect) if effect.is_rounding else change(effect.value)
        said += f"; the logit difference changes by {shown} nats"
    return f"{said}{transfer_of(found, LOCAL)}; KL {found.number(LOCAL, 'kl')} nats."


def remarks_of(found: Intervention, screen: Screen, n_tokens: int) -> list[str]:
    """What has to be known to read it, a sentence each.

    Args:
        found: what the move did.
        screen: which it was.
        n_tokens: of the prompt that the state was put into.
    """
    assert screen.from_depth is not None
    assert screen.into_depth is not None
    took, put = screen.from_depth, screen.into_depth
    own, last = screen.giver == screen.taker, screen.into_position == n_tokens - 1
    said = []
    if own and (took, screen.from_position) == (put, screen.into_position):
        return ["Taken and put at the same place: nothing can change."]
    if found.crosses_depths:
        at, to = (explained(depth, found.n_layers) for depth in (took, put))
        said.append(
            f"The depths differ: a state of depth {took} ({at}) stands at depth {put} ({to}), "
            f"where the model never has such a state. What follows is no run that it makes by "
            f"itself."
        )
        if screen.carried == "full":
            said.append("Norms differ with depth; “Direction only” keeps the one found there.")
    if put == found.n_layers and last:
        said.append(
            "Nothing comes after the last depth of the last token: the next token is what the lens "
            "reads of this state."
        )
    elif put == found.n_layers:
        said.append("Only the last token's last depth is read: nothing can change.")
    if screen.taker == "source":
        said.append(
            "The source prompt's run is the edited one here, and so the base: of the transferred "
            "fraction 0 is what it says by itself, 1 what the base prompt's run says."
        )
    if own and "source" in found.runs:
        said.append(
            "The state comes from the edited run itself; the other prompt says only what 1 of the "
            "transferred fraction is."
        )
    return said
