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
# # 7 · The study, reproduced
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** Haim & McNamee (arXiv 2602.04931) say how large models form predictions along
# their depth. Do their claims hold in the model at hand? What would have to come out for us to say
# *no*?
#
# From the earlier notebooks you need all of it a little: lenses, patching, polar form, local and
# global, steering. Nothing new is measured here; it is put together and judged.

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

import time

import numpy as np
import pandas as pd
import torch

from lensdepth import evaluate_claims, load_model
from lensdepth.claims.plan import plan_claims
from lensdepth.claims.statements import ORIGINS, STATEMENTS, TITLES
from lensdepth.teaching import check, claims_cost, depth_lines, measured_flops, pick_task, say, show

model = load_model(MODEL)
task, note = pick_task(model, n=100)
say(note)

# %% [markdown]
# ## From a claim to a number
#
# "The transition is sharp" is no statement that a number can settle. This is: "10 to 90 % of the
# handover takes less than a quarter of the depth". Each claim is one or several such **statements**,
# each with an *estimand* (what is measured), a *threshold* (the smallest effect that matters) and a
# direction. The thresholds were fixed before any result was seen; `docs/claims.md` gives the reasons,
# and says which statements were revised, and why.

# %%
pd.set_option("display.max_colwidth", None)
show(
    pd.DataFrame(
        [
            {
                "claim": f"{one.claim} {TITLES[one.claim]}",
                "statement": one.key,
                "says": one.says,
                "whose": ORIGINS[one.origin],
            }
            for one in STATEMENTS
        ]
    ).set_index(["claim", "statement"])
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
whose = [sum(one.origin == origin for one in STATEMENTS) for origin in ORIGINS]
say(
    f"**What to see.** {len(STATEMENTS)} statements make {len(TITLES)} claims, {', '.join(TITLES)}.",
    f"{whose[0]} of the statements stand in the study's abstract, put as a number here; {whose[1]} are",
    f"variants, by other means or against another control; {whose[2]} are ours, all of C7 among them.",
)

# %% [markdown]
# ## From a number to a verdict
#
# A number comes with an interval (words and wordings are what is uncertain, so errors are clustered by them).
#
# - The whole interval beyond the threshold: **supported**.
# - The whole interval short of it: **contradicted**.
# - Anything else: **cannot tell**. That is a verdict too, and an honest one.
#
# A claim is supported only if *all* its statements are. Each claim is a chance to be wrong, so their
# p-values are corrected for their number (Holm's method). Depths, such as "late", are chosen on other
# prompts than those tested. And untrained twins of the model stand beside what would be supported: what
# models that learned nothing pass as well is **by architecture**, and supports nothing by itself.
#
# ## A prediction, before you go on
#
# For each claim: supported, contradicted, or cannot tell? Use what you saw in notebooks 3 to 6.

# %%
my_guess = dict.fromkeys(TITLES, ...)  # my_guess["C1"] = "supported", and so on
show(pd.Series(TITLES, name="claim").to_frame())

# %%
plan = plan_claims(model, task)
start = time.perf_counter()
table = evaluate_claims(model, task)
seconds = time.perf_counter() - start
show(table.plot())

# %% [markdown]
# **What to see.** One row a statement: the dot is the number, the bar its 95 % interval, the mark the
# threshold. Look for bars that cross their threshold, and for dots on its wrong side.

# %%
rows = []
for one in table.claims:
    found = table.finding(one.decisive)
    rows.append(
        {
            "claim": f"{one.claim} {one.title}",
            "your guess": "–" if my_guess[one.claim] is ... else my_guess[one.claim],
            "verdict": one.verdict,
            "decided by": one.decisive,
            "number": found.effect,
            "low": found.low,
            "high": found.high,
            "threshold": found.threshold,
            "p": one.p,
        }
    )
verdicts = (
    pd.DataFrame(rows)
    .set_index("claim")
    .astype(dict.fromkeys(("number", "low", "high", "p"), float))
)
show(verdicts.round(3))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
by_verdict = {}
for one in table.claims:
    by_verdict.setdefault(one.verdict, []).append(one.claim)
said = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in by_verdict.items())
against = [table.finding(c.decisive) for c in table.claims if c.verdict == "contradicted"]
reasons = sorted({found.reason for found in table.findings if found.reason})
say(
    f"**{table.n_pairs} pairs, {table.n_prompts} different prompts. {said}.**",
    *(
        f"Against {one.key.split()[0]} speaks its statement “{one.says}”: found was {one.effect:.2f} "
        f"[{one.low:.2f}, {one.high:.2f}]. The claim does not hold here."
        for one in against
    ),
    *(["To bear in mind: " + "; ".join(reasons) + "."] if reasons else []),
)

# %% [markdown]
# The row "decided by" names the weakest statement of a supported claim, and the one that speaks
# against a contradicted one. Read it before you quote a verdict: "supported" means *these statements,
# on this task, in this model*.
#
# ## The handover

