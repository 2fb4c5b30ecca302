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
# # 9 · Your own hypothesis
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** You have an idea about how a model works. How do you turn it into a test that could
# prove you wrong, and how many prompts does that take?
#
# From notebook 7 you need: statement, threshold, verdict.

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

import numpy as np
import pandas as pd
from scipy.stats import t as student

from lensdepth import (
    Condition,
    Hypothesis,
    evaluate_hypotheses,
    load_hypotheses,
    load_model,
    prompts_needed,
    stats,
)
from lensdepth.claims.plan import plan_hypotheses
from lensdepth.teaching import check, pick_task, say, show

pd.set_option("display.max_colwidth", None)
model = load_model(MODEL)
task, note = pick_task(model, n=100)
say(note)

# %% [markdown]
# ## Write it down
#
# A hypothesis has six parts. Say them aloud before you write them:
#
# 1. **What is done** (`first`): which intervention, which edit, where.
# 2. **Compared with what** (`second`): a matched control, or another intervention. Without one you test
#    against doing nothing, and nearly everything beats that.
# 3. **Read off how** (`metric`): the share of pairs with the source's answer (`success`), the
#    `transferred` fraction, the `logit_diff`, or `kl`.
# 4. **At which depths**: a number, a range, or `"early"`, `"late"`, `"best"`, which are found on *other*
#    prompts.
# 5. **Which way** (`expect`): `greater`, `less`, or `equivalent`.
# 6. **By how much at least** (`by`): the smallest difference that you would act on.
#
# In Python:

# %%
turn = Hypothesis(
    name="the direction beats the norm",
    first=Condition(intervention="ablate", edit="direction"),
    second=Condition(intervention="ablate", edit="norm"),
    metric="transferred",
    depths="late",
    expect="greater",
    by=0.2,
)
say(f"*{turn.name}*: {turn.says}.")

# %% [markdown]
# Or as a file, which can be shared, and dated *before* the result is known. The same file goes to the
# command line: `lensdepth claims --hypotheses mine.toml --dry-run`, then without `--dry-run`.

# %%
TEXT = """
[[hypothesis]]
name = "the direction beats the norm"
first = { intervention = "ablate", edit = "direction" }
second = { intervention = "ablate", edit = "norm" }
metric = "transferred"
depths = "late"
expect = "greater"
by = 0.2

[[hypothesis]]
name = "the norm does nothing"
first = { intervention = "ablate", edit = "norm" }
metric = "transferred"
depths = "late"
expect = "equivalent"
by = 0.1

[[hypothesis]]
name = "steering the input works late, too"
first = { intervention = "steer", position = "input" }
second = { intervention = "steer", position = "input", edit = "random" }
metric = "success"
depths = "late"
expect = "greater"
by = 0.2
"""
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "mine.toml"
    file.write_text(TEXT)
    hypotheses = load_hypotheses(file)
say(*(f"\n- *{one.name}*: {one.says}" for one in hypotheses))

# %% [markdown]
# A wrong word is found when the file is read, with its line, before any model is loaded:

# %%
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "mine.toml"
    file.write_text(TEXT.replace('edit = "norm"', 'edit = "length"', 1))
    try:
        load_hypotheses(file)
    except ValueError as error:
        message = str(error)
say(f"> {message}")

# %% [markdown]
# ## A prediction, before you go on
#
# Three hypotheses: which come out supported, which contradicted? Write it down now; afterwards everyone
# has known it all along.

# %%
my_guess = {one.name: ... for one in hypotheses}

# %% [markdown]
# ## Dry-run
#
# How much work would it be? Nothing is edited yet.

# %%
plan = plan_hypotheses(model, task, hypotheses)
show(pd.DataFrame(plan.sweeps, columns=["sweep", "edited runs"]))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    f"{plan.edited_runs:,} edited runs; at most {plan.most_seconds:.0f} s, were each of them a whole",
    f"forward pass; {plan.weights_bytes / 2**20:.0f} MiB of weights.",
    "Hypotheses that need the same sweep share it.",
)

# %% [markdown]
# ## Test

# %%
table = evaluate_hypotheses(model, task, hypotheses)
show(table.plot())

# %%
columns = ["hypothesis", "verdict", "effect", "low", "high", "threshold", "expect", "p", "n"]
result = table.to_frame()[columns].set_index("hypothesis")
result.insert(0, "your guess", ["–" if my_guess[n] is ... else my_guess[n] for n in result.index])
show(result.round(3))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
told = []
for one, found in zip(table.hypotheses, table.findings, strict=True):
    expected = {"greater": "more than", "less": "less than", "equivalent": "within ±"}
    number = found.reason
    if found.effect is not None:
        number = f"{found.effect:.2f} [{found.low:.2f}, {found.high:.2f}]"
    told.append(
        f"\n- *{one.name}*: **{one.verdict}**. Expected: {expected[found.expect]} "
        f"{found.threshold:g}; found: {number}."
    )
say("**What to see.**", *told)

# %% [markdown]
# *Equivalent* deserves a second look. "No difference was found" is not "there is none": few prompts find
# nothing anywhere. An equivalence is supported only if the *whole* interval lies within the bounds.
#
# ## Power: how many prompts?
#
# With few prompts intervals are wide, and most verdicts are "cannot tell". Start with a **pilot**, look
# at how wide its interval is, and compute how many prompts would settle it.

