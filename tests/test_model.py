import copy
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from conftest import BACKENDS, Load
from torch import Tensor
from transformers import AutoModelForCausalLM

from lensdepth import polar
from lensdepth.conversion import has_hooked_transformer
from lensdepth.hooks import SiteEdit, hooked
from lensdepth.model import DepthModel, load_model
from lensdepth.passes import Passes
from lensdepth.provenance import Backend
from lensdepth.replay import replay
from lensdepth.site import depth_hook, site_hook

pytestmark = pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated")
PROMPTS = list(architectures.PROMPTS)
Folder = Callable[[str], Path]


def hugging_face(folder: Path, architecture: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Log-probabilities and residual states by plain transformers, each prompt alone."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = architectures.tokenizer_of(architecture)
    lists = [part for part in model.modules() if isinstance(part, torch.nn.ModuleList)]
    blocks = max(lists, key=len)
    states: list[Tensor] = []

    def into(_module, args, kwargs) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    def out_of(_module, _args, output) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    blocks[0].register_forward_pre_hook(into, with_kwargs=True)
    for block in blocks:
        block.register_forward_hook(out_of)
    for prompt in PROMPTS:
        states.clear()
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer(prompt)["input_ids"]])).logits
        yield logits[0].log_softmax(-1), torch.cat(states)


def check_same_numbers(model: DepthModel, folder: Path, architecture: str) -> None:
    log_probs = model.log_probs(PROMPTS, "all")
    stream = model.residual_stream(PROMPTS, "all")
    for i, (wanted, states) in enumerate(hugging_face(folder, architecture)):
        real = stream.mask[i]
        torch.testing.assert_close(log_probs[i, real], wanted, atol=1e-4, rtol=0)
        torch.testing.assert_close(stream.resid[:, i, real], states, atol=1e-4, rtol=1e-4)
        read = model.readout(stream.resid[-1, i, real]).log_softmax(-1)
        torch.testing.assert_close(read, log_probs[i, real], atol=1e-5, rtol=0)
        # A test on a model that says the same everywhere could not fail.
        assert len(wanted) < 3 or (wanted - wanted[-1]).abs().max() > 0.1


@pytest.mark.parametrize("architecture", architectures.CONFIGS)
def test_same_numbers_as_hugging_face(
    load_tiny: Load, model_folder: Folder, architecture: str, backend: Backend
) -> None:
    model = load_tiny(architecture, backend)
    assert model.info.backend == backend
    assert model.info.weights == "raw"
    check_same_numbers(model, model_folder(architecture), architecture)


@pytest.mark.parametrize("architecture", architectures.BRIDGE_ONLY)
def test_what_hooked_transformer_does_not_cover_is_on_the_bridge(
    load_tiny: Load, model_folder: Folder, architecture: str
) -> None:
    model = load_tiny(architecture, "auto")
    assert model.info.backend == "bridge"
    check_same_numbers(model, model_folder(architecture), architecture)


