import pytest
from conftest import Load

from lensdepth import hook_names
from lensdepth.hook_names import full_name, lengthened
from lensdepth.model import DepthModel


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("resid_post3", "blocks.3.hook_resid_post"),
        ("resid_pre0", "blocks.0.hook_resid_pre"),
        ("attn_out1", "blocks.1.hook_attn_out"),
        ("mlp_out12", "blocks.12.hook_mlp_out"),
        ("z2", "blocks.2.attn.hook_z"),
        ("rot_q4", "blocks.4.attn.hook_rot_q"),
        ("pattern5", "blocks.5.attn.hook_pattern"),
        ("post6", "blocks.6.mlp.hook_post"),
        ("scale4ln1", "blocks.4.ln1.hook_scale"),
        ("normalized", "ln_final.hook_normalized"),
        ("embed", "hook_embed"),
        ("hook_embed", "hook_embed"),
        ("blocks.3.hook_resid_post", "blocks.3.hook_resid_post"),
        ("blocks.3.mlp.in.hook_out", "blocks.3.mlp.in.hook_out"),
    ],
)
def test_short_names_are_those_of_transformer_lens(short: str, full: str) -> None:
    assert lengthened(short) == full


def test_every_short_name_leads_back_to_its_hook(tiny_llama: DepthModel) -> None:
    points = tiny_llama.hook_points
    short = {name: hook_names._shortened(name) for name in points}
    named = {name: one for name, one in short.items() if one is not None}
    assert len(set(named.values())) == len(named)
    assert all(full_name(points, one) == name for name, one in named.items())
    assert {"resid_pre0", "resid_mid1", "resid_post2", "z0", "attn_out1", "mlp_out2"} <= {
        *named.values()
    }


def test_a_full_name_stands_for_itself_whatever_it_looks_like() -> None:
    points = {"z1": None, "blocks.1.attn.hook_z": None}
    assert full_name(points, "z1") == "z1"


def test_a_stream_that_a_block_lacks_is_told(load_tiny: Load, backend: str) -> None:
    parallel = load_tiny("gpt_neox", backend)
    with pytest.raises(ValueError, match=r"'resid_mid1'\. Not every architecture has every stream"):
        full_name(parallel.hook_points, "resid_mid1")
