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
# # 2 · Lenses
#
# [Run on Colab](https://colab.research.google.com/#create=true): *File → Upload notebook*,
# and put the wheel beside it ([how](README.md#without-installing-anything)).
#
# **The question.** If the model had to answer half-way up, what would it say? And may we believe
# what we read there?
#
# From notebook 1 you need: the residual stream, depth, the final norm and the unembedding.

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
from torch.nn.functional import pad  # the last depth is 0 by definition

from lensdepth import (
    fit_tuned_lens,
    generation_profile,
    load_model,
    load_task,
    logit_lens,
    patch_sweep,
)
from lensdepth.analyses import analysis
from lensdepth.teaching import check, depth_lines, pick_task, planted_case, say, show

model = load_model(MODEL)
task, note = pick_task(model)
say(note)

# %% [markdown]
# ## A prediction, before you go on
#
# At the top the model gives the right answer. At the bottom there is only the embedding of the
# prompt's last token. Somewhere in between the right answer becomes the most likely one: at which
# **relative depth** (0 is the bottom, 1 the top)? And will its probability climb step by step, or
# jump? Write a number.

# %%
my_guess = ...  # between 0 and 1

# %% [markdown]
# ## The logit lens, by hand
#
# The last state is read by two steps, final norm and unembedding. Nothing keeps us from doing the
# same to any earlier state: that is the whole **logit lens**. Ten lines:

# %%
prompt = task.clean[0]
states = model.residual_stream(prompt).resid[:, 0, 0]  # the last token's state at every depth
normed = model.model.ln_final(states[None].to(model.device, model.dtype))
logits = model.model.unembed(normed)[0].detach().float().cpu()
log_probs = logits.log_softmax(-1)
probs, final = log_probs.exp(), log_probs[-1]
answer = final.argmax()
by_hand = pd.DataFrame(
    {
        "most likely token": [model.token_text(int(t)) for t in probs.argmax(-1)],
        "its probability": probs.max(-1).values,
        "probability of the answer": probs[:, answer],
        "rank of the answer": (log_probs > log_probs[:, answer, None]).sum(-1),
        "entropy": -(probs * log_probs).sum(-1),
        "KL(final ‖ lens)": (final.exp() * (final - log_probs)).sum(-1),
    }
)
show(by_hand.rename_axis("depth").round(3))

# %% [markdown]
# **What to see.** Read the first column from top to bottom: what the model "would say". Then the
# others. They are the three ways in which this field measures a half-finished prediction:
#
# - The **rank** of the answer: how many tokens are more likely. It sees order, not size.
# - The **entropy**: how undecided the distribution is, in nats (0: sure; the logarithm of the
#   vocabulary's size: all tokens alike). It sees sureness, not correctness.
# - **KL(final ‖ lens)**, the Kullback–Leibler divergence, in nats: how much is lost if one takes
#   the lens's distribution for the final one. Zero means that they are the same. It is not
#   symmetric: the first distribution is the one that weighs.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
first = int((by_hand["rank of the answer"] == 0).to_numpy().argmax())
guessed = "" if my_guess is ... else f" You guessed a relative depth of {my_guess}."
say(
    f"For “{prompt}” the answer `{model.token_text(int(answer))}` is on top for the first time at",
    f"depth {first} of {model.n_layers}, a relative depth of {first / model.n_layers:.2f}.{guessed}",
)

# %% [markdown]
# ## The library's lens, over many prompts
#
# One prompt is an anecdote. `logit_lens` reads all prompts of the task at once (some models cap or
# scale their logits; it knows about that too). The bands are 95 % intervals over input words.

