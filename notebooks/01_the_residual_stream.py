# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · The residual stream
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** A language model reads a prompt and names the next word. What flows through
# it on the way, who writes to that flow, and who reads from it?
#
# You need PyTorch, and to have heard of attention and of MLPs. Everything else is explained where
# it is used first. The model is small and comes with the package, so nothing is downloaded; put
# another name into `MODEL` and the same cells run on that one.

# %% tags=["setup"] jupyter={"source_hidden": true}
# Where lensdepth is missing (on Colab, say), install it.
import subprocess
import sys
from glob import glob
from importlib.util import find_spec

if find_spec("lensdepth") is None:
    source = glob("lensdepth-*.whl")
    assert source, "Put lensdepth's wheel beside this notebook (make wheel)."
    install = [sys.executable, "-m", "pip", "install", "--quiet", *source]
    subprocess.run(install, check=True)

# %%
MODEL = "calendar"  # or "gpt2", "Qwen/Qwen2.5-0.5B", ..., or a folder

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import attention_patterns, load_model, site_hook
from lensdepth.teaching import check, depth_lines, pick_task, say, show, square_map

model = load_model(MODEL)
task, note = pick_task(model)
say(note)

# %% [markdown]
# ## A prompt is a row of tokens
#
# A model does not read letters, it reads **tokens**, numbers that stand for words or pieces of
# words. Many tokenizers put a special token in front (`<bos>`, "beginning of sequence").

# %%
prompt = task.clean[0]
tokens = model.str_tokens(prompt)
say(
    f"“{prompt}” is {len(tokens)} tokens:",
    " · ".join(f"`{token}`" for token in tokens) + ".",
    f"The model knows {model.d_vocab:,} different ones.",
)

# %% [markdown]
# ## One vector a token, from bottom to top
#
# Each token is turned into a vector, its **embedding**. From there on, each position carries one
# vector upwards, its **state**, and the row of them is the **residual stream**. A **block** reads
# the stream, computes something, and *adds* it. Nothing is ever overwritten:
#
# ```text
#                    ┌── block 0 ──┐          ┌── block 1 ──┐
#  tokens ─ embed ─ x0 ───── (+) ─ x1 ───── (+) ─ x2 ─ … ─ xL ─ final norm ─ unembed ─ logits
# ```
#
# We count **depths**: depth 0 is the embedding, depth *d* is what leaves block *d* − 1, and the
# last depth, *L*, is what the final norm reads. There is one more depth than there are blocks.

# %%
stream = model.residual_stream(prompt, positions="all")
resid: Float[Tensor, "depth batch pos d_model"] = stream.resid
n_depths, n_prompts, n_pos, d_model = resid.shape
say(
    f"`resid` has the shape {list(resid.shape)}: {n_depths} depths (L = {model.n_layers} blocks),",
    f"{n_prompts} prompt, {n_pos} positions, and {d_model} coordinates a state.",
)

# %% [markdown]
# The line above says `Float[Tensor, "depth batch pos d_model"]`. That is **jaxtyping**: the names
# of a tensor's axes, written where the tensor is made. Most mistakes in this field are mistakes
# about axes, and a name is checked more easily than a number. The exercises below use it too.
#
# ## Who writes
#
# A block has two parts that write. **Attention** looks at earlier positions and copies something
# from them to this one; the **MLP** works on one position alone. If the picture is true, then the
# state after a block is the state before it plus these two writes, and nothing else.

# %%
layers = range(model.n_layers)
hooks = {name: [site_hook(name, layer) for layer in layers] for name in ("attn_out", "mlp_out")}
written = {name: model.activations(prompt, at, positions="all") for name, at in hooks.items()}
missing = resid[1:] - (resid[:-1] + written["attn_out"] + written["mlp_out"])
say(
    f"State before + attention + MLP − state after: at most {missing.abs().max():.1e},",
    f"where states have coordinates of up to {resid.abs().max():.0f}.",
    "The picture is exact up to rounding."
    if missing.abs().max() < 1e-3 * resid.abs().max()
    else "In this model something else writes too (a norm behind the parts, for instance).",
)

# %% [markdown]
# ## A prediction, before you go on
#
# A state has a length, its **norm**. Blocks only add. So what happens to the norms from bottom to
# top: do they grow, do they stay, does the last token's state behave like the others? Write your
# guess into the cell: how many times longer is the last token's state at the end than at the start?

# %%
my_guess = ...  # a number, such as 1 or 50

# %%
norms: Float[Tensor, "depth pos"] = stream.norms[:, 0]
labels = [f"{place}: {token}" for place, token in enumerate(tokens)]
show(
    depth_lines(
        {label: norms[:, place] for place, label in enumerate(labels)},
        title="Norm of each token's state",
        y_title="norm (each line of the grid is a factor of two)",
        log=True,
    )
)

# %% [markdown]
# **What to see.** One line a token; the axis below is the depth (0 is the embedding), and the
# fraction of the depth. Find the first token, and find the last one.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
growth = norms[-1] / norms[0]
others = norms[:, 1:].median(1).values
middle = model.n_layers // 2
guessed = "" if my_guess is ... else f" (you guessed {my_guess})"
say(
    "From the embedding to the end the last token's state grows by a factor of",
    f"{growth[-1]:.1f}{guessed}, the others by {growth[:-1].min():.1f} to {growth[:-1].max():.1f}.",
    f"The largest step of all is in block {int((norms[1:] / norms[:-1]).max(1).values.argmax())}.",
    f"Half-way, at depth {middle}, the first token's state is",
    f"{norms[middle, 0] / others[middle]:.1f} times as long as the median of the others.",
)

