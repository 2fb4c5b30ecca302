import copy
from collections.abc import Callable, Sequence
from typing import Any

import architectures
import pytest
import torch
from conftest import Load
from torch import Tensor

from lensdepth import generation, polar, reading
from lensdepth.hooks import hooked
from lensdepth.model import DepthModel, load_model
from lensdepth.passes import Passes
from lensdepth.site import depth_hook

PROMPTS = list(architectures.PROMPTS)


class Recorder:
    """Stands in for `generation.sampler`: keeps the logits of every step, draws at random."""

    def __init__(self, model: DepthModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.logits: list[Tensor] = []
        self.tokens: list[int] = []
        self.generator = torch.Generator().manual_seed(0)
        self.end = model.tokenizer.eos_token_id
        monkeypatch.setattr(generation, "sampler", lambda *_: self)

    def __call__(self, logits: Tensor) -> int:
        # Anything but the token that ends the text, and no two steps alike.
        token = int(torch.randint(self.end + 1, len(logits), (1,), generator=self.generator))
        self.logits.append(logits)
        self.tokens.append(token)
        return token


def widths_of(model: DepthModel, run: Callable[[], Any]) -> list[int]:
    """How many positions each forward pass ran."""
    widths: list[int] = []
    point = depth_hook(0, model.n_layers)
    with hooked(model.hook_points, [(point, lambda x: widths.append(x.shape[1]))]):
        run()
    return widths


@pytest.mark.parametrize("prompt", [PROMPTS[2], "January"])
@pytest.mark.parametrize("architecture", [*architectures.CONFIGS, *architectures.BRIDGE_ONLY])
def test_every_cached_step_gives_what_a_plain_pass_gives(
    load_tiny: Load,
    architecture: str,
    prompt: str,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Far beyond the sliding windows of 4 and 6, from prompts longer and shorter than they are.
    backend = "bridge" if architecture in architectures.BRIDGE_ONLY else backend
    model = load_tiny(architecture, backend)
    ids = model.tokenize(prompt).row(0)
    model.logits(prompt)  # compares the readout, once
    recorder = Recorder(model, monkeypatch)
    n_new = 20
    widths = widths_of(model, lambda: model.generate(prompt, max_new_tokens=n_new))
    assert len(recorder.tokens) == n_new
    text = [*ids, *recorder.tokens[:-1]]
    plain = model.logits([text], "all")[0, len(ids) - 1 :]
    cached = torch.stack(recorder.logits)
    assert cached.isfinite().all()
    largest = float(plain.abs().max())
    torch.testing.assert_close(cached, plain, atol=1e-5 * largest, rtol=0)
    assert (plain[1:] - plain[:-1]).abs().amax(-1).min() > 1e-2 * largest
    # And a cache it was: one position a step; whole passes only to fill it and to compare.
    n, steps = len(ids), [1] * (n_new - 1)
    filled = [1, n - 2] if n > 2 else [1]
    start = [*filled, 1, n, *steps] if n > 1 else [1, 1, 1, 2, *steps[1:]]
    assert widths == [*start, len(text)]
    assert not caplog.records


def test_without_a_cache_every_pass_is_whole(tiny_llama: DepthModel) -> None:
    ids = tiny_llama.tokenize(PROMPTS[0]).row(0)

    def generate(n: int, use_cache: bool) -> list[int]:
        return widths_of(
            tiny_llama,
            lambda: tiny_llama.generate(PROMPTS[0], max_new_tokens=n, use_cache=use_cache),
        )

    tiny_llama.logits(PROMPTS[0])  # compares the readout, once
    assert generate(3, False) == [len(ids) + i for i in range(3)]
    assert generate(1, True) == [len(ids)]
    assert generate(0, True) == []


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_generation_is_seeded_and_keeps_the_prompt(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    greedy = model.generate(PROMPTS[0], max_new_tokens=4)
    assert greedy.startswith(PROMPTS[0])
    assert len(greedy) > len(PROMPTS[0])
    assert greedy == model.generate(PROMPTS[0], max_new_tokens=4, seed=9)
    drawn = [model.generate(PROMPTS[0], max_new_tokens=6, temperature=2.0, seed=s) for s in (0, 1)]
    assert drawn[0] != drawn[1]
    for use_cache in (True, False):
        assert drawn[1] == model.generate(
            PROMPTS[0], max_new_tokens=6, temperature=2.0, seed=1, use_cache=use_cache
        )
    first = int(model.logits(PROMPTS[0]).argmax())
    assert model.generate(PROMPTS[0], max_new_tokens=1).endswith(model.token_text(first).strip())


def test_it_ends_where_the_context_does(tiny_gpt2: DepthModel) -> None:
    prompt = "January" + " is" * 40
    widths = widths_of(tiny_gpt2, lambda: tiny_gpt2.generate(prompt, max_new_tokens=500))
    assert max(widths) == tiny_gpt2.n_ctx - 1  # the last token is chosen, and never read
    full = tiny_gpt2.generate(prompt, max_new_tokens=500)
    assert full == tiny_gpt2.generate(prompt, max_new_tokens=500, use_cache=False)
    assert tiny_gpt2.generate("January" + " is" * 47, max_new_tokens=5) == "January" + " is" * 47


def test_it_ends_with_the_text(tiny_llama: DepthModel) -> None:
    ids, longest = tiny_llama.tokenize(PROMPTS[1]).row(0), 6
    longer = generation.continue_tokens(
        ids,
        len(ids) + longest,
        lambda ids: tiny_llama.logits([list(ids)])[0, 0],
        generation.sampler(0.0, 0),
        None,
    )[len(ids) :]
    n = next(n for n in range(longest - 1, 0, -1) if longer[n] not in longer[:n])
    tokenizer = copy.deepcopy(tiny_llama.tokenizer)
    tokenizer.eos_token_id = longer[n]
    model = DepthModel(tiny_llama.model, tokenizer=tokenizer)
    words = [tiny_llama.token_text(token).strip() for token in longer[:n]]
    for use_cache in (True, False):
        text = model.generate(PROMPTS[1], max_new_tokens=20, use_cache=use_cache)
        assert text.split() == [*PROMPTS[1].split(), *words]


def bad_cache(kind: str) -> Callable[[DepthModel], generation.CachedStep]:
    """A `reading.cached_step` that goes wrong in one way or another."""
    right = reading.cached_step

    def cached_step(model: DepthModel) -> generation.CachedStep:
        step = right(model)

        def wrong(ids: Sequence[int], n_cached: int) -> Tensor:
            logits = step(ids, n_cached)
            if kind == "NaN":
                return logits * float("nan")
            if kind == "always" or (kind == "late" and n_cached > 12):
                return logits.roll(5)
            return logits

        return wrong

    return cached_step


@pytest.mark.parametrize("kind", ["always", "late", "NaN", "none"])
def test_a_wrong_cache_changes_no_text_and_is_said_once(
    load_tiny: Load,
    backend: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = DepthModel(load_tiny("llama", backend).model, tokenizer=architectures.word_tokenizer())
    options = {"max_new_tokens": 12, "temperature": 1.5, "seed": 3}
    plain = model.generate(PROMPTS[0], use_cache=False, **options)
    assert model.generate(PROMPTS[0], **options) == plain
    assert not caplog.records
    if kind == "none":
        start = Passes.start_cache
        monkeypatch.setattr(Passes, "start_cache", lambda *args: (start(*args)[0], None))
    else:
        monkeypatch.setattr(reading, "cached_step", bad_cache(kind))
    for _ in range(2):
        assert model.generate(PROMPTS[0], **options) == plain
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    reason = "it keeps no keys and values" if kind == "none" else "differ with a cache by"
    assert "text is generated without a cache, since" in said[0]
    assert reason in said[0]
    assert generation.n_cached() == 0


def test_a_one_token_text_is_compared_once_it_reads_the_cache() -> None:
    compared: list[int] = []

    def plain(ids: Sequence[int]) -> Tensor:
        compared.append(len(ids))
        return torch.arange(5.0)

    cached = generation.CachedLogits(plain, lambda ids, n_cached: torch.arange(5.0), 1e-4)
    generation.continue_tokens([3], 6, cached, lambda logits: 1, None)
    cached.check_last()
    assert compared == [1, 2, 5]
    cached.check_last()
    assert compared == [1, 2, 5]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes_are_cached_too(
    model_folder: Callable[[str], Any],
    backend: str,
    dtype: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = load_model(model_folder("gemma2"), backend=backend, dtype=dtype)  # type: ignore[arg-type]
    text = model.generate(PROMPTS[0], max_new_tokens=10)
    assert text.startswith(PROMPTS[0])
    assert not caplog.records


def test_training_mode_is_put_aside_and_back(
    model_folder: Callable[[str], Any], backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(model_folder("gpt2"), backend=backend)  # type: ignore[arg-type]
    text = model.generate(PROMPTS[0], max_new_tokens=8)
    model.model.train()  # dropout would change every pass
    assert model.generate(PROMPTS[0], max_new_tokens=8) == text
    assert model.model.training
    assert not any(part.grad is not None for part in model.model.parameters())
    assert not caplog.records


def test_steps_keep_no_graph(tiny_llama: DepthModel, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tiny_llama, monkeypatch)
    vector = torch.ones(tiny_llama.d_model, requires_grad=True)
    with tiny_llama.steer(polar.add(1.0), depths=1, source=vector):
        tiny_llama.generate(PROMPTS[0], max_new_tokens=3)
    assert not any(logits.requires_grad for logits in recorder.logits)


def test_what_cannot_be_generated_is_refused(trained: DepthModel) -> None:
    for options, said in (
        ({"max_new_tokens": -1}, "max_new_tokens must be a whole number"),
        ({"temperature": -1.0}, "temperature must be 0 or more"),
        ({"temperature": float("nan")}, "temperature must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            trained.generate("Two months from May is", **options)  # type: ignore[arg-type]
