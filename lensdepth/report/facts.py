"""What a report was made of: model, task, settings, and what to know before the numbers."""

from lensdepth.analyses import ANALYSES
from lensdepth.lens.profile import LensProfile
from lensdepth.provenance import KEPT_PACKED
from lensdepth.report.measured import PENDING, STOPPED, Measured
from lensdepth.tasks.told import left_out, noun
from lensdepth.telling.numbers import counted, number


def facts(findings: Measured) -> list[tuple[str, str]]:
    """What was run and on what."""
    provenance, task = findings.lens.provenance, findings.task
    model = provenance.model
    return [
        (
            "Model",
            f"{model.name}: {model.architecture}, {model.n_layers} blocks, width {model.d_model}",
        ),
        ("Weights", f"{model.weights}, fingerprint {model.fingerprint}"),
        *([("Quantised", _unpacked(model.quantization))] if model.quantization else []),
        *([("From", model.origin)] if model.origin else []),
        ("Configuration", f"fingerprint {model.configuration}; tokenizer {model.tokenizer}"),
        ("Run by", f"{_backend(model.backend)}, {model.dtype} on {model.device}"),
        ("Task", f"{task.name}: {counted(len(task), noun(task))} of {task.n_drawn:,} drawn"),
        ("Left out", left_out(task) or "none"),
        *([] if findings.tuned is None else [_other_lens(findings.tuned)]),
        ("Seed", f"{findings.seed} (task {task.seed})"),
        ("Date", provenance.created.replace("T", " ").replace("+00:00", " UTC")),
    ]


def _other_lens(profile: LensProfile) -> tuple[str, str]:
    """Which lens stands beside the logit lens, and where it comes from."""
    made = profile.provenance.settings["translators"]
    source = made["settings"].get("source")
    read = f" from {source}" if source else ""
    return profile.name, f"{made['analysis']}{read}, {made['created']}, {made['fingerprint']}"


def _unpacked(quantization: str) -> str:
    unpacked = ", and unpacked" * (KEPT_PACKED not in quantization)
    return f"{quantization}{unpacked}: what is measured is the model as it was rounded"


def _backend(name: str) -> str:
    return {"hooked": "HookedTransformer", "bridge": "TransformerBridge"}[name]


def notices(findings: Measured) -> list[str]:
    """What a reader must know before the numbers."""
    notices = []
    for why, said in ((PENDING, "Still being measured"), (STOPPED, "Stopped before these")):
        titles = [one.title for one in ANALYSES if findings.absent.get(one.key) == why]
        if titles:
            notices.append(f"{said}: {', '.join(titles)}.")
    if findings.lens.provenance.model.weights == "processed":
        notices.append(
            "These weights are processed (norms folded in, or weights centred): the directions "
            "and norms below are those of the processed weights, not of the model as trained."
        )
    if not findings.task.has_pairs:
        notices.append(
            "The task has plain prompts without pairs, so nothing here is causal: there are "
            "only the lens and the geometry."
        )
    if len(findings.task) < 10:
        notices.append(
            f"There are only {counted(len(findings.task), 'prompt')} or pairs: intervals "
            f"from so few are rough."
            if len(findings.task) > 1
            else "There is only one prompt or pair: no interval can be given."
        )
    return notices


def settings(findings: Measured) -> list[dict[str, str]]:
    """How each analysis was called and how long it took."""
    results = {one.key: getattr(findings, one.key, None) for one in ANALYSES}
    return [
        {
            "analysis": result.provenance.analysis,
            "settings": ", ".join(
                f"{k} = {(' and '.join(map(str, v)) or 'none') if isinstance(v, list) else v}"
                for k, v in result.provenance.settings.items()
            ),
            "seed": str(result.provenance.seed),
            "seconds": number(findings.seconds.get(key, float("nan"))),
        }
        for key, result in results.items()
        if result is not None
    ]


def first_pairs(findings: Measured) -> list[tuple[str, ...]]:
    """The first few prompts, with their answers."""
    task = findings.task
    if task.corrupted is None or task.target is None or task.foil is None:
        return [(prompt,) for prompt in task.clean[:5]]
    return list(zip(task.clean, task.target, task.corrupted, task.foil, strict=True))[:5]
