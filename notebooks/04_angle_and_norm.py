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
# # 4 · Angle and norm
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** A state is a vector: it points somewhere, and it has a length. Which of the two
# carries the prediction, and which parts of the answer are settled before one measures anything?
#
# From notebook 3 you need: putting a state from one run into another, and the transition.

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

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from lensdepth import (
    ablation_sweep,
    confidence_response,
    dose_response,
    load_model,
    polar,
    subspace_sweep,
)
from lensdepth.confidence.told import sentences
from lensdepth.teaching import check, depth_lines, pick_task, planted_case, say, show

model = load_model(MODEL)
task, note = pick_task(model)
say(note)

# %% [markdown]
# ## Polar form
#
# Any state *x* is a **norm** *r* (its length) times a **direction** *u* (a vector of length one):
# *x = r · u*. Taking it apart and putting it together again loses nothing:

# %%
states = model.residual_stream(task.clean_tokens).resid[:, :, 0]  # [depth, prompt, d_model]
r, u = polar.split(states)
error = (polar.recombine(r, u) - states).abs().max()
say(
    f"Norms `{list(r.shape)}`, directions `{list(u.shape)}`, each of length",
    f"{polar.norm(u).mean():.3f}. Put together again, the states differ by {error:.0e} at most.",
)

# %% [markdown]
# How far apart are the two runs of a pair, in either part? At the last token, the angle between
# their states says how much they differ in direction, the ratio of norms how much in length.

