"""The analyses: what each is called, what it asks, how to read it, and where it is told.

Report, command line and explorer go through this table, so that they say the same of a result;
`load` opens any saved one. An analysis is a row here and a module `told` in its own room.
"""

from lensdepth.analysis import Analysis

ANALYSES = (
    Analysis(
        key="lens",
        name="lens",
        title="Logit lens",
        question="What would the model answer if it stopped here?",
        note=(
            "What would the model answer if it stopped here? The state at each depth goes through "
            "the model's own final norm and unembedding. Kullback-Leibler divergence (in nats) "
            "says how far that answer is from the final one. At the last depth it is zero for "
            "every model, because there the lens is the model. A high value earlier need not mean "
            "that the answer is absent: it may be written in a form that the readout does not yet "
            "read, or unrelated tokens may outshine it. Of pairs the contrast is read besides: how "
            "much likelier than the foil the target is because the prompt is the clean one and not "
            "the corrupted one. It is 0 where the lens reads the same from both, and 1 where each "
            "has its own answer."
        ),
        result="lensdepth.lens.profile:LensProfile",
        told="lensdepth.lens.told",
        switches=("lens",),
    ),
    Analysis(
        key="patch",
        name="patch",
        title="Patching",
        question="Which token's state decides the answer, the input's or the last one's?",
        note=(
            "Run the model on one prompt of a pair, but put in one state from the other. If the "
            "answer follows, that state decided it. Early on the input token's state decides; once "
            "the information has moved on, only the last token's does. The ends hold by "
            "construction: at the last depth the prediction position is all that the readout sees, "
            "and an input position that is another one is not read any more. What can be found out "
            "is what happens between."
        ),
        result="lensdepth.patching.profile:PatchProfile",
        told="lensdepth.patching.told",
        switches=("patching",),
    ),
    Analysis(
        key="steering",
        name="steer",
        title="Steering",
        question="Does it take another input or another answer to change the prediction?",
        note=(
            "Take the mean state of all prompts with one label, and of all with another: their "
            "difference leads from the one to the other. Added at the input token it should make "
            "the model read another input; added at the last token, give another answer. Early on "
            "only the first can work, late only the second: where the curves cross, control passes "
            "over. The means never include the prompts that are steered. At the last depth an "
            "input token that is another one is not read any more, and what is added to the last "
            "token goes straight into the readout: there the curves end as they must."
        ),
        result="lensdepth.steering.profile:SteeringProfile",
        told="lensdepth.steering.told",
        switches=(
            "steering",
            "sustained",
        ),
    ),
    Analysis(
        key="locality",
        name="locality",
        title="Local against global",
        question="Does one block's attention do it, or do many together?",
        note=(
            "Put the attention output of one block, at the last token, from one run into the "
            "other: its local effect. Put in those of all blocks at once, and of all but one: what "
            "is then lost is what that block is needed for. Where one block could do it alone and "
            "nothing is lost without it, others do the same work again; where single effects add "
            "up to less than the whole, they do more together than one by one. All of them at once "
            "are the source run itself, by construction, where both prompts end in the same token. "
            "The dashed line is what the block writes straight into the readout; what lies between "
            "it and the local effect is made by what comes after it and by the final norm."
        ),
        result="lensdepth.locality.profile:LocalityProfile",
        told="lensdepth.locality.told",
    ),
    Analysis(
        key="ablation",
        name="ablate",
        title="Direction against norm",
        question="Which part of the last token's state carries the answer?",
        note=(
            "A state is a direction times a length. Replace one and keep the other: which part "
            "brings the other run's answer along? 0 is the base run, 1 the source run. Judge "
            "against the dashed controls: a turn by the same angle in a random direction already "
            "disturbs the base run's answer, and that alone moves the logit difference. Flat by "
            "construction: all edits at depth 0 where both prompts end in the same token, whose "
            "states are the same, and the norm at the last depth, marked with a ring."
        ),
        result="lensdepth.ablation.profile:AblationProfile",
        told="lensdepth.ablation.told",
    ),
    Analysis(
        key="dose",
        name="dose",
        title="Dose and response",
        question="How far must a state turn, or its norm change, to move the prediction?",
        note=(
            "Each row is a depth. On the left the state is turned towards the source's direction, "
            "a little, half, all the way; the dashed line turns it as far in a random direction. "
            "On the right its length is multiplied, the direction kept. A flat line means that "
            "this change, made here, does not move one answer towards the other. Two are flat by "
            "construction: at depth 0 where both prompts end in the same token, for there is "
            "nothing to turn, and on the right at the last depth, for the final norm divides every "
            "length out."
        ),
        result="lensdepth.ablation.dose_profile:DoseProfile",
        told="lensdepth.ablation.dose_told",
        by_depth=False,
    ),
    Analysis(
        key="decoding",
        name="decoding",
        title="What norm and direction carry",
        question=(
            "What can be read off the last token's state, off its norm alone and off its direction "
            "alone?"
        ),
        note=(
            "Linear readers are trained to tell a label from the length of a state alone, from its "
            "direction alone, or from both, and tested on prompts that they have not seen. Below "
            "the dashed line is what they reach with the labels shuffled. That something can be "
            "read does not mean that the model reads it: the panels above say what moves the "
            "prediction. Nor is what cannot be read not there: the readers are linear, and see few "
            "prompts. At depth 0 nothing can be read where all prompts end in the same token, by "
            "construction."
        ),
        result="lensdepth.ablation.decoded:DecodingProfile",
        told="lensdepth.ablation.decoding_told",
    ),
    Analysis(
        key="geometry",
        name="geometry",
        title="Geometry",
        question="How do the states of different prompts lie to one another?",
        note=(
            "Take the last token's state of every prompt: a cloud of points at each depth. The "
            "upper panels say how long the states are, how far each block turns them and how much "
            "it adds. The mean cosine is near 1 where all states point the same way; centred or "
            "standardised it lies near 0 everywhere, by construction, for such states add up to "
            "nothing. Then how many dimensions the cloud fills: two counts from its spread, one "
            "from nearest neighbours. The rank correlations ask "
            "whether prompts at a larger angle (or with norms further apart) also have more "
            "different predictions. Intervals go over units, and tests exchange whole units, as "
            "pairs that share a prompt or a word are not independent. By construction, too, the "
            "turn that is left to the last depth ends at 0, and each depth is wholly like itself."
        ),
        result="lensdepth.geometry.profile:GeometryProfile",
        told="lensdepth.geometry.told",
    ),
    Analysis(
        key="claims",
        name="claims",
        title="The study's claims, tested here",
        question=(
            "Does what Haim & McNamee (arXiv 2602.04931, versions of February and May 2026) found "
            "in large models hold in this one, on these prompts?"
        ),
        note=(
            "A claim is several statements with a number each. A dot is the number found, its bar "
            "the 95% interval over what is independent, the upright stroke the threshold that was "
            "set before. A claim is supported where every one of its dots lies clearly beyond its "
            "stroke, and contradicted where one lies clearly short of it. What untrained models "
            "of the same architecture show as well is no finding of this one. Depths were chosen "
            "on other prompts than those tested, and the last depth takes no part, for there the "
            "final norm settles the matter."
        ),
        result="lensdepth.claims.result:ClaimTable",
        told="lensdepth.claims.told",
        by_depth=False,
    ),
    Analysis(
        key="mistakes",
        name="mistakes",
        title="Right and wrong answers",
        question="Do wrong answers form at other depths than right ones?",
        note=(
            "Every answer is the model's own first choice, right or wrong. From which depth on "
            "does it stand? Each curve is the share of one kind that stands by a depth. Right and "
            "wrong are then dealt out anew within words and templates: only a gap between the "
            "curves that such deals do not make says that wrong answers form elsewhere."
        ),
        result="lensdepth.mistakes.profile:MistakeProfile",
        told="lensdepth.mistakes.told",
        by_depth=False,
    ),
    Analysis(
        key="attribution",
        name="attribute",
        title="Direct logit attribution",
        question="What does each part of the model add to the answer?",
        result="lensdepth.circuit.attribution_profile:AttributionProfile",
        told="lensdepth.circuit.attribution_told",
        by_depth=False,
    ),
    Analysis(
        key="circuit",
        name="circuit",
        title="Circuit",
        question="Is a set of heads and MLPs enough?",
        result="lensdepth.circuit.result:CircuitResult",
        told="lensdepth.circuit.told",
        by_depth=False,
    ),
    Analysis(
        key="graph",
        name="graph",
        title="Circuit as a graph",
        question="Which heads and MLPs matter at which token, and what goes from one to another?",
        result="lensdepth.circuit.graph:CircuitGraph",
        told="lensdepth.circuit.graph_told",
        by_depth=False,
    ),
    Analysis(
        key="generation",
        name="write",
        title="Watch it write",
        question="Where in its depth is each token of a text decided?",
        note=(
            "The model writes, and each token has a column: what the lens would have said at "
            "every depth at the moment at which it was written. The line is the depth from which "
            "on the lens's first choice is that token and stays so; at the last depth the lens is "
            "the model, so that nothing is settled later. With an edit held on the model writes "
            "once more. Where the two texts part, what comes after differs also because it reads "
            "another text; so the base's own tokens are put before the edited model as well, and "
            "the divergence of its predictions is that of the edit alone. The dashed line turns "
            "each state as far in a random direction."
        ),
        result="lensdepth.continuation.profile:GenerationProfile",
        told="lensdepth.continuation.told",
    ),
    Analysis(
        key="continuation_dose",
        name="write-dose",
        title="Dose and response of a text",
        question="How strong must an edit be that is held on before the model writes another text?",
        note=(
            "Above, how far the predictions move along the base's own tokens, which all runs are "
            "given; below, the first token in which the text that is written differs from the "
            "base's, a ring above where it does not. The dashed lines turn each state as far as "
            "the edit does at that strength, in random directions: where they do as much, any "
            "turn does."
        ),
        result="lensdepth.continuation.dose_profile:ContinuationDose",
        told="lensdepth.continuation.dose_told",
        by_depth=False,
    ),
    Analysis(
        key="vector_response",
        name="steer-apply",
        title="A vector applied",
        question="What does a saved vector do to the answers, more than random turns as far?",
        note=(
            "The vector is held on in one run of every pair. Above, in how many the first choice "
            "changes, and in how many the other prompt's answer then comes first; below, how far "
            "the prediction moves. The dashed lines turn each state as far in random directions, "
            "other ones for every pair: where they do as much, any turn does."
        ),
        result="lensdepth.applied.profile:VectorResponse",
        told="lensdepth.applied.told",
        by_depth=False,
    ),
    Analysis(
        key="subspaces",
        name="subspaces",
        title="Subspaces",
        question="How many dimensions of the last token's state carry the answer?",
        note=(
            "One line for each number of dimensions: how much of the answer comes along where the "
            "source's part within so many is put in and the rest left. The bases were made from "
            "other pairs than those that they are judged on. A random subspace of as many "
            "dimensions, and one in which the state moves as far, say what any exchange would do."
        ),
        result="lensdepth.subspaces.profile:SubspaceProfile",
        told="lensdepth.subspaces.told",
    ),
    Analysis(
        key="confidence",
        name="confidence",
        title="What the norm decides",
        question="Does the length of the last token's state say how sure the model is?",
        note=(
            "The last token's state is made longer or shorter at one depth, its direction kept. "
            "The dashed lines move it as far, but turn it in a random direction. Where entropy "
            "follows the factor and first choices stay, and turns do not do the same, the norm "
            "tells how sure the model is; where more first choices change than under turns, it "
            "decides; where turns do as much, any move of that length does it. At the last depth a "
            "norm does nothing by construction, for the final norm divides every length out, and "
            "depth 0 is the token's own embedding."
        ),
        result="lensdepth.confidence.profile:ConfidenceProfile",
        told="lensdepth.confidence.told",
    ),
    Analysis(
        key="landmarks",
        name="landmarks",
        title="Landmarks beside the switch",
        question="Does geometry change before, at or after the depth where control passes?",
        note=(
            "Each panel is a curve that is said to mark where a model turns from its context to "
            "its prediction: the dimension of the cloud of prompts, curvature, the sharpest turn, "
            "what the lens reads, what the unembedding looks at. The strip is where control "
            "passes, by patching of the same pairs. A landmark is the lowest or the highest place, "
            "if it is no end of the curve and stands out from one that is flat, or half of a rise. "
            "Both places are found in the same halves of the words, so that their difference has "
            "an interval of its own; two places within a depth are one."
        ),
        result="lensdepth.landmarks.profile:Landmarks",
        told="lensdepth.landmarks.told",
    ),
    Analysis(
        key="choice",
        name="choice",
        title="Which depths together",
        question="With so many places to edit, which set of them moves the prediction most?",
        note=(
            "Each row is a set of places that are edited at once: of one place, of two, and so on, "
            "chosen in one of three ways. Greedy choice takes each for what it adds to those "
            "before. Chosen and judged were different pairs. Where a set does no more than its "
            "first place, that one does it all; where several places do it each alone and none is "
            "missed, they are redundant. Random sets of as many, and the chosen one with another "
            "pair's source, say what any exchange would do."
        ),
        result="lensdepth.locality.choice_profile:DepthChoice",
        told="lensdepth.locality.choice_told",
    ),
    Analysis(
        key="pair_table",
        name="pairs",
        title="Pair by pair",
        question="Which pairs are unlike the others?",
        result="lensdepth.pairs.table:PairTable",
        told="lensdepth.pairs.told",
        by_depth=False,
    ),
    Analysis(
        key="compare",
        name="compare",
        title="Two models, where they part",
        question="Which component of one model is the first that does something else?",
        note=(
            "Two checkpoints, precisions, backends or quantisations of one architecture read the "
            "same prompts. What lies apart at a depth is what the block before it adds of its own "
            "(the one model's block on the other's state) and what it carries over of differences "
            "that were there before; the two lengths need not add up, for they may point apart. "
            "Below, one write, or the state of one depth, is taken from the other run: a "
            "prediction that becomes the other's hung on it. At depth 0 it is the embedding, and "
            "at the last depth the whole state before the readout: what follows there is the "
            "readout's alone, by construction. Distances below the floor are noise."
        ),
        result="lensdepth.parting.profile:RunComparison",
        told="lensdepth.parting.told",
    ),
    Analysis(
        key="dynamics",
        name="dynamics",
        title="When in training",
        question="When in training does the switch appear, and does it move?",
        note=(
            "One dot a checkpoint, over the training step: the relative depth at which control "
            "passes from the input to the last token, with its interval over units. A checkpoint "
            "that does not answer the pairs yet, or in which control passes at no one place, has "
            "no dot; a cross at the foot says why. Neighbouring checkpoints are alike, since each "
            "comes from the one before, so that any path looks cut in two: a jump is called one "
            "only where a path that wanders is seldom so sudden."
        ),
        result="lensdepth.dynamics.profile:TrainingDynamics",
        told="lensdepth.dynamics.told",
        by_depth=False,
    ),
)
"""In the order of the page; a report has those that `report.measured` names."""


def analysis(key: str) -> Analysis:
    """The analysis of that key or name.

    Raises:
        KeyError: there is none.
    """
    for one in ANALYSES:
        if key in (one.key, one.name):
            return one
    raise KeyError(f"there is no analysis {key!r}; there are {', '.join(a.key for a in ANALYSES)}.")
