"""A steering vector that is there already, applied to the pairs of a task: what does it do?

`response` runs every pair with the vector and with random turns as far, `verdict` judges what came
of it, `profile` is the result.
"""

from lensdepth.applied.profile import VectorResponse
from lensdepth.applied.response import vector_response

__all__ = ["VectorResponse", "vector_response"]
