"""Where written tokens are settled, against prefixes read one by one, and against planted models;
held edits against the same edits of single prompts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Load

from lensdepth import (
    DepthModel,
    GenerationProfile,
    find_commitment,
    generation_profile,
    load_model,
    logit_lens,
    metrics,
    polar,
)
from lensdepth.analyses import analysis
from lensdepth.continuation import generate, texts
from lensdepth.edits import at_random, strong_edit, with_noise
from lensdepth.hooks import SiteEdit
from lensdepth.provenance import Backend
from lensdepth.site import depth_hook
from lensdepth.teaching import planted

BASE, SOURCE = "Two months from May is", "Two months from June is"
N = 9


@pytest.fixture(scope="module", params=[0.0, 0.2])
def written(load_tiny: Load, request: pytest.FixtureRequest) -> tuple[DepthModel, Any, float]:
    """A random model's text, and the same drawn."""
    model = load_tiny("llama", "bridge")
    found = generation_profile(model, BASE, n_tokens=N, temperature=request.param, seed=3)
    return model, found, request.param


def prefixes(found: GenerationProfile, run: int = 0) -> list[list[int]]:
    """The tokens that stood there when each token of a run was due."""
    ids, row = found.prompt_tokens.tolist(), found.tokens[run]
    new = row[row >= 0].tolist()
    return [ids + new[:i] for i in range(len(new))]


def test_the_text_is_the_one_that_generate_writes(
    written: tuple[DepthModel, Any, float],
) -> None:
    model, found, temperature = written
    text = model.generate(BASE, max_new_tokens=N, temperature=temperature, seed=3)
    assert BASE + found.texts[0] == BASE + "".join(found.pieces[0]) == text
    assert found.tokens.shape[1] == N


def test_numbers_are_those_of_each_prefix_by_itself(
    written: tuple[DepthModel, Any, float],
) -> None:
    """One prompt a token, read by the lens at its last token; depth L by the model itself."""
    model, found, temperature = written
    token = found.tokens[0]
    plain = torch.stack([model.log_probs([one])[0, 0] for one in prefixes(found)])
    own = plain.gather(-1, token[:, None])[:, 0]
    torch.testing.assert_close(found.log_prob[0, -1], own, atol=1e-5, rtol=1e-5)
    assert found.rank[0, -1].tolist() == (plain > own[:, None]).sum(-1).tolist()
    torch.testing.assert_close(found.entropy[0, -1], metrics.entropy(plain), atol=1e-5, rtol=1e-5)
    lenses = [logit_lens(model, [one]) for one in prefixes(found)]
    for field in ("entropy", "kl", "final_rank", "top_tokens", "top_log_probs"):
        slow = torch.stack([getattr(lens, field)[:, 0, 0] for lens in lenses], dim=1)
        torch.testing.assert_close(getattr(found, field)[0], slow, atol=1e-5, rtol=1e-5)
    slow = torch.cat([find_commitment(lens).depths for lens in lenses])
    chosen = plain.argmax(-1) == token
    assert chosen.all() if temperature == 0 else 0 < chosen.sum() < N
    expected = torch.where(chosen, slow, torch.nan)
    torch.testing.assert_close(found.settled[0], expected, equal_nan=True)


