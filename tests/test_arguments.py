"""Arguments of the wrong kind: one readable line, from every public function, before any work."""

import copy
import gc
import importlib
import inspect
import pickle
import re
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_type_hints
from unittest.mock import MagicMock

import architectures
import numpy as np
import pandas as pd
import pytest
import results
import torch
from beartype import BeartypeConf
from beartype.door import is_bearable
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import lensdepth
from lensdepth import (
    DepthModel,
    PatchProfile,
    Task,
    ablation_sweep,
    dose_response,
    find_commitment,
    find_crossing,
    geometry_profile,
    intervene,
    load_model,
    load_task,
    logit_lens,
    pair_task,
    patch_sweep,
    steering_sweep,
)
from lensdepth.arguments import checked
from lensdepth.arguments.wording import MADE_BY
from lensdepth.claims.plan import plan_claims
from lensdepth.provenance import Backend
from lensdepth.sweep.result import SweepResult
from lensdepth.tasks import answered_rightly

LONGEST = 300
TOWER = BeartypeConf(is_pep484_tower=True)
"""A whole number is a number."""
ROOMS = (
    "ablation circuit claims geometry intervention lens locality patching replay report "
    "steering tasks transition"
)
"""Modules whose public functions are a user's too."""


def public_functions() -> Iterator[Callable[..., Any]]:
    """Every function that a user may call: public ones, those of the rooms, and methods."""
    things = [getattr(lensdepth, name) for name in lensdepth.__all__]
    for room in ROOMS.split():
        module = importlib.import_module(f"lensdepth.{room}")
        names = getattr(module, "__all__", [n for n in vars(module) if n.endswith("_summary")])
        things += [getattr(module, name) for name in names]
    things.append(SweepResult)  # whose methods many results have
    seen: set[int] = set()
    for thing in things:
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if inspect.isclass(thing):
            members = [(name, m) for name, m in vars(thing).items() if not name.startswith("_")]
            plain = [m.__func__ if isinstance(m, classmethod) else m for _, m in members]
            yield from (m for m in plain if inspect.isfunction(m) and parameters(m))
        elif inspect.isfunction(thing) and parameters(thing):
            yield thing


INTERNAL = {"DepthModel.adopt", "DepthModel.token_text", "DepthModel.warn_once", "SiteEdit.of"}
"""Take anything, or are called by the library alone, in loops."""


def is_rest(function: Callable[..., Any], name: str) -> bool:
    one = inspect.signature(function).parameters[name]
    return one.kind is one.VAR_POSITIONAL


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """Name and annotation of each parameter that has one."""
    space = inspect.unwrap(function).__globals__
    found = {}
    for name, one in inspect.signature(function).parameters.items():
        if one.annotation is not one.empty and name not in ("self", "cls"):
            holder = types.SimpleNamespace(__annotations__={name: one.annotation})
            try:
                found[name] = get_type_hints(holder, globalns=space)[name]
            except NameError:
                found[name] = Any
    return found


class Stranger:
    """Prints a thousand characters of itself."""

    def __repr__(self) -> str:
        return "stranger\n" * 200


def hugging_face() -> Any:
    """Looks like a Hugging Face model: known by the name of a class it comes from."""
    base = type("PreTrainedModel", (torch.nn.Linear,), {})
    return type("LlamaForCausalLM", (base,), {})(2, 2)