@pytest.mark.parametrize("architecture", architectures.CONFIGS)
def test_a_batch_gives_what_each_prompt_gives_alone(
    load_tiny: Load, architecture: str, backend: Backend
) -> None:
    model = load_tiny(architecture, backend)
    together, stream = model.log_probs(PROMPTS), model.residual_stream(PROMPTS)
    for i, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(together[i], model.log_probs(prompt)[0], atol=1e-4, rtol=0)
        alone = model.residual_stream(prompt).resid[:, 0]
        torch.testing.assert_close(stream.resid[:, i], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", architectures.CONFIGS)
def test_readout_of_the_last_depth_is_the_models_own(
    load_tiny: Load, architecture: str, backend: Backend
) -> None:
    model = load_tiny(architecture, backend)
    batch = model.tokenize(PROMPTS)
    with torch.no_grad():
        own = model.model(batch.tokens, return_type="logits")[torch.arange(len(batch)), batch.last]
    read = model.readout(model.residual_stream(batch).resid[-1, :, 0])
    torch.testing.assert_close(read, own, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.logits(batch)[:, 0], own, atol=1e-5, rtol=1e-5)
    # Under a final norm, the length of the last state does not matter.
    longer = model.readout(100 * model.residual_stream(batch).resid[-1, :, 0])
    torch.testing.assert_close(longer, own, atol=1e-2, rtol=1e-2)


def test_the_shape_of_states_is_kept_by_the_readout(tiny_llama: DepthModel) -> None:
    stream = tiny_llama.residual_stream(PROMPTS)
    logits = tiny_llama.readout(stream.resid)
    assert logits.shape == (*stream.resid.shape[:-1], tiny_llama.d_vocab)
    torch.testing.assert_close(logits[2, 1, 0], tiny_llama.readout(stream.resid[2, 1, 0]))


def test_batch_size_changes_nothing(tiny_llama: DepthModel) -> None:
    whole = tiny_llama.residual_stream(PROMPTS, "all").resid
    parts = tiny_llama.residual_stream(PROMPTS, "all", batch_size=3).resid
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)
    logits = tiny_llama.logits(PROMPTS, "all", batch_size=3)
    torch.testing.assert_close(logits, tiny_llama.logits(PROMPTS, "all"), atol=1e-5, rtol=1e-5)
    assert not logits[3, 2:].any()
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        tiny_llama.logits(PROMPTS, batch_size=0)


def test_padding_on_the_left_in_the_tokenizer_changes_nothing(
    model_folder: Folder, backend: Backend
) -> None:
    model = load_model(model_folder("gpt2"), backend=backend)
    plain = model.log_probs(PROMPTS)
    model.model.tokenizer.padding_side = "left"
    torch.testing.assert_close(model.log_probs(PROMPTS), plain, atol=0, rtol=0)


def test_tokens_are_the_tokenizers_own(tiny_llama: DepthModel, tiny_gpt2: DepthModel) -> None:
    assert tiny_llama.str_tokens("Two months") == ["<bos>", "Two", "months"]
    assert tiny_gpt2.str_tokens("Two months") == ["Two", " months"]
    assert len(tiny_gpt2.tokenizer) <= tiny_gpt2.d_vocab  # TransformerLens adds tokens to its own
    ids = tiny_gpt2.tokenizer("Two months")["input_ids"]
    assert tiny_gpt2.tokenize("Two months").row(0) == ids
    assert tiny_gpt2.tokenize([ids]).row(0) == ids
    assert tiny_gpt2.tokenize(torch.tensor([ids])).row(0) == ids
    torch.testing.assert_close(tiny_gpt2.logits([ids]), tiny_gpt2.logits("Two months"))


def test_wrong_prompts_are_named(tiny_gpt2: DepthModel) -> None:
    for empty in (["January", ""], ["January", " "], [[1], []]):
        with pytest.raises(ValueError, match="prompt 1 is empty"):
            tiny_gpt2.tokenize(empty)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there are no prompts"):
        tiny_gpt2.tokenize([])
    with pytest.raises(ValueError, match=r"prompt 1 has 49 tokens; 'gpt2' reads at most 48"):
        tiny_gpt2.tokenize([[1], [1] * 49])
    with pytest.raises(ValueError, match=r"token id \d+ is out of range"):
        tiny_gpt2.tokenize([[1], [tiny_gpt2.d_vocab]])


def test_fingerprint_is_one_for_all_backends_and_feels_every_weight(
    load_tiny: Load, model_folder: Folder, tmp_path: Path
) -> None:
    prints = {load_tiny("llama", backend).info.fingerprint for backend in BACKENDS}
    model = AutoModelForCausalLM.from_pretrained(model_folder("llama"))
    weight = model.model.layers[1].mlp.up_proj.weight
    with torch.no_grad():
        weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))
    model.save_pretrained(tmp_path / "other")
    load_tiny("llama", "bridge").tokenizer.save_pretrained(tmp_path / "other")
    other = load_model(tmp_path / "other").info
    assert len(prints) == 1
    assert other.fingerprint not in prints
    assert other.name == "other"
    assert len(other.fingerprint) == 16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
