"""Whatever mode torch is in, numbers and gradients are those of any other."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from torch import Tensor

import lensdepth as ld
from lensdepth import DepthModel, fit_tuned_lens, load_model, load_task, patch_sweep


def estimate(model: DepthModel) -> Tensor:
    task = load_task("months", model, n=6)
    return patch_sweep(model, task, method="attribution", depths=[0, 2]).values


def test_attribution_in_inference_mode(tiny_llama: DepthModel) -> None:
    wanted = estimate(tiny_llama)
    with torch.inference_mode():
        assert estimate(tiny_llama).equal(wanted)
    with torch.no_grad():
        assert estimate(tiny_llama).equal(wanted)
    with torch.inference_mode():
        task = load_task("months", tiny_llama, n=6)
        assert task.clean_tokens.tokens.is_inference()
    found = patch_sweep(tiny_llama, task, method="attribution", depths=[0, 2])
    assert found.values.equal(wanted)


def test_a_lens_is_fitted_in_inference_mode(tiny_llama: DepthModel) -> None:
    prompts = list(architectures.PROMPTS)
    wanted = fit_tuned_lens(tiny_llama, prompts, n_steps=3)
    with torch.inference_mode():
        found = fit_tuned_lens(tiny_llama, prompts, n_steps=3)
    assert found.weights.equal(wanted.weights)
    assert wanted.weights.abs().max() > 0


def test_a_model_loaded_in_inference_mode(
    model_folder: Callable[[str], Path], backend: str, tiny_llama: DepthModel
) -> None:
    with torch.inference_mode():
        model = load_model(model_folder("llama"), backend=backend)  # type: ignore[arg-type]
        assert estimate(model).equal(estimate(tiny_llama))
    assert estimate(model).equal(estimate(tiny_llama))


def test_weights_made_in_inference_mode_are_told(tiny_llama: DepthModel) -> None:
    made = copy.deepcopy(tiny_llama.model)
    with torch.inference_mode():
        name, weight = next(iter(made.named_parameters()))
        owner = made.get_submodule(name.rpartition(".")[0])
        owner._parameters[name.rpartition(".")[2]] = torch.nn.Parameter(weight.clone())
    model = DepthModel(made, tokenizer=tiny_llama.tokenizer)
    assert model.logits("Mary").equal(tiny_llama.logits("Mary"))
    for call in (estimate, lambda m: fit_tuned_lens(m, ["Mary went", "John went"], n_steps=1)):
        with pytest.raises(ValueError, match=r"made inside torch.inference_mode\(\), so nothing"):
            call(model)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """As some users set it, and as transformers does while it loads a model in another thread."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def measured(model: DepthModel, task: ld.Task) -> dict[str, Any]:
    return {
        "stream": model.residual_stream(task.clean, "all"),
        "lens": ld.logit_lens(model, task),
        "geometry": ld.geometry_profile(model, task),
        "patch": patch_sweep(model, task),
        "windows": ld.patch_windows(model, task),
        "ablation": ld.ablation_sweep(model, task),
        "dose": ld.dose_response(model, task),
        "decoded": ld.decode_parts(model, task),
        "steering": ld.steering_sweep(model, task),
        "locality": ld.compare_local_global(model, task),
        "shapley": ld.shapley_depths(model, task),
        "trajectory": ld.trajectory_response(model, task),
        "transfer": ld.transfer_matrix(model, task),
        "attributed": ld.attribute_logits(model, task),
        "tuned": fit_tuned_lens(model, task, n_steps=2),
    }


def test_the_default_dtype_has_no_say() -> None:
    model = load_model("tiny")
    task = load_task("weekdays", model, n=40)
    wanted = measured(model, task)
    with default_dtype(torch.bfloat16):
        found = measured(model, task)
    for name, one in wanted.items():
        for field in fields(one):
            mine, value = getattr(found[name], field.name), getattr(one, field.name)
            if isinstance(value, Tensor):
                assert mine.dtype == value.dtype, (name, field.name)
                torch.testing.assert_close(
                    mine, value, atol=0, rtol=0, equal_nan=True, msg=f"{name}.{field.name}"
                )
