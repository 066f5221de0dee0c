"""The estimator's parameters, checked together: one error lists every fault with its remedy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from longtail.errors import ParameterError
from longtail.estimator.inputs import MOST, MOST_ROWS, is_whole
from longtail.features import FeatureKind
from longtail.inference import RefineMethod, RefineSettings
from longtail.model.likelihoods import LIKELIHOODS, Exposure, resolve_exposure
from longtail.training import TrainingConfig
from longtail.training.schedules import RefineSchedule, steps_at

__all__ = [
    "check_parameters",
    "check_same_network",
    "continuing_config",
    "fit_parameters",
    "plain",
    "refine_schedule",
    "training_config",
]


Check = Callable[[Any], Any]

# M of the schedule "auto", while the KL weight rises and afterwards.
_STEPS, _STEPS_LATER = 6, 2
# Enough that the best epoch is judged by the model and not by where the encoder starts.
_VALID_STEPS = 20

_MOST_LAYERS = 100


def _whole(low: int, high: int = MOST) -> tuple[Check, str]:
    return (
        lambda v: is_whole(v, low, high),
        f"a whole number ≥ {low} and ≤ {high:,}",
    )


def _real(
    low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> tuple[Check, str]:
    def ok(v: Any) -> Any:
        if not isinstance(v, int | float | np.integer | np.floating) or isinstance(v, bool):
            return False
        return (low < v if open_low else low <= v) and (v < high if open_high else v <= high)

    text = f"a number {'>' if open_low else '≥'} {low:g}"
    return ok, f"{text} and {'<' if open_high else '≤'} {high:g}"


def _one_of(*values: str) -> tuple[Check, str]:
    return lambda v: isinstance(v, str) and v in values, "one of " + ", ".join(map(repr, values))


def _whole_or(*words: str, high: int = MOST) -> tuple[Check, str]:
    ok, text = _whole(1, high)
    return (
        lambda v: v in words if isinstance(v, str) else ok(v),
        f"{text} or " + " or ".join(map(repr, words)),
    )


def _optional(check: tuple[Check, str]) -> tuple[Check, str]:
    return lambda v: v is None or check[0](v), check[1] + ", or None"


def _is_schedule(v: Any) -> bool:
    try:
        refine_schedule(v)
    except (TypeError, ValueError):
        return False
    return True


def _is_seed(v: Any) -> bool:
    return isinstance(v, int | np.integer) and not isinstance(v, bool) and 0 <= int(v) < 2**32


_CHECKS: dict[str, tuple[Check, str]] = {
    "n_components": _whole(1),
    "likelihood": _one_of(*LIKELIHOODS),
    "exposure": _one_of("auto", *get_args(Exposure)),
    "features": _one_of(*get_args(FeatureKind)),
    "n_hidden": _whole(1),
    "encoder_layers": _whole(1, _MOST_LAYERS),
    "decoder_layers": _whole(0, _MOST_LAYERS),
    "skip": (lambda v: isinstance(v, bool | np.bool_), "True or False"),
    "epochs": _whole(1),
    "batch_size": _whole(1, MOST_ROWS),
    "learning_rate": _real(0, 1, open_low=True),
    "lr_schedule": _one_of("cosine", "constant"),
    "weight_decay": _real(0, MOST),
    "output_epsilon": _real(0, MOST, open_low=True),
    "feature_dropout": _real(0, 1, open_high=True),
    "kl_weight": _real(0, MOST),
    "kl_anneal": _real(0, 1),
    "refine_steps": (
        _is_schedule,
        "a whole number ≥ 0, pairs (first epoch, steps) with rising epochs from 0 on, or 'auto'",
    ),
    "refine_method": _one_of(*get_args(RefineMethod)),
    "importance_samples": _whole_or("auto"),
    "refine_features": _whole_or("auto", "all", high=MOST_ROWS),
    "theta_features": _whole_or("auto", "all", high=MOST_ROWS),
    "eval_refine_steps": _whole(0),
    "eval_samples": _whole(1),
    "validation_fraction": _real(0, 1, open_high=True),
    "patience": _optional(_whole(1, MOST_ROWS)),
    "counts": _one_of("fractional", "strict"),
    "device": (lambda v: isinstance(v, str), "a device name such as 'auto', 'cpu' or 'cuda'"),
    "random_state": (
        lambda v: v is None or isinstance(v, np.random.RandomState) or _is_seed(v),
        "a whole number from 0 to 2**32 - 1, a RandomState, or None",
    ),
    "verbose": (lambda v: isinstance(v, bool | int | np.integer | np.bool_), "0 or 1"),
}


# They say how rows are read, scored and shown: in a fitted model, too, `set_params` changes them.
_NOT_OF_THE_FIT = frozenset(
    {"batch_size", "counts", "device", "eval_refine_steps", "eval_samples", "verbose"}
    | {"random_state"}  # the seed drawn from it is kept instead
)
# They say what network and likelihood there is, which an update goes on with.
_NETWORK = (
    *("n_components", "likelihood", "exposure", "features"),
    *("n_hidden", "encoder_layers", "decoder_layers", "skip"),
)


def fit_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that describe a fit and stay what they were, ready for JSON."""
    return {k: plain(v) for k, v in parameters.items() if k not in _NOT_OF_THE_FIT}


