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
# # 5 · Patching, local and global
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** If an edit at one depth changes the answer, have we found the depth that is
# responsible? And if it changes nothing, is that depth idle?
#
# From notebook 3 you need patching; from notebook 1 that a block's attention and MLP each write to
# the stream.

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

from collections.abc import Callable

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import (
    choose_depths,
    compare_local_global,
    load_model,
    patch_sweep,
    patch_windows,
    shapley_depths,
    stats,
)
from lensdepth.claims.statements import STATEMENTS, TITLES
from lensdepth.locality.choice_told import redundancy_sentence
from lensdepth.teaching import check, depth_lines, pick_task, planted_case, say, show

model = load_model(MODEL)
task, note = pick_task(model, n=100)
say(note)

# %% [markdown]
# ## Words, once more
#
# The run that is edited is the **base**, the one that gives the state is the **source**. We measure
# the **logit difference**: the logit of the source's answer less that of the base's answer. The
# **transferred fraction** says how far an edit moved it: 0 is the base run, 1 the source run.
#
# ## One site: a map
#
# The most local question: one pair of prompts, one state exchanged at a time, for every depth and
# every token.

# %%
one = task.select([0])
show(patch_sweep(model, one, positions="all", controls=()).plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    f"**What to see.** “{one.corrupted[0]}” is edited with states of “{one.clean[0]}”. Coloured cells",
    "move the answer. Follow the colour: low down it stands at the word that differs, high up at the",
    "last token. Whole residual states were exchanged, with all that had been written to them below.",
)

# %% [markdown]
# A state holds everything that lower blocks wrote. To ask what *one block* does, exchange only what
# its attention writes at the last token (`attn_out`): that is what fetches information from other
# tokens.
#
# ## A prediction, before you go on
#
# Exchange the attention's write of the *best* single block. Which share of the way to the other
# answer will that go? And all blocks together?

# %%
my_guess = {"best block": ..., "all blocks": ...}  # two fractions