# %%
parts = ablation_sweep(model, task, depths="all")
angles = parts.angle[0].rad2deg().T
ratios = 100 * (parts.norm_ratio[..., 0].log().abs().exp() - 1)
show(
    depth_lines(
        {"angle, degrees": angles, "difference of norms, per cent": ratios},
        title="How the two runs of a pair differ at the last token",
        y_title="degrees; per cent",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    f"**What to see.** The angle rises from {angles[:, 1].mean():.0f}° at depth 1 to",
    f"{angles[:, -1].mean():.0f}° at the end; the norms of a pair never differ by more than",
    f"{ratios.mean(0).max():.0f} % on average. Keep that in mind: an exchange of nearly equal things",
    "cannot do much.",
)

# %% [markdown]
# ## A prediction, before you go on
#
# Into one run we now put, at one depth, only the **direction** of the other run's state (the norm
# that was there is kept), or only its **norm** (the direction is kept). In which share of the pairs
# will the answer become the other run's, two depths before the end?

# %%
my_guess = {"direction": ..., "norm": ...}  # two shares between 0 and 1

# %%
here = {"scope": "local", "position": "prediction"}  # one depth at a time, at the last token
show(
    depth_lines(
        {
            "the direction alone": parts.of("success", edit="direction", **here),
            "the norm alone": parts.of("success", edit="norm", **here),
            "control: a random turn by the same angle": parts.of(
                "success", edit="random_direction", **here
            ),
            "control: another pair's norm": parts.of("success", edit="random_norm", **here),
        },
        title="Which part of the state brings the answer along?",
        y_title="share of pairs whose answer becomes the other run's",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
late = max(model.n_layers - 2, 0)
share = {name: parts.of("success", edit=name, **here)[:, late].nanmean() for name in parts.edits}
guessed = ""
if my_guess["direction"] is not ...:
    guessed = f" (you guessed {my_guess['direction']} and {my_guess['norm']})"
say(
    f"**What to see.** At depth {late}, two before the end, the direction brings the answer along in",
    f"{share['direction']:.0%} of the pairs, the norm in {share['norm']:.0%}{guessed}.",
    f"A random turn by the same angle does so in {share['random_direction']:.0%}.",
)

# %% [markdown]
# ## Why the controls?
#
# A turned state is a disturbed state, and a disturbed model says *something* else. That a direction
# swap changes the answer shows little; that it changes it to *the other run's* answer, while a turn
# by the **same angle** in a random direction does not, shows that this very direction matters. A
# control has to be matched in everything but the thing that is tested: here, the angle.
#
# ## What the final norm settles beforehand
#
# Between the last state and the logits stands a norm layer. It divides the state by its length. So
# whatever a model has learned, stretching the *last* state cannot change its logits:

# %%
last = states[-1]
own = model.readout(last)
rows = []
for factor in (0.1, 0.5, 2.0, 10.0):
    changed = (model.readout(factor * last) - own).abs().max()
    rows.append({"last state times": factor, "largest change of any logit": float(changed)})
show(pd.DataFrame(rows))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
identity = parts.identity_depth()
say(
    "**What to see.** Next to nothing changes (what does is rounding, and the small number that norm "
    "layers add below the line against division by zero)."
    if identity is not None
    else "**What to see.** This model has no final norm, and its logits grow with the state.",
    f"lensdepth marks depth {identity} as an **identity**: “the norm does not matter there” is built in,",
    "no finding. The direction edit is as trivial there: it does all that a full swap does. That part",
    "of the claim “direction, not norm” is true of every such model, trained or not. It has to be",
    "judged *before* the last depth.",
)

# %% [markdown]
# ## Before the last depth: how much must a norm change?
#
# At earlier depths blocks follow. A block reads the state through a norm layer too, but what it
# writes is *added to the state as it is*: the longer the state, the less the write turns it. So
# there norms may matter. The swap above is a weak test, though, since the norms of a pair are nearly
# equal. A stronger one: stretch or shrink the state by a factor, and watch.

# %%
few = task.select(slice(0, 40))
factors = (0.25, 0.5, 2.0, 4.0)
dose = dose_response(model, few, factors=factors, angles=(0.5, 1.0), depths="all")
flips = {}
for factor in factors:
    row = [
        p == "norm" and abs(float(d) - factor) < 1e-6
        for p, d in zip(dose.parts, dose.doses, strict=True)
    ]
    flips[f"norm times {factor:g}"] = dose.flip[row.index(True)]
show(
    depth_lines(
        flips,
        title="Stretching the state at one depth",
        y_title="share of pairs whose most likely token changes",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
most = {name: values.mean(0) for name, values in flips.items()}
strongest = max(most, key=lambda name: float(most[name].max()))
where = int(most[strongest].argmax())
say(
    f"**What to see.** The strongest factor here is *{strongest}*: at depth {where} it changes the "
    f"first choice of {most[strongest][where]:.0%} of the pairs; the norm *swap* brought the other run's "
    f"answer in {parts.of('success', edit='norm', **here)[:, where].mean():.0%} there. At the last depth all lines are at zero, by the identity."
    if most[strongest].max() > 0.2
    else f"**What to see.** Even factors of four change little (at most {most[strongest].max():.0%}).",
    "So mind the wording: that exchanging norms *between prompts* moves no answers is not the same as",
    "that norms do nothing.",
)

# %% [markdown]
# ## Does the norm tell how sure the model is?
#
# A norm that changes no answer may still do something: it may set how sure the model is. Stretch and
# shrink again, and watch the entropy. Each dashed line is a turn in a random direction that moves
# the state exactly as far as the factor does.

# %%
sure = confidence_response(model, task, factors=(0.5, 2.0), depths="all", control_pairs="all")
entropy = {edit: sure.change("entropy", edit) for edit in ("norm", "turn")}
show(
    depth_lines(
        {
            "norm halved": entropy["norm"][0],
            "norm doubled": entropy["norm"][1],
            "control: turned as far as halved": entropy["turn"][0],
            "control: turned as far as doubled": entropy["turn"][1],
        },
        title="How much surer, or less sure, after an edit at one depth?",
        y_title="change of entropy, nats",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say("**What to see.**", *sentences(sure)[:2])

# %% [markdown]
# ## Between a direction and everything: how many dimensions?
#
# A direction has as many numbers as the whole state, less one. Are all of them needed? Take the
# differences between the two runs in *other* pairs, and of these the *k* leading directions. Put in
# only the other run's part within these *k* dimensions, and keep the rest of the state.

# %%
within = subspace_sweep(model, task, depths="all", dims=(1, 2, 4, 8), bases=("pca",))
show(
    depth_lines(
        {
            "the whole state": within.moved(),
            **{f"k = {k}": within.moved("pca", dim=k) for k in (1, 2, 4)},
            "control: 4 random dimensions": within.moved("random", dim=4),
            "control: as far, in 4 random dimensions": within.moved("matched", dim=4),
        },
        title="How many dimensions of the last token's state bring the answer along?",
        y_title="share of the way to the other run",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
needed = within.dimensions("pca")
judged = needed[(needed.verdict == "reached") & (needed.depth < model.n_layers)]
before = max(model.n_layers - 1, 0)
by_chance = {name: within.moved(name, dim=4)[:, before].nanmean() for name in within.controls}
say(
    "**What to see.** "
    + (
        f"At depth {judged.depth.iloc[-1]}, {judged.k.iloc[-1]:.0f} of {model.d_model} dimensions do "
        f"{judged.share.iloc[-1]:.0%} of what the whole state does."
        if len(judged)
        else "At no depth before the last do so few dimensions do what the whole state does, or the "
        "whole state itself does too little to be divided."
    ),
    f"At depth {before} four random dimensions move {by_chance['random']:.2f} of the way, and",
    f"{by_chance['matched']:.2f} where the state moves as far in them as in the differences. The",
    "dimensions come from other pairs than those that they are tried on, else a pair would bring its",
    "own answer.",
)

# %% [markdown]
# ## A model in which the norm decides
#
# Could our tools say "it is the norm", if it were so? Here is a planted model, its weights set by
# hand. One kind of input words *stretches* the last token's state without turning it; a later block
# adds one and the same vector to every state, and only a stretched state outweighs it. Between
# these two blocks the answer is in the norm, and nowhere else.

# %%
gate, gate_task = planted_case("gate")
gate_parts = ablation_sweep(gate, gate_task)
show(
    depth_lines(
        {
            "the direction alone": gate_parts.of("success", edit="direction", **here),
            "the norm alone": gate_parts.of("success", edit="norm", **here),
        },
        title="A planted model: the norm decides, for a while",
        y_title="share of pairs whose answer becomes the other run's",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
by_norm = gate_parts.of("success", edit="norm", **here).mean(0) > 0.5
by_direction = gate_parts.of("success", edit="direction", **here).mean(0) > 0.5
say(
    "**What to see.** The norm alone carries the answer at depths",
    ", ".join(str(d) for d in by_norm.nonzero()[:, 0].tolist()) + ", the direction alone at",
    ", ".join(str(d) for d in by_direction.nonzero()[:, 0].tolist()) + ".",
    "The same measurement that says “direction” of one model says “norm” of another: that is what",
    "makes it a measurement.",
)

# %% [markdown]
# ## Exercises
#
# **1. The direction swap.** The source's direction, at the base's norm.


# %%
def direction_swap(
    base: Float[Tensor, "batch d_model"], source: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch d_model"]:
    return ...


check("04.direction_swap", direction_swap)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def direction_swap(base, source):
#     direction = source / source.norm(dim=-1, keepdim=True)
#     return base.norm(dim=-1, keepdim=True) * direction
#
# check("04.direction_swap", direction_swap)
# ```
#
# </details>
#
# **2. The mean direction.** Each state counts alike, whatever its norm, and the result is a
# direction.


# %%
def mean_direction(states: Float[Tensor, "sample d_model"]) -> Float[Tensor, " d_model"]:
    return ...


check("04.mean_direction", mean_direction)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def mean_direction(states):
#     mean = (states / states.norm(dim=-1, keepdim=True)).mean(dim=0)
#     return mean / mean.norm()
#
# check("04.mean_direction", mean_direction)
# ```
#
# </details>
#
# **3. Settled beforehand.** At which depth is it certain, without any measurement, that a norm edit
# at the prediction position changes no answer?

# %%
forced = ...  # a depth, of 0 ... model.n_layers; or -1

check("04.forced", forced, model=model)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# forced = model.n_layers if model.info.normalization != "none" else -1
# check("04.forced", forced, model=model)
# ```
#
# </details>
#
# ## What to take along
#
# - Directions are compared with a random turn by the same angle, norms with other norms.
# - At the last depth "the norm does not matter" is an identity of the final norm.
# - Few dimensions of a state may carry the prediction; which ones, other pairs must say.
# - A swap between nearly equal norms is a weak test; stretching is a stronger one, and another.
#
# **Further reading.** Haim & McNamee, arXiv 2602.04931, claims C5 and C6. That some neurons do set
# the model's confidence by the norm: arXiv 2406.16254. Rogue dimensions, which rule raw cosines:
# arXiv 2109.04404. Angle and radius of steering apart: arXiv 2606.06735.
#
# **Next:** notebook 5 edits one depth, several, and all of them.
