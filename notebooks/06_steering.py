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
# # 6 · Steering at the input and at the output
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** Can we make a model answer another question, or give another answer, by adding
# one vector? Where must it be added, at the word that was asked about or at the end?
#
# From notebook 3 you need the two positions and the crossing; from notebook 4 matched controls.

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

import tempfile
from pathlib import Path

import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import (
    apply_vector,
    continuation_dose,
    difference_vector,
    find_crossing,
    load,
    load_model,
    patch_sweep,
    polar,
    steering_sweep,
    vector_response,
)
from lensdepth.teaching import check, depth_lines, pick_task, say, show

model = load_model(MODEL)
task, note = pick_task(model, ("months", "weekdays", "capitals", "ioi", "opposites"), n=150)
say(note)

# %% [markdown]
# ## A vector from two centroids
#
# Take all prompts with one answer, and average their states at the last token: a **centroid**. Do the
# same for another answer. The difference of the two leads from the one answer to the other, and all
# that both groups share (that a question was asked, that a word is due) is gone from it.

# %%
answers = sorted(set(task.target), key=task.target.count, reverse=True)
away, to = answers[:2]
depth = round(0.85 * model.n_layers)
ends = model.residual_stream(task.clean_tokens).resid[depth, :, 0]
groups = {a: ends[[i for i, t in enumerate(task.target) if t == a]] for a in (away, to)}
vector = groups[to].mean(0) - groups[away].mean(0)
say(
    f"From “{away}” ({len(groups[away])} prompts) to “{to}” ({len(groups[to])} prompts), at depth",
    f"{depth} of {model.n_layers}: a vector of length {vector.norm():.1f}, where states have a mean",
    f"length of {polar.norm(ends).mean():.1f}.",
)

# %% [markdown]
# Now let the model write, with the vector added to the last token's state at this one depth.

# %%
prompt = task.clean[task.target.index(away)]
last = len(model.str_tokens(prompt)) - 1
plainly = model.generate(prompt, max_new_tokens=1)
with model.steer(polar.add(), depths=depth, positions=[last], source=vector) as steered:
    led = steered.generate(prompt, max_new_tokens=1)
say(f"Left alone: “{plainly}”. Steered: “{led}”.")

# %% [markdown]
# That is one prompt, and its own state went into the centroid that moved it. Measuring takes more
# care.
#
# ## A prediction, before you go on
#
# We steer either at the **input position**, with the difference of centroids of two *input words*
# (another question), or at the **prediction position**, with that of two *answers* (another answer).
# Each at every depth. Where does each of them work? Where do the curves cross, beside the crossing
# that patching found in notebook 3: earlier, later, or at the same depth?

# %%
my_guess = ...  # "earlier", "later" or "same"

