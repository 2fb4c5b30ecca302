"""What goes wrong, in words for the page; the app keeps running."""

import logging
import re
from contextlib import suppress

from lensdepth.outside import EXPECTED, cut, out_of_memory, reason, visible

logger = logging.getLogger(__name__)

LONGEST, LONGEST_FAULT = 600, 160
NOT_ENOUGH = (
    "There is not enough memory for this; the page goes on. Take fewer pairs or a shorter prompt, "
    "or start the explorer with a narrower --dtype or on another --device"
)


def readable(error: BaseException) -> str:
    """An exception's message for somebody who looks at a page."""
    text = _one_line(error)
    full = False
    with suppress(Exception):  # an exception's own words can fail
        full = out_of_memory(error)
    if full:
        return f"{NOT_ENOUGH} ({cut(text, LONGEST_FAULT).rstrip('.')})."
    if isinstance(error, EXPECTED):
        # The name of the Python function in front means nothing here.
        return re.sub(r"^[a-z]\w*: (?=\S)", "", cut(text, LONGEST))
    logger.error("the explorer failed", exc_info=error)
    return (
        f"Something that should not happen happened ({type(error).__name__}: "
        f"{cut(text, LONGEST_FAULT)}). "
        f"The page goes on; the terminal says where it was. Please report it."
    )


def _one_line(error: BaseException) -> str:
    """The whole message without what nobody can see."""
    try:
        said = " ".join(visible(" ".join(str(error).split())).split())
    except Exception:  # an exception's own words can fail as well
        said = ""
    return said or (reason(error) if isinstance(error, MemoryError) else type(error).__name__)
