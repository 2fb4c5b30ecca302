"""What was found about direction and norm: ablation, dose and response, decoding."""

import torch

from lensdepth.ablation import AblationProfile, DecodingProfile, DoseProfile
from lensdepth.arguments import checked
from lensdepth.prose.wording import at_depth, estimate, plain

WEAK = 0.2
"""A norm edit that changes norms by a smaller share is a weak test of what norms can do."""


def judged_index(profile: AblationProfile) -> int | None:
    """Where in `depths` the parts are compared: the deepest that is no identity."""
    usable = profile.judged()
    return usable[-1] if usable else None


@checked
def ablation_sentences(profile: AblationProfile) -> list[str]:
    """What each part moves at the deepest judged depth, against its control."""
    index = judged_index(profile)
    said = []
    if index is not None:
        said.append(ablation_verdict(profile))
        said += _controls(profile, index)
    identity = profile.identity_depth()
    if profile.positions[0] == "prediction" and profile.scopes[0] in ("suffix", "all"):
        said.append(
            "These edits also set the last state, from which the logits are read, so what the full "
            "and the direction edit do follows by construction; read the norm edit here."
        )
    if identity is not None and profile.positions[0] == "input":
        said.append(
            f"At depth {identity} the input position is not read any more, so no edit there does "
            f"anything: that depth is left out of the comparison."
        )
    elif identity is not None:
        kind = {"RMS": "RMSNorm", "LN": "LayerNorm"}.get(
            profile.provenance.model.normalization, profile.provenance.model.normalization
        )
        said.append(
            f"Under the final {kind} the norm cannot matter at depth {identity}: this is "
            f"arithmetic, not a finding (the norm edit changes the logit difference there by "
            f"{profile.identity_error():.0e} nats at most), and that depth is left out of the "
            f"comparison."
        )
    return said


@checked
def ablation_verdict(profile: AblationProfile) -> str:
    """One sentence: which part moves more of the logit difference, with the gap's interval."""
    index = judged_index(profile)
    if index is None:
        return "Direction and norm were compared at no depth before the final norm."
    moved = {
        edit: profile.of(edit, profile.transferred)[:, index]
        for edit in ("full", "direction", "norm")
    }
    full, direction, norm = (estimate(moved[edit]) for edit in ("full", "direction", "norm"))
    gap = estimate(moved["direction"] - moved["norm"])
    where = at_depth(int(profile.depths[index]), profile.n_layers)
    replaced = {
        "source": "replacing",
        "mean": "setting to the mean",
        "shuffled": "replacing by another pair's",
        "random": "replacing at random",
    }[profile.to]
    reach = {
        "local": f"At {where}",
        "suffix": f"From {where} on",
        "prefix": f"Up to {where}",
        "all": "At every depth",
    }[profile.scopes[0]]
    text = (
        f"{reach}, {replaced} only the direction moves {direction} of the logit difference, "
        f"{replaced} only the norm {norm}, the whole state {full}: "
    )
    if not gap.known:
        return text + "one pair alone gives no interval, so the parts cannot be compared."
    if full.known and full.high < 0.1:
        return text + "the whole state moves next to nothing, so its parts cannot be compared."
    if gap.low > 0:
        return text + f"the direction moves more, by {gap}."
    if gap.high < 0:
        return text + f"the norm moves more, by {estimate(moved['norm'] - moved['direction'])}."
    return text + f"which moves more cannot be told (difference {gap})."


def _controls(profile: AblationProfile, index: int) -> list[str]:
    """How the source's direction does beside a random one, and how far the norm edit goes."""
    said = []
    if "random_direction" in profile.edits:
        direction = profile.of("direction", profile.transferred)[:, index]
        random = profile.of("random_direction", profile.transferred)[:, index]
        lead = estimate(direction - random)
        text = f"A random direction at the same angle moves {estimate(random)}; "
        given = "the source's direction" if profile.to == "source" else "the direction put in"
        if lead.known and lead.low > 0:
            text += f"{given} beats this control by {lead}."
        elif lead.known:
            text += f"{given} does not beat this control ({lead})."
        else:
            text += "with one pair there is no interval of the difference."
        said.append(text)
    spread = (profile.norm_ratio[:, index, 0] - 1).abs().nanmedian().item()
    text = f"The norm edit changes the norm by {spread:.0%} there (median)"
    if spread < WEAK:
        text += ", which is little: a weak test of what norms can do"
    if "random_norm" in profile.edits:
        shuffled = estimate(profile.of("random_norm", profile.transferred)[:, index])
        text += f". Another pair's norm moves {shuffled}"
    said.append(text + ".")
    return said


