"""From parameters to an unfitted network."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from longtail.data import CountMatrix
from longtail.errors import ParameterError
from longtail.estimator.running import RunningCounts
from longtail.features import FeatureTransform
from longtail.inference import Encoder, HybridModel
from longtail.model import (
    Decoder,
    DirichletMultinomial,
    GenerativeModel,
    NegativeBinomial,
    StandardNormal,
    get_likelihood,
)
from longtail.model.likelihoods import marginal_log_concentration, marginal_log_dispersion
from longtail.ops import FeatureSampler

__all__ = [
    "build_network",
    "check_dtypes",
    "check_memory",
    "feature_sample_size",
    "feature_sampler",
    "network_for",
    "resolve_device",
    "typical_norm",
    "unigram_frequencies",
]

# Where features are drawn by default, and how many.
_SAMPLE_FROM, _LEAST_SAMPLE, _SAMPLED_SHARE = 5_000, 1_000, 20

# Buffers in double precision: a rate, and what features are drawn by.
_DOUBLE = ("rate", "inclusion", "cumulated")


def build_network(
    parameters: Mapping[str, Any],
    unigram: npt.NDArray[np.float64],
    *,
    input_scale: float,
    mean_total: float,
    seed: int,
    log_dispersion: npt.NDArray[np.float64] | None = None,
    log_concentration: float = 0.0,
) -> HybridModel:
    """Make the network that the parameters describe, its weights drawn under the seed.

    Parameters
    ----------
    unigram
        Training frequencies of the features, (V,).
    input_scale
        Typical norm of what the encoder reads.
    mean_total
        Mean total count of a training row; per unit of exposure, where exposures are given.
    log_dispersion
        Of a negative binomial that ignores z, (V,); zeros if not given.
    log_concentration
        Of a Dirichlet-multinomial that ignores z.
    """
    start = np.zeros(len(unigram)) if log_dispersion is None else log_dispersion
    likelihood = get_likelihood(
        parameters["likelihood"],
        exposure=parameters["exposure"],
        log_dispersion=torch.from_numpy(start.astype(np.float32)),
        log_concentration=torch.tensor([log_concentration], dtype=torch.float32),
        rate=mean_total,
    )
    n_features, k = len(unigram), int(parameters["n_components"])
    generator = torch.Generator().manual_seed(seed)
    # torch's layers first draw weights of their own, from the generator of the user's code.
    with torch.random.fork_rng(devices=[]):
        decoder = Decoder(
            k,
            n_features,
            n_layers=int(parameters["decoder_layers"]),
            n_hidden=int(parameters["n_hidden"]),
            skip=bool(parameters["skip"]),
            bias=likelihood.baseline(torch.from_numpy(unigram), mean_total).float(),
            generator=generator,
        )
        encoder = Encoder(
            n_features,
            k,
            n_layers=int(parameters["encoder_layers"]),
            n_hidden=int(parameters["n_hidden"]),
            input_scale=input_scale,
            generator=generator,
        )
    return HybridModel(
        GenerativeModel(StandardNormal(), decoder, likelihood),
        encoder,
        feature_sampler(unigram, parameters["refine_features"]),
        feature_sampler(unigram, parameters["theta_features"]),
    )


def network_for(
    parameters: Mapping[str, Any],
    train: CountMatrix,
    unigram: npt.NDArray[np.float64],
    transform: FeatureTransform,
    *,
    seed: int,
) -> HybridModel:
    """The network to fit to these rows: see `build_network`."""
    check_memory(parameters, train.n_features)
    mean_total, sizes = float(train.totals.mean()), train.totals
    if train.exposure is not None:
        mean_total = float(train.totals.sum() / train.exposure.sum())
        sizes = train.exposure * mean_total
    log_dispersion = None
    if parameters["likelihood"] == NegativeBinomial.name:
        log_dispersion = marginal_log_dispersion(train.csr, unigram, sizes)
    log_concentration = 0.0
    if parameters["likelihood"] == DirichletMultinomial.name:
        log_concentration = marginal_log_concentration(train.csr, unigram)
    return build_network(
        parameters,
        unigram,
        input_scale=typical_norm(transform.apply(train.csr)),
        mean_total=mean_total,
        seed=seed,
        log_dispersion=log_dispersion,
        log_concentration=log_concentration,
    )


def feature_sampler(unigram: npt.NDArray[np.float64], features: int | str) -> FeatureSampler | None:
    """What draws so many features, or "auto"; None where "all" take part."""
    size = feature_sample_size(len(unigram), features)
    return FeatureSampler(torch.from_numpy(unigram), size) if size < len(unigram) else None


def feature_sample_size(n_features: int, features: int | str) -> int:
    """How many of V features take part where so many, "auto" or "all" are asked for."""
    if features == "auto":
        # Sampling has costs of its own: with fewer features than this it does not pay.
        n = max(_LEAST_SAMPLE, n_features // _SAMPLED_SHARE)
        features = n if n_features >= _SAMPLE_FROM else "all"
    return n_features if features == "all" else min(int(features), n_features)


def unigram_frequencies(csr: csr_array) -> npt.NDArray[np.float64]:
    """Training-set frequencies of the features, (V,), smoothed by half a count each."""
    return RunningCounts.of(csr).unigram()


def typical_norm(features: csr_array) -> float:
    """Root mean square of the rows' Euclidean norms."""
    return float(np.sqrt(np.square(features.data, dtype=np.float64).sum() / features.shape[0]))


