"""What a written text says of its depths: curves, summary and sentences."""

from typing import TYPE_CHECKING

import numpy as np

from lensdepth.continuation.profile import BASE, EDITED
from lensdepth.edits import CONTROL
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import of_depths
from lensdepth.telling.names import edit_name
from lensdepth.telling.numbers import counted, listed, number, percent
from lensdepth.telling.plain import Json, to_json
from lensdepth.telling.tokens import signed

if TYPE_CHECKING:
    from lensdepth.continuation.profile import GenerationProfile

ROLES = {BASE: "lens", EDITED: "prediction", EDITED + CONTROL: "control"}


def run_name(profile: "GenerationProfile", run: str) -> str:
    """A run as figures and sentences call it."""
    if run.endswith(CONTROL):
        return edit_name("random")
    return f"{edit_name(profile.edit)} held on" if run == EDITED and profile.edit else run


def curves(profile: "GenerationProfile") -> list[Curve]:
    """By depth: the share of each run's tokens that are settled, and the means of entropy and
    divergence. The tokens of one text go together, so that there are no bands."""
    found = []
    depths = np.arange(profile.n_layers + 1)
    for run in profile.runs:
        i, n = profile.index(run), len(profile.str_tokens(run))
        if not n:
            continue
        settled = profile.settled[i, :n].numpy()
        rows = (
            ("settled", "settled", "share", (settled[:, None] <= depths).mean(0)),
            ("entropy", "entropy", "nats", profile.entropy[i, :, :n].mean(1).numpy()),
            ("kl", "KL(final ‖ lens)", "nats", profile.kl[i, :, :n].mean(1).numpy()),
        )
        found += [
            Curve.from_interval(
                f"{run_name(profile, run)}: {name}",
                values,
                key=f"{run.replace(' ', '_')}_{key}",
                role=ROLES[run],
                unit=unit,
                control=run.endswith(CONTROL),
            )
            for key, name, unit, values in rows
        ]
    return found


def summary(profile: "GenerationProfile") -> Json:
    """What each run wrote, where each token is settled, and what the edit changed."""
    base = profile.index(BASE)
    n_base = len(profile.str_tokens(BASE))
    runs = {}
    for i, run in enumerate(profile.runs):
        n = len(profile.str_tokens(run))
        settled = profile.settled[i, :n]
        known = settled[~settled.isnan()]
        runs[run] = {
            "text": profile.texts[i],
            "tokens": profile.str_tokens(run),
            "settled": settled.tolist(),
            "median_settled": float(known.median()) if len(known) else None,
            "log_prob": profile.log_prob[i, -1, :n].tolist(),
            "rank": profile.rank[i, -1, :n].tolist(),
            "entropy": profile.entropy[i, -1, :n].tolist(),
            "forced_kl": profile.forced_kl[i, :n_base].tolist(),
        }
    patched = profile.settled_by_patching
    return to_json(
        {
            "runs": runs,
            "n_tokens": n_base,
            "edit": profile.edit,
            "first_difference": profile.first_difference,
            "counterfactual": profile.counterfactual,
            "settled_by_patching": None if patched is None else patched.tolist(),
            "unsettled": int(profile.settled[base, :n_base].isnan().sum()),
        }
    )


def sentences(profile: "GenerationProfile") -> list[str]:
    """Where tokens are settled, and from which on the edited text is another."""
    n_layers = profile.n_layers
    said = []
    for run in (BASE, EDITED):
        if run not in profile.runs or not (n := len(profile.str_tokens(run))):
            continue
        settled = profile.settled[profile.index(run), :n]
        known = settled[~settled.isnan()]
        whose = "The text" if run == BASE else "The edited text"
        text = f"{whose} has {counted(n, 'token')}"
        if not len(known):
            said.append(f"{text}; none is the model's own first choice.")
            continue
        at_end = float((known == n_layers).float().mean())
        text += (
            f"; half of those that are the model's first choice are the lens's by "
            f"{of_depths(float(known.median()), n_layers)} or before, and stay so"
        )
        if at_end:
            text += f"; {percent(at_end)} are so at depth {n_layers} alone, by construction"
        drawn = n - len(known)
        if drawn:
            text += f"; {counted(drawn, 'token')} drawn against the first choice, settled nowhere"
        said.append(f"{text}.")
    said.append(
        "The tokens of one text go together: these numbers are of this text, and have no interval."
    )
    return said[:-1] + _patched(profile) + _changed(profile) + said[-1:]


def _patched(profile: "GenerationProfile") -> list[str]:
    """Where the base's tokens are settled by patching, beside where the lens has them."""
    patched = profile.settled_by_patching
    if patched is None:
        return []
    known = patched[~patched.isnan()]
    where = f"Behind {signed(profile.counterfactual or '')} and the same text"
    if not len(known):
        return [
            f"{where} each of these tokens comes first by itself, so that patching shows nothing."
        ]
    at_end = int((known == profile.n_layers).sum())
    median = of_depths(float(known.median()), profile.n_layers)
    text = f"{where} {counted(len(known), 'token')} of {len(patched):,} "
    if len(known) == 1:
        text += "does not come first by itself; put in there, the last token's state brings it "
        text += f"along from {median} on"
    else:
        text += "do not come first by themselves; put in there, the last token's state brings half "
        text += f"of them along by {median} or before"
    if at_end:
        text += f", {at_end:,} at depth {profile.n_layers} alone, by construction"
    lens = profile.settled[profile.index(BASE), : len(patched)][~patched.isnan()]
    parts = [
        ("before the lens settles on the token", int((known < lens).sum())),
        ("at the depth at which the lens settles on it", int((known == lens).sum())),
        ("after the lens has settled on it", int((known > lens).sum())),
    ]
    apart = [words if len(known) == 1 else f"{words} for {n:,}" for words, n in parts if n]
    return [f"{text}: {listed(apart)}."]


def _changed(profile: "GenerationProfile") -> list[str]:
    """What the edit did to the text."""
    if EDITED not in profile.runs:
        return []
    base, edited = (profile.str_tokens(run) for run in (BASE, EDITED))
    first = profile.first_difference
    kl = profile.forced_kl[profile.index(EDITED), : len(base)]
    most = int(kl.argmax())
    if first is None:
        said = "With the edit held on the model writes the same text"
    else:
        ends = [signed(text[first]) if first < len(text) else "its end" for text in (base, edited)]
        said = f"With the edit held on the text is another from token {first} on: {ends[0]} → "
        said += ends[1]
    said += (
        f". Along the base's own tokens KL(base ‖ edited) is {number(float(kl.mean()))} nats on "
        f"average, and {number(float(kl[most]))} at most (token {most}, {signed(base[most])})"
    )
    if profile.control is not None:
        turned = profile.forced_kl[profile.index(profile.control), : len(base)]
        said += f"; states turned as far at random give {number(float(turned.mean()))} on average"
    return [f"{said}."]