def test_other_dtypes(
    load_tiny: Load, model_folder: Folder, architecture: str, dtype: str, backend: Backend
) -> None:
    model = load_model(model_folder(architecture), backend=backend, dtype=dtype)
    assert model.info.dtype == dtype
    assert model.info.weights == "raw"
    stream = model.residual_stream(PROMPTS)
    assert stream.resid.dtype == torch.float32
    log_probs = model.log_probs(PROMPTS)
    assert log_probs.dtype == torch.float32
    exact = load_tiny(architecture, backend).log_probs(PROMPTS)
    difference = (log_probs - exact).abs().max()
    assert difference < {"float64": 1e-5, "float16": 0.1, "bfloat16": 0.6}[dtype]
    torch.testing.assert_close(model.readout(stream.resid[-1]).log_softmax(-1), log_probs)


def test_a_bridge_that_somebody_else_made(load_tiny: Load, model_folder: Folder) -> None:
    bridges: Any = importlib.import_module("transformer_lens.model_bridge")
    for architecture in ("llama", "gpt2"):
        bridge = bridges.TransformerBridge.boot_transformers(
            str(model_folder(architecture)), device="cpu"
        )
        wrapped, loaded = DepthModel(bridge), load_tiny(architecture, "bridge")
        assert wrapped.info.weights == "raw"
        assert wrapped.info.architecture == loaded.info.architecture
        ids = loaded.tokenize(PROMPTS)
        torch.testing.assert_close(wrapped.logits(ids), loaded.logits(ids))
        before = wrapped.info.fingerprint
        with torch.no_grad():
            next(bridge.parameters()).view(-1)[3] += 1
        assert wrapped.info.fingerprint == before  # taken once
        assert DepthModel(bridge).info.fingerprint != before


def test_an_existing_model_is_used_as_it_is(load_tiny: Load, backend: Backend) -> None:
    loaded = load_tiny("gpt2", backend)
    wrapped = DepthModel(loaded.model, name="mine")
    assert wrapped.info.name == "mine"
    assert wrapped.info.weights == "raw"
    assert wrapped.info.backend == backend
    ids = loaded.tokenize(PROMPTS)
    torch.testing.assert_close(wrapped.logits(ids), loaded.logits(ids))
    with pytest.raises(
        TypeError, match="needs a HookedTransformer or a TransformerBridge, got Linear"
    ):
        DepthModel(torch.nn.Linear(2, 2))


def test_a_bridge_in_compatibility_mode_is_processed(model_folder: Folder) -> None:
    for architecture in ("llama", "gpt2"):
        raw = load_model(model_folder(architecture), backend="bridge")
        batch = raw.tokenize(PROMPTS)
        log_probs = raw.log_probs(batch)
        raw.model.enable_compatibility_mode()
        processed = DepthModel(raw.model, tokenizer=raw.tokenizer)
        assert processed.info.weights == "processed"
        torch.testing.assert_close(processed.log_probs(batch), log_probs, atol=1e-4, rtol=0)
        read = processed.readout(processed.residual_stream(batch).resid[-1])
        torch.testing.assert_close(read.log_softmax(-1), log_probs, atol=1e-4, rtol=0)


@pytest.mark.skipif(not has_hooked_transformer(), reason="TransformerLens 4 has the bridge alone")
def test_a_processed_hooked_transformer(model_folder: Folder) -> None:
    hooked_transformer: Any = importlib.import_module("transformer_lens").HookedTransformer
    for architecture in ("llama", "gpt2"):
        raw = load_model(model_folder(architecture), backend="hooked")
        batch = raw.tokenize(PROMPTS)
        log_probs = raw.log_probs(batch)
        for options in ({"fold_ln": True}, {"fold_ln": False, "center_unembed": True}):
            cfg = copy.deepcopy(raw.model.cfg)
            if options["fold_ln"]:
                cfg.normalization_type += "Pre"
            model = hooked_transformer(cfg)
            weights = {key: weight.clone() for key, weight in raw.model.state_dict().items()}
            model.load_and_process_state_dict(weights, **options)
            processed = DepthModel(model)
            assert processed.info.weights == "processed"
            assert processed.info.normalization == raw.info.normalization
            torch.testing.assert_close(processed.log_probs(batch), log_probs, atol=1e-4, rtol=0)


