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
# # 11 · When in training?
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** A trained model hands its prediction over at one place in its depth. When in its
# training did that begin? Was it there before the answers were right, with them, or after them? And
# did the place move since?
#
# From notebook 3 you need: the crossing, its interval, and what counts as none.

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
MODEL = "tiny"  # a bundled model with checkpoints; your own: their folder below
BESIDE = "calendar"  # another model, to compare its depth with

import numpy as np
import pandas as pd
import torch

from lensdepth import (
    compare_depths,
    compare_runs,
    find_crossing,
    load_model,
    load_task,
    patch_sweep,
    training_dynamics,
)
from lensdepth.analyses import analysis
from lensdepth.claims.places_told import sentences
from lensdepth.dynamics import null
from lensdepth.dynamics.course import course
from lensdepth.teaching import check, say, show
from lensdepth.units import Grouping

CHECKPOINTS = f"{MODEL}@all"  # or a folder of folders, or ["NAME@step1000", "NAME@step2000", ...]

# %% [markdown]
# ## Checkpoints
#
# Training changes the weights step by step. Of the bundled model the weights of a few steps were
# kept, evenly over the logarithm of the step, because early steps change more than late ones. Step
# zero has learned nothing: it is the control.
#
# Every checkpoint is asked on the **same** pairs. One that answers fewer than half of them has no
# place where it hands its answer over, for there is no answer; it gets no number.
#
# ## A prediction, before you go on
#
# At which step does the model begin to answer? And at the first checkpoint that does, will control
# pass in one place already, as it does at the end?

# %%
my_guess = ...  # the training step from which on there is a crossing; or None for never

# %%
task = load_task("months", load_model(MODEL), n=48, keep="all")
trained = training_dynamics(CHECKPOINTS, task)
show(trained.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
guessed = f" You guessed {my_guess}." if isinstance(my_guess, int | float) else ""
told = analysis("dynamics").sentences(trained)
say("**What to see.** Crosses at the foot are checkpoints without a place.", *told, guessed)

# %% [markdown]
# The same as a table. `after` and `by` bracket when the switch came: nobody looked in between.

# %%
columns = ["step", "kind", "right", "preferred", "depth", "depth_low", "depth_high", "coupling"]
show(trained.to_frame()[columns].tail(8).round(2))
show(pd.DataFrame([vars(trained.appears)]).round(2))

# %% [markdown]
# ## Learned, and preferred
#
# Right means that the answer is the model's *first choice*, on both prompts of a pair. Preferred
# means only that it is likelier than the other prompt's answer. The second comes earlier: between
# the two, the model knows something, and is not asked where.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
frame = trained.to_frame()
between = frame[(frame["preferred"] >= 0.5) & (frame["right"] < 0.5)]
if len(between):
    one = between.iloc[-1]
    say(
        f"Here that is step {one['step']}: {one['preferred']:.0%} of the pairs are preferred, and",
        f"{one['right']:.0%} are right.",
    )
else:
    say("No checkpoint that was kept lies between the two here.")

# %% [markdown]
# ## What looks like a jump
#
# Suppose that the place does move over training. Is the move sudden? Each checkpoint comes from the
# one before, so neighbours are alike. A path of that kind, which only wanders, looks cut in two as
# well. How well does the best single cut explain a path that wanders, one that drifts, and one that
# jumps?

# %%
steps = np.geomspace(100, 10_000, 12)
paths = null.walks(null.log_steps(steps), 2000, seed=0)
explained = null.explained(paths)
drift, jump = np.linspace(0, 1, len(steps)), (np.arange(len(steps)) > 4).astype(float)
shares = pd.Series(
    {
        "paths that wander: median": np.median(explained),
        "paths that wander: one in twenty has more": np.quantile(explained, 0.95),
        "a straight drift": null.explained(drift[None])[0],
        "a jump": null.explained(jump[None])[0],
    },
    name="share explained by the best cut",
)
show(shares.rename_axis("path").reset_index().round(2))

# %% [markdown]
# Most of what wanders is "explained" by a cut that means nothing. So a jump counts as one only
# where wandering paths of as many checkpoints are seldom so sudden. Two more ways of nothing: units
# that differ (the same place throughout, other words), and checkpoints in any order. Below eight
# checkpoints with a place no order is rare enough, and nothing is said.
#
# Three planted courses, of the same pairs' places:

# %%
words = [Grouping(name="word", values=tuple(f"word {i % 12}" for i in range(48)))]
rng = np.random.default_rng(0)
noise = rng.normal(0, 0.3, (48, len(steps)))
rows = []
for name, place in {"jump": 2 * jump, "drift": 2 * drift, "neither": 0 * jump}.items():
    places = torch.tensor(4 + place + noise, dtype=torch.float32)
    found = course(places, [int(step) for step in steps], units=tuple(words))
    rows.append(
        {
            "planted": name,
            "said": found.verdict,
            "p, units": found.p_units,
            "p, any order": found.p_order,
            "p, wandering": found.p_walk,
        }
    )
show(pd.DataFrame(rows).round(4))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    f"And {MODEL} itself: *{trained.course.verdict}*",
    f"({trained.course.reason})." if trained.course.reason else ".",
    "One training of one seed is one case. What others of the same design did stands in",
    "`docs/training.md`.",
)

