"""A fitted estimator as an archive, and back."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from longtail.archive import Archive, read_archive, require_same
from longtail.data import Vocabulary
from longtail.data.files import as_path
from longtail.data.settings import ReadSettings
from longtail.data.vocabulary import LINE_LABEL
from longtail.errors import ArchiveError, LongtailError, ParameterError
from longtail.estimator.exposures import GIVEN, typical_size
from longtail.estimator.network import build_network, resolve_device
from longtail.estimator.parameters import check_parameters, plain
from longtail.estimator.running import RunningCounts
from longtail.features import FeatureTransform
from longtail.ops.ambient import neutral_torch
from longtail.training import History

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["check_opens", "from_archive", "load", "saved_parameters", "to_archive"]

_KIND = "NonlinearFactorAnalysis"
# What parts raise that do not fit together.
_UNFIT = (KeyError, TypeError, ValueError, AttributeError, RuntimeError, LongtailError)


@neutral_torch()
def load(path: str | Path) -> NonlinearFactorAnalysis:
    """Open a saved model. No code in it is executed.

    Parameters
    ----------
    path
        The folder that `save` wrote.

    Raises
    ------
    ArchiveError
        If it is not a saved model, is damaged, altered, or of a newer format.
    """
    path = as_path(path)
    return from_archive(read_archive(path), path)


def saved_parameters(model: NonlinearFactorAnalysis) -> dict[str, Any]:
    """Parameters of the fit as they were, with its seed, and those of scoring as they are."""
    present = {k: plain(v) for k, v in model.get_params(deep=False).items()}
    return present | model.parameters_ | {"random_state": model.seed_}


def to_archive(model: NonlinearFactorAnalysis) -> Archive:
    """Everything that `from_archive` needs to make the same estimator.

    Raises
    ------
    ParameterError
        If a parameter of scoring is out of range.
    """
    parameters = saved_parameters(model)
    check_parameters(parameters)
    tensors = {f"model.{k}": v.cpu().numpy() for k, v in model.network_.state_dict().items()}
    tensors["unigram"] = model.unigram_
    if model.transform_.idf is not None:
        tensors["features.idf"] = model.transform_.idf
    running = model.running_
    if running is not None:
        tensors |= running.tensors()
    config = {
        "kind": _KIND,
        "library_version": version("longtail"),
        "parameters": parameters,
        "fit": model.fit_info_,
        "n_features": model.n_features_in_,
        "named_features": model.vocabulary_.named,
        "running": None if running is None else running.facts(),
        "read": None if model.read_settings_ is None else model.read_settings_.to_dict(),
    }
    vocabulary = model.vocabulary_
    return Archive(
        config=config,
        tensors=tensors,
        vocabulary=list(vocabulary.names),
        history=model.history_.to_list(),
        card=_card(model),
        descriptions=dict(vocabulary.descriptions),
    )


def check_opens(written: Archive, archive: Archive) -> None:
    """Check that a model can be made of what was written, and is the one that was to be saved.

    Raises
    ------
    ArchiveError
        If not.
    """
    here, there = (_on_cpu(a) for a in (archive, written))
    try:
        again = to_archive(_opened(there))
    except _UNFIT as error:
        raise ArchiveError(str(error)) from error
    require_same(here, again)


def _on_cpu(archive: Archive) -> Archive:
    """The same, to be opened without filling a GPU twice."""
    parameters = archive.config["parameters"] | {"device": "cpu"}
    return replace(archive, config=archive.config | {"parameters": parameters})


def from_archive(archive: Archive, path: Path) -> NonlinearFactorAnalysis:
    """Make the estimator that an archive describes; `path` is for messages."""
    try:
        return _opened(archive)
    except _UNFIT as error:
        raise ArchiveError(
            f"{path} does not describe a model that can be opened: {error}. "
            "The files are not those that were saved together; save or copy the model again."
        ) from error


def _opened(archive: Archive) -> NonlinearFactorAnalysis:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

    config = archive.config
    if config["kind"] != _KIND:
        raise ValueError(f"kind is {config['kind']!r}")
    model = NonlinearFactorAnalysis(**_current(config))
    _settle_device(model)
    model.check_parameters()
    vocabulary = Vocabulary.saved(archive.vocabulary, archive.descriptions)
    if not config["named_features"]:
        vocabulary = Vocabulary.positional(len(vocabulary))
    read = None if config["read"] is None else ReadSettings.from_dict(config["read"])
    _restore(model, archive, vocabulary, read)
    return model


def _current(config: dict[str, Any]) -> dict[str, Any]:
    """The parameters under their present names."""
    parameters = dict(config["parameters"])
    if config["format_version"] == 1:
        # The step size of a local optimiser that format 2 no longer has.
        parameters.pop("refine_learning_rate")
    # What there was before these were parameters.
    parameters.setdefault("importance_samples", 1)
    parameters.setdefault("output_epsilon", 1e-8)
    parameters.setdefault("kl_weight", 1.0)
    parameters.setdefault("exposure", "auto")
    return parameters


def _settle_device(model: NonlinearFactorAnalysis) -> None:
    """Let a model that was fitted on a device which is not here open all the same."""
    if isinstance(model.device, str):
        try:
            resolve_device(model.device)
        except ParameterError:
            model.set_params(device="auto")


def _restore(
    model: NonlinearFactorAnalysis,
    archive: Archive,
    vocabulary: Vocabulary,
    read: ReadSettings | None,
) -> None:
    tensors = archive.tensors
    unigram, idf = tensors["unigram"], tensors.get("features.idf")
    n_features = len(vocabulary)
    if unigram.shape != (n_features,) or archive.config["n_features"] != n_features:
        raise ValueError(
            f"{n_features} features in the vocabulary, {archive.config['n_features']} in the "
            f"configuration, {unigram.shape} training frequencies"
        )
    if idf is not None and idf.shape != (n_features,):
        raise ValueError(f"{idf.shape} inverse document frequencies of {n_features} features")
    # On no device: the sizes come from a file, and are checked before memory is given to them.
    with torch.device("meta"):
        network = build_network(
            model.get_params(deep=False), unigram, input_scale=1.0, mean_total=1.0, seed=0
        )
    saved = {
        k[len("model.") :]: torch.tensor(v) for k, v in tensors.items() if k.startswith("model.")
    }
    running = RunningCounts.from_saved(archive.config.get("running"), tensors, n_features)
    info = archive.config["fit"]
    has_exposures = running is not None and running.exposure is not None
    if model.exposure == GIVEN and not (has_exposures and "median_exposure" in info):
        raise ValueError("exposure='given', but nothing is saved of the rows' exposures")
    _check_shapes(network.state_dict(), saved)
    network.load_state_dict(saved, assign=True)
    model.set_fitted(
        network=network,
        vocabulary=vocabulary,
        transform=FeatureTransform(model.features, idf),
        unigram=unigram,
        history=History.from_list(archive.history),
        read_settings=read,
        fit_info=info,
        seed=int(archive.config["parameters"]["random_state"]),
        running=running,
    )


def _check_shapes(expected: dict[str, torch.Tensor], saved: dict[str, torch.Tensor]) -> None:
    if expected.keys() != saved.keys():
        odd = ", ".join(sorted(expected.keys() ^ saved.keys()))
        raise ValueError(f"the weights and the parameters disagree on the tensors {odd}")
    for name, value in expected.items():
        if value.shape != saved[name].shape or value.dtype != saved[name].dtype:
            raise ValueError(
                f"the tensor {name} should be {value.dtype} of shape {tuple(value.shape)}, and is "
                f"{saved[name].dtype} of shape {tuple(saved[name].shape)}"
            )


def _card(model: NonlinearFactorAnalysis) -> str:
    """A model card: what this is, from what it was made, how it scored."""
    info: dict[str, Any] = model.fit_info_
    last = model.history_[info["best_epoch"] - 1] if len(model.history_) else None
    label = model.vocabulary_.label
    names = ", ".join(f"`{label(n, LINE_LABEL)}`" for n in model.vocabulary_.names[:12])
    lines = [
        "# Model card",
        "",
        f"A deep generative model of sparse counts, fitted with longtail {version('longtail')}.",
        "",
        "## Data",
        f"- {info['train_rows']:,} training rows ({info['dropped_rows']:,} empty rows left out), "
        f"{info['valid_rows']:,} validation rows",
        f"- {model.n_features_in_:,} features: {names} …",
        f"- {info['train_tokens']:,.0f} training tokens" + _exposure(model),
        "",
        "## Fit",
        f"- {info['stopped']}; parameters of epoch {info['best_epoch']}",
    ]
    if last is not None and last.valid_nats_per_row is not None:
        bound = f"{last.valid_nats_per_row:.1f} nats a row"
        if last.valid_per_doc_refined is not None:
            bound = f"perplexity {last.valid_per_doc_refined:.1f} per document"
        lines += [
            f"- validation rows, ELBO at ψ*: {bound}",
            f"- latent dimensions in use (mean KL > 0.05 nats): {last.active_kl} "
            f"of {model.parameters_['n_components']}",
        ]
    lines += _updates(info.get("updates", []))
    lines += ["", "## Parameters", "```"]
    lines += [f"{k} = {v!r}" for k, v in sorted(saved_parameters(model).items())]
    lines += ["```", "", "Open it with `longtail.load(folder)` or `longtail info folder`.", ""]
    return "\n".join(lines)


def _exposure(model: NonlinearFactorAnalysis) -> str:
    """How they compare with the exposures that are given, if any."""
    running = model.running_
    if running is None or running.exposure is None:
        return ""
    typical = typical_size(model)
    return f", {running.rate:,.4g} per unit of exposure (median of a row: {typical:,.4g})"


def _updates(updates: list[dict[str, Any]]) -> list[str]:
    """What came after the first fit, a line each."""
    lines = ["", "## Updates"] if updates else []
    for update in updates:
        line = f"- {update['rows']:,} rows, {update['added']['features']:,} new features"
        change = update["new_rows"]
        if change is not None:
            line += f"; held-out new rows {change['before']:.1f} → {change['after']:.1f} nats a row"
        lines.append(line)
    return lines