@pytest.mark.skipif(not has_hooked_transformer(), reason="TransformerLens 4 has the bridge alone")
def test_a_hooked_transformer_made_by_hand_without_tokenizer() -> None:
    lens: Any = importlib.import_module("transformer_lens")
    settings = {"n_layers": 2, "d_model": 16, "n_ctx": 8, "d_head": 4, "d_vocab": 11}
    for norm in ("LN", None):
        cfg = lens.HookedTransformerConfig(
            **settings, act_fn="relu", normalization_type=norm, seed=0
        )
        model = DepthModel(lens.HookedTransformer(cfg))
        assert model.info.normalization == (norm or "none")
        assert model.info.weights == "raw"
        assert model.logits([[1, 2, 3], [4]]).shape == (2, 1, 11)
        assert model.str_tokens([1, 2]) == ["1", "2"]
        with pytest.raises(ValueError, match="no tokenizer; give token ids"):
            model.tokenize("text")


def test_training_mode_is_put_aside_and_back(model_folder: Folder, backend: Backend) -> None:
    model = load_model(model_folder("gpt2"), backend=backend)
    plain = model.log_probs(PROMPTS)
    model.model.train()
    torch.testing.assert_close(model.log_probs(PROMPTS), plain, atol=0, rtol=0)
    assert model.model.training
    assert all(part.training for part in model.model.blocks)
    assert not any(part.grad is not None for part in model.model.parameters())


def test_capture_does_not_cost_more_than_the_plain_forward(tiny_llama: DepthModel) -> None:
    # Times vary on a shared machine, so this counts work: no unembedding, and only what was asked.
    called = []
    handle = tiny_llama.model.unembed.register_forward_hook(lambda *_: called.append(1))
    try:
        tiny_llama.residual_stream(PROMPTS)
        assert not called
    finally:
        handle.remove()


def test_words_that_the_tokenizer_lacks_are_named_once(
    trained: DepthModel, caplog: pytest.LogCaptureFixture
) -> None:
    trained.tokenize(["The capital of France is", "The Eiffel is", "The Tower is"])
    assert [record.getMessage() for record in caplog.records] == [
        "'tiny' does not know every word of 'The Eiffel is' and reads <unk> there: "
        "<bos> The <unk> is"
    ]


def test_activations_at_hooks_in_any_order(tiny_llama: DepthModel) -> None:
    names = [
        depth_hook(3, 3), site_hook("attn_out", 1), depth_hook(1, 3), site_hook("mlp_out", 1),
        site_hook("attn_out", 1), "blocks.2.hook_resid_pre", "hook_embed",
    ]  # fmt: skip
    together = tiny_llama.activations("Mary and John", names, "all")
    for name, found in zip(names, together, strict=True):
        assert found.equal(tiny_llama.activations("Mary and John", [name], "all")[0]), name
    # What leaves block 0 enters block 1, and block 1 adds what its parts write.
    resid = tiny_llama.residual_stream("Mary and John", "all").resid
    torch.testing.assert_close(together[2] + together[1] + together[3], resid[2])