# %% [markdown]
# Norms grow because writes rarely cancel. That has a consequence which the whole course will come
# back to: every block reads the stream through a **norm layer**, which divides a state by its
# length first. So the longer a state is, the less one more write of a given size can turn it.
#
# ## How much each part writes

# %%
last = {name: write[:, 0, -1] for name, write in written.items()}
share = {
    "attention": last["attn_out"].norm(dim=-1) / resid[:-1, 0, -1].norm(dim=-1),
    "MLP": last["mlp_out"].norm(dim=-1) / resid[:-1, 0, -1].norm(dim=-1),
}
show(
    depth_lines(
        share,
        layers=True,
        title="What is written to the last token's state",
        y_title="length of the write, as a share of the state it is added to",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
loudest = {name: int(values.argmax()) for name, values in share.items()}
say(
    "**What to see.** Where a line is high, the block changes the state much. For the last token",
    f"of this prompt, attention writes most in block {loudest['attention']}",
    f"({share['attention'].max():.0%} of the state's length), the MLP in block {loudest['MLP']}",
    f"({share['MLP'].max():.0%}). Much writing is not yet much meaning: that takes interventions.",
)

# %% [markdown]
# ## Who reads: from the last state to the next word
#
# At the top, the last token's state goes through the final norm and is multiplied with the
# **unembedding**, one column a token. Out come the **logits**; a softmax makes them probabilities.

# %%
final_state: Float[Tensor, " d_model"] = resid[-1, 0, -1]
logits = model.readout(final_state)
own = model.logits(prompt)[0, -1]
best = logits.softmax(-1).topk(3)
say(
    f"Read out by hand and by the model itself, logits differ by {(logits - own).abs().max():.1g}",
    "at most. The three most likely next tokens:",
    ", ".join(
        f"`{model.token_text(int(token))}` ({p:.1%})"
        for p, token in zip(best.values, best.indices, strict=True)
    )
    + ".",
)

# %% [markdown]
# ## The attention sink
#
# Attention weights sum to one: a head that has nothing to fetch must still look somewhere. Many
# models let such heads look at the first token, which is always there and says nothing. It is then
# called an **attention sink**, and its state often has a huge norm.
#
# Whether *this* model has one is an empirical question. Were attention spread evenly, a position
# among *k* would get 1 / *k*. The map shows, head by head, how many times that the first position
# gets, averaged over the prompts of the task and all later positions.

# %%
few = task.select(slice(0, 20))
patterns = attention_patterns(model, few).patterns  # [layer, prompt, head, query, key]
n_heads = model.info.n_heads
even = 1 / torch.arange(1, patterns.shape[-1] + 1)
real = few.clean_tokens.mask.clone()
real[:, 0] = False  # the first position can look at nothing but itself
shares = patterns[..., 0].movedim(2, 1)[:, :, real]  # layer, head, every later position
times = (shares / even.expand_as(real)[real]).mean(-1)
show(
    square_map(
        times,
        rows=("block", [str(layer) for layer in layers]),
        columns=("head", [str(head) for head in range(n_heads)]),
        title="Attention to the first position, as a multiple of an even share",
        unit="times an even share",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
keenest = divmod(int(times.argmax()), n_heads)
strong = float((shares.mean(-1) > 0.5).float().mean())
say(
    f"**What to see.** On average the first position gets {times.mean():.1f} times an even share",
    f"({shares.mean():.0%} of all attention); the keenest head, number {keenest[1]} of block",
    f"{keenest[0]}, gives it {shares[keenest].mean():.0%}. In {strong:.0%} of the heads it gets more",
    "than half.",
    "That is a sink, in some heads at least."
    if strong > 0.1
    else "That is not the strong sink that large models are known for.",
    "To be safe, lensdepth leaves the first position out of geometry, unless asked.",
)

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, and read the feedback. It tells you what to think about, never
# the answer. A solution is folded up below each exercise.
#
# **1. The length of a state.** `resid` has four axes. Which one disappears?


# %%
def norms_of(
    resid: Float[Tensor, "depth batch pos d_model"],
) -> Float[Tensor, "depth batch pos"]:
    return ...


check("01.norms", norms_of)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def norms_of(resid):
#     return resid.pow(2).sum(dim=-1).sqrt()
#
# check("01.norms", norms_of)
# ```
#
# </details>
#
# **2. What each block wrote.** There are *L* + 1 depths and *L* blocks.


# %%
def writes(
    resid: Float[Tensor, "depth batch pos d_model"],
) -> Float[Tensor, "layer batch pos d_model"]:
    return ...


check("01.writes", writes)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def writes(resid):
#     return resid[1:] - resid[:-1]
#
# check("01.writes", writes)
# ```
#
# </details>
#
# **3. How much attention goes to the first position?** One number a head, averaged over the queries
# (the positions that look), where a query counts only if it has a choice.


# %%
def to_first_position(
    pattern: Float[Tensor, "head query key"],
) -> Float[Tensor, " head"]:
    return ...


check("01.to_first", to_first_position)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def to_first_position(pattern):
#     return pattern[:, 1:, 0].mean(dim=-1)
#
# check("01.to_first", to_first_position)
# ```
#
# </details>
#
# ## What to take along
#
# - The residual stream is one vector a position, and blocks only add to it.
# - Depth counts states, layers count blocks; there is one more state than there are blocks.
# - Norms grow, and the first position is apart: keep both in mind whenever states are compared.
#
# **Further reading.** Massive activations and sinks: Sun et al., arXiv 2402.17762. How much blocks
# write beside what is there: arXiv 2505.13898. That neighbouring states of large models are
# nearly linear images of one another: arXiv 2405.12250.
#
# **Next:** notebook 2 reads the stream half-way up, as if the model stopped there.
