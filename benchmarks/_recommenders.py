"""Recommenders to compare with: popularity, item neighbours, EASE, iALS, and this library's model.

Each is fitted to training rows and gives a scorer: from the histories of some rows, (B, V) sparse,
to scores of all items, (B, V) dense. None needs to have met the rows that it scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import get_lapack_funcs
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

import longtail as lt

Floats = npt.NDArray[np.floating]
Scores = Floats
Scorer = Callable[[csr_array], Scores]
Fit = Callable[..., Scorer]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """A recommender and the settings it is tried with.

    Attributes
    ----------
    fit
        From training counts, n×V, a seed and settings to a scorer.
    grids
        Settings to choose from on validation rows, by corpus; those under "" otherwise.
    package
        That it comes from, besides numpy and scipy.
    only
        Corpora that it is for; none named: all.
    self_links
        Rows, which are items too, are made to hold their own node.
    """

    fit: Fit
    grids: Mapping[str, Sequence[Settings]] = field(default_factory=lambda: {"": ({},)})
    package: str = ""
    only: tuple[str, ...] = ()
    self_links: bool = False

    def grid(self, corpus: str) -> Sequence[Settings]:
        """Settings to choose from on this corpus."""
        return self.grids[corpus if corpus in self.grids else ""]


def grid(**choices: Sequence[Any]) -> tuple[Settings, ...]:
    """Every combination of the choices."""
    return tuple(dict(zip(choices, chosen, strict=True)) for chosen in product(*choices.values()))


# --- without learning ----------------------------------------------------------------------------


def popularity(train: csr_array, seed: int) -> Scorer:
    """The number of training rows that hold an item, the same for everybody."""
    rows = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32)
    return lambda observed: np.tile(rows, (observed.shape[0], 1))


def item_cosine(train: csr_array, seed: int) -> Scorer:
    """The sum, over a row's items, of the cosine between their columns of counts."""
    return _by_similarity(_cosine(train, 0.0))


def item_neighbors(train: csr_array, seed: int, *, shrink: float, top: int) -> Scorer:
    """As `item_cosine`, with a shrunk denominator and the `top` neighbours of each item only."""
    similarity = _cosine(train, shrink).tocsc()
    similarity.setdiag(0)
    similarity.eliminate_zeros()
    return _by_similarity(_largest(similarity, top))


def _cosine(train: csr_array, shrink: float) -> csr_array:
    """c_ij / (‖x_i‖ ‖x_j‖ + shrink): (V, V), sparse."""
    norms = np.sqrt(np.asarray(train.power(2).sum(0))).astype(np.float32)
    products = csr_array(train.T @ train).tocoo()
    products.data /= norms[products.row] * norms[products.col] + np.float32(shrink)
    return products.tocsr()


def _largest(similarity: Any, top: int) -> csr_array:
    """The `top` largest entries of each column, of a CSC matrix."""
    column = np.repeat(np.arange(similarity.shape[1]), np.diff(similarity.indptr))
    order = np.lexsort((similarity.indices, -similarity.data, column))
    rank = np.arange(len(order)) - similarity.indptr[column[order]]
    kept = np.sort(order[rank < top])
    triples = (similarity.data[kept], (similarity.indices[kept], column[kept]))
    return csr_array(triples, shape=similarity.shape)


def _by_similarity(similarity: csr_array) -> Scorer:
    return lambda observed: (observed @ similarity).toarray().astype(np.float32, copy=False)


# --- graphs --------------------------------------------------------------------------------------


def common_neighbors(train: csr_array, seed: int) -> Scorer:
    """How many neighbours of a row are neighbours of another node."""
    return _by_similarity(train)


def adamic_adar(train: csr_array, seed: int) -> Scorer:
    """The same, each neighbour weighed by 1 / log degree (Adamic and Adar 2003)."""
    degree = np.diff(train.indptr)
    # A neighbour of one node alone is common to no pair.
    weight = np.where(degree > 1, 1 / np.log(np.maximum(degree, 2)), 0).astype(np.float32)
    return _by_similarity(csr_array(train.multiply(weight[:, None])))


