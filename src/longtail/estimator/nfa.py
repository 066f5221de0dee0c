"""`NonlinearFactorAnalysis`: the model as a scikit-learn estimator."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state

from longtail.archive import write_archive
from longtail.data import CountMatrix, Vocabulary
from longtail.data.counts import CountsPolicy, Unseen
from longtail.data.files import as_path
from longtail.data.long_tables import refuse_long_table
from longtail.data.settings import ReadSettings
from longtail.data.stream import CountStream
from longtail.errors import DataError, DataWarning, NotFittedError
from longtail.estimator.about import environment, fitted_html
from longtail.estimator.exposures import GIVEN, take_exposures, typical_size
from longtail.estimator.generating import expected_counts, sampled_rows
from longtail.estimator.inputs import MOST, MOST_ROWS, latent_vectors, row_totals, whole
from longtail.estimator.network import check_dtypes, resolve_device
from longtail.estimator.parameters import check_parameters, fit_parameters, training_config
from longtail.estimator.prepare import require_values, unseen_notice
from longtail.estimator.recommendations import Recommendations
from longtail.estimator.recommending import rank_rows, recommend_rows
from longtail.estimator.running import RunningCounts
from longtail.estimator.saved import check_opens, to_archive
from longtail.estimator.start import Start, start_on_rows
from longtail.estimator.streaming import start_on_stream
from longtail.estimator.updating import UpdateReport, UpdateSettings, continue_fit
from longtail.evaluation import (
    Evaluation,
    EvaluationSettings,
    Ranking,
    evaluate_rows,
    row_bounds,
)
from longtail.evaluation.evaluate import make_batches
from longtail.evaluation.row_scores import RowScores, score_rows
from longtail.features import FeatureKind, FeatureTransform
from longtail.inference import (
    COVARIANCE_STEPS,
    HybridModel,
    RefineMethod,
    RefineSettings,
    Rows,
)
from longtail.ops.ambient import neutral_torch
from longtail.training import Callback, FitResult, History, OneProcess, Processes
from longtail.training import fit as run_training
from longtail.training.checkpoint import CheckpointStore
from longtail.training.fit import CHECKPOINT_EVERY
from longtail.training.progress import ProgressBar

__all__ = ["NonlinearFactorAnalysis", "Posterior"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Posterior:
    """q(z) = N(mean, diag scale²) of each row.

    Attributes
    ----------
    mean, scale
        (n, K) float32.
    """

    mean: Array
    scale: Array


class NonlinearFactorAnalysis(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A deep generative model of sparse counts, fitted by hybrid variational inference.

    z ~ N(0, I_K); a decoder network turns z into the probabilities of V features; counts are
    multinomial. An inference network (encoder) guesses each row's posterior from its TF-IDF, and
    local optimisation refines the guess, in training and at test time (Krishnan, Liang and
    Hoffman 2018, arXiv 1710.06085).

    Parameters
    ----------
    n_components : int
        K, latent dimensions.
    likelihood : {"multinomial", "dirichlet_multinomial", "bernoulli", "poisson", \
            "negative_binomial"}
        p(x | z): which feature each of N counts is; the same where features repeat themselves, so
        that ten plays of an artist say less than one of each of ten; which features there are,
        for 0 and 1; counts whose number matters; counts more variable than that, such as those of
        single cells, with a dispersion for each feature and the row's total as exposure.
    exposure : {"auto", "unit", "total", "given"}
        What a row's expected counts are proportional to, whatever z. Of the Poisson: "unit" lets z
        explain how many counts a row has, "total" divides that out, and "given" divides out what
        is given with each row, such as person-years: see `CountMatrix.with_exposure`. "auto" is
        "unit". The negative binomial's is the row's total or, with "given", what is given, such as
        size factors; the other likelihoods have no choice.
    features : {"tfidf", "l1", "log1p", "binary"}
        What the encoder sees of a row. The likelihood always scores the raw counts.
    n_hidden : int
        H, width of every hidden layer.
    encoder_layers, decoder_layers : int
        Hidden ReLU layers; a decoder with 0 is the log-linear model.
    skip : bool
        Add a linear path from z to the logits.
    epochs : int
        Passes over the training rows, at most.
    batch_size : int
        B, rows an update, and rows at a time when scoring.
    learning_rate : float
        Peak step size of Adam.
    lr_schedule : {"cosine", "constant"}
        "cosine" falls to 0 at the last epoch.
    weight_decay : float
        Decoupled decay of the weight matrices (each update shrinks them by the share learning
        rate × decay). Less fits rows that resemble the training rows better; more, rows that do
        not, and it brings the inference network's own guess closer.
    output_epsilon : float
        Adam's ε for the weights of the output layer. With 1e-8, its usual value, those of rare and
        frequent features move equally far; values of the order of their gradients, which grow with
        the rows' totals and fall with V and B, hold rare ones back, so that they overfit less.
    feature_dropout : float
        Share of a row's features hidden from the encoder at each update.
    kl_weight : float
        Weight of the KL, in training and when rows are transformed or recommended to; below 1 the
        posterior says more about a row than its counts warrant, which often ranks better. Reported
        bounds always have weight 1.
    kl_anneal : float
        Share of training over which the weight of the KL rises from 0 to `kl_weight`; 0 for none.
    refine_steps : int, pairs (first epoch, steps) or "auto"
        M, local optimisation steps a batch in training. "auto" takes 6 while the KL weight rises
        and 2 afterwards. 0 is a plain variational auto-encoder; ``[(0, 0), (20, 10)]`` starts
        plain and refines from epoch 20 on.
    refine_method : {"natural", "adam"}
        Local optimiser, in training and scoring: natural gradients from antithetic pairs, or
        Adam with the step sizes of Krishnan et al. 2018 (who took 100 steps).
    importance_samples : int or "auto"
        Draws from a row's ψ* of which one, chosen by importance weight, teaches the decoder: it
        then ascends the importance-weighted bound (Burda et al. 2016); 1 gives the ELBO. "auto" is
        8, and 1 in epochs without refinement: those of a plain variational auto-encoder.
    refine_features : int, "auto" or "all"
        Features that stand for all of them in a refinement step: the frequent ones, some of the
        rest, and each row's own. "auto" draws a twentieth, and at least 1,000, of 5,000 features
        or more. Reported bounds always use all features.
    theta_features : int, "auto" or "all"
        The same for updates of the decoder's parameters.
    eval_refine_steps : int
        M when transforming and scoring.
    eval_samples : int
        S, draws for every expectation when scoring.
    validation_fraction : float
        Share of the rows (at most 2,000) held out from training to choose the best epoch and to
        stop early; exact duplicates stay on one side. 0, or fewer than 10 rows, means none.
    patience : int or None
        Epochs without a better validation bound before stopping, counted from the end of
        annealing; None runs all epochs.
    counts : {"fractional", "strict"}
        Whether weights that are not whole numbers are accepted, with a notice.
    device : str
        "auto" takes a GPU if there is one.
    random_state : int, RandomState or None
        Same data, parameters, seed and thread count: the same model, bitwise, on a CPU.
    verbose : int
        1 shows progress on standard error.

    Attributes
    ----------
    network_ : HybridModel
        Decoder and encoder.
    vocabulary_ : Vocabulary
        Names of the features.
    transform_ : FeatureTransform
        Fitted on the training rows.
    parameters_ : dict
        Parameters of the fit. `set_params` changes those of the next one; what only says how rows
        are read, scored and shown (`eval_refine_steps`, `eval_samples`, `batch_size`, `counts`,
        `device`, `verbose`) is not among them and changes at once.
    unigram_ : ndarray of shape (V,)
        Training-set frequencies, the floor of every evaluation.
    history_ : History
        One record an epoch; `.frame()`, `.plot()`.
    fit_info_ : dict
        Rows used, dropped and held out, why training stopped, and which epoch was kept.
    read_settings_ : ReadSettings or None
        How the training data were read, if they were read by this library.
    running_ : RunningCounts or None
        Rows, document frequencies and feature totals of all fits; None in a model that was saved
        without.
    update_report_ : UpdateReport or None
        What the last `partial_fit` changed; None after `fit`, and in a model just opened.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> import numpy as np, longtail as lt
    >>> X = np.random.default_rng(0).poisson(0.5, (200, 30))
    >>> model = lt.NonlinearFactorAnalysis(n_components=5, epochs=5, random_state=0).fit(X)
    >>> model.transform(X).shape
    (200, 5)
    """

    network_: HybridModel
    parameters_: dict[str, Any]
    vocabulary_: Vocabulary
    transform_: FeatureTransform
    unigram_: npt.NDArray[np.float64]
    history_: History
    read_settings_: ReadSettings | None
    seed_: int
    fit_info_: dict[str, Any]
    running_: RunningCounts | None
    update_report_: UpdateReport | None
    n_features_in_: int
    n_iter_: int
    _device_name: str

    def __init__(
        self,
        n_components: int = 100,
        *,
        likelihood: str = "multinomial",
        exposure: str = "auto",
        features: FeatureKind = "tfidf",
        n_hidden: int = 400,
        encoder_layers: int = 2,
        decoder_layers: int = 2,
        skip: bool = False,
        epochs: int = 60,
        batch_size: int = 500,
        learning_rate: float = 2e-3,
        lr_schedule: Literal["cosine", "constant"] = "cosine",
        weight_decay: float = 2.0,
        output_epsilon: float = 1e-8,
        feature_dropout: float = 0.0,
        kl_weight: float = 1.0,
        kl_anneal: float = 0.5,
        refine_steps: int | Sequence[tuple[int, int]] | Literal["auto"] = "auto",
        refine_method: RefineMethod = "natural",
        importance_samples: int | Literal["auto"] = "auto",
        refine_features: int | str = "auto",
        theta_features: int | str = "all",
        eval_refine_steps: int = 50,
        eval_samples: int = 20,
        validation_fraction: float = 0.05,
        patience: int | None = 10,
        counts: CountsPolicy = "fractional",
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.likelihood = likelihood
        self.exposure = exposure
        self.features = features
        self.n_hidden = n_hidden
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers
        self.skip = skip
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.output_epsilon = output_epsilon
        self.feature_dropout = feature_dropout
        self.kl_weight = kl_weight
        self.kl_anneal = kl_anneal
        self.refine_steps = refine_steps
        self.refine_method = refine_method
        self.importance_samples = importance_samples
        self.refine_features = refine_features
        self.theta_features = theta_features
        self.eval_refine_steps = eval_refine_steps
        self.eval_samples = eval_samples
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.counts = counts
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # --- fitting ---------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        valid: Any = None,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
        checkpoint_every: float = CHECKPOINT_EVERY,
        resume: bool = False,
        processes: Processes | None = None,
    ) -> Self:
        """Fit to rows of counts.

        Parameters
        ----------
        X : CountMatrix, CountStream, sparse matrix or array, DataFrame, or array of shape (n, V)
            Counts; or a stream of them, see `longtail.open_stream`, which is not held in memory.
        y
            Ignored.
        valid
            Validation rows, in memory; otherwise `validation_fraction` of X is held out.
        callbacks
            Called during training.
        checkpoint
            Folder for a checkpoint after every epoch, and within it every `checkpoint_every`
            seconds, of one fit at a time. Without `resume`, the first replaces earlier ones. The
            last one stays when the fit is done: delete the folder once the model is saved. SIGINT
            and SIGTERM wait until the batch is done and its checkpoint written.
        checkpoint_every
            Seconds.
        resume
            Go on from the checkpoint there, if there is one.
        processes
            Those that share every batch, from `longtail.join_processes`; all of them call `fit`
            with the same arguments. Callbacks and checkpoints are the first one's.

        Raises
        ------
        ParameterError, DataError, NonFiniteError, CheckpointError, ProcessError
        """
        self.check_parameters()
        if checkpoint is not None:
            checkpoint = as_path(checkpoint, "checkpoint")
        processes = OneProcess() if processes is None else processes
        seed = processes.broadcast(self._draw_seed())
        parameters = self.get_params(deep=False)
        begin = start_on_stream if isinstance(X, CountStream) else start_on_rows
        with neutral_torch():
            start = begin(parameters, X, valid, seed)
            result = self._train(
                start, parameters, seed, callbacks, checkpoint, checkpoint_every, resume, processes
            )
        self.set_fitted(
            parameters=parameters,
            network=start.network,
            vocabulary=start.vocabulary,
            transform=start.transform,
            unigram=start.unigram,
            history=result.history,
            read_settings=start.read_settings,
            seed=seed,
            fit_info={
                **start.facts(),
                "best_epoch": result.best_epoch,
                "stopped": result.stopped,
                "environment": environment(str(resolve_device(self.device))),
            },
            running=start.running,
        )
        self._set_feature_names(X)
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        retain: Any = None,
        epochs: int = 10,
        learning_rate: float | None = None,
        grow: bool | int = True,
        min_df: int = 5,
        idf: Literal["keep", "update"] = "keep",
        forget: float = 0.0,
        seed: int | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Go on with a fitted model on new rows; an unfitted one is fitted, as by `fit(X)`.

        What changed is in `update_report_`. A call should bring hundreds of rows or more: the
        optimiser starts afresh in each. If it fails or is interrupted, the model is as it was.

        Parameters
        ----------
        X
            New rows: counts, or a stream of them, as for `fit`. Columns are matched by name where
            both have names.
        y
            Ignored.
        retain
            Rows of earlier fits, in memory, to rehearse together with the new ones (with those of
            a stream they are not). A part of them is held out, to measure what is forgotten.
        epochs
            Passes over the new and the retained rows; 0 takes in counts and features only.
        learning_rate
            Peak step size: reached after a tenth of the updates, and falling to 0. Half of
            the model's own if not given.
        grow
            Whether features that the model does not know are taken in; a number: at most so many.
            What `max_df` and `max_features` kept out when the first data were read stays out,
            unless a number is given.
        min_df
            New rows in which such a feature must occur.
        idf
            "keep" leaves the inverse document frequencies of known features as they are, so that
            the encoder reads old rows as before; "update" takes those of all rows so far.
        forget
            Share of the counts so far, in [0, 1], that frequencies forget before the new rows are
            added.
        seed
            Of this update; by default it follows from the model's and the number of updates.
        callbacks
            Called during training.

        Raises
        ------
        ParameterError, DataError, NonFiniteError
        """
        settings = UpdateSettings(epochs, learning_rate, grow, min_df, idf, forget, seed)
        if not self.__sklearn_is_fitted__():
            return self.fit(X, callbacks=callbacks)
        self.check_fitted()
        with neutral_torch():
            continue_fit(self, X, retain, settings, callbacks)
        return self

    def check_parameters(self) -> None:
        """Check all parameters at once.

        Raises
        ------
        ParameterError
            With a line for every fault.
        """
        check_parameters(self.get_params(deep=False))
        resolve_device(self.device)

    @neutral_torch()
    def set_fitted(
        self,
        *,
        network: HybridModel,
        vocabulary: Vocabulary,
        transform: FeatureTransform,
        unigram: npt.NDArray[np.float64],
        history: History,
        read_settings: ReadSettings | None,
        seed: int,
        fit_info: dict[str, Any],
        running: RunningCounts | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        """Take a fitted state: what `fit` ends with, and what opening a saved model restores.

        `parameters` are those of the fit; the present ones if not given.
        """
        if parameters is None:
            parameters = self.get_params(deep=False)
        fitted = {
            "network_": network.to(resolve_device(self.device)).requires_grad_(False),
            "_device_name": self.device,
            "parameters_": fit_parameters(parameters),
            "vocabulary_": vocabulary,
            "transform_": transform,
            "unigram_": unigram,
            "history_": history,
            "read_settings_": read_settings,
            "seed_": seed,
            "fit_info_": fit_info,
            "running_": running,
            "update_report_": None,
            "n_features_in_": len(vocabulary),
            "n_iter_": len(history),
        }
        # All at once: an interruption leaves the earlier state or this one.
        self.__dict__.update(fitted)

    def _draw_seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _train(
        self,
        start: Start,
        parameters: dict[str, Any],
        seed: int,
        callbacks: Sequence[Callback],
        checkpoint: str | Path | None,
        checkpoint_every: float,
        resume: bool,
        processes: Processes,
    ) -> FitResult:
        config = training_config(parameters, seed)
        store = None if checkpoint is None else CheckpointStore(checkpoint, start.fingerprint)
        bar = ProgressBar() if self.verbose else None
        try:
            return run_training(
                start.network,
                start.batches,
                start.valid,
                start.transform,
                config,
                device=resolve_device(self.device),
                callbacks=[*callbacks, *([bar] if bar else [])],
                checkpoints=store,
                checkpoint_every=checkpoint_every,
                resume=resume,
                processes=processes,
            )
        finally:
            if bar is not None:
                bar.close()

    def _set_feature_names(self, X: Any) -> None:
        columns = getattr(X, "columns", None)
        if columns is not None and all(isinstance(c, str) for c in columns):
            self.feature_names_in_ = np.asarray(list(columns), dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    # --- using a fitted model --------------------------------------------------------------------

    def transform(self, X: Any) -> Array:
        """Posterior means after refinement: (n, K).

        Empty rows have the prior's mean, 0, where a row's total is its exposure.
        """
        return self.posterior(X).mean

    def posterior(
        self,
        X: Any,
        *,
        refine_steps: int | None = None,
        seed: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Posterior:
        """The approximate posterior of each row.

        Parameters
        ----------
        refine_steps
            M; `eval_refine_steps` if not given; 0 is the inference network alone.
        seed
            Of the refinement's noise; that of the fit if not given.
        progress
            Called with the number of rows done.
        """
        counts = self._aligned(X)
        settings = self._refine_settings(refine_steps)
        seed = whole("seed", self.seed_ if seed is None else seed, 0)
        device, kl_weight = self._device, float(self.parameters_["kl_weight"])
        means, scales = [], []
        for batch in make_batches(counts, self.transform_, int(self.batch_size)).ordered():
            with neutral_torch():
                rows = Rows.from_batch(batch, device)
                start = self.network_.amortized(rows.features)
                psi = self.network_.refined(
                    rows.counts, start, rows.noise_key(seed), settings, kl_weight
                )
                means.append(psi.mean.cpu().numpy())
                scales.append(psi.scale.cpu().numpy())
            if progress is not None:
                progress(sum(map(len, means)))
        return Posterior(np.concatenate(means), np.concatenate(scales))

    def score_samples(self, X: Any) -> npt.NDArray[np.float64]:
        """ELBO at ψ* of each row, nats: (n,); of an empty one 0, if its total is its exposure."""
        counts = self._aligned(X)
        result: npt.NDArray[np.float64] = row_bounds(
            self.network_,
            make_batches(counts, self.transform_, int(self.batch_size)).ordered(),
            refine=self._refine_settings(None),
            samples=int(self.eval_samples),
            seed=self.seed_,
            device=self._device,
        ).elbo_refined
        return result

    def score(self, X: Any, y: Any = None) -> float:
        """Mean ELBO at ψ* of a row, nats."""
        return float(self.score_samples(X).mean())

    def evaluate(
        self,
        X: Any,
        *,
        samples: int | None = None,
        refine_steps: int | None = None,
        completion: bool = True,
        full_covariance: bool = False,
        seed: int | None = None,
        unseen: Unseen | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Evaluation:
        """Score held-out rows on every rung of the ladder.

        Parameters
        ----------
        samples, refine_steps
            S and M; `eval_samples` and `eval_refine_steps` if not given.
        completion
            Score document completion too.
        full_covariance
            Give each row's posterior all its correlations, as another rung and for the
            importance-weighted bound: much tighter, and tens of milliseconds a row.
        seed
            Of the noise and the completion split; that of the fit if not given.
        unseen
            What was outside the vocabulary, if X has been aligned already.
        progress
            Called with (stage, rows done, rows in all).
        """
        counts, found = self.align(X)
        settings = self.evaluation_settings(
            samples=samples,
            refine_steps=refine_steps,
            completion=completion,
            full_covariance=full_covariance,
            seed=seed,
        )
        return evaluate_rows(
            self.network_,
            counts,
            self.transform_,
            self.unigram_,
            self._mean_total,
            settings,
            unseen=unseen or found,
            device=self._device,
            progress=progress,
        )

    def evaluation_settings(
        self,
        *,
        samples: int | None = None,
        refine_steps: int | None = None,
        completion: bool = True,
        full_covariance: bool = False,
        seed: int | None = None,
    ) -> EvaluationSettings:
        """How `evaluate` scores rows with these arguments."""
        return EvaluationSettings(
            refine=self._refine_settings(refine_steps),
            samples=whole("samples", self.eval_samples if samples is None else samples, 1, MOST),
            batch_size=int(self.batch_size),
            seed=whole("seed", self.seed_ if seed is None else seed, 0),
            completion=completion,
            covariance_steps=COVARIANCE_STEPS if full_covariance else 0,
        )

    def score_rows(self, counts: CountMatrix, settings: EvaluationSettings) -> RowScores:
        """Every figure of every row, before averages: of aligned rows, none of them empty."""
        return score_rows(
            self.network_,
            counts,
            self.transform_,
            self.unigram_,
            self._mean_total,
            settings,
            device=self._device,
        )

    def recommend(
        self,
        X: Any,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        filter_items: Any = None,
        refine_steps: int | None = None,
        seed: int | None = None,
        network: Any = None,
        unseen: Unseen | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Recommendations:
        """The k items with the highest posterior predictive probability for each row.

        Rows need not be those of the fit: their history is folded in by inferring their posterior,
        without training. A row without history gets the items most frequent in training.

        Parameters
        ----------
        X
            History: what each row has counts of.
        k
            Items for each row. A number above that of the items is cut to it.
        exclude_seen
            Leave out the items of a row's history.
        filter_items
            Only these may be recommended: names, column numbers or a mask of length V.
        refine_steps, seed, progress
            As in `posterior`.
        network
            The items' own rows, where items are rows too, as people are in a network of friends.
            A link is then scored from both its ends: the probability of the item under the row's
            posterior times that of the row under the item's. Rows have names of items as ids,
            and none is recommended itself.
        unseen
            What was outside the vocabulary, if X has been aligned already.

        Returns
        -------
        Recommendations
            Of items with equal scores, the one in the lower column comes first.

        Raises
        ------
        NotFittedError, DataError, ParameterError
        """
        with neutral_torch():
            return recommend_rows(
                self,
                X,
                k,
                exclude_seen=exclude_seen,
                filter_items=filter_items,
                refine_steps=refine_steps,
                seed=seed,
                network=network,
                unseen=unseen,
                progress=progress,
            )

    def rank(
        self,
        observed: Any,
        held_out: Any,
        *,
        cutoffs: Sequence[int] | None = None,
        refine_steps: int | None = None,
        seed: int | None = None,
        network: Any = None,
        progress: Callable[[int], None] | None = None,
    ) -> Ranking:
        """Judge recommendations from the observed items of each row by its held-out items.

        Parameters
        ----------
        observed, held_out
            Rows with the same ids, such as `split_items` makes. Observed items are not listed.
            Held-out items that the model does not know cannot be found: they are left out, with a
            notice.
        cutoffs
            Lengths of the lists. None: 20, 50 and 100, as far as there are so many items.
        refine_steps, seed, progress
            As in `posterior`.
        network
            As in `recommend`; no held-out link may be in it.

        Raises
        ------
        NotFittedError, DataError, ParameterError
        """
        with neutral_torch():
            return rank_rows(
                self,
                observed,
                held_out,
                cutoffs=cutoffs,
                refine_steps=refine_steps,
                seed=seed,
                network=network,
                progress=progress,
            )

    @neutral_torch()
    def inverse_transform(self, Z: Any, *, totals: Any = None) -> Array:
        """E[x | z] of latent vectors (n, K): (n, V), dense.

        Expected counts of rows with these totals (a number or n of them), or exposures; by
        default of 1, which for a multinomial makes them probabilities.
        """
        self.check_fitted()
        latent = latent_vectors(Z, self._n_features_out).to(self._device)
        return expected_counts(self.network_.generative, latent, 1 if totals is None else totals)

    @neutral_torch()
    def sample(
        self, n_samples: int = 1, *, totals: Any = None, random_state: Any = None
    ) -> csr_array:
        """Draw rows from the model: z from the prior, then counts.

        Parameters
        ----------
        n_samples
            Rows to draw.
        totals
            Total count of each row, or its exposure: a number or n of them; by default the median
            of the training rows, or 1 where z explains how many counts a row has. Exposures of the
            kind that are given need not be whole numbers. They are below 2²⁴, up to which
            float32 holds every whole number.
        random_state
            Seed; a new one each time if not given.

        Returns
        -------
        csr_array of shape (n_samples, V)
        """
        self.check_fitted()
        n_samples = whole("n_samples", n_samples, 1, MOST_ROWS)
        likelihood = self.network_.generative.likelihood
        if totals is None:
            size = typical_size(self)
            if self.parameters_["exposure"] != GIVEN:
                size = likelihood.typical_exposure(max(1, round(size)))
            totals = size
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return sampled_rows(
            self.network_.generative,
            self._n_features_out,
            row_totals(totals, n_samples),
            seed=seed,
            chunk=int(self.batch_size),
            device=self._device,
        )

    def align(self, X: Any) -> tuple[CountMatrix, Unseen | None]:
        """Rows as counts over the model's vocabulary.

        Columns are matched by name where both have names. Where neither has, they are matched by
        position; where one side alone has, too, with a `DataWarning`. Features that the model does
        not know are left out and counted.

        Returns
        -------
        counts, unseen
            `unseen` is None if there was nothing to match by name.

        Raises
        ------
        NotFittedError, DataError
        """
        self.check_fitted()
        refuse_long_table(X, self.vocabulary_)
        counts = CountMatrix.from_any(X, counts=self.counts)
        require_values(self.parameters_["likelihood"], counts)
        counts = take_exposures(self.parameters_["exposure"], counts, stacklevel=4)
        if not counts.vocabulary.named and counts.n_features != self.n_features_in_:
            raise DataError(
                f"X has {counts.n_features} features, but NonlinearFactorAnalysis is expecting "
                f"{self.n_features_in_} features as input. Without column names, columns are "
                "matched by position."
            )
        by_name = counts.vocabulary.named and self.vocabulary_.named
        aligned, unseen = counts.align(self.vocabulary_)
        return aligned, unseen if by_name else None

    def _aligned(self, X: Any) -> CountMatrix:
        counts, unseen = self.align(X)
        if unseen is not None and unseen.n_features:
            warnings.warn(unseen_notice(unseen), DataWarning, stacklevel=3)
        return counts

    @neutral_torch()
    def save(self, path: str | Path) -> None:
        """Write the model to a folder; an earlier model there is replaced.

        Parameters of the fit are saved as they were then (`parameters_`), the others as they are.
        What was written is opened and compared before it replaces anything.

        Raises
        ------
        NotFittedError, ParameterError, ArchiveError
        """
        self.check_fitted()
        archive = to_archive(self)
        write_archive(as_path(path), archive, check=lambda written: check_opens(written, archive))

    def check_fitted(self) -> None:
        """Check that there is a fitted state, in single precision.

        Raises
        ------
        NotFittedError, ParameterError
        """
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                "This NonlinearFactorAnalysis is not fitted yet: call fit(X) first, or open a "
                "saved model with longtail.load(folder)."
            )
        check_dtypes(self.network_)

    @property
    def _n_features_out(self) -> int:
        # Of the fitted network, so that scikit-learn sees nothing before there is one.
        return int(self.network_.encoder.mean.out_features)

    @property
    def _mean_total(self) -> float:
        if self.running_ is not None:
            return self.running_.rate
        return float(self.fit_info_["train_tokens"]) / int(self.fit_info_["train_rows"])

    @property
    def _device(self) -> torch.device:
        if self._device_name != self.device:  # changed by `set_params`
            self.network_.to(resolve_device(self.device))
            self._device_name = self.device
        return next(self.network_.parameters()).device

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        weights = self.network_.parameters() if self.__sklearn_is_fitted__() else ()
        if any(tensor.is_inference() for tensor in weights):
            # Copied or unpickled in inference mode: gradients refuse such tensors for ever.
            with neutral_torch():
                self.network_ = copy.deepcopy(self.network_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _repr_html_inner(self) -> str:
        return f"{super()._repr_html_inner()}{fitted_html(self)}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += fitted_html(self)
        return bundle

    def _refine_settings(self, steps: int | None) -> RefineSettings:
        steps = self.eval_refine_steps if steps is None else steps
        steps = whole("refine_steps", steps, 0, MOST)
        return RefineSettings(steps, self.parameters_["refine_method"], converge=True)
