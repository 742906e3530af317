"""``PhotonNMF``: the factorization of photons as scikit-learn's users know it, ``fit`` and ``transform``.

Pixels are rows without positions, so nothing spatial is done: no bins, no prior.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.problem import Demand, Problem, photons_of
from edxdask.errors import ParameterError
from edxdask.factorize.iteration.chosen_start import chosen_start
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.rounds import FAR_MOMENTUM, MOST_MOMENTUM, factorize
from edxdask.factorize.iteration.starts import FirstFactors, nndsvd, usual_fill
from edxdask.factorize.iteration.sweep_step import Loss
from edxdask.factorize.matrix import best_amounts, cube_of, loss_of
from edxdask.factorize.nmf import PRECISIONS
from edxdask.factorize.spectra.free import FreeSpectra
from edxdask.photons import MAX_PHASES
from edxdask.photons.block import MAX_CHANNELS
from edxdask.progress import ProgressHook, ProgressOption, shown

USUAL_COMPONENTS = 3


class PhotonNMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Non-negative matrix factorization of counts, at the cost of their photons: ``X ≈ W · components_``.

    A scikit-learn estimator around the engine of ``edxdask.nmf``: takes pixels × channels, in memory, as a
    NumPy array or SciPy sparse matrix, and works in a ``Pipeline`` and in HyperSpy's ``decomposition``. For
    maps that are larger than memory, or where neighbours help, use ``edxdask.nmf`` or ``edxdask.psnmf``.

    Whole numbers of any dtype are counts, and taken as they are. Other numbers of at least 0 (rates, scaled
    or weighted counts) are factorized too, rounded to steps of about 2e-10 of the largest; memory and time
    follow the numbers that are not zero. Negative numbers and NaN are refused. HyperSpy's EDS signals scale
    counts unless this is set: ``s.decomposition(False, None, algorithm=PhotonNMF(3))`` passes them as
    they are, for ``loss="kl"``; scaled counts are for ``loss="frobenius"``.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of components, at most 32; None takes three, or as many as there are rows or channels.
    loss : {"kl", "frobenius"}, default="kl"
        Kullback-Leibler divergence, the likelihood of Poisson counts, or squared differences;
        ``beta_loss="kullback-leibler"`` and ``"frobenius"`` of scikit-learn's ``NMF``.
    init : {None, "nndsvda", "random"} or tuple, default=None
        How to begin: "nndsvda" is scikit-learn's, with zeros filled by the mean of X. None is the same where
        that mean is at most 1; above, it fills with the square root of the mean. A tuple ``(W, H)`` holds the
        factors to begin with.
    max_iter : int, default=500
        The most iterations.
    tol : float, default=1e-7
        Stop when three iterations in a row gain less than this fraction of the loss; 0 never stops.
    random_state : int, RandomState or None, default=None
        For ``init="random"``.
    accelerate : bool, default=True
        Extrapolate, with a guard. False gives the plain updates of scikit-learn's
        ``NMF(solver="mu")``.
    precision : {"single", "double"}, default="single"
        Of the iterations. Results are float32 for X of float32, else float64.
    workers : int or None, default=None
        Threads; None takes one per core.
    memory_limit : str, float or None, default=None
        Memory that may be used, such as "6GiB"; photons that do not fit go to a cache on local disk.
    cache : str, Path or None, default=None
        Folder for that cache.
    progress : bool, callable or None, default=None
        None shows a bar in a terminal and in a notebook, False nothing; a function is called with a
        ``Progress`` after every iteration.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Spectra. Each sums to 1, so that W is in counts; biggest first, or as in ``init`` where factors are
        given.
    n_components_ : int
        Number of components.
    n_iter_ : int
        Iterations done.
    reconstruction_err_ : float
        As in scikit-learn: square root of twice the loss between X and ``W · components_``.
    n_features_in_ : int
        Number of channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of X, where it has them.

    Notes
    -----
    W is found for the final spectra, row by row and to the optimum, as scikit-learn's ``NMF.transform`` would
    with very many iterations: ``fit_transform(X)`` is ``fit(X).transform(X)``, and the W of a row does not
    depend on other rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> spectra = np.array([[0.7, 0.2, 0.1, 0.0], [0.0, 0.1, 0.3, 0.6]])
    >>> X = rng.poisson(rng.uniform(0, 100, (500, 2)) @ spectra)
    >>> model = PhotonNMF(n_components=2).fit(X)
    >>> W = model.transform(X[:5])
    >>> W.shape, bool(np.allclose(model.components_.sum(axis=1), 1))
    ((5, 2), True)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        loss: Loss = "kl",
        init: str | tuple[Any, Any] | None = None,
        max_iter: int = 500,
        tol: float = 1e-7,
        random_state: Any = None,
        accelerate: bool = True,
        precision: str = "single",
        workers: int | None = None,
        memory_limit: str | float | None = None,
        cache: str | Path | None = None,
        progress: ProgressOption = None,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.accelerate = accelerate
        self.precision = precision
        self.workers = workers
        self.memory_limit = memory_limit
        self.cache = cache
        self.progress = progress

    def fit(self, X: Any, y: Any = None) -> PhotonNMF:
        """Find the spectra.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Counts, pixels × channels.
        y : None
            Not used.

        Returns
        -------
        PhotonNMF
            This estimator.
        """
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Find the spectra, and how much of each is in the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Counts, pixels × channels.
        y : None
            Not used.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            W, in counts.
        """
        self._check_options()
        X = self._checked(X, reset=True)
        rank = self._rank(*X.shape)
        with self._problem(X, rank) as (problem, step, hook):
            first = self._start(problem, rank, step)
            loop = Loop(problem.executor, type(self).__name__, StopRule(self.max_iter, self.tol), hook)
            most = FAR_MOMENTUM if self.loss == "kl" else MOST_MOMENTUM
            found = factorize(
                first.abundance, FreeSpectra(), first.spectra, loop,
                loss=self.loss, accelerate=self.accelerate, most_momentum=most,
            )  # fmt: skip
            unit = self._unit(found.spectra, gather_abundance(found.abundance))
            amounts = best_amounts(problem, unit, self.loss)
            error = loss_of(problem, amounts, unit, self.loss)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        self.components_ = unit.astype(dtype)
        self.n_components_ = rank
        self.n_iter_ = len(found.objectives)
        scale = step if self.loss == "kl" else step**2
        self.reconstruction_err_ = float(np.sqrt(2 * scale * max(error, 0.0)))
        if self.n_iter_ == self.max_iter and self.tol > 0:
            warnings.warn(
                f"PhotonNMF used all of max_iter={self.max_iter} iterations; more may fit better.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return (amounts * step).astype(dtype)

    def transform(self, X: Any) -> np.ndarray:
        """Find how much of each spectrum is in the rows of X: at least 0, and the best by ``loss``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Counts, pixels × channels.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            W, in counts.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        spectra = self.components_.astype(np.float64)
        sums = _row_sums(spectra)
        with self._problem(X, self.n_components_) as (problem, step, _):
            amounts = best_amounts(problem, spectra / sums[:, None], self.loss)
        return (amounts * (step / sums)).astype(np.float32 if X.dtype == np.float32 else np.float64)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Give the counts that amounts of the spectra would make.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            W, as ``transform`` gives it.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_)
            Expected counts, dense.
        """
        check_is_fitted(self)
        return check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32]) @ self.components_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        """Number of names that ``get_feature_names_out`` gives."""
        return len(self.components_)

    def _check_options(self) -> None:
        if self.loss not in ("kl", "frobenius"):
            fix = "'kl' is scikit-learn's beta_loss='kullback-leibler'."
            raise ParameterError("loss", self.loss, "'kl' or 'frobenius'", fix)
        if self.precision not in PRECISIONS:
            raise ParameterError("precision", self.precision, "'single' or 'double'")
        if not isinstance(self.max_iter, numbers.Integral) or self.max_iter < 1:
            raise ParameterError("max_iter", self.max_iter, "a whole number of at least 1")
        if not self.tol >= 0:
            raise ParameterError("tol", self.tol, "a number of at least 0")

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """X as an array or a CSR matrix of numbers of at least 0."""
        checked = validate_data(self, X, accept_sparse="csr", ensure_non_negative=True, reset=reset)
        if checked.shape[1] > MAX_CHANNELS:
            raise ParameterError("X", f"{checked.shape[1]} channels", f"at most {MAX_CHANNELS}", "Bin them.")
        return checked

    def _rank(self, rows: int, channels: int) -> int:
        most = min(rows, channels, MAX_PHASES)
        if self.n_components is None:
            return min(USUAL_COMPONENTS, most)
        wanted = self.n_components
        if isinstance(wanted, bool) or not isinstance(wanted, numbers.Integral) or not 1 <= wanted <= most:
            limits = f"at most {MAX_PHASES} and no more than n_samples={rows} or n_features={channels}"
            raise ParameterError("n_components", wanted, f"a whole number of at least 1, {limits}, or None")
        return int(wanted)

    @contextmanager
    def _problem(self, X: Any, rank: int) -> Iterator[tuple[Problem, float, ProgressHook | None]]:
        """Photons of X, what one of them is in units of X, and where progress is reported."""
        cube, step = cube_of(X)
        # the abundances of four moments while spectra are found, two in double precision after that
        state = max(4 * PRECISIONS[self.precision].itemsize, 16) * rank + 16
        demand = Demand(state, 6 * rank * X.shape[1] * 8)
        name = type(self).__name__
        with (
            shown(self.progress, name) as hook,
            photons_of(
                cube, step=name, demand=demand,
                workers=self.workers, memory_limit=self.memory_limit, cache=self.cache, as_they_are=True,
            ) as problem,
        ):  # fmt: skip
            yield problem, step, hook

    def _start(self, problem: Problem, rank: int, step: float) -> FirstFactors:
        """Make the first spectra and amounts."""
        precision = PRECISIONS[self.precision]
        if self.init is None:
            return nndsvd(problem, rank, usual_fill(problem), precision)
        init = self.init
        if isinstance(init, tuple) and len(init) == 2:
            init = np.asarray(init[0], dtype=np.float64) / step, init[1]
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return chosen_start(problem, init, rank, precision, seed)

    def _unit(self, spectra: np.ndarray, abundance: np.ndarray) -> np.ndarray:
        """Spectra that sum to 1, biggest first unless the user gave their order."""
        sums = _row_sums(spectra)
        sizes = abundance.sum(axis=0, dtype=np.float64) * sums
        order = np.arange(len(sums)) if isinstance(self.init, tuple) else np.argsort(-sizes, kind="stable")
        return (spectra / sums[:, None])[order]


def _row_sums(spectra: np.ndarray) -> np.ndarray:
    """Sum each row; 1 where a row is zero."""
    sums = spectra.sum(axis=1, dtype=np.float64)
    return np.where(sums > 0, sums, 1.0)
