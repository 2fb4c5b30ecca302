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
# # 3 · Finding the transition
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** At which depth does the model stop reading its context and start forming its
# prediction? How surely do we know? And how would we notice if there were no such depth?
#
# From notebook 2 you need: the lens, KL, and the idea of moving a state from one run to another.

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

import numpy as np
import pandas as pd

from lensdepth import (
    compare_definitions,
    compare_widths,
    find_change_point,
    find_commitment,
    find_crossing,
    find_landmarks,
    find_transition,
    load_model,
    logit_lens,
    patch_sweep,
)
from lensdepth.analyses import analysis
from lensdepth.teaching import check, depth_lines, pick_task, planted_case, say, show

model = load_model(MODEL)
task, note = pick_task(model)
say(note)

# %% [markdown]
# ## Two runs, one state exchanged
#
# A task has pairs of prompts that differ in one word, the **input**, and have different answers.
# Take one of the two runs and put in one state from the other, at one depth and one position:
#
# - at the **input position** (the word that differs): if the answer changes, the model still reads
#   the input *above* this depth;
# - at the **prediction position** (the last token): if the answer changes, it was formed *below*.
#
# The share of pairs whose answer becomes the other run's is the **efficacy** there.
#
# ## A prediction, before you go on
#
# Draw the two curves over depth on paper: where is each of them high, where low? Do they cross, and
# at which relative depth?

# %%
my_guess = ...  # the relative depth of the crossing, between 0 and 1; or None for no crossing