# %%
show(
    depth_lines(
        {"handover from the input to the end": table.handover},
        title="C1: half of (1 + success at the end − success at the input)",
        y_title="0: all control at the input; 1: all at the end",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
curve = table.handover.numpy()
if np.isfinite(curve).all():
    width = table.finding("C1 width")
    middle = float(np.interp(0.5, curve, np.arange(len(curve)))) / model.n_layers
    sentence = (
        f"**What to see.** One step at a relative depth of {middle:.2f}; 10 to 90 % of it takes "
        f"{width.effect:.2f} of the depth, where a straight line would take 0.8."
    )
else:
    sentence = f"The handover was not measured: {table.claims[0].reason}."
say(sentence)

# %% [markdown]
# ## The models of the study
#
# The study used Llama 3.1 8B, Mistral 0.3 7B and Qwen 2.5 7B. Their weights are not here, and the next
# cell **was not run** with them: no number in this notebook is theirs. With a GPU and the weights
# (Llama's need a licence accepted on the Hugging Face hub), set `RUN_LARGE = True`.
#
# What would it cost? An estimate from the models' shapes: memory is parameters × bytes; a forward pass
# takes 2 × parameters operations a token; the number of runs is that of the plan. It is an upper bound,
# since the engine runs only the part of a pass that an edit can change.

# %%
LARGE = {  # sizes as in each model's config.json
    "meta-llama/Llama-3.1-8B": dict(
        model_type="llama", vocab_size=128256, hidden_size=4096, intermediate_size=14336,
        num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
    ),
    "mistralai/Mistral-7B-v0.3": dict(
        model_type="mistral", vocab_size=32768, hidden_size=4096, intermediate_size=14336,
        num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
    ),
    "Qwen/Qwen2.5-7B": dict(
        model_type="qwen2", vocab_size=152064, hidden_size=3584, intermediate_size=18944,
        num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
    ),
}  # fmt: skip
RUN_LARGE = False
if RUN_LARGE:
    for name in LARGE:
        big = load_model(name, backend="bridge", device="cuda", dtype="bfloat16")
        big_task, big_note = pick_task(big, ("months",), n=200)
        print(big_note)
        print(
            evaluate_claims(big, big_task)
            .to_frame()
            .drop_duplicates("claim")[["claim", "verdict", "p_claim"]]
        )
        del big
        torch.cuda.empty_cache()

# %%
ASSUMED = 1e14  # operations a second that a GPU sustains in bfloat16: an assumption, change it
n_tokens = task.clean_tokens.tokens.shape[1]
costs = [
    claims_cost(name, {"tie_word_embeddings": False, **shape}, n_pairs=200, n_tokens=n_tokens)
    for name, shape in LARGE.items()
]
here = measured_flops(model.device, torch.float32)
show(
    pd.DataFrame(
        {
            "model": [cost.name for cost in costs],
            "parameters, 10⁹": [cost.n_parameters / 1e9 for cost in costs],
            "weights, GiB": [cost.weights_gib for cost in costs],
            "states at most, GiB": [cost.states_gib for cost in costs],
            "runs of a prompt": [cost.runs for cost in costs],
            "at the assumed speed, minutes at most": [60 * cost.hours(ASSUMED) for cost in costs],
            "at this machine's speed, hours at most": [cost.hours(here) for cost in costs],
        }
    )
    .set_index("model")
    .round(1)
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    "**What to see.** The weights decide whether a model fits. The time depends on the speed, and the",
    f"assumed {ASSUMED:.0e} operations a second are an assumption: short prompts use a GPU badly, so put",
    "in what yours sustains (`measured_flops` measures a plain matrix product, which is the best case;",
    f"this machine does {here:.0e}). How good is the bound? On {model.info.name} the plan allowed for",
    f"{plan.most_seconds:.0f} s, and the run took {seconds:.0f} s, intervals and tests included: a factor",
    f"of {plan.most_seconds / seconds:.1f}.",
)

# %% [markdown]
# ## Exercises
#
# **1. The verdict.** For the statement "the effect is larger than the threshold".


# %%
def verdict(low: float, high: float, threshold: float) -> str:
    return ...


check("07.verdict", verdict)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def verdict(low, high, threshold):
#     if low > threshold:
#         return "supported"
#     if high < threshold:
#         return "contradicted"
#     return "cannot tell"
#
# check("07.verdict", verdict)
# ```
#
# </details>
#
# **2. Several at once.** Holm's method: the smallest p-value is multiplied by the number of tests, the
# next one by one less, and so on; none may become smaller than one before it, none larger than one.


# %%
def holm(p_values: np.ndarray) -> np.ndarray:
    return ...


check("07.holm", holm)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def holm(p_values):
#     order = np.argsort(p_values)
#     corrected = np.empty(len(p_values))
#     largest = 0.0
#     for place, i in enumerate(order):
#         largest = max(largest, p_values[i] * (len(p_values) - place))
#         corrected[i] = min(largest, 1.0)
#     return corrected
#
# check("07.holm", holm)
# ```
#
# </details>
#
# **3. Does it fit?** The memory of a model's weights.


# %%
def weights_gib(n_parameters: int, bits: int) -> float:
    return ...


check("07.memory", weights_gib)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def weights_gib(n_parameters, bits):
#     return n_parameters * bits / 8 / 2**30
#
# check("07.memory", weights_gib)
# ```
#
# </details>
#
# ## What to take along
#
# - A claim is tested by statements with thresholds, and each may fail.
# - "Cannot tell" is what few prompts give; "contradicted" takes evidence as well.
# - A verdict is about one model on one task. The bundled model is small and synthetic.
#
# **Further reading.** Haim & McNamee, arXiv 2602.04931. How often verdicts are wrong, on models with
# nothing to find: `benchmarks/README.md`. What each statement is for: `docs/claims.md`.
#
# **Next:** notebook 8 opens the model up and looks for the parts that do the task.
