"""Sparse rows on a device, and their products with dense matrices.

Both products are written as a sum over a bag of rows (`embedding_bag`): the forward one over the
features of each row, the transposed one over the rows of each feature. Nothing is scattered, so
the results are bitwise reproducible and no B×V array ever exists.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

__all__ = ["DataTerm", "SparseRows", "data_term"]


@dataclass(frozen=True, eq=False)
class SparseRows:
    """B sparse rows over V features, kept by row and by feature.

    Attributes
    ----------
    indptr, indices, values
        Compressed sparse rows: row d owns the entries ``indptr[d]:indptr[d + 1]``.
    t_indptr, t_indices, t_values
        The transpose, in the same form: what the gradients need.
    shape
        ``(B, V)``.
    exposure
        The exposures given with the rows, (B,), of the type of `values`; None: none are given.
    """

    indptr: Tensor
    indices: Tensor
    values: Tensor
    t_indptr: Tensor
    t_indices: Tensor
    t_values: Tensor
    shape: tuple[int, int]
    exposure: Tensor | None = None

    @classmethod
    def from_scipy(
        cls,
        csr: csr_array,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        exposure: NDArray[np.float64] | None = None,
    ) -> SparseRows:
        """Copy a SciPy CSR array, and exposures (B,) of its rows, to a device."""
        csc = csr.tocsc()

        def index(a: Any) -> Tensor:
            return torch.as_tensor(a.astype("int64"), device=device)

        def value(a: Any) -> Tensor:
            return torch.as_tensor(a.astype("float64"), dtype=dtype, device=device)

        return cls(
            index(csr.indptr),
            index(csr.indices),
            value(csr.data),
            index(csc.indptr),
            index(csc.indices),
            value(csc.data),
            (int(csr.shape[0]), int(csr.shape[1])),
            None if exposure is None else value(exposure),
        )

    def totals(self) -> Tensor:
        """N_d, the sum of each row: (B,)."""
        ones = self.values.new_ones(self.shape[1], 1)
        return _bag_sum(self.indptr, self.indices, self.values, ones).squeeze(1)

    def features_of(self, row: int) -> Tensor:
        """The features that a row has: int64."""
        return self.indices[self.indptr[row] : self.indptr[row + 1]]

    def row(self, number: int) -> SparseRows:
        """One row as a matrix of its own: (1, V)."""
        own = slice(int(self.indptr[number]), int(self.indptr[number + 1]))
        indices, values = self.indices[own].clone(), self.values[own].clone()
        per_feature = torch.bincount(indices, minlength=self.shape[1])
        return SparseRows(
            self.indptr.new_tensor([0, len(indices)]),
            indices,
            values,
            F.pad(per_feature.cumsum(0), (1, 0)),
            torch.zeros_like(indices),
            values,
            (1, self.shape[1]),
            None if self.exposure is None else self.exposure[number : number + 1].clone(),
        )

    def row_of_entry(self) -> Tensor:
        """The row number of every stored entry: (nnz,)."""
        rows = torch.arange(self.shape[0], device=self.indptr.device)
        return torch.repeat_interleave(rows, self.indptr.diff())

    def to_dense(self) -> Tensor:
        """The B×V array: for tests and readable references only."""
        out = self.values.new_zeros(self.shape)
        out[self.row_of_entry(), self.indices] = self.values
        return out

    def matmul(self, dense: Tensor) -> Tensor:
        """X·D for D of (V, H), differentiable in D: O(nnz·H)."""
        result: Tensor = _SparseMatmul.apply(dense, self)  # type: ignore[no-untyped-call]
        return result

    def dots(self, left: Tensor, right: Tensor) -> Tensor:
        """left·rightᵀ at the stored entries only, differentiable: O(nnz·H).

        Parameters
        ----------
        left, right
            (B, H) and (V, H).

        Returns
        -------
        Tensor
            (nnz,), in the order of `values`.
        """
        result: Tensor = _SampledDots.apply(left, right, self)  # type: ignore[no-untyped-call]
        return result

    def restricted(self, features: Tensor) -> SparseRows:
        """The same rows with only the features for which the mask, (V,), is true."""
        kept = features[self.indices]
        t_kept = torch.repeat_interleave(features, self.t_indptr.diff())
        return SparseRows(
            F.pad(kept.cumsum(0), (1, 0))[self.indptr],
            self.indices[kept],
            self.values[kept],
            F.pad(t_kept.cumsum(0), (1, 0))[self.t_indptr],
            self.t_indices[t_kept],
            self.t_values[t_kept],
            self.shape,
            self.exposure,
        )

    def with_values(self, values: Tensor) -> SparseRows:
        """The same entries with other values, (nnz,)."""
        order = torch.argsort(self.indices, stable=True)
        return replace(self, values=values, t_values=values[order])

    def t_matmul(self, dense: Tensor) -> Tensor:
        """Xᵀ·D for D of (B, H): (V, H). Not differentiable."""
        return _bag_sum(self.t_indptr, self.t_indices, self.t_values, dense)


@dataclass(frozen=True, eq=False)
class DataTerm:
    """The part of a log-likelihood that is linear in the logits, Σ_v x_v a_v = h·(X W) + X b.

    It does not depend on z, so refinement computes it once per batch.

    Attributes
    ----------
    xw
        X W: (B, H).
    xb
        X b: (B,).
    totals
        N_d: (B,).
    exposure
        s_d, what the row's expected counts are proportional to, (B,); None: N_d.
    constant
        What the log-likelihood has besides, independent of z: (B,); None: nothing.
    """

    xw: Tensor
    xb: Tensor
    totals: Tensor
    exposure: Tensor | None = None
    constant: Tensor | None = None


@torch.no_grad()
def data_term(x: SparseRows, weight: Tensor, bias: Tensor) -> DataTerm:
    """Products of sparse counts with the output layer (W of (V, H), b of (V,))."""
    return DataTerm(x.matmul(weight), x.matmul(bias[:, None]).squeeze(1), x.totals())


def _bag_sum(indptr: Tensor, indices: Tensor, values: Tensor, dense: Tensor) -> Tensor:
    if indices.numel() == 0:
        return dense.new_zeros(indptr.numel() - 1, dense.shape[1])
    return F.embedding_bag(
        indices,
        dense.contiguous(),
        indptr,
        mode="sum",
        per_sample_weights=values.to(dense.dtype),
        include_last_offset=True,
    )


class _SampledDots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, x: SparseRows) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.x = x
        if x.indices.numel() == 0:
            return left.new_zeros(0)
        with warnings.catch_warnings():
            # torch announces that its sparse matrices are in beta.
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            pattern = torch.sparse_csr_tensor(
                x.indptr,
                x.indices,
                left.new_zeros(x.indices.shape),
                x.shape,
                check_invariants=False,  # ours hold, and checking is slow
            )
            product = torch.sparse.sampled_addmm(pattern, left, right.T, beta=0.0)
        found: Tensor = product.values()
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        x, grad_left, grad_right = ctx.x, None, None
        if ctx.needs_input_grad[0]:
            grad_left = _bag_sum(x.indptr, x.indices, grad, right)
        if ctx.needs_input_grad[1]:
            grad_right = x.with_values(grad).t_matmul(left)
        return grad_left, grad_right, None


class _SparseMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, x: SparseRows) -> Tensor:
        ctx.x = x
        return _bag_sum(x.indptr, x.indices, x.values, dense)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.x.t_matmul(grad), None