def plain(value: Any) -> Any:
    """A parameter's value without types of NumPy; a schedule as a list of lists."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(v) for v in value]
    return value


def check_same_network(fitted: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """Check that no parameter of the network has been changed since the fit.

    Raises
    ------
    ParameterError
        With a line for each that has.
    """
    changed = [name for name in _NETWORK if plain(present[name]) != fitted[name]]
    if changed:
        back = ", ".join(f"{name}={fitted[name]!r}" for name in changed)
        raise ParameterError(
            "\n".join(
                [
                    "partial_fit goes on with the network of the fit, but these parameters have "
                    "been changed since:",
                    *(f"  {n} was {fitted[n]!r}, and is {present[n]!r}" for n in changed),
                    f"Set them back with set_params({back}), or fit a new model with fit.",
                ]
            )
        )


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check all parameters at once.

    Raises
    ------
    ParameterError
        With a line for every parameter out of range.
    """
    faults = [
        f"  {name} must be {wanted}; got {parameters[name]!r}"
        for name, (ok, wanted) in _CHECKS.items()
        if not ok(parameters[name])
    ]
    if faults:
        raise ParameterError("\n".join(["These parameters cannot be used:", *faults]))
    resolve_exposure(parameters["likelihood"], parameters["exposure"])


def refine_schedule(steps: Any, *, annealing_epochs: int = 0) -> RefineSchedule:
    """The schedule that `refine_steps` stands for: pairs (first epoch, M).

    Parameters
    ----------
    steps
        A number, pairs, or "auto": many while the KL weight rises and few afterwards. What
        refinement does while the KL weight is low is what lasts; later it is mostly cost.
    annealing_epochs
        Epochs in which the KL weight rises.

    Raises
    ------
    ValueError, TypeError
        If it is neither a whole number ≥ 0 nor such pairs.
    """
    pairs: tuple[tuple[int, int], ...]
    if isinstance(steps, int | np.integer) and not isinstance(steps, bool):
        pairs = ((0, int(steps)),)
    elif isinstance(steps, str):
        if steps != "auto":
            raise TypeError("text")
        later = ((annealing_epochs, _STEPS_LATER),) if annealing_epochs else ()
        pairs = ((0, _STEPS), *later)
    else:
        pairs = tuple((e, m) for e, m in steps)
        if isinstance(steps, bytes | Mapping | set):
            raise TypeError("no pairs")
    epochs = [e for e, _ in pairs]
    whole = all(is_whole(number, 0, MOST) for pair in pairs for number in pair)
    if not pairs or not whole or epochs != sorted(set(epochs)):
        raise ValueError(steps)
    return tuple((int(e), int(m)) for e, m in pairs)


def training_config(parameters: Mapping[str, Any], seed: int) -> TrainingConfig:
    """What the training loop needs of the checked parameters."""
    p = parameters
    samples = p["importance_samples"]
    annealing_epochs = math.ceil(p["kl_anneal"] * p["epochs"])
    return TrainingConfig(
        epochs=int(p["epochs"]),
        batch_size=int(p["batch_size"]),
        learning_rate=float(p["learning_rate"]),
        lr_schedule=p["lr_schedule"],
        weight_decay=float(p["weight_decay"]),
        output_epsilon=float(p["output_epsilon"]),
        feature_dropout=float(p["feature_dropout"]),
        kl_weight=float(p["kl_weight"]),
        kl_anneal=float(p["kl_anneal"]),
        refine_schedule=refine_schedule(p["refine_steps"], annealing_epochs=annealing_epochs),
        refine_method=p["refine_method"],
        importance_samples="auto" if samples == "auto" else int(samples),
        valid_refine=RefineSettings(
            min(_VALID_STEPS, int(p["eval_refine_steps"])), p["refine_method"]
        ),
        patience=p["patience"],
        seed=seed,
    )


def continuing_config(
    parameters: Mapping[str, Any], seed: int, *, epochs: int, learning_rate: float
) -> TrainingConfig:
    """How a fitted model goes on: as in the last epochs of its fit, from a warmed-up optimiser.

    The KL has its full weight from the first update on (annealing again would let go of what the
    posteriors have learnt to say), and rows are refined as at the end of the schedule.
    """
    fit = training_config(parameters, seed)
    last = steps_at(fit.epochs - 1, fit.refine_schedule)
    return replace(
        fit,
        epochs=epochs,
        learning_rate=learning_rate,
        lr_schedule="warmup",
        kl_anneal=0.0,
        refine_schedule=((0, last),),
    )