# %%
rows = []
for n in sorted({16, 32, 64, len(task)}):
    if n > len(task):
        continue
    pilot = evaluate_hypotheses(model, task.select(slice(0, n)), [hypotheses[0]])
    found = pilot.findings[0]
    row = {"pairs": n, "verdict": pilot.hypotheses[0].verdict, "prompts": found.n}
    if found.effect is not None:
        row |= {"effect": found.effect, "low": found.low, "high": found.high}
        row["prompts for 90 % power"] = str(prompts_needed(found))
    rows.append(row | {"why": found.reason})
pilots = pd.DataFrame(rows).round(3).fillna("")
show(pilots[[name for name in pilots if name != "why"] + ["why"] * ("why" in pilots)])

# %% tags=["hide-input"] jupyter={"source_hidden": true}
settled = [row["pairs"] for row in rows if row["verdict"] == "supported"]
say(
    "**What to see.** The interval narrows as prompts are added.",
    f"Here {settled[0]} pairs are enough to support it: the effect is far beyond its threshold."
    if settled
    else "Here none of these numbers is enough to support it.",
    "Where very few prompts would do, the effect is beyond doubt; it does not make three prompts a study.",
    "A pilot's own effect is noisy, and a lucky one promises too much. So plan with the smallest effect",
    "that you would act on: `prompts_needed(found, effect=…)`.",
)

# %% [markdown]
# ## Common mistakes
#
# **The best of many.** You try every depth, and test the best one on the same prompts. Below, there is
# *nothing* to find: pure noise, no effect at any depth. Look what "the best depth" gives all the same.

# %%
rng = np.random.default_rng(0)
n_depths, n_pairs, repeats = model.n_layers + 1, 40, 2000
noise = rng.normal(size=(repeats, n_depths, n_pairs))
first_half, second_half = noise[..., : n_pairs // 2].mean(-1), noise[..., n_pairs // 2 :].mean(-1)
best = first_half.argmax(1)
same = first_half.max(1)
fresh = second_half[np.arange(repeats), best]
say(
    f"In {repeats} experiments without any effect, the best of {n_depths} depths shows on average",
    f"{same.mean():.2f} standard deviations on the prompts on which it was chosen, and {fresh.mean():.2f}",
    'on fresh ones. This is why `depths="best"` chooses on other prompts.',
)

# %% [markdown]
# **Many tests.** Twenty hypotheses, none of them true: how often is at least one "significant"?

# %%
values = rng.normal(size=(repeats, 20, n_pairs))
t = values.mean(-1) / (values.std(-1, ddof=1) / np.sqrt(n_pairs))
p = 2 * student.sf(np.abs(t), n_pairs - 1)
naive = (p < 0.05).any(1).mean()
held = np.mean([(stats.holm(row) < 0.05).any() for row in p])
say(
    f"Uncorrected: in {naive:.0%} of the experiments. Corrected by Holm's method: in {held:.0%}. Put",
    "hypotheses that belong to one question into one `family`; they are corrected together.",
)

# %% [markdown]
# **No threshold.** With `by=0` any difference counts, however small, once there are prompts enough.
#
# **No control.** Compared with nothing, a direction edit "works" because a disturbed model says something
# else. Compare with a random turn by the same angle.
#
# **The last depth.** There the final norm answers for the model (notebook 4).
#
# **Prompts that share words.** A hundred pairs made of a dozen prompts are not a hundred independent
# numbers. Errors here are clustered by prompt; the column *n* counts different prompts.
#
# **Afterwards, another story.** If you change a hypothesis once you have seen the numbers, it is a new
# one, and needs new prompts (another `seed` of `load_task`, and another wording).
#
# ## Exercises
#
# **1. From a sentence to a hypothesis.** "Late in depth, exchanging the direction alone at the
# prediction position brings about the source's answer in at least 30 percentage points more of the
# pairs than turning the state as far in a random direction."

# %%
hypothesis = ...  # Hypothesis(name="...", first=Condition(...), ...)

check("09.hypothesis", hypothesis)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# hypothesis = Hypothesis(
#     name="this very direction",
#     first=Condition(intervention="ablate", edit="direction"),
#     second=Condition(intervention="ablate", edit="random_direction"),
#     metric="success",
#     depths="late",
#     expect="greater",
#     by=0.3,
# )
# check("09.hypothesis", hypothesis)
# ```
#
# </details>
#
# **2. How many prompts?** The width of an interval falls with the root of their number.


# %%
def prompts_for(n: int, half_width: float, wanted: float) -> int:
    return ...


check("09.prompts", prompts_for)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# from math import ceil
#
# def prompts_for(n, half_width, wanted):
#     return ceil(n * (half_width / wanted) ** 2)
#
# check("09.prompts", prompts_for)
# ```
#
# </details>
#
# **3. An honest effect.** Choose the depth on the pilot, read the effect off the test.


# %%
def honest_effect(pilot: list[float], test: list[float]) -> float:
    return ...


check("09.honest", honest_effect)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def honest_effect(pilot, test):
#     best = max(range(len(pilot)), key=lambda depth: pilot[depth])
#     return test[best]
#
# check("09.honest", honest_effect)
# ```
#
# </details>
#
# ## And now yours
#
# Write one down about this model, with a threshold, before you look. Good first questions: does a
# sentence in another wording switch at the same depth? Does the norm do more at the input position? Do
# prompts with another count hand over later (`where = { beta = "…" }`)?
#
# **Further reading.** `docs/claims.md`: every key of a hypothesis file. `benchmarks/README.md`: how
# often verdicts are wrong where the answer is known.