def test_one_pass_reads_hooks_of_every_width_by_short_and_full_names(
    tiny_llama: DepthModel,
) -> None:
    names = [
        "resid_post1",
        "z2",
        "k1",
        "mlp_out0",
        "blocks.1.hook_resid_post",
        "embed",
        "scale1ln1",
    ]
    batch = tiny_llama.tokenize(PROMPTS)
    n_passes = []
    with hooked(tiny_llama.hook_points, [("hook_embed", lambda x: n_passes.append(len(x)))]):
        found = tiny_llama.read(batch, names, "all")
    assert n_passes == [len(batch)]
    assert list(found) == names
    # 4 heads of 8, 2 of them shared by keys; a norm's scale is one number a state.
    assert [x.shape[-1] for x in found.values()] == [32, 32, 16, 32, 32, 32, 1]
    # The plain way: whole activations of each prompt alone, by TransformerLens itself.
    fulls = [
        "blocks.1.hook_resid_post", "blocks.2.attn.hook_z", "blocks.1.attn.hook_k",
        "blocks.0.hook_mlp_out", "blocks.1.hook_resid_post", "hook_embed",
        "blocks.1.ln1.hook_scale",
    ]  # fmt: skip
    for i in range(len(batch)):
        with torch.no_grad():
            _, cache = tiny_llama.model.run_with_cache(torch.tensor([batch.row(i)]))
        for name, full in zip(names, fulls, strict=True):
            wanted = cache[full][0].flatten(1)
            torch.testing.assert_close(found[name][i, : len(wanted)], wanted, atol=1e-5, rtol=1e-5)
            assert not found[name][i, len(wanted) :].any()
    parts = tiny_llama.read(batch, names, "all", batch_size=3)
    for name in names:
        torch.testing.assert_close(parts[name], found[name], atol=1e-5, rtol=1e-5)
    stacked = tiny_llama.activations(batch, ["z2", "resid_post1", "z2"], "all")
    assert stacked.equal(torch.stack([found["z2"], found["resid_post1"], found["z2"]]))


def test_what_is_read_belongs_to_the_caller(tiny_llama: DepthModel) -> None:
    found = tiny_llama.read(PROMPTS, ["resid_post1", "blocks.1.hook_resid_post"])
    found["resid_post1"].zero_()
    assert found["blocks.1.hook_resid_post"].abs().max() > 0


def test_an_edit_at_a_short_name_is_the_edit_at_the_full_one(tiny_llama: DepthModel) -> None:
    batch = tiny_llama.tokenize(PROMPTS)
    by_name = [
        SiteEdit(hook=hook, positions=batch.last, edit=polar.scale(2.0), source=None, head=1)
        for hook in ("z1", site_hook("z", 1))
    ]
    short, full = tiny_llama.run_edits(batch, [[edit] for edit in by_name])
    assert short.equal(full)
    assert not short.equal(tiny_llama.logits(batch))
    for part in replay(tiny_llama, batch, [[edit] for edit in by_name]):
        logits = tiny_llama.readout(part.resid[:, 0, 0])
        torch.testing.assert_close(logits, full[part.prompts, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        (["resid_pst1"], "no hook 'resid_pst1'. Did you mean 'resid_post1'"),
        (["resid_post7"], "no hook 'resid_post7'. Its blocks are 0...2. Did you mean 'resid_post"),
        (["blocks.1.resid_post"], "Did you mean 'blocks.1.hook_resid_post'"),
        (["attn_out"], "'attn_out1'"),
        (
            ["\x1b[2J"],
            r"no hook '\x1b[2J'. Hooks are named in full (blocks.0.hook_resid_post) or sho",
        ),
        (["y" * 10_000], "…"),
        (["pattern1"], "no state at each token. DepthModel.attention reads patterns"),
        ([], "read: hooks must be a list of hook names, got none"),
    ],
)
def test_names_that_are_none_offer_the_nearest(
    tiny_llama: DepthModel, hooks: list[str], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        tiny_llama.read("Mary and John", hooks)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    if hooks and "…" not in said:
        with pytest.raises(ValueError, match=re.escape(said)):
            tiny_llama.activations("Mary and John", hooks)


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        (["blocks.1.attn.hook_pattern"], r"no state at each token\. DepthModel\.attention reads"),
        (["blocks.1.attn.hook_attn_scores"], "no state at each token"),
        (["blocks.0.attn.hook_q", "blocks.0.attn.hook_k"], r"one width .*hook_q \(32\), .*\(16\)"),
        ([], "a list of hook names, got none"),
        ("hook_embed", "hooks must be .*, got the str 'hook_embed'; put it into a list"),
        (["blocks.9.hook_resid_pre"], r"Its blocks are 0\.\.\.2"),
    ],
)
@pytest.mark.parametrize("n_words", [3, 4])
def test_activations_that_are_none_are_one_line(
    tiny_llama: DepthModel, hooks: list[str], said: str, n_words: int
) -> None:
    prompt = " ".join(["Mary"] * n_words)  # with BOS, once as many tokens as heads
    before = [len(p.fwd_hooks) for p in tiny_llama.hook_points.values()]
    with pytest.raises((ValueError, TypeError), match=said):
        tiny_llama.activations([prompt, prompt], hooks)
    assert [len(p.fwd_hooks) for p in tiny_llama.hook_points.values()] == before


