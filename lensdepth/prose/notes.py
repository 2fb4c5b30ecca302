"""How to read each figure, in a teacher's words."""

NOTES = {
    "story": (
        "Read the panels downwards at one depth: each asks the same residual states another "
        "question. On the far left is the embedding, on the far right the state that the model "
        "reads its answer from. A shaded strip is the 95% interval of a switch; where the data "
        "show none, there is no strip. Look whether curves of different panels turn at the same "
        "place, and which turn gradually."
    ),
    "lens": (
        "What would the model answer if it stopped here? The state at each depth goes through the "
        "model's own final norm and unembedding. Kullback-Leibler divergence (in nats) says how "
        "far that answer is from the final one. At the last depth it is zero for every model, "
        "because there the lens is the model. A high value earlier need not mean that the answer "
        "is absent: it may be written in a form that the readout does not yet read."
    ),
    "patch": (
        "Run the model on one prompt of a pair, but put in one state from the other. If the answer "
        "follows, that state decided it. Early on the input token's state decides; once the "
        "information has moved on, only the last token's does. The ends hold by construction: at "
        "the last depth the prediction position is all that the readout sees, and the input "
        "position is not read any more. What can be found out is what happens between."
    ),
    "ablation": (
        "A state is a direction times a length. Replace one and keep the other: which part brings "
        "the other run's answer along? 0 is the base run, 1 the source run. Judge against the "
        "dashed controls: a turn by the same angle in a random direction already disturbs the base "
        "run's answer, and that alone moves the logit difference."
    ),
    "geometry": (
        "Take the last token's state of every prompt: a cloud of points at each depth. The step "
        "angle says how far a block turns a state, the effective rank how many dimensions the "
        "cloud fills. The rank correlations ask whether prompts at a larger angle (or with norms "
        "further apart) also have more different predictions. Intervals and tests go over "
        "prompts, as pairs that share a prompt are not independent."
    ),
}
"""How to read each figure, whatever it shows."""
