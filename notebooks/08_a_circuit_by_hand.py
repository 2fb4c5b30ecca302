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
# # 8 · A circuit, by hand
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** Which parts of the model do the task, what does each of them contribute, and how do
# we know? And what is left that we cannot explain?
#
# From notebook 3 you need patching; from notebook 5, that effects alone, together and left out are three
# different things.

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
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import load_model, load_task, patch_sweep
from lensdepth.circuit import attention_patterns, attribute_logits, patch_components
from lensdepth.circuit.told import sentences
from lensdepth.teaching import check, depth_lines, pick_task, say, show, square_map

model = load_model(MODEL)
task, note = pick_task(model)
say(note)

# %% [markdown]
# A **circuit** is a small set of components (attention heads and MLPs) that does the task, with an
# account of what each of them does. We find one in five steps, and each step has a check that it can
# fail. Heads are called `L5H3`: head 3 of block 5.
#
# ## A prediction, before you go on
#
# The answer needs a word from the middle of the prompt, at the end of it. How many heads, of all there
# are, will be enough to carry it there for the most part?

# %%
my_guess = ...  # a number of heads

# %% [markdown]
# ## Step 1: who says the answer?
#
# The last state is a sum: the embedding, plus what every head and every MLP wrote. The final norm
# divides it by one number, the unembedding is linear: so the logit difference (answer less foil) is a
# sum as well, with one term a component. That is **direct logit attribution**.

# %%
direct = attribute_logits(model, task)
show(direct.plot_largest(12))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
parts = direct.mean_frame()
parts = parts[parts["kind"].isin(["head", "mlp"])]
by_kind = parts.groupby("kind")["value"].sum()
total = float(direct.logit_diff.mean())
top = parts.reindex(parts["value"].abs().sort_values(ascending=False).index).head(2)
say(
    f"**What to see.** Of a mean logit difference of {total:.1f} nats, MLPs write",
    f"{by_kind.get('mlp', 0.0):.1f}, heads {by_kind.get('head', 0.0):.1f}. Most comes from",
    " and ".join(f"{row.component} ({row.value:.1f})" for row in top.itertuples()) + ".",
    "All terms add up to the whole, up to",
    f"{direct.residual.abs().max():.0e}.",
)

# %% [markdown]
# Direct attribution sees only what is written *straight* to the answer. A component that brings the
# material for others to work on says nothing here. So the next question is causal.
#
# ## Step 2: who brings the input to the end?
#
# Exchange what one head writes at the last token by what it writes in the other run of the pair, one
# head at a time. The number is the transferred fraction: 1 is all the way to the other answer.