def truncated_svd(train: csr_array, seed: int, *, rank: int) -> Scorer:
    """A row projected on the leading right singular vectors, X V Vᵀ."""
    start = np.random.default_rng(seed).standard_normal(min(train.shape))
    _, _, right = svds(train.astype(np.float32), k=rank, v0=start.astype(np.float32))
    right = np.ascontiguousarray(right)
    return lambda observed: (observed @ right.T) @ right


# --- linear models -------------------------------------------------------------------------------


def ease(train: csr_array, seed: int, *, penalty: float) -> Scorer:
    """EASE (Steck 2019): the item–item regression without self-similarity, in closed form.

    B = I − P diag(P)⁻¹, P = (XᵀX + λI)⁻¹. With fewer rows than items P comes from the smaller side,

        P = (I − Xᵀ M X) / λ,    M = (XXᵀ + λI)⁻¹,

    and neither P nor B is ever formed: only M, n × n.
    """
    n, v = train.shape
    # Long rows of plays need double precision; the largest set has rows of ones, and needs room.
    x = train.astype(np.float64 if min(n, v) < 10_000 else np.float32)
    if n < v:
        m = _inverse((x @ x.T).toarray(), penalty)
        # diag(Xᵀ M X), some columns of M at a time.
        spread = np.zeros(v, dtype=np.float64)
        for start in range(0, n, 512):
            part = x[start : start + 512]
            product_ = x.T @ m[:, start : start + 512]
            spread += np.asarray(part.T.multiply(product_).sum(1)).ravel()
        diagonal = ((1 - spread) / penalty).astype(x.dtype)

        known = {key: row for row, key in enumerate(_row_keys(train))}

        def inverse_times(observed: csr_array) -> Scores:
            rows = [known.get(key, -1) for key in _row_keys(observed)]
            if -1 not in rows:  # X P = M X spares the product of two dense matrices
                return (x.T @ m[rows].T).T
            inner = (observed @ x.T).toarray() @ m
            return (observed.toarray() - (x.T @ inner.T).T) / x.dtype.type(penalty)
    else:
        p = _inverse((x.T @ x).toarray(), penalty)
        diagonal = np.diag(p).copy()

        def inverse_times(observed: csr_array) -> Scores:
            return observed @ p

    return lambda observed: observed.toarray() - inverse_times(observed) / diagonal


def _row_keys(x: csr_array) -> list[int]:
    """Content keys: equal rows have equal ones."""
    return lt.CountMatrix.from_any(x).row_keys().tolist()


def _inverse(gram: Floats, penalty: float) -> Floats:
    """(G + λI)⁻¹, in the place of G: nothing else of its size is held."""
    gram[np.diag_indices_from(gram)] += gram.dtype.type(penalty)
    potrf, potri = get_lapack_funcs(("potrf", "potri"), (gram,))
    # A symmetric matrix is its transpose, which stands in LAPACK's order already.
    root, failed = potrf(gram.T, lower=True, overwrite_a=True, clean=False)
    inverse, failed_too = potri(root, lower=True, overwrite_c=True)
    if failed or failed_too:
        raise ArithmeticError(f"XᵀX + {penalty:g} I is not positive definite in {gram.dtype}.")
    for start in range(0, len(inverse), 1024):
        stop = start + 1024
        square = np.tril(inverse[start:stop, start:stop])
        inverse[start:stop, start:stop] = square + np.tril(square, -1).T
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
    return inverse