WRONG: dict[str, Callable[[], Any]] = {
    "a stranger": Stranger,
    "a class": lambda: Task,
    "a mock": MagicMock,
    "a table": lambda: pd.DataFrame({"clean": ["a"]}),
    "a generator": lambda: (n for n in (1, 2)),
    "a mapping": lambda: {1: Stranger()},
    "nested lists": lambda: [[[Stranger()]]],
    "a list of strangers": lambda: [Stranger()],
    "objects": lambda: np.array([Stranger()], dtype=object),
    "a complex number": lambda: 1j,
    "a tensor of four axes": lambda: torch.zeros(1, 1, 1, 1),
    "bytes": lambda: b"months",
    "nothing": lambda: None,
    "text": lambda: "line\nbreak" * 40,
    "a number": lambda: 3,
    "a fraction": lambda: 1.5,
    "truth": lambda: True,
    "a Hugging Face model": hugging_face,
}
FUNCTIONS = [f for f in public_functions() if f.__qualname__ not in INTERNAL]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__qualname__)
def test_every_public_function_refuses_what_its_annotations_do(
    function: Callable[..., Any],
) -> None:
    # beartype says independently what fits. Nothing else is given: arguments that are needed are
    # missing too, so that nothing runs where a wrong one is not refused.
    called = function.__qualname__.removesuffix(".__init__")
    for name, kind in parameters(function).items():
        for what, make in WRONG.items():
            wrong = make()
            text_among_names = isinstance(wrong, str) and "Sequence[str" in str(kind)
            if kind is Any or is_bearable(wrong, kind, conf=TOWER) or text_among_names:
                continue
            with pytest.raises((TypeError, ValueError)) as caught:
                function(wrong) if is_rest(function, name) else function(**{name: wrong})
            line = str(caught.value)
            assert line.startswith(f"{called}: {name} must be "), f"{what}: {line}"
            assert "\n" not in line, what
            assert len(line) < LONGEST, f"{what}: {line}"
            assert "stranger" not in line


def line_of(function: Callable[..., Any], *args: Any, **options: Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args, **options)
    return str(caught.value)


def test_what_came_what_was_needed_and_what_to_do(trained: DepthModel, capitals: Task) -> None:
    assert line_of(patch_sweep, trained, "months") == (
        "patch_sweep: task must be a Task, got the str 'months'; load_task('months', model) "
        "makes one."
    )
    assert line_of(patch_sweep, "gpt2", capitals) == (
        "patch_sweep: model must be a DepthModel, got the str 'gpt2'; load_model('gpt2') makes one."
    )
    assert line_of(patch_sweep, capitals, trained) == (
        "patch_sweep: model must be a DepthModel, got a Task; model and task are swapped: "
        "patch_sweep(model, task)."
    )
    assert line_of(load_task, trained, "months").endswith("load_task(name_or_path, model).")
    assert line_of(patch_sweep, DepthModel, capitals).startswith(
        "patch_sweep: model must be a DepthModel, got the class DepthModel, not one of its"
    )
    assert line_of(patch_sweep, trained, capitals, depths=[1, 1.5]) == (
        "patch_sweep: depths must be a list of whole numbers, 'auto' or 'all' or None, got a list "
        "that holds the float 1.5."
    )
    assert line_of(patch_sweep, trained, capitals, depths=3).endswith("; put it into a list.")
    assert line_of(patch_sweep, trained, capitals, mode="back") == (
        "patch_sweep: mode must be one of denoise, noise, got 'back'."
    )
    assert line_of(ablation_sweep, trained, capitals, scopes=["local", "here"]) == (
        "ablation_sweep: scopes must be some of local, suffix, prefix, all, got 'here'."
    )
    assert line_of(patch_sweep, trained, capitals, positions={"a": 3}).endswith(
        "got a dict that holds the int 3."
    )
    assert line_of(logit_lens, trained, torch.zeros(2, 3)).endswith(
        "got a Tensor [2, 3] of float32; load_task('months', model) makes one."
    )
    assert line_of(load_model, trained.model).endswith("; DepthModel(model) wraps it.")


@pytest.mark.parametrize("seed", [-1, 2**32, 10**5000], ids=["negative", "large", "huge"])
def test_a_seed_that_nothing_can_use_is_refused(trained: DepthModel, seed: int) -> None:
    line = line_of(geometry_profile, trained, "Two months from May is", seed=seed)
    assert line.startswith("geometry_profile: seed must be at ")
    assert len(line) < LONGEST
    assert "batch_size must be at least 1, got 0" in line_of(trained.logits, "a", batch_size=0)


def test_a_commitment_of_another_profile_says_what_is_needed() -> None:
    assert line_of(find_commitment, results.patch()) == (
        "find_commitment: profile must be a LensProfile or a tensor [unit, depth], got a "
        "PatchProfile; logit_lens(model, task) makes one."
    )


