"""What goes wrong, in words for the page; the app keeps running."""

import logging
import re

logger = logging.getLogger(__name__)

EXPECTED = (ValueError, OSError, RuntimeError, MemoryError)
"""What bad input and a machine that is too small raise; anything else is a fault of lensdepth."""
LONGEST = 600


def readable(error: BaseException) -> str:
    """An exception's message for somebody who looks at a page."""
    text = " ".join(str(error).split())[:LONGEST] or type(error).__name__
    if isinstance(error, EXPECTED):
        # The name of the Python function in front means nothing here.
        return re.sub(r"^[a-z]\w*: (?=\S)", "", text)
    logger.error("the explorer failed", exc_info=error)
    return (
        f"Something that should not happen happened ({type(error).__name__}: {text[:160]}). "
        f"The page goes on; the terminal says where it was. Please report it."
    )
