"""LDA by three programs, and the completion of rows by topics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

import longtail as lt
from benchmarks._peers import repeated_tokens
from benchmarks.rows import threads
from longtail.data import Batches
from longtail.data.hashing import row_keys
from longtail.evaluation import Completion, completion_rows, split_tokens
from longtail.features import FeatureTransform
from longtail.inference import HybridModel, RefineSettings

SPLIT_SEED = 0
_FOLD_IN_STEPS = 50  # of CVB0; the perplexity is level by then

Topics = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""φ (K, V), rows summing to 1, and α (K,)."""

OwnBound = Callable[[lt.CountMatrix], float]
"""Perplexity per token of whole rows by the program's own variational bound, as it is now."""


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    """Both halves of the rows to complete; rows with fewer than two tokens are left out."""

    observed: csr_array
    held_out: csr_array

    @classmethod
    def of(cls, rows: lt.CountMatrix) -> Halves:
        """Split the tokens of each row."""
        observed, held_out = split_tokens(rows.csr, rows.row_keys(), SPLIT_SEED)
        usable = np.flatnonzero((np.diff(observed.indptr) > 0) & (np.diff(held_out.indptr) > 0))
        return cls(observed[usable], held_out[usable])

    def perplexity(self, log_prob: npt.NDArray[np.float64], samples: int, steps: int) -> float:
        """Per held-out token, of per-row log-probabilities."""
        totals = np.asarray(self.held_out.sum(1), dtype=np.float64)
        return Completion.from_rows(
            log_prob, totals, skipped_rows=0, samples=samples, steps=steps
        ).per_word

    def by_topics(self, topics: Topics) -> float:
        """Perplexity of the held-out halves under LDA."""
        phi, _ = topics
        theta = fold_in(topics, self.observed)
        rows = row_of_entry(self.held_out)
        return self.by_probabilities(
            np.einsum("nk,kn->n", theta[rows], phi[:, self.held_out.indices])
        )

    def by_probabilities(self, p: npt.NDArray[np.float64]) -> float:
        """Perplexity of the held-out halves by the probability of each of their entries."""
        target = self.held_out
        log_prob = np.bincount(row_of_entry(target), target.data * np.log(p), target.shape[0])
        return self.perplexity(log_prob, samples=1, steps=0)

    def by_network(self, network: HybridModel, transform: FeatureTransform) -> float:
        """Perplexity of the held-out halves under our model, as `evaluate` scores by default."""
        defaults = lt.NonlinearFactorAnalysis()
        steps, samples = defaults.eval_refine_steps, defaults.eval_samples
        batches = Batches(
            self.observed,
            transform.apply(self.observed),
            row_keys(self.observed),
            defaults.batch_size,
        )
        scores = completion_rows(
            network,
            batches.ordered(),
            self.held_out,
            refine=RefineSettings(steps),
            samples=samples,
            seed=SPLIT_SEED,
        )
        return self.perplexity(scores.log_prob, samples, steps)


def fold_in(topics: Topics, observed: csr_array) -> npt.NDArray[np.float64]:
    """Expected topic shares θ of rows, topics fixed: (n, K), by CVB0.

    γ_dvk ∝ φ_kv (α_k + N_dk − γ_dvk), N_dk = Σ_v x_dv γ_dvk: each token's topic given the others'.
    """
    phi, alpha = topics
    rows = row_of_entry(observed)
    of_word = np.ascontiguousarray(phi[:, observed.indices].T)
    counts = observed.data[:, None].astype(np.float64)
    gamma = _shares(of_word * alpha)
    for _ in range(_FOLD_IN_STEPS):
        in_row = np.add.reduceat(counts * gamma, observed.indptr[:-1])
        gamma = _shares(of_word * (alpha + in_row[rows] - gamma))
    return _shares(alpha + np.add.reduceat(counts * gamma, observed.indptr[:-1]))


def _shares(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return weights / weights.sum(1, keepdims=True)


def row_of_entry(counts: csr_array) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))


class Watcher(Protocol):
    """Looks at a program's topics at checkpoints on its way."""

    def start(self) -> None:
        """Fitting begins."""

    def checkpoint(
        self, step: int, topics: Callable[[], Topics], bound: OwnBound | None = None
    ) -> None:
        """So many steps are done."""