def test_every_kind_that_functions_ask_for_has_a_call_that_makes_it() -> None:
    public = {name for name in lensdepth.__all__ if inspect.isclass(getattr(lensdepth, name))}
    # Any of four, and Transition has one; an edit is written down, not made by a call.
    located = {"ChangePoint", "Commitment", "Crossing", "SiteEdit"}
    kinds = [kind for function in FUNCTIONS for kind in parameters(function).values()]
    asked = {one.__name__ for kind in kinds for one in named_in(kind)} & public
    assert {"DepthModel", "Task", "LensProfile", "TunedLens"} <= asked
    own = {name: vars(getattr(lensdepth, name)).get("MADE_BY") for name in asked}
    calls = {name: MADE_BY.get(name) or own[name] for name in asked - located}
    assert all(calls.values())
    for call in calls.values():
        name = re.split(r"\W", call.removeprefix("model."))[0]
        assert hasattr(lensdepth, name) or hasattr(DepthModel, name)


def named_in(kind: Any) -> Iterator[type]:
    """The classes that an annotation speaks of."""
    if isinstance(kind, type) and not hasattr(kind, "array_type"):
        yield kind
    for part in getattr(kind, "__args__", ()):
        yield from named_in(part)


@checked
def taken(
    *,
    n: int | None = None,
    share: float = 0.0,
    flag: bool = False,
    depths: Sequence[int] | None = None,
    names: Sequence[str] = (),
    pair: tuple[int, int] | None = None,
    curve: Float[Tensor, "unit depth"] | None = None,
    tokens: Int[Tensor, "batch pos"] | Sequence[Sequence[int]] | None = None,
    mode: Literal["a", "b"] = "a",
    rest: Any = None,
) -> dict[str, Any]:
    """What arrives."""
    return dict(locals())


@pytest.mark.parametrize(
    ("name", "value", "arrives"),
    [
        ("n", np.int64(3), 3),
        ("n", torch.tensor(3), 3),
        ("share", 1, 1.0),
        ("share", np.float32(0.5), 0.5),
        ("flag", np.bool_(True), True),
        ("depths", range(3), range(3)),
        ("depths", (1, 2), (1, 2)),
        ("depths", np.array([1, 2]), [1, 2]),
        ("depths", torch.tensor([1, 2]), [1, 2]),
        ("depths", [np.int32(4)], [4]),
        ("depths", {3}, [3]),
        ("names", pd.Series(["x", "y"]), ["x", "y"]),
        ("names", np.array(["x"]), ["x"]),
        ("pair", [1, 2], (1, 2)),
        ("tokens", [torch.tensor([1, 2]), [3]], [[1, 2], [3]]),
        ("tokens", np.array([[1, 2]]), torch.tensor([[1, 2]])),
        ("curve", np.array([[True, False]]), torch.tensor([[1.0, 0.0]])),
        ("curve", torch.tensor([[1, 0]]), torch.tensor([[1.0, 0.0]])),
        ("mode", "b", "b"),
        ("names", {"x": 1}.keys(), ["x"]),
        ("names", {1: "x"}.values(), ["x"]),
        ("rest", NotImplemented, NotImplemented),
    ],
)
def test_what_means_the_same_is_taken(name: str, value: Any, arrives: Any) -> None:
    found = taken(**{name: value})[name]
    assert type(found) is type(arrives)
    if isinstance(arrives, Tensor):
        torch.testing.assert_close(found, arrives)
    else:
        assert found == arrives


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", True), ("n", 1.0), ("n", "1"), ("share", True), ("share", "1"), ("flag", 1),
        ("depths", "12"), ("depths", [True]), ("depths", iter([1])), ("depths", {1: 2}),
        ("depths", np.array([0.5])), ("depths", np.array(3)), ("names", "ab"), ("names", b"ab"),
        ("pair", [1]), ("pair", [1, 2, 3]), ("curve", torch.zeros(3)), ("curve", [[1.0]]),
        ("curve", torch.zeros(1, 1, dtype=torch.complex64)), ("tokens", torch.zeros(1, 2)),
        ("tokens", [1, 2]), ("mode", 3), ("mode", ["a"]), ("mode", None), ("mode", "c"),
    ],
)  # fmt: skip
def test_what_means_something_else_is_not(name: str, value: Any) -> None:
    assert line_of(taken, **{name: value}).startswith(f"taken: {name} must be ")