@checked
def dose_sentences(profile: DoseProfile) -> list[str]:
    """How far a direction must turn, and what large changes of the norm do, where they may."""
    depths = profile.depths.tolist()
    at = [i for i, depth in enumerate(depths) if depth != profile.identity_depth]
    said = []
    if at and {"direction", "norm"} <= set(profile.parts):
        last = depths[at[-1]]
        doses, moved = profile.curve("direction", profile.transferred, last)
        means = moved.nanmean(0)
        reached = [i for i, mean in enumerate(means.tolist()) if mean >= 0.5]
        where = at_depth(last, profile.n_layers)
        if reached:
            to = reached[0]
            dose = float(doses[to])
            if to and float(doses[to - 1]) < dose:
                before, after = means[[to - 1, to]].tolist()
                back = (after - 0.5) / (after - before) * (dose - float(doses[to - 1]))
                dose -= back
            said.append(
                f"At {where}, about {dose:.0%} of the turn to the source moves half of the logit "
                f"difference."
            )
        else:
            said.append(f"At {where}, no dose of the turn moves half of the logit difference.")
        rows = [i for i, part in enumerate(profile.parts) if part == "norm"]
        mean = profile.kl[rows][:, :, at].nanmean(1)
        dose, depth = divmod(int(mean.nan_to_num(-1).argmax()), len(at))
        most = estimate(profile.kl[rows[dose], :, at[depth]])
        where = at_depth(depths[at[depth]], profile.n_layers)
        said.append(
            f"Scaling the norm changes the prediction most at {where}: {plain(most.mean)} nats "
            f"(KL) with the factor {profile.doses[rows[dose]]:g}. Whether the norm matters is a "
            f"matter of how much it is changed."
            if most.mean >= 0.1
            else f"No factor of the norm from "
            f"{profile.doses[rows].min():g} to {profile.doses[rows].max():g} changes the "
            f"prediction by more than {plain(most.mean)} nats (KL) at any depth before the last."
        )
    return said


@checked
def decoding_sentences(profile: DecodingProfile) -> list[str]:
    """What can be read off the norm, against permuted labels, and off the direction."""
    p = profile.p_holm
    norm = profile.parts.index("norm")
    told, untold = [], []
    for i, label in enumerate(profile.labels):
        if float(p[i, norm].min()) < 0.05:
            depth = int(torch.where(p[i, norm] < 0.05, profile.score[i, norm], -1e9).argmax())
            told.append(
                f"{label} ({plain(float(profile.score[i, norm, depth]))} against "
                f"{plain(float(profile.null_mean[i, norm, depth]))} by chance at depth "
                f"{int(profile.depths[depth])})"
            )
        else:
            untold.append(label)
    said = []
    if told:
        said.append(f"The norm alone tells more than chance of {'; '.join(told)}.")
    direction = p[:, profile.parts.index("direction")]
    nor = [one for one in untold if float(direction[profile.labels.index(one)].min()) >= 0.05]
    if nor:
        said.append(
            f"Of {', '.join(nor)} neither the norm nor the direction tells anything beyond chance."
        )
    if len(untold) > len(nor):
        rest = ", ".join(one for one in untold if one not in nor)
        said.append(f"Of {rest} the norm alone tells nothing beyond chance; the direction does.")
    ahead = [
        label
        for i, label in enumerate(profile.labels)
        if bool(((p[i, norm] < 0.05) & (profile.difference_low[i] > 0)).any())
    ]
    if ahead:
        said.append(f"At some depth the norm tells more than the direction of {', '.join(ahead)}.")
    elif told:
        said.append("Of nothing decoded does the norm tell more than the direction at any depth.")
    return said