# %%
swept = patch_sweep(model, task, stream="z", heads="all", positions=["prediction"], controls=())
moved: Float[Tensor, "layer head"] = swept.transferred.mean(0)[:, 0]
n_heads = model.info.n_heads
blocks = [str(layer) for layer in range(model.n_layers)]
show(
    square_map(
        moved,
        rows=("block", blocks),
        columns=("head", [str(head) for head in range(n_heads)]),
        title="One head at a time, at the last token",
        unit="transferred fraction",
        signs=("away from it", "towards the other answer"),
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
order = moved.flatten().argsort(descending=True)
strongest = [divmod(int(i), n_heads) for i in order[:6]]
names = [f"L{layer}H{head}" for layer, head in strongest]
written = [float(direct.heads[layer, head].mean()) for layer, head in strongest]
say(
    "**What to see.** The strongest are",
    ", ".join(f"{n} ({moved[at]:.0%})" for n, at in zip(names, strongest, strict=True)) + ".",
    f"Straight to the answer the first of them, {names[0]}, writes {written[0]:.2f} of the",
    f"{total:.1f} nats"
    + (": it fetches, others answer." if abs(written[0]) < 0.1 * abs(total) else "."),
)

# %% [markdown]
# ## Step 3: where do they look?
#
# If these heads fetch the input, then at the last token they should look at the word that differs
# between the two prompts (or at a place that has copied it before).

# %%
patterns = attention_patterns(model, task)
pair = torch.arange(len(task))
at_end = patterns.patterns[:, pair, :, task.prediction_positions]  # [prompt, layer, head, key]
to_input = at_end[pair, :, :, task.input_positions].mean(0)
rows = []
for name, (layer, head) in zip(names, strongest, strict=True):
    mean = at_end[:, layer, head].mean(0)
    place = int(mean.argmax())
    rows.append(
        {
            "head": name,
            "moves the answer by": float(moved[layer, head]),
            "looks at the input word": float(to_input[layer, head]),
            "looks most at position": place,
            "there, in the first prompt": patterns.str_tokens[0][
                min(place, len(patterns.str_tokens[0]) - 1)
            ],
            "with": float(mean[place]),
        }
    )
show(pd.DataFrame(rows).set_index("head").round(2))

# %%
lookers = [row["head"] for row in rows if row["looks at the input word"] > 0.5]
layer, head = strongest[0]
show(patterns.plot(layer, head))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    "**What to see.** The pattern of the strongest head: a row for each position that looks, a column",
    "for each that is looked at; the last row is the one that matters here. Of the six strongest heads",
    f"{len(lookers)} give more than half of their attention to the input word"
    + (f" ({', '.join(lookers)})." if lookers else "."),
    "The others must be doing something else, or looking elsewhere for the same thing.",
)

# %% [markdown]
# ## Step 4: what do the MLPs do?
#
# The same exchange for the writes of whole MLPs, at the input word and at the end.

# %%
mlps = patch_sweep(model, task, stream="mlp_out", controls=())
at = {name: mlps.transferred[:, :, i] for i, name in enumerate(mlps.positions)}
show(
    depth_lines(
        {f"at the {name} position": values for name, values in at.items()},
        layers=True,
        title="One MLP at a time",
        y_title="transferred fraction",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
peaks = {name: int(values.mean(0).argmax()) for name, values in at.items()}
late = [b for b in range(model.n_layers) if at["prediction"].mean(0)[b] > 0.2]
say(
    "**What to see.**",
    *(
        f"At the {name} position the MLP of block {block} does most "
        f"({at[name].mean(0)[block]:.0%} of the way)."
        for name, block in peaks.items()
    ),
    f"At the end, the MLPs of blocks {late} carry more than a fifth each."
    if late
    else "No single MLP at the end carries more than a fifth.",
    "An MLP works on one position alone; what it adds at the end it can only make of what heads have",
    "brought there.",
)

# %% [markdown]
# ## Step 5: is the set enough, and is it needed?
#
# Now the check of the whole account. Patch the strongest head, the strongest two, three, …, together:
# how far does the answer move? The control: as many heads, drawn at random.
#
# All of this at the last token. At the word that differs between the prompts, a single early MLP would
# seem to be a whole circuit: what it writes there says which word was read, and exchanging it is no more
# than exchanging the word.

# %%
shares, control, flips = [], [], []
counts = list(range(1, min(8, moved.numel()) + 1))
ranked = [f"L{i // n_heads}H{i % n_heads}" for i in order.tolist()]
for n in counts:
    found = patch_components(model, task, ranked[:n], positions=["prediction"], n_random=5)
    shares.append(float(found.transferred[0].mean()))
    flips.append(float(found.success[0].mean()))
    control.append(float(found.random_transferred.mean()))
show(
    pd.DataFrame(
        {
            "heads": counts,
            "added last": ranked[: len(counts)],
            "transferred": shares,
            "answer becomes the other one": flips,
            "random heads": control,
        }
    )
    .set_index("heads")
    .round(2)
)

# %%
enough = next((n for n, share in zip(counts, shares, strict=True) if share >= 0.8), None)
kept = ranked[: enough or counts[-1]]
rest = patch_components(model, task, ranked[len(kept) :], positions=["prediction"], n_random=0)
left = float(rest.transferred[0].mean())
whole = patch_components(model, task, kept)
guessed = "" if my_guess is ... else f" (you guessed {my_guess})"
say(
    f"**What to see.** {len(kept)} of {moved.numel()} heads{guessed} move the answer by",
    f"{shares[len(kept) - 1]:.0%}; as many random ones by {control[len(kept) - 1]:.0%}.",
    f"Now the reverse: *all other* heads together, without these, move it by {left:.0%}.",
    "So these heads are close to all that heads bring to the end."
    if left < 0.2
    else "So these are not the only way: others carry a part too.",
)

# %% [markdown]
# *Enough* and *needed* are two questions. Enough: given the other run's writes, do these heads bring its
# answer? Needed: if they alone get the first run's writes back, in the other run, is that answer lost? Two
# heads that do the same would each be enough, and neither needed; two that only work together would each
# be needed, and neither enough.

# %%
show(whole.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say("**What to see.**", *sentences(whole))

# %% [markdown]
# ## A test that could have failed: the other half of the question
#
# The months task has two inputs, a month and a count; so far only the month differed. If heads have
# parts, others should carry the count. So we make pairs that differ in the *count*, and look again.
# (For a task with one input there is nothing to do here, and the cell says so.)


# %%
def count_pairs():
    labels, rows = task.labels, []
    for i in range(len(task)):
        for j in range(i + 1, len(task)):
            same = labels.alpha[i] == labels.alpha[j] and labels.beta[i] != labels.beta[j]
            if same and task.target[i] != task.target[j]:
                rows.append((task.clean[i], task.clean[j], task.target[i], task.target[j]))
    pairs = pd.DataFrame(rows, columns=["clean", "corrupted", "target", "foil"])
    pairs = pairs.sample(frac=1, random_state=0).head(80)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "counts.csv"
        pairs.to_csv(file, index=False)
        return load_task(file, model, keep="correct", on_multi_token="drop")


by_count = None
if {"alpha", "beta"} <= set(task.labels.columns) and task.labels.beta.nunique() > 1:
    try:
        counted = patch_sweep(
            model, count_pairs(), stream="z", heads="all", positions=["prediction"], controls=()
        )
        by_count = counted.transferred.mean(0)[:, 0]
    except ValueError as error:  # the model answers none of these pairs
        why = str(error)
else:
    why = f"The task *{task.name}* has one input, so there is no other half to test."
shown = None
if by_count is not None:
    shown = pd.DataFrame(
        {
            "head": [f"L{i // n_heads}H{i % n_heads}" for i in range(moved.numel())],
            "moves the first input": moved.flatten(),
            "moves the count": by_count.flatten(),
        }
    ).set_index("head")
    shown = shown[(shown.abs() > 0.05).any(axis=1)].round(2)
show(shown)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if by_count is None:
    sentence = why
else:
    first, second = moved.flatten().argmax(), by_count.flatten().argmax()
    name = f"L{int(second) // n_heads}H{int(second) % n_heads}"
    sentence = (
        f"**What to see.** For the first input the strongest head is {ranked[0]}; for the count it is "
        f"{name} ({by_count.max():.0%}), which moves the first input by "
        f"{moved.flatten()[second]:.0%}. "
        + (
            "Different heads carry the two inputs, as expected."
            if first != second
            else "The same head carries both, against what was expected."
        )
    )
say(sentence)

# %% [markdown]
# ## Does it hold in other words?
#
# A circuit found on one wording may be about that wording. The same heads, on all wordings of the task:

# %%
try:
    worded = load_task(
        task.name, model, n=60, template="all", keep="correct", on_multi_token="drop", seed=1
    )
    again = patch_components(model, worded, kept, positions=["prediction"], n_random=5)
    other_words = float(again.transferred[0].mean()), float(again.random_transferred.mean())
except ValueError:  # a task with one wording
    other_words = None
say(
    f"With {worded.labels.template.nunique()} wordings the same {len(kept)} heads move the answer by",
    f"{other_words[0]:.0%}, where on one wording it was {shares[len(kept) - 1]:.0%} (random heads:",
    f"{other_words[1]:.0%}).",
    "They do in other words too."
    if other_words[0] > 0.8 * shares[len(kept) - 1]
    else "So a part of this circuit belongs to one wording.",
) if other_words else say("This task has one wording only.")

# %% [markdown]
# ## An honest account
#
# What we have: which components write the answer, which bring the input to the end, where those look,
# and that exchanging them is enough, beside random ones.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
best_mlp = peaks["prediction"]
say(
    f"What stays unexplained: {1 - shares[len(kept) - 1]:.0%} of the effect is not in the heads we kept.",
    f"We do not know *how* the MLP of block {best_mlp} makes the answer of what it gets: for that one",
    "would have to open it, neuron by neuron or feature by feature. We exchanged states at the last token",
    "only; what prepares the input word below was left alone. And patching shows what *can* carry the",
    "answer between these pairs of prompts, which need not be all that the model uses elsewhere.",
)

# %% [markdown]
# ## Exercises
#
# **1. Direct attribution, by hand.** A last state that is a sum of writes; a final RMSNorm without a
# weight; two columns of the unembedding.


# %%
def direct_parts(
    writes: Float[Tensor, "component d_model"],
    target: Float[Tensor, " d_model"],
    foil: Float[Tensor, " d_model"],
) -> Float[Tensor, " component"]:
    return ...


check("08.direct", direct_parts)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def direct_parts(writes, target, foil):
#     size = writes.sum(dim=0).pow(2).mean().sqrt()
#     return (writes / size) @ (target - foil)
#
# check("08.direct", direct_parts)
# ```
#
# </details>
#
# **2. Where does a head look?** Each prompt has its own positions.


# %%
def look(
    pattern: Float[Tensor, "prompt head query key"],
    query: Int[Tensor, " prompt"],
    key: Int[Tensor, " prompt"],
) -> Float[Tensor, " head"]:
    return ...


check("08.look", look)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def look(pattern, query, key):
#     prompts = torch.arange(len(pattern))
#     return pattern[prompts, :, query, key].mean(dim=0)
#
# check("08.look", look)
# ```
#
# </details>
#
# **3. How many heads are enough** for four fifths of the way? Use `shares` from step 5.

# %%
n_enough = ...  # a number of heads

check("08.enough", n_enough, shares=shares)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# n_enough = next((i + 1 for i, share in enumerate(shares) if share >= 0.8), -1)
# check("08.enough", n_enough, shares=shares)
# ```
#
# </details>
#
# ## What to take along
#
# - Direct attribution finds who speaks; patching finds who matters; attention shows where a head looks.
# - A circuit is a hypothesis: enough? needed? in other words? beside random components?
# - Say what stays unexplained, with a number where there is one.
#
# **Further reading.** A circuit in GPT-2 small, with the checks for one: Wang et al. 2022, arXiv
# 2211.00593. Self-repair, which hides what is needed: arXiv 2307.15771 and 2402.15390.
#
# **Next:** notebook 9 is about a question of your own.
