"""Plain JSON values: NaN and infinities become null, NumPy's numbers Python's."""

import math
from dataclasses import fields, is_dataclass
from typing import Any

from lensdepth.provenance import Provenance

Json = dict[str, Any]
"""An object of JSON."""


def to_json(value: Any) -> Any:
    """A value of dictionaries, lists, records and numbers as JSON has them."""
    import numpy as np  # here, since the command line takes `Json` from this file as it starts

    if is_dataclass(value) and not isinstance(value, type):
        shown = (one for one in fields(value) if one.metadata.get("json", True))
        value = {one.name: getattr(value, one.name) for one in shown}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def provenance_json(provenance: Provenance) -> Json:
    """Provenance as JSON values."""
    return to_json(provenance)