def ials(
    train: csr_array,
    seed: int,
    *,
    factors: int,
    regularization: float,
    alpha: float,
    iterations: int = 15,
) -> Scorer:
    """Implicit-feedback matrix factorisation (Hu et al. 2008), by the package ``implicit``."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=factors,
        regularization=regularization,
        alpha=alpha,
        iterations=iterations,
        num_threads=1,
        random_state=seed,
    )
    model.fit(_matrix(train), show_progress=False)
    items = np.asarray(model.item_factors)

    def score(observed: csr_array) -> Scores:
        rows = np.arange(observed.shape[0])
        users = np.atleast_2d(model.recalculate_user(rows, _matrix(observed)))
        return users @ items.T

    return score


def _matrix(rows: csr_array) -> Any:
    from scipy.sparse import csr_matrix  # implicit predates sparse arrays

    return csr_matrix(rows, dtype=np.float32, copy=True)  # and wants writable arrays


# --- this library --------------------------------------------------------------------------------

_LIANG = {
    # Liang et al. 2018: I → 600 → 200 → 600 → I, half of the features hidden from the encoder,
    # a KL weight below 1, one pass of the inference network.
    "n_components": 200,
    "n_hidden": 600,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "features": "binary",
    "feature_dropout": 0.5,
    "refine_steps": 0,
    "eval_refine_steps": 0,
    "importance_samples": 1,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
}
_ALL_ROWS = {"validation_fraction": 0.0, "patience": None}  # a better bound need not rank better
_LASTFM = _ALL_ROWS | {"epochs": 100, "batch_size": 100}
# A tenth of the places takes part in each update: all of them would take hours.
_GOWALLA = _ALL_ROWS | {"epochs": 40, "learning_rate": 2e-3, "theta_features": 4000}
_WIDE = {"feature_dropout": 0.5, "n_components": 200}
# No hidden layer in the decoder, and rows refined in training and when they are scored.
_LINEAR = {
    "n_components": 256,
    "n_hidden": 300,
    "encoder_layers": 1,
    "decoder_layers": 0,
    "features": "binary",
    "feature_dropout": 0.5,
    "refine_steps": 4,
    "eval_refine_steps": 20,
    "importance_samples": 1,
    "learning_rate": 5e-3,
    "weight_decay": 0.5,
    "kl_anneal": 0.2,
}
_LINEAR_GOWALLA = _ALL_ROWS | {"epochs": 25, "theta_features": 4000}
# Few rows: more refinement and draws are cheap.
_LINEAR_LASTFM = _ALL_ROWS | {
    "epochs": 20,
    "batch_size": 100,
    "refine_steps": 10,
    "importance_samples": 8,
    "weight_decay": 0.1,
}

PRESETS: dict[str, dict[str, tuple[Settings, ...]]] = {
    "default": {"": ({},)},
    "mult-vae": {
        "": tuple(_LIANG | _LASTFM | c for c in grid(kl_weight=(0.05, 0.1, 0.2, 0.5, 1.0))),
        "gowalla": tuple(_LIANG | _GOWALLA | c for c in grid(kl_weight=(0.2,))),
    },
    "log-linear": {
        # A user's plays add up to about 50, 330 and 20,000; the weight of the KL goes with them.
        "": tuple(
            _LINEAR | _LINEAR_LASTFM | c
            for c in grid(n_components=(128, 256), kl_weight=(0.6, 1.0))
        ),
        "lastfm-log": tuple(
            _LINEAR | _LINEAR_LASTFM | c for c in grid(n_components=(256, 400), kl_weight=(2, 3))
        ),
        "lastfm-raw": tuple(
            _LINEAR | _LINEAR_LASTFM | c
            for c in grid(n_components=(128, 256), kl_weight=(0.1, 0.3, 1))
        ),
        "gowalla": (_LINEAR | _LINEAR_GOWALLA | {"kl_weight": 0.5},),
        "deezer": (_LINEAR | _LINEAR_GOWALLA | {"kl_weight": 0.5, "epochs": 15},),
    },
    "bursty": {
        # With repeated plays discounted by the likelihood, totals need no weight of their own.
        corpus: tuple(
            _LINEAR | _LINEAR_LASTFM | {"likelihood": "dirichlet_multinomial"} | c
            for c in grid(n_components=(64, 128, 256), kl_weight=(0.6, 1.0, 1.5))
        )
        for corpus in ("lastfm-log", "lastfm-raw")
    },
    **{
        name: {
            "deezer": (
                _LINEAR | _LINEAR_GOWALLA | {"kl_weight": 0.5, "epochs": 15, "both_ends": True},
            ),
        }
        for name in ("both-ends", "self-links")
    },
    "refined": {
        "": tuple(_WIDE | _LASTFM | c for c in grid(kl_weight=(0.2, 0.5, 1.0))),
        "gowalla": tuple(_WIDE | _GOWALLA | c for c in grid(kl_weight=(0.2,))),
    },
}
"""Settings of this library's model by name and corpus, to choose from on validation rows."""