# %%
profile = logit_lens(model, task)
show(profile.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
kl = profile.kl.mean((1, 2))
drop = int((kl[:-1] - kl[1:]).argmax())
agreement = profile.top1_agreement.mean((1, 2))
entropy = profile.entropy.mean((1, 2))
say(
    "**What to see.** Three panels, one depth axis. The divergence starts at",
    f"{kl[0]:.1f} nats; its largest step down, {kl[drop] - kl[drop + 1]:.1f} nats, is from depth",
    f"{drop} to {drop + 1}. The lens names the final answer for {agreement[drop]:.0%} of the prompts",
    f"before that step and for {agreement[drop + 1]:.0%} after it.",
    f"Entropy is highest at depth {int(entropy.argmax())} ({entropy.max():.1f} nats) and",
    f"{entropy[-1]:.2f} at the end: being sure and being right are two things.",
)

# %% [markdown]
# ## One prompt, token by token
#
# Each column is a position, each row a depth, each cell what the lens says comes *next*. The bluer a
# cell, the further the lens still is from the model's final distribution at that position.

# %%
show(logit_lens(model, [prompt], positions="all").plot_tokens(0))

# %% [markdown]
# **What to see.** Go up the last column: that is the table from above. The other columns are
# predictions too: a model predicts the next token at every position, and at most of them several
# continuations are possible. Hover over a cell for the five most likely tokens.
#
# ## While it writes
#
# Let the model go on from here by itself. Each token that it writes was predicted at one place: from
# which depth on is it the lens's first choice there, and stays so? And how sure is the model of it?
# The lens shows what can be read. Whether it decides is asked by *patching*: the same text is put
# behind another prompt, and the last token's state taken there. From which depth on does that state
# bring the token along? (Notebook 5 is about patching.)

# %%
written = generation_profile(model, prompt, n_tokens=8, counterfactual=task.corrupted[0])
show(written.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
say(
    f"**What to see.** After “{prompt}” it writes “{written.texts[0]}”.",
    *analysis("generation").sentences(written),
)

# %% [markdown]
# ## The tuned lens
#
# The logit lens takes for granted that early states are written in the language of the last one.
# Why should they be? Blocks may still turn and shift them. A **tuned lens** learns, for each depth,
# one affine map that translates a state before it is read, so that the result comes as close as
# possible to the model's final distribution. Its quality is judged on prompts that it was not
# fitted on. We fit it on prompts of several tasks: a lens fitted on one kind reads others badly.

# %%
several = ("months", "weekdays", "ioi", "capitals", "opposites", "graded")
drawn = [load_task(name, model, n=60, seed=1, on_multi_token="drop") for name in several]
prompts = [prompt for one in drawn for prompt in one.clean]
tuned = fit_tuned_lens(model, prompts, n_steps=120, batch_tokens=128)
show(
    depth_lines(
        {"logit lens": pad(tuned.kl_before, (0, 1)), "tuned lens": pad(tuned.kl_after, (0, 1))},
        title="The same states, read plainly and through a fitted map",
        y_title="KL(final ‖ lens) in nats, on held-out prompts, all positions",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
before, after = tuned.kl_before.mean(0), tuned.kl_after.mean(0)
say(
    f"**What to see.** On held-out prompts the maps lower the divergence from {before[0]:.1f} to",
    f"{after[0]:.1f} nats at the embedding, and from {before[-1]:.2f} to {after[-1]:.2f} one block",
    "before the end (the last depth needs no map). What falls is not ignorance of the model but of",
    "the plain lens: the information was in the state, in other coordinates. What remains is what an",
    "affine map cannot get out, or what is not there yet.",
)

# %% [markdown]
# ## Where lenses mislead, first: "not readable" is not "not there"
#
# A lens reads. To know whether the answer is *there*, one has to intervene: put the last token's
# state of a run with another answer into this run, and see whether its answer comes along. That is
# **patching**, and notebook 5 is about it. Here we need one curve of it: the share of prompt pairs
# in which the answer moves with the state.
#
# We take another task where the model has one, so that you see two cases.

# %%
other, note = pick_task(model, ("weekdays", "ioi", "capitals", "months"))
read = logit_lens(model, other)
read_tuned = logit_lens(model, other, translators=tuned)
moved = patch_sweep(model, other, depths="all", positions=["prediction"]).efficacy("prediction")
show(
    depth_lines(
        {
            "the state carries the answer (patching)": moved,
            "the logit lens reads the final answer": read.top1_agreement[:, :, 0].T,
            "the tuned lens reads it": read_tuned.top1_agreement[:, :, 0].T,
        },
        title=f"Carried and readable: {other.name}",
        y_title="share of prompts",
    )
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
carried, plain = moved.mean(0), read.top1_agreement.mean((1, 2))
fitted = read_tuned.top1_agreement.mean((1, 2))
gap = int((carried - plain).argmax())
lead = int((plain - carried).argmax())
say(
    note,
    "\n\n**What to see.** The curves need not coincide. The plain lens is furthest behind at depth",
    f"{gap}: there the state carries the answer in {carried[gap]:.0%} of the pairs, the logit lens",
    f"names it for {plain[gap]:.0%}, the tuned lens for {fitted[gap]:.0%}.",
    "An answer may be all there and not readable yet."
    if carried[gap] - plain[gap] > 0.2
    else "Here, what is there is readable.",
    f"The other way round it is furthest ahead at depth {lead} ({plain[lead]:.0%} read,",
    f"{carried[lead]:.0%} carried).",
)

# %% [markdown]
# ## Where lenses mislead, second: a curve that moves for no reason
#
# Now a model of which we know everything, because its weights were set by hand. It is **deaf**: it
# gives one and the same answer whatever the prompt says. Its blocks add nothing but small random
# functions of the state. There is no place in its depth where it starts to form an answer.

# %%
deaf, deaf_task = planted_case("deaf")
deaf_lens = logit_lens(deaf, deaf_task)
show(deaf_lens.plot())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
deaf_kl = deaf_lens.kl.mean((1, 2))
say(
    f"**What to see.** The divergence falls from {deaf_kl[0]:.4f} to {deaf_kl[-1]:.4f} nats and",
    "looks, on its own axis, much like a model that makes up its mind. Look at the numbers on the",
    f"axis: it is {kl[0] / deaf_kl[0]:.0f} times smaller than in the first figure, and the first choice",
    f"never changes (agreement {deaf_lens.top1_agreement.mean():.0%} at all depths). The divergence must end",
    "at zero, since the last depth is the model itself: so it comes down somewhere in every model, and",
    "a falling curve alone is no evidence.",
)

# %% [markdown]
# So three habits: look at the size, not only at the shape; read several measures; and let an
# intervention have the last word. Notebook 3 makes a test out of that.
#
# ## Exercises
#
# **1. The divergence.** Write it from log-probabilities. Mind which of the two weighs.


# %%
def kl_divergence(
    p_logits: Float[Tensor, "batch d_vocab"], q_logits: Float[Tensor, "batch d_vocab"]
) -> Float[Tensor, " batch"]:
    return ...


check("02.kl", kl_divergence)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def kl_divergence(p_logits, q_logits):
#     log_p, log_q = p_logits.log_softmax(-1), q_logits.log_softmax(-1)
#     return (log_p.exp() * (log_p - log_q)).sum(-1)
#
# check("02.kl", kl_divergence)
# ```
#
# </details>
#
# **2. The rank.** How many tokens are more likely than this one?


# %%
def rank(logits: Float[Tensor, " d_vocab"], token: int) -> int:
    return ...


check("02.rank", rank)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def rank(logits, token):
#     return int((logits > logits[token]).sum())
#
# check("02.rank", rank)
# ```
#
# </details>
#
# **3. Where does the lens settle?** Use `profile` from above, the lens over all prompts of the task:
# from which depth on, at every depth, does it name the final answer for at least half of them?

# %%
settled = ...  # a depth, of 0 ... model.n_layers

check("02.settled", settled, profile=profile)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# share = profile.top1_agreement.mean((1, 2))
# depth = len(share) - 1
# while depth > 0 and share[depth - 1] >= 0.5:
#     depth -= 1
# settled = depth
# check("02.settled", settled, profile=profile)
# ```
#
# </details>
#
# ## What to take along
#
# - A lens reads a state as if it were the last one. It is cheap and shows much.
# - What it shows is readability, not use. Readable late may be there early, and the reverse.
# - Every lens curve must come down to zero in the end; the size of a change matters, not its look.
#
# **Further reading.** nostalgebraist 2020, "interpreting GPT: the logit lens". Tuned lens: Belrose
# et al. 2023, arXiv 2303.08112. Reading states by the model itself: arXiv 2401.06102. Stages of
# inference by depth: arXiv 2406.19384.
#
# **Next:** notebook 3 asks where the switch is, how surely, and whether there is one at all.