def check_dtypes(network: HybridModel) -> None:
    """Check that the tensors of a network have the types that they were made with.

    Raises
    ------
    ParameterError
        If it has been cast, as by `network.half()`.
    """
    named = chain(network.named_parameters(), network.named_buffers())
    for name, tensor in named:
        made = torch.float64 if name.rpartition(".")[2] in _DOUBLE else torch.float32
        if tensor.dtype != made:
            raise ParameterError(
                f"network_ has been cast: {name} is {tensor.dtype}, and should be {made}. Models "
                "compute in single precision. A cast loses digits for good: open the saved model "
                "again with longtail.load(folder), or fit again."
            )


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" takes a GPU when there is one.

    Raises
    ------
    ParameterError
        If there is no such device, or it cannot compute.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the names that torch no longer uses
            device = torch.device(name)
        torch.ones(1, device=device).item()  # the device "meta" allocates, but has no values
    except (RuntimeError, AssertionError, ImportError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0].split(". ")[0][:80]
        raise ParameterError(
            f"device {name!r} is not available here ({reason}). Use 'auto' or 'cpu'."
        ) from error
    return device


def check_memory(parameters: Mapping[str, Any], n_features: int) -> None:
    """Refuse a network that this machine cannot hold while it is trained.

    Raises
    ------
    ParameterError
        If weights, gradients and Adam's two moments need more than all of the memory.
    """
    needed = 4 * 4 * _n_weights(parameters, n_features)  # four float32 tensors of each shape
    if needed > (available := _memory()):
        sizes = ("n_components", "n_hidden", "encoder_layers", "decoder_layers")
        raise ParameterError(
            f"A network with {', '.join(f'{s}={parameters[s]}' for s in sizes)} and "
            f"{n_features:,} features needs {needed / 1e9:,.1f} GB to be trained, and this "
            f"machine has {available / 1e9:,.1f} GB. Lower n_hidden or n_components, or read "
            "fewer features."
        )


def _n_weights(parameters: Mapping[str, Any], n_features: int) -> int:
    """Entries of the weight matrices, which outnumber all other parameters."""
    k, h = int(parameters["n_components"]), int(parameters["n_hidden"])
    n_encoder, n_decoder = int(parameters["encoder_layers"]), int(parameters["decoder_layers"])
    encoder = n_features * h + (n_encoder - 1) * h * h + 2 * h * k
    if n_decoder == 0:
        return encoder + n_features * k
    return encoder + k * h + (n_decoder - 1) * h * h + n_features * h


def _memory() -> float:
    """Bytes of this machine's memory; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return math.inf