def test_python_itself_refuses_what_does_not_fit_the_signature(trained: DepthModel) -> None:
    assert "argument" in line_of(taken, 1)
    assert "argument" in line_of(taken, unknown=1)
    assert "argument" in line_of(patch_sweep, trained)


def test_a_checked_function_is_still_itself() -> None:
    assert pickle.loads(pickle.dumps(patch_sweep)) is patch_sweep  # noqa: S301
    assert "Edit one site at a time" in (patch_sweep.__doc__ or "")
    assert next(iter(inspect.signature(patch_sweep).parameters)) == "model"
    assert isinstance(inspect.getattr_static(PatchProfile, "load"), classmethod)


def test_a_transformer_lens_model_gives_the_numbers_of_its_wrapper(tiny_llama: DepthModel) -> None:
    bare: Any = tiny_llama.model
    prompts = ["Two months from May is", "One", "One day"]
    wrapped, found = logit_lens(tiny_llama, prompts), logit_lens(bare, prompts)
    assert torch.equal(found.kl, wrapped.kl)
    assert torch.equal(found.top_tokens, wrapped.top_tokens)
    assert found.provenance.model.backend == tiny_llama.backend
    states = geometry_profile(bare, prompts, n_resamples=2)
    assert torch.equal(states.norm, geometry_profile(tiny_llama, prompts, n_resamples=2).norm)


def test_a_task_is_made_and_patched_with_a_bare_model(trained: DepthModel) -> None:
    bare: Any = trained.model
    task = load_task("capitals", bare, n=3)
    assert task.clean == load_task("capitals", trained, n=3).clean
    pair = pair_task(task.clean[0], task.clean[1], bare)
    assert pair.target == pair_task(task.clean[0], task.clean[1], trained).target
    found = patch_sweep(bare, task, depths=[1, 2])
    assert torch.equal(found.values, patch_sweep(trained, task, depths=[1, 2]).values)


def copied(model: DepthModel) -> Any:
    """A TransformerLens model of the same weights that nobody has wrapped."""
    return copy.deepcopy(model.model)


def test_a_model_is_wrapped_once_and_anew_when_it_changed(trained: DepthModel) -> None:
    model = copied(trained)
    first = DepthModel.adopt(model)
    assert first is not None
    assert first.model is model
    assert DepthModel.adopt(model) is first
    twin = copy.deepcopy(model)
    other = DepthModel.adopt(twin)
    assert other is not None
    assert other.model is twin
    before = first.info.fingerprint
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    again = DepthModel.adopt(model)
    assert again is not None
    assert again.info.fingerprint != before
    assert DepthModel.adopt(first) is DepthModel.adopt(torch.nn.Linear(1, 1)) is None


def test_two_threads_get_one_wrapper(trained: DepthModel) -> None:
    model = copied(trained)
    start, found = threading.Barrier(8), []

    def adopt() -> None:
        start.wait()
        found.append(DepthModel.adopt(model))

    threads = [threading.Thread(target=adopt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(one) for one in found}) == 1


def test_a_wrapper_is_freed_with_its_model(trained: DepthModel) -> None:
    model = copied(trained)
    wrapper = DepthModel.adopt(model)
    assert wrapper is not None
    gone = weakref.ref(wrapper)
    del model, wrapper
    gc.collect()
    assert gone() is None


def test_a_hugging_face_model_is_told_how_to_be_loaded(tmp_path: Path, backend: Backend) -> None:
    folder = architectures.build("llama", tmp_path / "llama")
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    said = "save it and its tokenizer, both by save_pretrained(folder), and take load_model(folder)"
    for call in (load_model, DepthModel, lambda model: logit_lens(model, "a")):
        line = line_of(call, theirs)
        assert said in line
        assert len(line) < LONGEST
    theirs.save_pretrained(tmp_path / "mine")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "mine")
    mine = load_model(tmp_path / "mine", backend=backend)
    assert mine.info.fingerprint == load_model(folder, backend=backend).info.fingerprint