# %%
profile = steering_sweep(model, task, depths="all")
show(profile.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
crossing = find_crossing(profile)
patching = find_crossing(patch_sweep(model, task))
guessed = f" (you guessed {my_guess})" if isinstance(my_guess, str) else ""


def told(found):
    if found.verdict == "crossing":
        return f"depth {found.depth:.2f} [{found.low:.2f}, {found.high:.2f}]"
    return f"no crossing ({found.verdict}: {found.reason})"


say(
    "**What to see.** The blue curve is steering at the input, the orange one at the end, the dashed",
    "ones are random vectors of the same length. Steering:",
    f"{told(crossing)}. Patching: {told(patching)}{guessed}.",
    "Patching moves whole states, and with them everything particular to a prompt; a difference of",
    "centroids moves only what a label has in common. So steering at the end can start to work later.",
)

# %% [markdown]
# ## What makes it a fair measurement
#
# - **Other prompts.** A centroid that holds the tested prompt's own state has seen the answer. Here
#   prompts are dealt into folds, and each pair is steered with centroids from the other folds.
# - **A random vector** of the same length: does any push of this size do it?
# - **A shuffled vector**, of another pair: does any *meaningful* push do it?

# %%
edits = ("full", "random", "shuffled")
at = {name: profile.efficacy("prediction", edit=name) for name in edits if name in profile.edits}
names = {"full": "the right vector", "random": "a random one", "shuffled": "another pair's"}
show(
    depth_lines(
        {names[name]: values for name, values in at.items()},
        title="Steering at the prediction position",
        y_title="share of pairs that give the intended answer",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
peak = int(at["full"].mean(0).argmax())
flips = profile.of("flip", position="prediction", edit="shuffled", scope=None)
elsewhere = flips.nanmean(0)[peak]
say(
    f"**What to see.** At depth {peak} the right vector brings the intended answer in",
    f"{at['full'].mean(0)[peak]:.0%} of the pairs, a random one in {at['random'].nanmean(0)[peak]:.0%},",
    f"another pair's in {at['shuffled'].nanmean(0)[peak]:.0%}, although that one changes the",
    f"answer in {elsewhere:.0%} of them: it leads somewhere else. The smallest centroid stands on",
    f"{profile.smallest_centroid} prompts.",
)

# %% [markdown]
# ## How hard must one push?
#
# The vector is added once. What if it is added half, twice, or the other way round?

# %%
strengths = (0.25, 0.5, 1.0, 2.0)
few = task.select(slice(0, 60))
pushed = {}
for strength in strengths:
    swept = steering_sweep(
        model,
        few,
        depths="all",
        positions=["prediction"],
        scopes=["local"],
        strength=strength,
    )
    pushed[f"strength {strength:g}"] = swept.efficacy("prediction")
show(
    depth_lines(
        pushed,
        title="The same vectors at several strengths, at the prediction position",
        y_title="share of pairs that give the intended answer",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
best = {name: (float(v.mean(0).max()), int(v.mean(0).argmax())) for name, v in pushed.items()}
say(
    "**What to see.** How far each strength gets at its best depth:",
    "; ".join(f"{name}: {share:.0%} (depth {d})" for name, (share, d) in best.items()) + ".",
    "A push that is too weak leaves the answer where it was. A stronger one is not always a better one:",
    "it may lead past the answer. Of what else it breaks this number says nothing; for that, look at",
    "the divergence from a genuine run (`profile.kl_to_source`).",
)

# %% [markdown]
# ## Turn or stretch?
#
# Adding a vector changes the direction and the norm of a state. Which of the two does the work? The
# sweep has both parts: `direction` turns the state as the vector would and keeps its norm; `norm`
# stretches it as the vector would and keeps its direction.

# %%
halves = {
    "whole vector": profile.efficacy("prediction"),
    "its turn alone": profile.efficacy("prediction", edit="direction"),
    "its stretch alone": profile.efficacy("prediction", edit="norm"),
}
show(
    depth_lines(
        halves,
        title="The two parts of a steering vector",
        y_title="share of pairs that give the intended answer",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    f"**What to see.** At depth {peak}: whole {halves['whole vector'].nanmean(0)[peak]:.0%}, turn",
    f"{halves['its turn alone'].nanmean(0)[peak]:.0%}, stretch",
    f"{halves['its stretch alone'].nanmean(0)[peak]:.0%}. Compare with notebook 4.",
)

# %% [markdown]
# ## A vector to take along
#
# A vector that was found here acts elsewhere as it did here if it says where it belongs: its edit,
# depth, tokens, units and model. `save` writes all of it into one file, and another model refuses it.

# %%
answered = list(zip(task.clean, task.target, strict=True))
asked = {a: [p for p, t in answered if t == a] for a in (away, to)}
found = difference_vector(model, asked[away], asked[to], depths=[depth])
file = Path(tempfile.mkdtemp()) / "vector.safetensors"
found.save(file)
rows = [{"strength": 0.0, "it writes": plainly}]
for strength in (0.5, 1.0, 2.0):
    with apply_vector(model, load(file), strength=strength) as steered:
        written = steered.generate(prompt, max_new_tokens=1)
    rows.append({"strength": strength, "it writes": written})
say(f"With the vector from the file added to every token at depth {depth}:")
show(pd.DataFrame(rows))

# %% [markdown]
# How strong must it be before the text is another one, and would any turn of the states do as much?
# The text without the vector is written once. At each strength the model then writes with the vector
# held on, and with every state turned as far in random directions. The base's own tokens are put
# before all of them, so that their predictions are compared along one and the same text.

# %%
dosed = continuation_dose(
    model, prompt, vector=found, strengths=[0.125, 0.25, 0.5, 0.75, 1.0], n_tokens=6
)
show(dosed.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
doses = dosed.dose_frame().set_index("strength")
texts = "; ".join(f"{s:g}: “{text.strip()}”" for s, text in doses["text"].items())
judged = doses.loc[dosed.judged]
say(
    f"**What to see.** Without the vector it writes “{dosed.base_text.strip()}”; with it, by strength,",
    f"{texts}. At strength {dosed.judged:g}, which is judged, the vector moves the predictions by",
    f"{judged['kl']:.2f} nats, {dosed.n_random} random turns by {judged['control_kl_low']:.2f} to",
    f"{judged['control_kl_high']:.2f}: {dosed.verdict}. That is said of this one text. At the largest",
    f"strength the turns move them by {doses['control_kl'].iloc[-1]:.2f} on average, the vector by",
    f"{doses['kl'].iloc[-1]:.2f}: how far the predictions move does not say whereto.",
)

# %% [markdown]
# And what does the vector do to the whole task? It is held on in the run of every pair that it could
# lead elsewhere, beside random turns as far, other ones for every pair.

# %%
applied = vector_response(model, task, found, strengths=[0.5, 1.0, 2.0], control_pairs="all")
show(
    applied.verdict_frame()[["strength", "flips", "flips_lead", "verdict", "gain_lead", "whereto"]]
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
changed = applied.judged[applied.chief]
instead = ", ".join(f"{text.strip()} ({n})" for text, n in applied.said(applied.chief)[:3])
say(
    "**What to see.** `flips` is the share of first choices that change, `flips_lead` that share less",
    "the turns', `gain_lead` how much more the other prompt's answer gains than under turns. At",
    f"strength {applied.chief:g} {changed.flips.value:.0%} change; first instead come {instead or 'none'}.",
    "A vector that changes many answers need not lead to the one that it was made for.",
)

# %% [markdown]
# ## Exercises
#
# **1. The vector.** From the centroid of one label to that of another.


# %%
def steering_vector(
    states: Float[Tensor, "prompt d_model"], labels: Int[Tensor, " prompt"], away: int, to: int
) -> Float[Tensor, " d_model"]:
    return ...


check("06.vector", steering_vector)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def steering_vector(states, labels, away, to):
#     return states[labels == to].mean(dim=0) - states[labels == away].mean(dim=0)
#
# check("06.vector", steering_vector)
# ```
#
# </details>
#
# **2. Whose states may go in?** Prompts were dealt into folds. The pair (base, source) is tested: which
# prompts may make its centroids?


# %%
def allowed(folds: Int[Tensor, " prompt"], base: int, source: int) -> Bool[Tensor, " prompt"]:
    return ...


check("06.allowed", allowed)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def allowed(folds, base, source):
#     return (folds != folds[base]) & (folds != folds[source])
#
# check("06.allowed", allowed)
# ```
#
# </details>
#
# **3. The last depth of the input.** From `profile`: the last depth at which steering at the input
# succeeds more often than steering at the end.

# %%
last_input = ...  # a depth, of 0 ... model.n_layers; or -1

check("06.last_input", last_input, profile=profile)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# lead = profile.efficacy("input").mean(0) - profile.efficacy("prediction").mean(0)
# led = [int(depth) for depth, x in zip(profile.depths, lead, strict=True) if x > 0]
# last_input = max(led, default=-1)
# check("06.last_input", last_input, profile=profile)
# ```
#
# </details>
#
# ## What to take along
#
# - Early, steering at the input asks another question; late, steering at the end gives another answer.
# - Centroids come from prompts that are not tested; controls have the same length.
# - Steering and patching need not cross at the same depth.
#
# **Further reading.** Differences of means as steering vectors: Rimsky et al. 2024, arXiv 2312.06681.
# That what a lens can read predicts where steering works: arXiv 2604.15557. Claim C2: Haim & McNamee,
# arXiv 2602.04931.
#
# **Next:** notebook 7 puts the whole study to the test.
