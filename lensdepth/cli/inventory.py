"""What there is to work with: bundled models, architectures, tasks."""

from pathlib import Path

from lensdepth.telling.plain import Json

CHECKED = {
    "Llama": "LlamaForCausalLM",
    "Mistral": "MistralForCausalLM",
    "Qwen 2": "Qwen2ForCausalLM",
    "Qwen 3": "Qwen3ForCausalLM",
    "Gemma 2": "Gemma2ForCausalLM",
    "Gemma 3": "Gemma3ForCausalLM",
    "GPT-2": "GPT2LMHeadModel",
    "GPT-NeoX": "GPTNeoXForCausalLM",
    "Phi-3": "Phi3ForCausalLM",
    "OLMo 2": "Olmo2ForCausalLM",
}
"""Architectures on which lensdepth's own tests compare every backend with Hugging Face."""
ABOUT = {
    "calendar": "trained by us on months, weekdays, names, facts and graded answers; the default",
    "tiny": "the same recipe, small enough for tests",
}


def bundled_models() -> list[Json]:
    """Name, size and design of each bundled model, read from its files alone."""
    from lensdepth.bundled import bundled_names, bundled_path

    return [_describe(name, bundled_path(name)) for name in bundled_names()]


def _describe(name: str, folder: Path) -> Json:
    from lensdepth.beside import read_object
    from lensdepth.bundled import checkpoint_steps
    from lensdepth.weight_files import count_numbers

    config = read_object(folder / "config.json", name)
    weights = folder / "model.safetensors"
    return {
        "name": name,
        "n_layers": config["num_hidden_layers"],
        "d_model": config["hidden_size"],
        "d_vocab": config["vocab_size"],
        "n_parameters": count_numbers(weights, name),
        "bytes": weights.stat().st_size,
        "architecture": config["architectures"][0],
        "about": ABOUT.get(name, ""),
        "checkpoints": list(checkpoint_steps(name)),
    }


def fetchable_models() -> list[Json]:
    """Name, size, licence and folder of each model that can be fetched from the package index."""
    from lensdepth.fetched import FETCHABLE, place_of_fetched

    found = []
    for name, model in FETCHABLE.items():
        place = place_of_fetched(name)
        found.append(
            {
                "name": name,
                "about": model.about,
                "licence": model.licence,
                "megabytes": model.megabytes,
                "folder": None if place is None else str(place),
            }
        )
    return found


def hub_models() -> list[Json]:
    """Name, revisions and size of each model that the Hugging Face hub's client keeps here."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        found = scan_cache_dir()
    except CacheNotFound:
        return []
    return [
        {
            "name": repo.repo_id,
            "revisions": sorted({*repo.refs} or {one.commit_hash for one in repo.revisions}),
            "folder": str(repo.repo_path),
            "bytes": repo.size_on_disk,
        }
        for repo in sorted(found.repos, key=lambda repo: repo.repo_id)
        if repo.repo_type == "model"
    ]


def architectures() -> Json:
    """Architectures by backend with the installed TransformerLens."""
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    from lensdepth.conversion import has_hooked_transformer

    causal = sorted(
        name
        for name in SUPPORTED_ARCHITECTURES
        if name.endswith(("ForCausalLM", "LMHeadModel")) and not name.startswith(("Bert", "T5"))
    )
    checked = sorted(CHECKED.values())
    return {
        "hooked": checked if has_hooked_transformer() else [],
        "bridge": [name for name in checked if name in causal],
        "bridge_unchecked": [name for name in causal if name not in checked],
    }


def tasks() -> list[Json]:
    """Name, example, forms and wordings of each built-in task."""
    from lensdepth.tasks import list_forms, list_tasks, list_templates

    return [
        {
            "name": name,
            "description": description,
            "forms": list(list_forms(name)),
            "templates": list(list_templates(name)),
        }
        for name, description in list_tasks().items()
    ]
