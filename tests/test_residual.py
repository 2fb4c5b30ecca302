import math
from pathlib import Path

import torch

import lensdepth
from lensdepth.model import DepthModel

PROMPTS = ["Two months from January is", "January"]


def test_polar_parts_make_the_state_again(tiny_llama: DepthModel) -> None:
    stream = tiny_llama.residual_stream(PROMPTS, "all")
    again = stream.norms[..., None] * stream.directions
    torch.testing.assert_close(again, stream.resid, atol=1e-5, rtol=0)
    lengths = stream.directions.norm(dim=-1)[:, stream.mask]
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_shape_mask_and_zeros_beyond_the_end(tiny_llama: DepthModel) -> None:
    stream = tiny_llama.residual_stream(PROMPTS, "all")
    assert stream.resid.shape == (tiny_llama.n_layers + 1, 2, 6, tiny_llama.d_model)
    assert stream.n_layers == tiny_llama.n_layers
    assert stream.mask.tolist() == [[True] * 6, [True] * 2 + [False] * 4]
    assert stream.positions[1].tolist() == [0, 1, -1, -1, -1, -1]
    assert not stream.resid[:, ~stream.mask].any()
    assert not stream.directions[:, ~stream.mask].any()
    assert stream.resid.dtype == torch.float32
    assert stream.info == tiny_llama.info


def test_only_asked_positions_are_kept(tiny_llama: DepthModel) -> None:
    every = tiny_llama.residual_stream(PROMPTS, "all").resid
    last = tiny_llama.residual_stream(PROMPTS).resid
    assert last.shape[2] == 1
    torch.testing.assert_close(last[:, 0, 0], every[:, 0, 5])
    torch.testing.assert_close(last[:, 1, 0], every[:, 1, 1])
    some = tiny_llama.residual_stream(PROMPTS, torch.tensor([[1, -1], [0, -1]])).resid
    torch.testing.assert_close(some[:, 0], every[:, 0, [1, 5]])
    torch.testing.assert_close(some[:, 1], every[:, 1, [0, 1]])


def test_a_stream_has_a_table_of_its_real_states_and_a_file(
    tiny_llama: DepthModel, tmp_path: Path
) -> None:
    stream = tiny_llama.residual_stream(PROMPTS, "all")
    frame = stream.to_frame()
    assert len(frame) == (tiny_llama.n_layers + 1) * 8  # of six and two tokens
    row = frame[(frame.prompt == 1) & (frame.position == 1) & (frame.depth == 2)].iloc[0]
    before, state = stream.resid[1, 1, 1].double(), stream.resid[2, 1, 1].double()
    cosine = float(before @ state / (before.norm() * state.norm()))
    assert math.isclose(row["norm"], float(state.norm()), rel_tol=1e-5)
    assert math.isclose(row["turn"], math.degrees(math.acos(cosine)), rel_tol=1e-3)
    assert frame[frame.depth == 0]["turn"].isna().all()
    assert math.isclose(row["relative_depth"], 2 / tiny_llama.n_layers)
    stream.save(tmp_path / "stream.safetensors")
    again = lensdepth.load(tmp_path / "stream.safetensors")
    assert torch.equal(again.resid, stream.resid)
    assert torch.equal(again.tokens.tokens, stream.tokens.tokens)
    assert again.info == stream.info
