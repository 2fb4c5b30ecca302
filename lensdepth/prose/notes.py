"""How to read each figure, in a teacher's words."""

NOTES = {
    "claims": (
        "A claim is several statements with a number each. A dot is the number found, its bar the "
        "95% interval by prompt, the upright stroke the threshold that was set before. A claim is "
        "supported where every one of its dots lies clearly beyond its stroke, and contradicted "
        "where one lies clearly short of it. Depths were chosen on other prompts than those "
        "tested, and the last depth takes no part, for there the final norm settles the matter."
    ),
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
    "tokens": (
        "each column is a token, each row a depth, and in a cell stands what the model would say "
        "next if it stopped there; the colour is the divergence from what it says in the end, so "
        "that pale cells have settled. A token that occurs twice has two columns. Point at a cell "
        "for its five likeliest tokens."
    ),
    "cka": (
        "Each cell compares two depths: do prompts that lie close together at one lie close at the "
        "other? 1 is the same arrangement up to a rotation and a scale, 0 as unrelated as chance. "
        "Square blocks along the diagonal are stretches of depth in which nothing is rearranged; "
        "a gap between blocks is a rearrangement. A blank row has no spread to compare: there all "
        "prompts' last tokens are the same."
    ),
    "procrustes": (
        "Rotate, mirror and scale the states of one depth so that they fit those of another as "
        "well as can be: this is the share of the spread that fits. It is stricter than the map "
        "above about distances, and fits something by chance where prompts are few beside the "
        "width of the model; the table geometry_maps beside this page holds what shuffled prompts "
        "give."
    ),
    "coupling": (
        "One point is one pair of prompts: to the right the states point apart, upwards the "
        "predictions differ. Move the slider: where the angle tells how alike two predictions are, "
        "the points rise from left to right. Predictions that are all but certain are either the "
        "same (0) or different (0.69 nats, the most there is), and then the points lie on two "
        "lines; prompts with graded answers fill the space between."
    ),
    "patch": (
        "Run the model on one prompt of a pair, but put in one state from the other. If the answer "
        "follows, that state decided it. Early on the input token's state decides; once the "
        "information has moved on, only the last token's does. The ends hold by construction: at "
        "the last depth the prediction position is all that the readout sees, and the input "
        "position is not read any more. What can be found out is what happens between."
    ),
    "locality": (
        "Put the attention output of one block, at the last token, from one run into the other: "
        "its local effect. Put in those of all blocks at once, and of all but one: what is then "
        "lost is what that block is needed for. Where one block could do it alone and nothing is "
        "lost without it, others do the same work again; where single effects add up to less than "
        "the whole, blocks work together. The dashed line is what the block writes straight into "
        "the readout; what lies between it and the local effect is made by later blocks."
    ),
    "ablation": (
        "A state is a direction times a length. Replace one and keep the other: which part brings "
        "the other run's answer along? 0 is the base run, 1 the source run. Judge against the "
        "dashed controls: a turn by the same angle in a random direction already disturbs the base "
        "run's answer, and that alone moves the logit difference."
    ),
    "dose": (
        "Each row is a depth. On the left the state is turned towards the source's direction, a "
        "little, half, all the way; the dashed line turns it as far in a random direction. On the "
        "right its length is multiplied, the direction kept. A flat line means that the model does "
        "not care; at the last depth the final norm divides every length out, so the line on the "
        "right must be flat there."
    ),
    "decoding": (
        "Linear readers are trained to tell a label from the length of a state alone, from its "
        "direction alone, or from both, and tested on prompts that they have not seen. Below the "
        "dashed line is what they reach with the labels shuffled. That something can be read does "
        "not mean that the model reads it: the panels above say what moves the prediction."
    ),
    "steering": (
        "Take the mean state of all prompts with one label, and of all with another: their "
        "difference leads from the one to the other. Added at the input token it should make the "
        "model read another input; added at the last token, give another answer. Early on only the "
        "first can work, late only the second: where the curves cross, control passes over. "
        "The means never include the prompts that are steered."
    ),
    "geometry": (
        "Take the last token's state of every prompt: a cloud of points at each depth. The upper "
        "panels say how long the states are, how far each block turns them and how much it adds. "
        "The mean cosine is near 1 where all states point the same way; standardised, no single "
        "coordinate can bring that about. Then how many dimensions the cloud fills: two counts "
        "from its spread, one from nearest neighbours. The rank correlations ask whether prompts "
        "at a larger angle (or with norms further apart) also have more different predictions. "
        "Intervals and tests go over prompts, as pairs that share a prompt are not independent."
    ),
}
"""How to read each figure, whatever it shows."""