# %%
patched = patch_sweep(model, task, depths="all")
crossing = find_crossing(patched)
show(crossing.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
guessed = f" You guessed {my_guess}." if isinstance(my_guess, int | float) else ""
if crossing.verdict == "crossing":
    seen = (
        f"One curve falls, the other rises; the shaded strip is where they change places, with its "
        f"95 % interval: between depth {crossing.between[0]:.0f} and {crossing.between[1]:.0f} of "
        f"{model.n_layers} (interpolated {crossing.depth:.2f}, 95 % interval {crossing.low:.2f} to "
        f"{crossing.high:.2f}), a relative depth of {crossing.depth / model.n_layers:.2f}."
    )
else:
    seen = f"Control is not seen to pass from the one to the other: {crossing.reason}."
say(f"**What to see.** The verdict is *{crossing.verdict}*. {seen}{guessed}")

# %% [markdown]
# ## Other definitions of the same thing
#
# "The transition" has been defined in many ways. Four of them:
#
# - the **crossing** above: control passes from the input to the end;
# - a **sigmoid** through the lens's **contrast**, which says how much likelier than the foil the
#   target is because the prompt is the clean one: half of the change is done;
# - a **change point** of the same: the best single cut of the profile into a before and an after;
# - the **commitment** of each prompt: from there on the lens's first choice is the final one.

# %%
lens = logit_lens(model, task)
found = {
    "patching: crossing": crossing,
    # At the last depth patching ends as it must, so that it has no say.
    "patching at the end: sigmoid": find_transition(
        # (A curve has four depths at least.)
        patched.efficacy("prediction")[:, : max(model.n_layers, 4)],
        name="efficacy at the prediction position",
    ),
    "lens contrast: sigmoid": find_transition(lens),
    "lens contrast: change point": find_change_point(lens.reading("contrast")),
    "lens: commitment": find_commitment(lens),
}
show(compare_definitions(found).round(2))

# %% [markdown]
# **What to see.** Read the column `depth` with its interval, then `agrees_with`. Where intervals do
# not meet, the definitions are about different things: whether an answer can be *moved* and whether
# it can be *read* need not change at the same depth. So whoever says "the transition is at two
# thirds of the depth" has to say which. (A depth with a fraction lies between two states: *in* a
# block. How far in, nobody has measured.)
#
# The last columns ask for more than whether two intervals meet: `difference` is each depth less that
# of the crossing, with an interval in which the *same* units are drawn for both, and `order` says
# what that settles, no finer than a depth.
#
# ## Does geometry predict it?
#
# Patching takes a run for every depth and pair. Geometry takes one. It would be good to know from
# the shape of states alone where control passes, and some have looked for landmarks there: where
# the cloud of prompts has its lowest **intrinsic dimension**, where the path of states from token to
# token is most **curved**, where a block **turns** the last state most, where the lens comes to
# **read** the answer, where states come to lie in the directions that the unembedding reads most.
# Which of them do you expect before the crossing, which at it?

# %%
landmarks = find_landmarks(model, task)
show(landmarks.plot_order())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say("**What to see.** A mark left of zero lies before the crossing, one right of it after.")
for told in analysis("landmarks").sentences(landmarks)[1:6]:
    say(f"- {told}")
say('"None" is an answer: the lowest value is an end, or a flat curve would show as much.')

# %% [markdown]
# ## How surely? Pairs and units
#
# Another hundred pairs would give another number. How different? As different as pairs are from one
# another, if they were independent. They are not: pairs of one input word work or fail together, and
# so may pairs of one wording. A hundred pairs of twelve words are twelve **units** rather than a
# hundred; intervals here know which pairs go together. Below five units there is none. See what
# happens with fewer pairs:

# %%
rows = []
for n in sorted({5, 10, 20, 40, len(task)}):
    some = find_crossing(patch_sweep(model, task.select(slice(0, n)), also=["success"]))
    row = {"pairs": some.n_pairs, "units": some.n_units}
    row |= {"depth": some.depth, "low": some.low, "high": some.high}
    rows.append(row | {"width of the interval": some.high - some.low, "verdict": some.verdict})
show(pd.DataFrame(rows).drop_duplicates("pairs").round(2))

# %% [markdown]
# **What to see.** The interval narrows with the number of units, and hardly with pairs that bring no
# new ones. Where it has no width at all, all pairs did the same.
#
# ## Is there one at all? The null
#
# Every curve has a steepest place, and every fit gives a number. So before a location means anything,
# ask what we would have found had there been nothing to find. Two ways of nothing:
#
# - **Nothing changes.** The true profile is flat, and prompts stray from it as these prompts stray
#   from their mean. The share of such profiles in which as much is found is a **p-value**.
# - **A slow rise.** A straight line has a midpoint too, but it is no switch. One is *narrow*: most of
#   the change takes less than a quarter of the depth. What changes and is not shown to be narrow is
#   called a rise.

# %%
names = ("patching at the end: sigmoid", "lens contrast: sigmoid")
show(
    pd.DataFrame(
        [
            {
                "profile": name,
                "verdict": found[name].verdict,
                "p (flat)": found[name].p_flat,
                "p (wide)": found[name].p_wide,
                "10–90 % width in depths": found[name].width,
                "of single pairs": found[name].pair_width,
                "reason": found[name].reason,
            }
            for name in names
        ]
    ).round(4)
)

# %% [markdown]
# ## A model without a transition
#
# The deaf model of notebook 2 gives one answer whatever it reads. What do our detectors say of it?

# %%
deaf, deaf_task = planted_case("deaf")
deaf_patched = patch_sweep(deaf, deaf_task)
deaf_crossing = find_crossing(deaf_patched)
deaf_read = logit_lens(deaf, deaf_task)
deaf_lens, deaf_kl = find_transition(deaf_read), find_transition(deaf_read, by="kl")
show(deaf_crossing.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    "**What to see.** Two flat curves on top of each other. By patching the verdict is",
    f"*{deaf_crossing.verdict}* ({deaf_crossing.reason}). By the lens's contrast it is",
    f"*{deaf_lens.verdict}* ({deaf_lens.reason}): the lens reads the same from both prompts of a pair.",
    f"By its divergence from the final distribution, the KL of notebook 2, it is *{deaf_kl.verdict}*",
    f"({deaf_kl.reason}), for a change of {abs(deaf_kl.change):.4f} nats.",
    "A false alarm: the divergence can switch although nothing of the input does."
    if deaf_kl.verdict == "transition"
    else "That is right here; with other noise, the divergence does raise false alarms.",
    "The benchmarks of this project count how often; patching and the contrast raised none.",
)

# %% [markdown]
# ## Sharp, gradual, or a mixture
#
# Two more planted models. In one, a single block moves the answer to the end: **sharp**. In the
# other each input word has a block of its own that does it, spread over the depth. For every single
# prompt that is just as sharp; only the mean is gradual.

# %%
curves, planted = {}, {}
for kind in ("sharp", "spread"):
    known, known_task = planted_case(kind)
    curves[kind] = patch_sweep(known, known_task).efficacy("prediction")
    planted[kind] = find_transition(curves[kind], name=kind)
show(
    depth_lines(
        curves,
        title="Two planted models: efficacy at the prediction position",
        y_title="share of pairs whose answer moves along",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
width = compare_widths(planted["sharp"], planted["spread"])
say(
    f"**What to see.** A step, and a staircase. The sharp model: *{planted['sharp'].verdict}* at",
    f"{planted['sharp'].location:.2f}, 10–90 % width {planted['sharp'].width:.1f} depths. The spread one:",
    f"*{planted['spread'].verdict}* ({planted['spread'].reason}). The detector looks at single pairs",
    f"too: half of the spread model's switch between depth {planted['spread'].pairs.first_quartile:.1f}",
    f"and {planted['spread'].pairs.third_quartile:.1f}. The widths of the means compared:",
    f"*{width.verdict}*.",
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
steps = {kind: (values.diff(dim=1) != 0).sum(1).float() for kind, values in curves.items()}
mine = patched.efficacy("prediction")
say(
    "How many depths does a *single* pair take for its change? In the sharp model",
    f"{steps['sharp'].mean():.1f}, in the spread one {steps['spread'].mean():.1f}, in {model.info.name}",
    f"{(mine.diff(dim=1) != 0).sum(1).float().mean():.1f}: an answer either moves along or it does not.",
    "So a gradual mean may be made of sharp prompts. Look at both before you call a model gradual.",
)

# %% [markdown]
# ## Exercises
#
# **1. Where two curves cross.** Between the last depth at which the first leads and the next one, go
# along a straight line.


# %%
def crossing_depth(first: np.ndarray, second: np.ndarray) -> float:
    return ...


check("03.crossing", crossing_depth)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def crossing_depth(first, second):
#     gap = first - second
#     before = np.flatnonzero(gap > 0)[-1]
#     return before + gap[before] / (gap[before] - gap[before + 1])
#
# check("03.crossing", crossing_depth)
# ```
#
# </details>
#
# **2. An interval.** `values` has one number a prompt; every row of `draws` is one resample, as the
# prompts' indices.


# %%
def interval(values: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    return ...


check("03.interval", interval)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def interval(values, draws):
#     means = values[draws].mean(axis=1)
#     return np.percentile(means, 2.5), np.percentile(means, 97.5)
#
# check("03.interval", interval)
# ```
#
# </details>
#
# **3. A p-value.** How often does chance alone do at least as well as the data?


# %%
def p_value(observed: float, null: np.ndarray) -> float:
    return ...


check("03.p_value", p_value)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def p_value(observed, null):
#     return (1 + (null >= observed).sum()) / (1 + len(null))
#
# check("03.p_value", p_value)
# ```
#
# </details>
#
# ## What to take along
#
# - A location without an interval, and without the possibility of "there is none", is no result.
# - Definitions differ because questions differ: moved, read, settled.
# - A gradual mean may hide sharp prompts.
#
# **Further reading.** Haim & McNamee, arXiv 2602.04931, for the claim of a sharp transition.
# Commitment by swapping whole states, in other models: arXiv 2406.19384 on the stages of inference.
# How often this project's detectors are wrong: `benchmarks/README.md`.
#
# **Next:** notebook 4 takes states apart into direction and norm.