@pytest.mark.parametrize("make", [results.patch, results.steering])
@pytest.mark.parametrize("beside", [["depths"], ["second"], ["second", "depths"]])
def test_a_profile_has_its_own_curves_and_depths(
    make: Callable[[], Any], beside: list[str]
) -> None:
    curve = torch.zeros(results.N, results.N_LAYERS + 1)
    options: dict[str, Any] = {"depths": [*range(results.N_LAYERS + 1)], "second": curve}
    line = line_of(find_crossing, make(), **{name: options[name] for name in beside})
    assert f"leave out {' and '.join(beside)}" in line
    assert find_crossing(make()).verdict == "crossing"


@pytest.mark.parametrize("depths", [[0], [0, 1, 1], [2, 1, 0], [0, 1, 2, 3], [0, 1, float("nan")]])
def test_depths_of_curves_fit_them(depths: list[float]) -> None:
    line = line_of(find_crossing, torch.rand(4, 3), torch.rand(4, 3), depths=depths)
    assert line.startswith("find_crossing: depths must increase, one for each of the 3 columns")


def test_halves_are_depths_too() -> None:
    """The second curve overtakes the first half way between 0.25 and 0.75."""
    first = torch.tensor([[1.0, 0.8, 0.2, 0.0]] * 3)
    found = find_crossing(first, 1 - first, depths=[0.0, 0.25, 0.75, 1.0])
    assert found.depth == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, t: ablation_sweep(m, t, reference=t), "reference goes with to='mean'"),
        (lambda m, t: dose_response(m, t, reference=t), "coordinates='centred'"),
        (
            lambda m, t: intervene(m, t.clean[0], t.corrupted[0], depth=1, reference=t),
            "'full' takes nothing from a reference",
        ),
        (
            lambda m, t: intervene(
                m, t.clean[0], t.corrupted[0], depth=1, window=(0, 1), scopes=["local"]
            ),
            "the scope 'window'",
        ),
        (
            lambda m, t: steering_sweep(m, t, positions=["input"], output_label="group"),
            "'group' is of the prediction position",
        ),
        (
            lambda m, t: patch_sweep(m, t, method="attribution", also=("kl",)),
            "leave out also=('kl',)",
        ),
        (
            lambda m, t: patch_sweep(m, t, method="attribution", controls=("random_site",)),
            "leave out controls=('random_site',)",
        ),
    ],
)
def test_an_option_that_would_be_dropped_is_refused(
    trained: DepthModel, capitals: Task, call: Callable[..., Any], said: str
) -> None:
    assert said in line_of(call, trained, capitals)


def test_wrong_names_list_the_right_ones(trained: DepthModel) -> None:
    lens = results.lens()
    assert "token 99 does not occur" in line_of(lens.text, 99)
    assert "prompt must lie between 0 and 29, got 30" in line_of(lens.plot_top, 30)
    ablation = results.ablation()
    assert "scope 'nope' was not made; there are local" in line_of(
        ablation.identity_depth, scope="nope"
    )
    assert "there are local" in line_of(ablation.plot, scope="")
    found = intervene(trained, "The capital of Chile is", depth=1, edit="scale")
    assert "token 99999 is neither" in line_of(found.text, 99999)
    plain = load_task("graded", trained, n=4)
    assert "plain prompts alone" in line_of(answered_rightly, plain, trained)
    assert "plain prompts alone" in line_of(plan_claims, trained, plain)


def test_rows_that_a_task_lacks(capitals: Task) -> None:
    for rows, said in [
        ([0, 99], "there is no row 99; 'capitals' has rows 0...11"),
        (np.array([0.5]), "got float64 of shape [1]"),
        (np.zeros((1, 2), dtype=int), "got int64 of shape [1, 2]"),
    ]:
        with pytest.raises(IndexError) as caught:
            capitals.select(rows)
        assert said in str(caught.value)
    assert capitals.select(-1).clean == capitals.clean[-1:]
    assert capitals.select(np.array([1, 0])).clean == capitals.clean[1::-1]


def test_several_positions_a_prompt_are_lists_too(trained: DepthModel) -> None:
    prompts = ["Two months from May is", "The capital of Chile is"]
    places = [[0, -1], [1, 2]]
    found = trained.residual_stream(prompts, places).resid
    assert torch.equal(found, trained.residual_stream(prompts, torch.tensor(places)).resid)
    assert "as many indices" in line_of(trained.residual_stream, prompts, [[0], [1, 2]])
