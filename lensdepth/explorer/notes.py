"""What am I looking at: each figure and each control in a teacher's words."""

from lensdepth.telling.names import RUNS

NOTES = {
    "map": (
        "Each column is a token of the prompt, each row a depth: the embedding at the bottom, the "
        "model's own output at the top. In a cell stands the word that the model would say next if "
        "it stopped there, and the colour says how sure or how settled that is. Read a column "
        "upwards: at first the words are noise, and at some depth the answer appears. The band "
        "across the map is where this happens on average over prompts of the task, with its 95% "
        "interval; a prompt that is not worded as these are has none. ⚠ marks a word that the "
        "tokenizer does not know. Click a cell to choose it, shift-click to choose a range; with "
        "the keyboard, go to the map and use the arrow keys, with Shift for a range."
    ),
    "next": (
        "What the model itself predicts after the whole prompt: the five likeliest next tokens "
        "with their probabilities. · stands for a space in front of a word."
    ),
    "cell": (
        "The same for the cell that you chose in the map: the state there is sent straight through "
        "the model's own final norm and unembedding, as if the blocks above did not exist."
    ),
    "followed": (
        "The token that you asked for, at every depth behind the chosen token of the prompt: how "
        "likely it is there, and how many tokens of the vocabulary are above it (0 is the top, 2 "
        "on this scale is about a hundred). It need not be among the words that the map shows."
    ),
    "pick": (
        "Choose where to intervene. Click a cell, or shift-click a second one for a range of "
        "depths and tokens; the frame shows your choice. With the keyboard, go to the map and use "
        "the arrow keys, with Shift for a range, or the menus beside it."
    ),
    "scopes": (
        "The same edit three times. “Here” changes the state at one depth and lets all later "
        "blocks respond. “From here on” makes the edit again at every later depth, so that no "
        "block can undo it. “Whole window” makes it at every depth of the range that you chose, or "
        "at all depths. If an edit works in a window and not here, later blocks repair it; if it "
        "works here already, they carry it on. The grey line is the control: a state as far away "
        "in a random direction. An effect that the control has as well is damage, not transfer."
    ),
    "base-map": (
        "The base prompt, token by token and depth by depth. Take any cell, here or in the other "
        "map, and put it on any other: drag it with the mouse; or click it and then click where it "
        "is to go; or go to a map with the keyboard, walk with the arrow keys, press Enter to take "
        "a cell and Enter again to put it (Escape lets go); or use the menus above. The solid "
        "frame is where the state is taken, the dashed one where it is put."
    ),
    "source-map": (
        "The source prompt likewise. A state taken here and put at the same depth and token there "
        "is ordinary activation patching; so is what Poke does. Put into this map, it edits the "
        "source prompt's run."
    ),
    "moved": (
        "The model runs once more, with this one state in place of its own. At one depth and the "
        "same token that asks what the state carries. At another token it asks whether it says the "
        "same wherever it stands. At another depth it asks whether blocks can read a state that "
        "they never meet: it comes too early or too late, with a norm that belongs elsewhere, so "
        "that what follows may be damage and no message. The random control, a state turned as far "
        "in a random direction, says how much of it is."
    ),
    "predictions": (
        "Probabilities of the likeliest next tokens, before the edit (base), after it in each "
        "scope, and in the source prompt's own run. A transfer moves probability from the base "
        "run's answer to the source's; damage spreads it over other words."
    ),
    "trajectory": (
        "The last token's state on its way up after the edit. First panel: by how many degrees it "
        "points away from where it would have been. Second: how much of the angle between the two "
        "prompts' states it has covered, 0 at the base run and 1 at the source. Third: its "
        "length. A curve that falls back shows blocks that undo the edit. Dashed is the random "
        "control of the scope that you look at closely."
    ),
    "patch": (
        "At each depth the state of one token is replaced by the other prompt's. High means: the "
        "answer follows, so that this state decides it. At the input token this works early, at "
        "the last token late; where the curves cross, control passes over. Bands are 95% intervals "
        "over units (words, templates); dashed curves take the state of an unrelated pair. Click a "
        "point to set it up in Poke."
    ),
    "patch-map": (
        "One cell is one intervention: the state of that token at that depth is replaced by the "
        "other prompt's. Orange cells move the prediction towards the source's answer, blue ones "
        "away from it. You see the information travel: from the word that differs, at the bottom, "
        "to the last token, at the top. Click a cell to set it up in Poke."
    ),
    "ablation": (
        "A state is a direction times a length. Replace one and keep the other: which part brings "
        "the source's answer along? 0 is the base run, 1 the source run. Dashed curves are "
        "controls that move as far in a random direction, or take a random norm."
    ),
    "made-of": (
        "The logit difference moves when the source's answer rises and when the base's falls; gain "
        "and loss add up to the transferred fraction. An edit that gains little and loses much has "
        "disturbed the prediction and not replaced it; success says how often the source's answer "
        "then comes first."
    ),
    "steering": (
        "The mean state of all prompts with one answer less that of all with another is a "
        "direction. Added at the input token it should make the model read another input; added "
        "at the last token, give another answer. The means never include the steered prompts."
    ),
    "attribution": (
        "The logit of an answer is a sum: every head and every MLP adds its part to the last "
        "token's state, and the unembedding reads the sum. A cell is one part's direct share in "
        "logit(answer) − logit(the source's answer). It is direct only: what a head does through "
        "later blocks is not in it; patching, beside it, has both. Click a head to see where it "
        "looks."
    ),
    "heads": (
        "Each head's output at the last token is replaced by the one from the source prompt's run, "
        "one head at a time. Orange heads carry what makes the answers differ."
    ),
    "attention": (
        "One head's attention: each row is a token that looks, each column one that is looked at; "
        "a row sums to 1. Nothing can look ahead, so the upper right is blank. Many heads park "
        "their attention on the first token when they have nothing to do."
    ),
    "components": (
        "Is the pinned set the circuit? At the last token, give the set the source run's outputs "
        "and leave all the rest: if the source's answer comes, the set is enough. Then go the "
        "other way: in the source run give it the base run's outputs back; if the answer is lost, "
        "the set is needed. A set can be the one without the other. Everything patched at the last "
        "token is the source run by construction, and all others may make the set follow. Random "
        "sets of the same make-up are the control. One pair of prompts shows nothing of others."
    ),
    "graph": (
        "A node is a head, an MLP or an embedding at one token, as large as what it adds directly "
        "to the answer's logit. An edge is measured by itself: what the lower node writes in the "
        "source prompt's run is put into what the upper node reads, and into nothing else; its "
        "width is how far the logit difference moves. With total effects, what the upper node then "
        "writes goes on through the model; with direct ones, straight to the logits. Nodes and "
        "edges were found by gradients, which may miss some. Click a node to pin or unpin it; "
        "click with Shift on one node and then on another to patch the edge between them."
    ),
    "graph-set": (
        "Are the heads and MLPs of the graph, as it is pruned, the circuit? All of them together "
        "get the source run's outputs, each at its own token; then, in the source run, the base "
        "run's outputs back. Embeddings are not patched. At a token in which the prompts differ, "
        "an early node may do no more than exchange the input; the sentences say so."
    ),
    "edge": (
        "The effect of one chosen edge: the upstream node's output from the source prompt's run "
        "reaches the downstream node alone. Where there can be no edge, the reason is said."
    ),
    "written": (
        "The model writes on from the prompt. Each token has a place along the axis; the upper "
        "panel says from which depth on the lens's first choice is that token and stays so. At "
        "the last depth the lens is the model, so that nothing is settled later. Below: how open "
        "the model's prediction was. With an edit held on there is a second text: the upright "
        "line is where it first differs, and what comes after differs also because it reads "
        "another text. So the last panel puts the base's own tokens before the edited model, and "
        "says how far its predictions are from the base's; dashed is as far a turn at random."
    ),
    "written-map": (
        "Each column is a token that was written, each row a depth. In a cell stands what the lens "
        "would have said there at the moment at which the token was due; the colour says how sure "
        "it was. The line is the depth from which on it is the token itself."
    ),
    "edited-map": (
        "The same while the edit is held on. Its text is its own from the first difference on."
    ),
    "pair-dots": (
        "Each dot is a pair: across, where control passes from its input to its last token; up, "
        "how far the logit difference moves when the last token's state is put into the other "
        "run, at one depth for all pairs. A mean hides what stands far from the others. Click a "
        "dot to read that pair."
    ),
    "both": (
        "Two lenses over relative depth: 0 is the embedding and 1 the output, so that models with "
        "different numbers of blocks can be laid over one another. Bands are 95% intervals over "
        "units (words, templates), where there are several."
    ),
    "first": "The first of the two, token by token. Colours have a scale of their own in each map.",
    "second": "The second one, likewise.",
}  # fmt: skip
"""Key of a card -> what it shows."""