# %%
local = compare_local_global(model, task, stream="attn_out")
show(local.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
way = (local.source_value - local.base_value).mean()
best = local.best_depth
alone = local.local[:, local.depths.tolist().index(best)].mean()
everything = local.whole.mean()
say(
    f"**What to see.** Block {best} alone goes {alone / way:.0%} of the way, all blocks together",
    f"{everything / way:.0%}.",
    f"You guessed {my_guess['best block']} and {my_guess['all blocks']}."
    if my_guess["best block"] is not ...
    else "",
    "The solid lines answer two different questions about each block: what it reaches *alone*",
    "(sufficiency), and what is *lost* when it alone is left out (necessity). The dashed one is the",
    "**direct effect**: what the write would do if no later block reacted to it.",
    "\n\nThat all blocks together go the whole way is no finding where both prompts end in the same",
    "token: then nothing but attention tells the two last states apart.",
)

# %% [markdown]
# ## Synergy and redundancy
#
# Were every block to do its own separate part, single effects would add up to the whole. The
# **additivity gap** is the whole less the sum of the parts. Positive: the blocks need each other
# (**synergy**). Negative: they do the same work again (**redundancy**).

# %%
mlps = compare_local_global(model, task, stream="mlp_out")
rows = []
for name, found in (("attention", local), ("MLPs", mlps)):
    whole, parts = found.whole.mean(), found.local.sum(1).mean()
    gap = found.summary()["gap"]
    kind = "synergy" if gap.low > 0 else "redundancy" if gap.high < 0 else "neither is clear"
    rows.append({"writes of": name, "all together": float(whole), "sum of the parts": float(parts),
                 "gap": gap.value, "low": gap.low, "high": gap.high, "": kind})  # fmt: skip
show(pd.DataFrame(rows).round(2))

# %% [markdown]
# **What to see.** The numbers are changes of the logit difference in nats, with 95 % intervals of the
# gap. Attention and MLPs of one model may well come out on different sides.
#
# ## Windows
#
# Between one block and all of them lie the windows: every run of neighbouring blocks, from *a* to
# *b*. The diagonal of the map is single blocks, the corner is everything.

# %%
few = task.select(slice(0, 20))
windows = patch_windows(model, few, stream="attn_out")
show(windows.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
pairs_of_blocks = windows.sliding(min(2, model.n_layers)).mean(0)
start = int(pairs_of_blocks.argmax())
singles = windows.local.mean(0)
full = windows.whole.mean()
say(
    "**What to see.** Go along a row from the diagonal to the right: each step adds one block. Where",
    "the colour jumps, the block that joined completes something. The best single block reaches",
    f"{singles.max() / full:.0%} of the whole effect, the best two neighbours (from block {start})",
    f"{pairs_of_blocks.max() / full:.0%}.",
)

# %% [markdown]
# ## What later blocks make of it: self-repair, and its opposite
#
# A local edit meets all the blocks above. They may **undo** it, which is called self-repair: knock
# out one head, and another one takes over. Or they may **build on** it: the write only brings the
# material, and later blocks form the answer from it. Compare the direct effect with the total.

# %%
undone, by_norm = local.undone(best), local.undone_by_norm(best)
say(
    f"For the attention of block {best}, what comes after undoes a share of {undone} of its direct",
    f"effect, of which the final norm's scale {by_norm}.",
    "A negative share: nothing is undone, later blocks *add* to it. Most of what this block brings "
    "about is made by others."
    if undone.high < 0
    else "A positive share: part of the edit is repaired."
    if undone.low > 0
    else "The interval holds zero: neither repair nor support is clear.",
)

# %% [markdown]
# ## A fair share: Shapley values
#
# Alone, a block gets all the credit for what it can do by itself; left out last, all the blame for
# what the others cannot do without it. Both are extremes. The **Shapley value** lets the blocks join
# one after the other, in *every* order, and gives each the mean of what it added. The values sum to
# the whole effect, with nothing left over.

# %%
shares = shapley_depths(model, few, stream="attn_out")
fair = shares.values.mean(0) / shares.whole.mean()
comparison = {
    "alone": local.local.mean(0) / local.whole.mean(),
    "lost when left out": local.necessity.mean(0) / local.whole.mean(),
    "Shapley value": fair,
}
show(
    depth_lines(
        comparison,
        layers=True,
        title="Three ways to credit a block's attention",
        y_title="share of the effect of all blocks",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    "**What to see.** Where the three lines agree, the block works by itself. Where they part, its",
    "credit depends on the company. Sums over blocks: alone",
    f"{comparison['alone'].sum():.0%}, left out {comparison['lost when left out'].sum():.0%}, Shapley",
    f"{fair.sum():.0%} (by construction).",
    f"Blocks with more than a twentieth of the whole: {[int(b) for b in (fair > 0.05).nonzero()[:, 0]]}.",
)

# %% [markdown]
# ## With two sites to edit, which two?
#
# The two blocks that are strongest alone may do the same work twice. Choose instead step by step:
# the best block, then the one that adds most beside it, each step measured; and judge the set on
# pairs that it was not chosen on. Here is a planted model in which four blocks do the same work, any
# one of them being enough, and a fifth does something else.

# %%
backup, backup_task = planted_case("backup")
planted_choice = choose_depths(backup, backup_task, stream="attn_out", n_sites=2)
show(planted_choice.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
greedy, _, strongest = planted_choice.chosen.tolist()
say(
    f"**What to see.** The two that are strongest alone are blocks {strongest[0]} and {strongest[1]},",
    f"chosen step by step they are {greedy[0]} and {greedy[1]}, which move",
    f"{planted_choice.lead('single').value:.2f} nats more.",
    redundancy_sentence(planted_choice),
)

# %%
own_choice = choose_depths(model, few, stream="attn_out", n_sites=2)
show(own_choice.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
picked = own_choice.chosen[0].tolist()
lead = own_choice.lead("single", of_size=1)
say(
    f"**What to see.** In this model the two are blocks {picked[0]} and {picked[1]}: together they move",
    f"{own_choice.effect().value:.1f} nats, the best single one",
    f"{own_choice.effect('single', 1).value:.1f} (difference {lead}).",
    redundancy_sentence(own_choice),
)

# %% [markdown]
# ## Does a single-layer story mislead here?

# %% tags=["hide-input"] jupyter={"source_hidden": true}
missing = 1 - float(alone / everything)
say(
    f"A headline might say: “block {best} moves the answer”. It is true, and it leaves out",
    f"{missing:.0%} of what all blocks do together;"
    if missing > 0
    else "that all blocks together do no more than this one;",
    f"that other blocks make {-undone.value:.1f} times its direct effect on top of it;"
    if undone.high < 0
    else "that later blocks react to it;",
    "and that with another set of partners its effect would be another number. How much of that matters",
    "is a question to *this* model. Claim C7 of notebook 7 is three questions of that kind, each with the",
    "least share that counts. By the numbers above:",
)

# %%
size, at = local.whole.mean().sign(), local.depths.tolist().index(best)
parts = {  # [pair]: of what, and out of what
    "C7 no single depth": (size * (local.whole - local.local[:, at]), size * local.whole),
    "C7 not additive": (local.gap * local.gap.mean().sign(), size * local.whole),
}
if local.direct is not None and local.total_at_base_scale is not None:
    single = torch.stack([local.direct, local.total_at_base_scale])
    larger, most = divmod(int(single.mean(1).abs().argmax()), single.shape[-1])
    single = single[..., most]
    later = single[1] - single[0]
    parts["C7 through others"] = (
        later * later.mean().sign(),
        single[larger] * single[larger].mean().sign(),
    )
asked = {one.key: one for one in STATEMENTS if one.key in parts}
rows, answers = [], {}
for key, one in asked.items():
    found = stats.statistic_interval(
        lambda part, all_of_it: part / all_of_it,
        *(values.double().numpy() for values in parts[key]),
        units=local.provenance.units,
    )
    answers[key] = (
        "yes"
        if found.low > one.threshold
        else "no"
        if found.high < one.threshold
        else "cannot tell"
    )
    rows.append({"question": f"{one.claim} {TITLES[one.claim]}", "share": found.value, "low": found.low,
                 "high": found.high, "more than": one.threshold, "here": answers[key]})  # fmt: skip
show(pd.DataFrame(rows).round(2).set_index("question"))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
against = [row for row in rows if row["here"] == "no"]
told = [
    f"“{row['question']}” is **not so**: {row['share']:.2f} [{row['low']:.2f}, {row['high']:.2f}], where "
    f"more than {row['more than']:g} would count."
    for row in against
]
verdict = {
    "yes": "Here it does: one block leaves out a good part of what all do together.",
    "no": f"Here it hardly does: block {best} does nearly all that the blocks do together.",
    "cannot tell": f"Whether it does here these {len(local.whole)} pairs cannot tell.",
}[answers["C7 no single depth"]]
say(
    f"**What to see.** {verdict}",
    *(
        [f"**On *{task.name}*, {model.info.name} speaks against claim C7 in {len(against)} of",
         f"{len(rows)} questions.**", *told,
         "A claim about large models need not hold in this one."
         + (" A gap may be clear, as in the table of gaps, and still too small to count here."
            if answers["C7 not additive"] == "no" else "")]
        if against
        else ["None of the questions of C7 is answered with no here."]
    ),
    "These intervals are of the block that was best on the same pairs, which makes it look better than",
    "it is; notebook 7 chooses it on other prompts, and gives verdicts.",
)  # fmt: skip

# %% [markdown]
# ## Exercises
#
# **1. The transferred fraction.** From the metric in the edited, the base and the source run.


# %%
def transferred(
    edited: Float[Tensor, " pair"], base: Float[Tensor, " pair"], source: Float[Tensor, " pair"]
) -> Float[Tensor, " pair"]:
    return ...


check("05.transferred", transferred)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def transferred(edited, base, source):
#     return (edited - base) / (source - base)
#
# check("05.transferred", transferred)
# ```
#
# </details>
#
# **2. The additivity gap.**


# %%
def gap(
    whole: Float[Tensor, " pair"], local: Float[Tensor, "pair layer"]
) -> Float[Tensor, " pair"]:
    return ...


check("05.gap", gap)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def gap(whole, local):
#     return whole - local.sum(dim=1)
#
# check("05.gap", gap)
# ```
#
# </details>
#
# **3. The Shapley value.** `value(frozenset({0, 2}))` is the effect of editing the writes of
# blocks 0 and 2 in one run. Let the blocks 0 … n − 1 join in every order.


# %%
def shapley(value: Callable[[frozenset[int]], float], n: int) -> list[float]:
    return ...


check("05.shapley", shapley)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# from itertools import permutations
#
# def shapley(value, n):
#     total = [0.0] * n
#     orders = list(permutations(range(n)))
#     for order in orders:
#         joined = frozenset()
#         for block in order:
#             total[block] += value(joined | {block}) - value(joined)
#             joined |= {block}
#     return [share / len(orders) for share in total]
#
# check("05.shapley", shapley)
# ```
#
# </details>
#
# ## What to take along
#
# - Alone, left out, fair share: three numbers for one block, and they need not agree.
# - Whole states overwrite one another; writes of attention and MLPs add up.
# - Direct effects leave out what the rest of the model makes of an edit.
#
# **Further reading.** Patching in practice: Heimersheim & Nanda 2024, arXiv 2404.15255. Causal
# tracing with windows: Meng et al. 2022, arXiv 2202.05262. Self-repair: McGrath et al. 2023, arXiv
# 2307.15771; Rushing & Nanda 2024, arXiv 2402.15390.
#
# **Next:** notebook 6 adds vectors instead of exchanging states.