# %% [markdown]
# ## What changed between two checkpoints
#
# Two checkpoints are two models of one architecture. Where do their runs part: which block writes
# something else from the *same* input, and how much of the difference does it only carry on? And
# which write, put into the other model, brings the other's prediction along?

# %%
earlier = load_model(f"{MODEL}@{trained.to_frame()['step'].iloc[-2]}")
parted = compare_runs(earlier, load_model(MODEL), task.select(slice(0, 12)))
show(parted.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say("**What to see.**", *analysis("compare").sentences(parted))

# %% [markdown]
# ## One depth in several models?
#
# "Control passes at two thirds of the depth, in all models": a sentence like that needs more than a
# few numbers that look alike. They must lie closer together than depths at random would, and closer
# than those of untrained models of the same shapes. Two models cannot show it, whatever they give.

# %%
passes = {}
for name in (MODEL, BESIDE):
    other = load_model(name)
    passes[name] = find_crossing(patch_sweep(other, load_task("months", other, n=24)))
shared = compare_depths(passes)
show(shared.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say("**What to see.**", *sentences(shared))

# %% [markdown]
# ## Exercises
#
# **1. For good.** From which step on is it seen at every checkpoint?


# %%
def appears(steps: np.ndarray, seen: np.ndarray) -> int:
    return ...


check("11.appears", appears)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def appears(steps, seen):
#     missing = np.flatnonzero(~seen)
#     return steps[missing[-1] + 1]
#
# check("11.appears", appears)
# ```
#
# </details>
#
# **2. The best cut.** What share of a path does it explain?


# %%
def best_cut(path: np.ndarray) -> float:
    return ...


check("11.explained", best_cut)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def best_cut(path):
#     def squares(part):
#         return ((part - part.mean()) ** 2).sum()
#
#     left = min(squares(path[:k]) + squares(path[k:]) for k in range(1, len(path)))
#     return 1 - left / squares(path)
#
# check("11.explained", best_cut)
# ```
#
# </details>
#
# ## What to take along
#
# - Where there is no answer there is no place to look for.
# - "It appears at step so-and-so" means: not yet at the checkpoint before.
# - Paths that wander look as if they jumped; a share of explained variance needs a null.
#
# **Further reading.** Biderman et al., arXiv 2304.01373, for models whose checkpoints are public;
# Olsson et al., arXiv 2209.11895, for something that does appear suddenly in training. How this
# project's verdicts behave on planted courses: `docs/training.md`.