def test_logits_are_read_in_parts(
    written: tuple[DepthModel, Any, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never all depths, tokens and the vocabulary together, and never all states."""
    model, found, temperature = written
    sizes = []
    readout = model.readout
    monkeypatch.setattr("lensdepth.lens.read.LOGITS_AT_ONCE", 2 * 3 * model.d_vocab)
    monkeypatch.setattr(texts, "LOGITS_AT_ONCE", 2 * model.d_vocab)
    monkeypatch.setattr(generate, "STATES_AT_ONCE", 4 * 3 * model.d_model)

    def watched(states: torch.Tensor) -> torch.Tensor:
        logits = readout(states)
        sizes.append(logits.numel())
        return logits

    monkeypatch.setattr(model, "readout", watched)
    again = generation_profile(model, BASE, n_tokens=N, temperature=temperature, seed=3)
    assert max(sizes) <= 2 * (model.n_layers + 1) * model.d_vocab
    torch.testing.assert_close(again.log_prob, found.log_prob)
    assert torch.equal(again.top_tokens, found.top_tokens)


def test_a_token_is_settled_where_the_planted_block_moves_it(
    tmp_path: Path, backend: Backend
) -> None:
    blocks = {i: i % 5 for i in range(len(planted.INPUTS))}
    model = load_model(planted.switch(tmp_path / "m", n_layers=6, layer=blocks), backend=backend)
    tied = 0
    for i, block in blocks.items():
        found = generation_profile(model, f"from in{i} is", n_tokens=1)
        assert found.str_tokens() == [f"out{i}"]
        # Before the block all answers tie, and one of them comes first all the same.
        if found.text(int(found.top_tokens[0, block, 0, 0])) == f"out{i}":
            tied += 1
            continue
        assert found.settled.tolist() == [[block + 1]]
    assert tied <= 2


@pytest.mark.parametrize("depths", [[1], [3], [2, 4]])
def test_a_held_swap_writes_the_source_only_behind_the_planted_block(
    tmp_path: Path, backend: Backend, depths: list[int]
) -> None:
    """Block 2 moves the input to the end: before it the last token knows nothing of the input."""
    model = load_model(planted.switch(tmp_path / "m", n_layers=6, layer=2), backend=backend)
    found = generation_profile(
        model, "from in0 is", n_tokens=1, edit="full", source="from in7 is", depths=depths
    )
    there = max(depths) > 2
    assert found.str_tokens("edited") == ["out7" if there else "out0"]
    assert found.first_difference == (0 if there else None)
    assert (float(found.forced_kl[1, 0]) > 1) == there
    # At the input token it is the other way round.
    at_input = generation_profile(
        model, "from in0 is", n_tokens=1, edit="full", source="from in7 is", depths=depths,
        positions=[2],
    )  # fmt: skip
    assert at_input.str_tokens("edited") == ["out7" if min(depths) <= 2 else "out0"]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_along_the_base_text_the_divergence_is_that_of_each_prefix_edited_alone(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    found = generation_profile(
        model, BASE, n_tokens=5, edit="direction", strength=0.8, source=SOURCE, depths=[0, 2],
        positions=[2, -1], seed=4,
    )  # fmt: skip
    assert found.runs == ("base", "edited", "edited control")
    _, edit = strong_edit("direction", 0.8, caller="test")
    hooks = [depth_hook(depth, model.n_layers) for depth in (0, 2)]
    places = [2, len(model.tokenize(BASE).row(0)) - 1]
    states = model.activations(SOURCE, hooks, torch.tensor([places]))[:, 0]
    noisy = with_noise(states, torch.Generator().manual_seed(4))
    for run, apply, using in ((1, edit, states), (2, at_random(edit), noisy)):
        edits = [
            SiteEdit(hook=hook, positions=torch.tensor([at]), edit=apply, source=using[i, j][None])
            for i, hook in enumerate(hooks)
            for j, at in enumerate(places)
        ]
        for t, prefix in enumerate(prefixes(found)):
            plain, edited = model.run_edits(model.tokenize([prefix]), [[], edits])
            kl = metrics.kl_divergence(plain[0, 0], edited[0, 0])
            torch.testing.assert_close(found.forced_kl[run, t], kl, atol=1e-5, rtol=1e-3)
            token = found.tokens[0, t]
            own = edited[0, 0].log_softmax(-1)[token]
            torch.testing.assert_close(found.forced_log_prob[run, t], own, atol=1e-5, rtol=1e-4)
    assert float(found.forced_kl[1].max()) > 1e-3


@pytest.mark.parametrize("onward", [False, True])
def test_the_edited_text_is_what_the_steered_model_writes(
    load_tiny: Load, backend: str, onward: bool
) -> None:
    model = load_tiny("gpt2", backend)
    found = generation_profile(
        model, BASE, n_tokens=N, edit="full", source=SOURCE, depths=2, onward=onward
    )
    last = int(model.tokenize(BASE).lengths[0]) - 1
    state = model.residual_stream(SOURCE).resid[2, 0, 0]
    positions = slice(last, None) if onward else [last]
    with model.steer(polar.full_swap, depths=2, positions=positions, source=state):
        assert model.generate(BASE, max_new_tokens=N) == BASE + found.texts[1]
        plain = model.log_probs(prefixes(found, 1))
    own = plain[:, 0].gather(-1, found.tokens[1, : len(plain), None])[:, 0]
    torch.testing.assert_close(found.log_prob[1, -1, : len(own)], own, atol=1e-5, rtol=1e-4)
    assert found.first_difference is not None


def test_an_edit_that_changes_nothing_changes_exactly_nothing(tiny_llama: DepthModel) -> None:
    found = generation_profile(
        tiny_llama, BASE, n_tokens=5, edit="full", strength=0.0, source=SOURCE, depths=[0, 1]
    )
    assert found.first_difference is None
    assert torch.equal(found.forced_kl[:2], torch.zeros(2, 5))
    assert torch.equal(found.tokens[0], found.tokens[1])
    assert torch.equal(found.log_prob[0], found.log_prob[1])
    assert "writes the same text" in " ".join(analysis("write").sentences(found))


def test_a_model_steered_from_outside_is_the_base(tiny_llama: DepthModel) -> None:
    with tiny_llama.steer(polar.scale(3.0), depths=1):
        found = generation_profile(tiny_llama, BASE, n_tokens=4)
        assert BASE + found.texts[0] == tiny_llama.generate(BASE, max_new_tokens=4)
        plain = tiny_llama.log_probs(prefixes(found))[:, 0]
    torch.testing.assert_close(
        found.log_prob[0, -1], plain.gather(-1, found.tokens[0][:, None])[:, 0]
    )
    assert found.provenance.model.name.endswith("(steered)")


def test_texts_of_several_lengths_stand_side_by_side(trained: DepthModel) -> None:
    """The bundled model ends its sentences; what lies beyond is nothing."""
    prompt = "Two months from January is"
    found = generation_profile(trained, prompt, n_tokens=12, edit="scale", strength=0.0, depths=[1])
    lengths = (found.tokens >= 0).sum(1)
    assert lengths[0] < 12
    assert tuple(map("".join, found.pieces)) == found.texts
    assert [piece.strip() for piece in found.pieces[0]] == found.str_tokens()
    frame = found.to_frame()
    assert frame.groupby("run").size().to_dict() == dict(
        zip(found.runs, lengths.tolist(), strict=True)
    )
    assert len(found.depth_frame()) == int(lengths.sum()) * (trained.n_layers + 1)
    summary = analysis("write").summary(found)
    assert [len(one["tokens"]) for one in summary["runs"].values()] == lengths.tolist()
    assert found.control is None  # a norm has no direction to turn


def test_figures_say_where_tokens_are_settled_and_where_texts_part(load_tiny: Load) -> None:
    model = load_tiny("gpt2", "bridge")
    found = generation_profile(model, BASE, n_tokens=5, edit="full", source=SOURCE, depths=2)
    figure = found.plot()
    lines = {(t["name"], t["yaxis"]): list(t["y"]) for t in figure.to_dict()["data"]}
    torch.testing.assert_close(torch.tensor(lines["base", "y"]), found.settled[0])
    kl = [y for (_, axis), y in lines.items() if axis == "y3"]
    torch.testing.assert_close(torch.tensor(kl), found.forced_kl[1:])
    assert {shape.x0 for shape in figure.layout.shapes} == {found.first_difference}  # type: ignore[attr-defined]
    cells, line = found.plot_map("edited", value="rank").to_dict()["data"]
    assert list(line["x"][::2]) == [-0.5, 0.5, 1.5, 2.5, 3.5]
    assert list(line["y"][::2]) == list(line["y"][1::2]) == (found.settled[1] - 0.5).tolist()
    settled = [cells["text"][int(d)][i] for i, d in enumerate(found.settled[1].tolist())]
    assert settled == [cells["text"][-1][i] for i in range(5)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_tokens": 0}, "n_tokens must be 1 or more, got 0"),
        ({"temperature": -1.0}, "temperature must be 0 or more, got -1.0"),
        ({"source": SOURCE}, "go with an edit"),
        ({"edit": "full", "depths": 1}, "'full' needs a source prompt, got None"),
        ({"edit": "full", "source": SOURCE}, "an edit needs depths"),
        ({"edit": "full", "source": SOURCE, "depths": [1, 9]}, "within 0...3, each once"),
        ({"edit": "scale", "source": SOURCE, "depths": 1}, "takes nothing from a source"),
        ({"edit": "nope", "depths": 1}, "edit must be one of full"),
        ({"edit": "scale", "depths": 1, "strength": 9.0}, "from 0 to 4"),
        ({"edit": "scale", "depths": 1, "positions": [1, 1]}, "each once"),
    ],
)
def test_what_does_not_fit_is_refused(load_tiny: Load, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        generation_profile(load_tiny("llama", "bridge"), BASE, **options)
    assert str(error.value).startswith("generation_profile: ")


def test_tokens_are_settled_by_patching_where_plain_hooks_bring_them_along(
    load_tiny: Load, backend: Backend
) -> None:
    model = load_tiny("gpt2", backend)
    found = generation_profile(model, BASE, n_tokens=5, counterfactual=SOURCE)
    new, depths = found.tokens[0].tolist(), found.settled_by_patching
    assert depths is not None
    others = model.tokenize(SOURCE).row(0)
    shows = 0
    for i, token in enumerate(new):
        there = [*others, *new[:i]]
        if int(model.logits([there])[0, 0].argmax()) == token:
            assert depths[i].isnan()
            continue
        shows += 1
        base = model.tokenize([prefixes(found)[i]])
        comes = []
        for depth in range(model.n_layers + 1):
            hook = depth_hook(depth, model.n_layers)
            state = model.activations(base, [hook], base.last[:, None])[0, 0]

            def put(resid: torch.Tensor, hook: Any, state: torch.Tensor = state) -> torch.Tensor:
                resid[:, -1] = state
                return resid

            with torch.no_grad():
                logits = model.model.run_with_hooks(
                    torch.tensor([there]), fwd_hooks=[(hook, put)], return_type="logits"
                )
            comes.append(int(logits[0, -1].argmax()) == token)
        first = int(depths[i])
        assert all(comes[first:])
        assert first == 0 or not comes[first - 1]
    assert shows
    told = analysis("write")
    assert told.summary(found)["settled_by_patching"] == [
        None if x != x else x for x in depths.tolist()
    ]
    assert "not come first by" in " ".join(told.sentences(found))
    frame = found.to_frame()
    torch.testing.assert_close(
        torch.tensor(frame["depth_by_patching"].to_numpy()), depths, equal_nan=True
    )


def test_a_planted_switch_settles_its_token_by_patching(tmp_path: Path) -> None:
    model = load_model(planted.switch(tmp_path / "m", n_layers=6, layer=3))
    prompts = [wording.format(word) for wording in planted.WORDINGS[:1] for word in ("in0", "in1")]
    found = generation_profile(model, prompts[0], n_tokens=1, counterfactual=prompts[1])
    assert found.settled_by_patching is not None
    assert found.settled_by_patching.tolist() == [4.0]  # the state that block 3 leaves
    alike = generation_profile(model, prompts[0], n_tokens=1, counterfactual=f"{prompts[0]} is")
    assert alike.counterfactual == f"{prompts[0]} is"
    with pytest.raises(ValueError, match="counterfactual is the prompt itself"):
        generation_profile(model, prompts[0], n_tokens=1, counterfactual=prompts[0])