@dataclass(frozen=True)
class Predictive:
    """The posterior predictive of this library's model at each row's posterior mean.

    Attributes
    ----------
    model
        Fitted.
    steps
        M; None: the model's own number.
    both_ends
        Rows are items too, and a link is scored from both of its ends.
    """

    model: lt.NonlinearFactorAnalysis
    steps: int | None = None
    both_ends: bool = False

    def amortized(self) -> Predictive:
        """The same model, by its inference network alone."""
        return replace(self, steps=0)

    def __call__(self, observed: csr_array) -> Scores:
        """Scores of all items for some histories."""
        posterior = self.model.posterior(observed, refine_steps=self.steps)
        return self.model.inverse_transform(posterior.mean)


def longtail(
    train: csr_array, seed: int, *, both_ends: bool = False, **settings: Any
) -> Predictive:
    """`NonlinearFactorAnalysis`, fitted; see `Predictive`."""
    model = lt.NonlinearFactorAnalysis(random_state=seed, **settings).fit(train)
    return Predictive(model, both_ends=both_ends)


def named(settings: Settings) -> str:
    """Settings in one short word: ``factors128-alpha1``; nothing for none."""
    return "-".join(f"{name}{_short(value)}" for name, value in settings.items())


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else json.dumps(value)


PROGRAMS: dict[str, Program] = {
    "popularity": Program(popularity),
    "item-cosine": Program(item_cosine),
    "item-neighbors": Program(
        item_neighbors,
        {
            "": grid(shrink=(0, 5, 20), top=(50, 200, 1000)),
            "lastfm-log": grid(shrink=(0, 100, 500), top=(50, 200, 1000)),
            "lastfm-raw": grid(shrink=(0, 1e5, 1e7), top=(50, 200, 1000)),
        },
    ),
    "common-neighbors": Program(common_neighbors, only=("deezer",)),
    "adamic-adar": Program(adamic_adar, only=("deezer",)),
    "svd": Program(truncated_svd, {"": grid(rank=(50, 100, 200, 400))}),
    "ease": Program(
        ease,
        {
            "": grid(penalty=(20, 50, 100, 200, 500, 1000)),
            "lastfm-log": grid(penalty=(1000, 2000, 5000, 10_000, 20_000)),
            "lastfm-raw": grid(penalty=(1e4, 1e5, 1e6, 1e7, 1e8, 1e9)),
            "gowalla": grid(penalty=(50, 200, 500)),
        },
    ),
    "ials": Program(
        ials,
        {
            "": grid(factors=(32, 128), regularization=(0.1, 1, 10), alpha=(1, 5, 20)),
            "gowalla": grid(factors=(128, 256), regularization=(1,), alpha=(80, 200)),
            "deezer": grid(factors=(128,), regularization=(1,), alpha=(20, 80)),
            "lastfm-log": grid(
                factors=(64, 128, 256), regularization=(3, 10, 30), alpha=(0.2, 0.5, 1, 2)
            ),
            "lastfm-raw": grid(
                factors=(128, 256), regularization=(0.1, 1, 10), alpha=(1e-3, 1e-2, 0.1, 1)
            ),
        },
        package="implicit",
    ),
}
PROGRAMS |= {
    f"{name}-self-links": replace(PROGRAMS[name], only=("deezer",), self_links=True)
    for name in ("item-cosine", "ials")
}
SELF_LINKS = {"self-links"}
"""Presets for rows that hold their own node."""
HEAVY = {("gowalla", "ease"), ("deezer", "ease")}
"""Corpora and programs that run only if asked for by name: EASE inverts 29,858² numbers here."""
