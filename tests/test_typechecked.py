import pytest
import torch
from jaxtyping import TypeCheckError

from lensdepth.metrics import logit_diff


def test_wrong_shapes_are_refused_while_the_tests_run(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("jaxtyping_packages"):
        pytest.skip("types are not checked in this run")
    with pytest.raises(TypeCheckError, match="logit_diff"):
        logit_diff(
            torch.zeros(2, 5), torch.zeros(3, dtype=torch.long), torch.zeros(2, dtype=torch.long)
        )