def spread(budget: int, every: int, growth: float) -> list[int]:
    """Steps to stop at: `every` step-th at first, later ones in proportion to the step."""
    steps = [0]
    while steps[-1] < budget:
        steps.append(min(budget, steps[-1] + max(every, int(steps[-1] * growth))))
    return steps[1:]


def tomotopy_lda(
    train: lt.CountMatrix, watcher: Watcher, n_topics: int, seed: int, budget: int
) -> None:
    """Collapsed Gibbs sampling; α is optimised every 10 iterations, its default."""
    import tomotopy

    model = tomotopy.LDAModel(k=n_topics, seed=seed)
    for tokens in repeated_tokens(train):
        model.add_doc(tokens)

    def topics() -> Topics:
        phi = np.zeros((n_topics, train.n_features))
        columns = train.vocabulary.codes(list(model.used_vocabs))
        for k in range(n_topics):
            phi[k, columns] = model.get_topic_word_dist(k)
        # Words that it has never met get the smallest probability it gives any word.
        phi = np.maximum(phi, phi[phi > 0].min())
        return _shares(phi), np.asarray(model.alpha, dtype=np.float64)

    done = 0
    watcher.start()
    for step in spread(budget, every=10, growth=0.05):
        model.train(step - done, workers=threads())
        done = step
        watcher.checkpoint(step, topics)


class Passes:
    """A corpus that reports each pass over it when the next one begins.

    gensim's schedule of step sizes is that of one call for all passes, and it asks for the rows
    anew at the beginning of each.
    """

    def __init__(self, rows: list[list[tuple[int, float]]], report: Callable[[int], None]) -> None:
        self.rows = rows
        self.report = report
        self.begun = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        if self.begun:
            self.report(self.begun)
        self.begun += 1
        return iter(self.rows)


def gensim_lda(
    train: lt.CountMatrix, watcher: Watcher, n_topics: int, seed: int, budget: int
) -> None:
    """Online variational Bayes (LdaModel), chunks of 1,000; α and η are optimised."""
    from gensim.models import LdaModel

    model = LdaModel(
        id2word=dict(enumerate(train.vocabulary.names)),
        num_topics=n_topics,
        chunksize=1000,
        passes=budget,
        alpha="auto",
        eta="auto",
        eval_every=None,
        random_state=seed,
    )

    def report(step: int) -> None:
        topics = (model.get_topics().astype(np.float64), model.alpha.astype(np.float64))
        watcher.checkpoint(step, lambda: topics, bound)

    def bound(rows: lt.CountMatrix) -> float:
        return float(2.0 ** -model.log_perplexity(bags_of_words(rows)))

    corpus = Passes(bags_of_words(train), report)
    watcher.start()
    model.update(corpus)
    report(budget)


def sklearn_lda(
    train: lt.CountMatrix, watcher: Watcher, n_topics: int, seed: int, budget: int
) -> None:
    """Online variational Bayes, batches of 512 (the steps); α and η are 1/K, the default."""
    from sklearn.decomposition import LatentDirichletAllocation

    model = LatentDirichletAllocation(
        n_topics,
        learning_method="online",
        batch_size=512,
        total_samples=train.n_rows,
        random_state=seed,
    )

    def topics() -> Topics:
        return _shares(model.components_), np.full(n_topics, model.doc_topic_prior_)

    def bound(rows: lt.CountMatrix) -> float:
        return float(model.perplexity(rows.csr, sub_sampling=False))

    size = model.batch_size
    batches = [train.csr[i : i + size] for i in range(0, train.n_rows, size)]
    done = 0
    watcher.start()
    # Stops within an epoch too: the first few epochs do most.
    for step in spread(budget * len(batches), every=4, growth=0.05):
        for number in range(done, step):
            model.partial_fit(batches[number % len(batches)])
        done = step
        watcher.checkpoint(step, topics, bound)


def bags_of_words(rows: lt.CountMatrix) -> list[list[tuple[int, float]]]:
    """Each row as gensim wants it: pairs of a feature's number and its count."""
    c = rows.csr
    return [
        list(zip(c.indices[a:b].tolist(), c.data[a:b].tolist(), strict=True))
        for a, b in zip(c.indptr[:-1], c.indptr[1:], strict=True)
    ]


LDA = {"tomotopy": tomotopy_lda, "gensim": gensim_lda, "scikit-learn": sklearn_lda}