def test_states_and_columns_that_fit_no_readout_are_one_line(tiny_llama: DepthModel) -> None:
    with pytest.raises(ValueError, match=r"must be d_model, 32, got shape \[2, 31\]"):
        tiny_llama.readout(torch.zeros(2, 31))
    wrong = torch.tensor([[0, -1], [1, tiny_llama.d_vocab]])
    with pytest.raises(ValueError, match=rf"token ids 0\.\.\.\d+, got -1 to {tiny_llama.d_vocab}"):
        tiny_llama.readout(torch.zeros(2, 32), wrong)


def test_one_long_prompt_does_not_make_the_others_long(
    load_tiny: Load, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes through together, results stand in the given order."""
    model = load_tiny("llama", backend)
    monkeypatch.setattr("lensdepth.passes.TOKENS_PER_BATCH", {"cpu": 96})
    rows = [[5, 6], list(range(5, 45)), [7], [8, 9, 10], list(range(50, 90)), [11, 12]]
    seen: list[list[int]] = []
    forward = Passes.forward

    def counted(self: Passes, tokens: torch.Tensor, cache: object = None) -> object:
        seen.append(list(tokens.shape))
        return forward(self, tokens, cache)

    monkeypatch.setattr(Passes, "forward", counted)
    hooks = ["resid_post1", "z2"]
    states = model.residual_stream(rows, "all").resid
    read, logits = model.read(rows, hooks, "last"), model.logits(rows)
    attention = model.attention(rows, [1])
    assert [4, 3] in seen
    assert max(n * width for n, width in seen) <= 96
    for i, row in enumerate(rows):
        alone = model.residual_stream([row], "all").resid[:, 0]
        assert (states[:, i, : len(row)] - alone).abs().max() < 1e-4
        assert (states[:, i, len(row) :] == 0).all()
        for hook in hooks:
            assert (read[hook][i] - model.read([row], hooks)[hook][0]).abs().max() < 1e-4
        assert (logits[i] - model.logits([row])[0]).abs().max() < 1e-4
        one = model.attention([row], [1])[0, 0]
        assert (attention[0, i, :, : len(row), : len(row)] - one).abs().max() < 1e-5


def test_ragged_prompts_are_replayed_in_the_given_order(
    load_tiny: Load, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny("llama", backend)
    rows = [[5, 6], list(range(5, 45)), [7, 8], [8, 9, 10], list(range(50, 90)), [11, 12]]
    batch = model.tokenize(rows)
    source = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    swap = SiteEdit(
        hook="blocks.1.hook_resid_pre",
        positions=torch.ones(6).long(),
        edit=polar.full_swap,
        source=source,
    )
    edits = [[], [swap]]
    monkeypatch.setattr("lensdepth.replay.ways.FREE", 10**9)
    found: dict[str, torch.Tensor] = {}
    for engine in ("replay", "hooks"):
        out = torch.full((2, 6, model.d_vocab), torch.nan)
        for part in replay(model, batch, edits, engine=engine):
            out[part.sets, part.prompts] = model.readout(part.resid[:, 0, 0])
        found[engine] = out
    plain = torch.stack(list(model.run_edits(batch, edits)))[:, :, 0]
    assert (found["replay"] - plain).abs().max() < 1e-3
    assert (found["hooks"] - plain).abs().max() < 1e-3
    for i, row in enumerate(rows):
        assert (plain[0, i] - model.logits([row])[0, 0]).abs().max() < 1e-4
