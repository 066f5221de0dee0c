"""A vocabulary that grows: which new features are taken in, and where their parameters start.

Every feature v has a row W_v and a bias b_v in the output layer, a row in the encoder's first
layer, and with the negative binomial a dispersion. Those of a new one are chosen so that nothing
changes for rows without it but the normaliser:

* its encoder row is 0, so no posterior ψ(x) moves;
* W_v is the mean of the W_u of the features u in whose company it came, weighed by tf-idf, so that
  it begins where its companions are likely;
* b_v makes its expected count, over rows like the new ones, what it was there;
* its dispersion is the likeliest of a model that ignores z, as at the start of a fit.

None is drawn at random: features that come in another order get the same parameters.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from longtail.data import CountMatrix, Vocabulary
from longtail.data.settings import ReadSettings
from longtail.estimator.network import feature_sampler
from longtail.estimator.running import SMOOTHING, RunningCounts
from longtail.features import FeatureTransform
from longtail.inference import HybridModel
from longtail.model import NegativeBinomial
from longtail.model.likelihoods import marginal_log_dispersion
from longtail.ops import SparseRows
from longtail.ops.fused import log_sum_exp

__all__ = ["FeatureStart", "Growth", "NewFeature", "choose_features", "feature_start", "grown"]

_COMPANY_ROWS = 50_000  # rows in which a new feature's companions are looked for, at most
_CALIBRATION_ROWS = 256
_CALIBRATION_STEPS = 20  # one is enough where the mean is an exponential of the logit
_CHUNK = 4096


@dataclass(frozen=True)
class NewFeature:
    """A feature that the model did not know.

    Attributes
    ----------
    name
        Its name.
    rows
        New rows that hold it.
    count
        Its total count in them.
    """

    name: str
    rows: int
    count: float


@dataclass(frozen=True, eq=False)
class Growth:
    """What becomes of the features that a model does not know.

    Attributes
    ----------
    vocabulary
        The old features, then those taken in, in the order of the new data's columns.
    added
        In that order.
    left_out
        The most frequent first.
    reasons
        How many were left out, by reason.
    """

    vocabulary: Vocabulary
    added: tuple[NewFeature, ...] = ()
    left_out: tuple[NewFeature, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()


def choose_features(
    found: Vocabulary,
    seen: RunningCounts,
    vocabulary: Vocabulary,
    *,
    grow: bool | int,
    min_df: int,
    settings: ReadSettings | None = None,
) -> Growth:
    """Decide which features of new rows a model takes in.

    Parameters
    ----------
    found, seen
        The features of new rows, and their counts.
    vocabulary
        What the model knows.
    grow
        False: none. True: all that `min_df` and the limits under which the model's data were read
        allow. A number: at most so many, the most frequent, whatever ``max_features`` was.
    min_df
        New rows in which a feature must occur.
    settings
        How the model's data were read: what was too common for it (``max_df``) stays out, and a
        vocabulary that was cut to ``max_features`` does not grow of itself.
    """
    if not (found.named and vocabulary.named):
        return Growth(vocabulary)
    columns = np.flatnonzero((vocabulary.codes(found.names) < 0) & (seen.df > 0))
    df, totals = seen.df[columns], seen.totals[columns]
    reasons = _reasons(df, totals, seen.rows, grow=grow, min_df=min_df, settings=settings)
    every = [
        NewFeature(found.names[column], int(rows), float(count))
        for column, rows, count in zip(columns, df, totals, strict=True)
    ]
    added = tuple(f for f, why in zip(every, reasons, strict=True) if not why)
    out = (f for f, why in zip(every, reasons, strict=True) if why)
    known = {**found.descriptions, **vocabulary.descriptions}
    return Growth(
        Vocabulary.saved([*vocabulary.names, *(f.name for f in added)], known)
        if added
        else vocabulary,
        added,
        tuple(sorted(out, key=lambda f: (-f.count, f.name))),
        tuple(sorted(Counter(filter(None, reasons)).items())),
    )


def _reasons(
    df: npt.NDArray[np.float64],
    totals: npt.NDArray[np.float64],
    n_rows: float,
    *,
    grow: bool | int,
    min_df: int,
    settings: ReadSettings | None,
) -> list[str]:
    """Why each new feature is left out; empty for one that is taken in."""
    reasons = np.full(len(df), "", dtype=object)
    if settings is not None:
        limit = settings.max_df
        most = limit * n_rows if isinstance(limit, float) else limit
        reasons[df > most] = f"more common than max_df={limit} allows"
    reasons[df < min_df] = f"in fewer than {min_df} new rows"
    left = np.flatnonzero(reasons == "")
    if grow is False:
        reasons[left] = "the vocabulary is kept as it is"
    elif grow is not True:
        order = np.argsort(-totals[left], kind="stable")
        reasons[left[order[int(grow) :]]] = f"not among the {int(grow)} most frequent"
    elif settings is not None and settings.max_features is not None:
        reasons[left] = f"the vocabulary was cut to max_features={settings.max_features}"
    return [str(reason) for reason in reasons]


@dataclass(frozen=True, eq=False)
class FeatureStart:
    """Where the parameters of n new features start.

    Attributes
    ----------
    weight
        Rows of W: (n, H).
    bias
        (n,).
    log_dispersion
        log r of a negative binomial, (n,); None of others.
    """

    weight: Tensor
    bias: Tensor
    log_dispersion: Tensor | None


@torch.no_grad()
def feature_start(
    network: HybridModel,
    train: CountMatrix,
    seen: RunningCounts,
    transform: FeatureTransform,
    n_known: int,
) -> FeatureStart:
    """Choose where the parameters of the last V − `n_known` features of the rows start.

    Parameters
    ----------
    network
        Before it grows.
    train
        The rows that it is going to learn from, V features, or some of them. None is empty.
    seen
        Counts of all of them.
    transform
        What the encoder sees of all V features.
    """
    known, new = train.csr[:, :n_known], train.csr[:, n_known:]
    weight = _company_mean(network.generative.decoder.weight, known, new, seen.idf()[:n_known])
    rows = _spread(train.n_rows, _CALIBRATION_ROWS)
    features = SparseRows.from_scipy(transform.apply(train.csr[rows])[:, :n_known], weight.device)
    exposure = None if train.exposure is None else train.exposure[rows]
    counts = SparseRows.from_scipy(train.csr[rows], weight.device, exposure=exposure)
    bias = _calibrated(network, weight, features, counts, seen, n_known)
    log_r = None
    likelihood = network.generative.likelihood
    if isinstance(likelihood, NegativeBinomial):
        sizes = train.totals
        if train.exposure is not None:
            sizes = likelihood.scaled(torch.tensor(train.exposure)).numpy()
        found = marginal_log_dispersion(csr_array(new), seen.unigram()[n_known:], sizes)
        log_r = torch.from_numpy(found.astype(np.float32)).to(weight.device)
    return FeatureStart(weight, bias, log_r)


def _company_mean(
    weight: Tensor,
    known: csr_array,
    new: csr_array,
    idf: npt.NDArray[np.float32],
) -> Tensor:
    """The mean of W over the known features that stand in rows with each new one: (n, H).

    By tf-idf, or frequent words, which keep everybody's company, would drown the telling ones. 0
    for a feature that only stands alone.
    """
    old = weight.cpu().numpy()
    rows = np.flatnonzero(np.diff(new.indptr))
    rows = rows[_spread(len(rows), _COMPANY_ROWS)]
    company = FeatureTransform("tfidf", idf).apply(known[rows])
    present = new[rows]
    present.data = np.ones_like(present.data)
    sums = np.zeros((new.shape[1], old.shape[1]))
    mass = np.zeros(new.shape[1])
    for start in range(0, len(rows), _CHUNK):
        part = company[start : start + _CHUNK]
        holders = present[start : start + _CHUNK].T
        sums += holders @ (part @ old)
        mass += holders @ np.asarray(part.sum(axis=1)).ravel()
    mean = sums / np.where(mass > 0, mass, 1)[:, None]
    return torch.from_numpy(mean.astype(old.dtype)).to(weight.device)


def _calibrated(
    network: HybridModel,
    weight: Tensor,
    features: SparseRows,
    counts: SparseRows,
    seen: RunningCounts,
    n_known: int,
) -> Tensor:
    """The biases under which each new feature's expected count in these rows is as it was: (n,).

    All known features together stand as one, whose logit is their log-normaliser.
    """
    generative = network.generative
    decoder, likelihood = generative.decoder, generative.likelihood
    h = decoder.hidden(network.amortized(features).mean)
    rest = log_sum_exp(h, decoder.weight, decoder.bias)[:, None].double()
    exposure = likelihood.exposure(counts).double()
    typical = likelihood.typical_exposure(seen.mean_size)
    # All rows of a feature may be held out.
    totals = torch.from_numpy(seen.totals[n_known:].clip(min=SMOOTHING)).to(rest)
    target = totals / seen.rows * (exposure.mean() / typical)
    if likelihood.most is not None:
        target = target.clamp(max=likelihood.most - 1e-4)
    slope = (h @ weight.T).double()
    bias = target.log()
    for _ in range(_CALIBRATION_STEPS):
        mean = likelihood.mean(torch.cat([rest, slope + bias], 1), exposure)[:, 1:].mean(0)
        bias = bias + target.log() - mean.log()
    return bias.to(weight)


def grown(
    network: HybridModel,
    start: FeatureStart | None,
    unigram: npt.NDArray[np.float64],
    *,
    refine_features: int | str,
    theta_features: int | str,
) -> HybridModel:
    """A copy of the network with new features, ready to be trained.

    Parameters
    ----------
    start
        Of the new features; None if there are none.
    unigram
        Running frequencies, (V,), from which features are drawn where a sample stands for all.
    refine_features, theta_features
        Parameters of the estimator.
    """
    result = copy.deepcopy(network)
    if start is not None:
        decoder, encoder = result.generative.decoder, result.encoder
        decoder.weight = _longer(decoder.weight, start.weight)
        decoder.bias = _longer(decoder.bias, start.bias)
        blank = encoder.input_weight.new_zeros(len(start.bias), encoder.input_weight.shape[1])
        encoder.input_weight = _longer(encoder.input_weight, blank)
        likelihood = result.generative.likelihood
        if isinstance(likelihood, NegativeBinomial):
            assert start.log_dispersion is not None
            likelihood.log_dispersion = _longer(likelihood.log_dispersion, start.log_dispersion)
            likelihood.marginal = torch.cat([likelihood.marginal, start.log_dispersion])
    result.refine_sampler = feature_sampler(unigram, refine_features)
    result.theta_sampler = feature_sampler(unigram, theta_features)
    return result.to(network.encoder.input_weight.device).requires_grad_(True)


def _longer(old: Tensor, more: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.cat([old.detach(), more.to(old)]))


def _spread(n: int, most: int) -> npt.NDArray[np.int64]:
    """All of n positions, or `most` of them, evenly spread."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
