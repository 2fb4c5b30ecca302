"""An untrained twin: a model of the same architecture and sizes whose weights learned nothing.

What such a model shows as well is a property of the architecture and no finding about training.
Weights are drawn as the architecture's own code draws them before training: by the `_init_weights`
of the Hugging Face class where its configuration is known, else by HookedTransformer's own. Kinds
of norm, rotary positions and tied embeddings are those of the configuration. Nothing is fetched,
and neither the model nor anybody's random numbers are touched.

    >>> untrained(load_model("calendar"), seed=0).logits("two months from January is").argmax()
"""

import copy
import importlib
import warnings
from typing import Any

import torch

from lensdepth.arguments import checked
from lensdepth.checkpoint import Checkpoint
from lensdepth.conversion import convert
from lensdepth.known import described
from lensdepth.loading import LOADING
from lensdepth.model import DepthModel
from lensdepth.outside import outside, shown


@checked
def untrained(model: DepthModel, *, seed: int = 0) -> DepthModel:
    """A twin of a model with weights as they are before training, on its device, in its dtype.

    Args:
        model: any wrapped model; it is left as it is.
        seed: of the weights.
    Raises:
        ValueError: no twin can be made: its class cannot be built from its configuration, or there
            is too little memory for a second model.
    """
    said = f"untrained: no untrained twin of {shown(model.passes.name)} can be made"
    devices = [model.device] if model.device.type == "cuda" else []
    with (
        LOADING,
        torch.inference_mode(False),
        torch.random.fork_rng(devices=devices),
        outside(said),
    ):
        torch.manual_seed(seed)
        config = _configuration(model)
        twin = _own_way(model) if config is None else _hugging_face_way(model, config)
        twin = twin.eval()
    wrapped = DepthModel(
        twin,
        tokenizer=model.tokenizer,
        name=f"{model.passes.name}, untrained {seed}",
        double_bos=model.double_bos,
    )
    # By the model's own: the twin's configuration is the same, and says less on its own.
    wrapped.known.info = described(
        wrapped.passes,
        wrapped.tokenizer,
        double_bos=model.double_bos,
        architecture=model.info.architecture,
        configuration=model.info.configuration,
    )
    return wrapped


def _configuration(model: DepthModel) -> Any:
    """The Hugging Face configuration; None of a HookedTransformer that was not loaded here."""
    if model.backend == "bridge":
        return model.model.original_model.config
    return model.known.configuration


def _hugging_face_way(model: DepthModel, config: Any) -> Any:
    """Built by the class that the weights were of, then converted as a loaded model is."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(config)
    # Weights are drawn in float32 and cast: the same ones whatever the dtype.
    config.dtype = torch.float32
    config._attn_implementation = "eager"
    if model.backend == "bridge":
        hf_model = type(model.model.original_model)(config)
    else:
        hf_model = AutoModelForCausalLM.from_config(config)
    hf_model = hf_model.to(device=model.device, dtype=model.dtype).eval()
    checkpoint = Checkpoint(
        hf_model=hf_model,
        tokenizer=model.tokenizer,
        source=str(getattr(config, "_name_or_path", "") or model.passes.name),
        name=model.passes.name,
        architecture=type(hf_model).__name__,
        fingerprint="",
        configuration="",
    )
    return convert(checkpoint, model.backend, model.dtype)[0]


def _own_way(model: DepthModel) -> Any:
    """HookedTransformer's own initialisation; embeddings that are tied stay so."""
    cfg = copy.deepcopy(model.model.cfg)
    cfg.tokenizer_name = None  # else it would be fetched
    cfg.seed = None  # else everybody's random numbers would be set
    cfg.init_weights = True
    hooked = importlib.import_module("transformer_lens.HookedTransformer").HookedTransformer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        twin = hooked(cfg)
    own = model.model
    with torch.no_grad():
        if torch.equal(own.embed.W_E, own.unembed.W_U.T):
            twin.unembed.W_U.copy_(twin.embed.W_E.T)
    return twin.to(model.dtype)