VIEWS = {
    "read": ("Read", "What would the model say if it stopped at each depth?"),
    "poke": ("Poke", "Change one state. What does the model say then, and where does it go?"),
    "move": ("Move", "Take a state out of one place and put it into another. What follows?"),
    "sweep": ("Sweep", "The same intervention everywhere, one site at a time."),
    "circuit": ("Circuit", "Which heads and MLPs make the answer, and is a set of them enough?"),
    "write": ("Write", "Watch it write: where in its depth is each token decided?"),
    "pairs": ("Pairs", "Every pair of the task by itself: which are unlike the others?"),
    "compare": ("Compare", "Two prompts or two models, on one axis of relative depth."),
    "keep": ("Keep", "Your experiments on this page, and how to take them with you."),
}
"""Key of a view -> its name and its question."""

SCOPES = {
    scope: (RUNS[scope].capitalize(), where)
    for scope, where in (
        ("local", "at the chosen depth alone"),
        ("suffix", "at this depth and all later ones"),
        ("window", "at every depth of the window"),
    )
}
"""Scope -> what the page calls it, and where it edits."""

COLUMNS = {
    "pair": "pair", "clean": "clean prompt", "corrupted": "corrupted prompt", "right": "right",
    "depth": "crossing", "norm_ratio": "norm ratio", "effect": "effect, nats",
    "distance": "distance",
}  # fmt: skip
"""Columns of the table of pairs, and what they are called."""

VALUE_LABELS = {
    "kl": "KL(final ‖ lens)",
    "entropy": "Entropy",
    "rank": "Rank of the final prediction",
    "probability": "Probability",
}
