from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from longtail.ops import SparseRows, data_term
from tests.builders import sparse

SHAPES = [(1, 1), (1, 5), (4, 1), (3, 7), (17, 33)]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def example(shape, dtype, density=0.4, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.poisson(2, shape) * (rng.random(shape) < density)
    return torch.tensor(dense, dtype=dtype), sparse(dense, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_and_sums_agree_with_dense(shape, density, dtype):
    dense, x = example(shape, dtype, density)
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    right = torch.randn(shape[1], 3, dtype=dtype, requires_grad=True)
    left = torch.randn(shape[0], 2, dtype=dtype)
    product = x.matmul(right)
    assert product.dtype == dtype
    torch.testing.assert_close(product, dense @ right, **close)
    torch.testing.assert_close(x.t_matmul(left), dense.T @ left, **close)
    torch.testing.assert_close(x.totals(), dense.sum(1), **close)
    torch.testing.assert_close(x.to_dense(), dense, rtol=0, atol=0)
    upstream = torch.randn_like(product)
    (gradient,) = torch.autograd.grad(product, right, upstream)
    torch.testing.assert_close(gradient, dense.T @ upstream, **close)


def test_gradcheck():
    _, x = example((4, 6), torch.float64)
    right = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(x.matmul, (right,))


def test_products_take_the_type_of_the_dense_side():
    _, x = example((3, 4), torch.float32)
    assert x.matmul(torch.ones(4, 2, dtype=torch.float64)).dtype == torch.float64
    assert x.t_matmul(torch.ones(3, 2, dtype=torch.float64)).dtype == torch.float64


def test_a_strided_right_side():
    dense, x = example((5, 6), torch.float64)
    right = torch.randn(2, 6, dtype=torch.float64).T
    torch.testing.assert_close(x.matmul(right), dense @ right)


def test_entries_know_their_rows():
    x = sparse([[0, 2, 3], [0, 0, 0], [1, 0, 0]])
    assert x.row_of_entry().tolist() == [0, 0, 2]
    assert x.indices.tolist() == [1, 2, 0]


def test_narrow_index_types_and_the_source_is_copied():
    csr = csr_array(np.array([[1, 0], [2, 3]], dtype=np.int32))
    assert csr.indices.dtype == np.int32
    x = SparseRows.from_scipy(csr)
    csr.data[:] = 9
    assert x.values.dtype == torch.float32
    assert x.indices.dtype == x.indptr.dtype == torch.int64
    assert x.to_dense().tolist() == [[1, 0], [2, 3]]


def test_data_term():
    dense, x = example((4, 6), torch.float64)
    weight = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    term = data_term(x, weight, bias)
    torch.testing.assert_close(term.xw, dense @ weight.detach())
    torch.testing.assert_close(term.xb, dense @ bias.detach())
    torch.testing.assert_close(term.totals, dense.sum(1))
    assert not term.xw.requires_grad
    assert not term.xb.requires_grad


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_dots_at_the_entries(density, dtype):
    dense, x = example((5, 7), dtype, density)
    left = torch.randn(5, 3, dtype=dtype, requires_grad=True)
    right = torch.randn(7, 3, dtype=dtype, requires_grad=True)
    found = x.dots(left, right)
    expected = (left @ right.T)[dense != 0]
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(found, expected, **close)
    if density:
        upstream = torch.randn_like(found)
        for a, b in zip(
            torch.autograd.grad(found, (left, right), upstream),
            torch.autograd.grad(expected, (left, right), upstream),
            strict=True,
        ):
            torch.testing.assert_close(a, b, **close)


def test_gradcheck_of_dots():
    _, x = example((4, 6), torch.float64)
    parts = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 6)]
    assert torch.autograd.gradcheck(x.dots, parts)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_restricted_to_some_features(share):
    dense, x = example((6, 9), torch.float64)
    mask = torch.arange(9) < share * 9
    part = x.restricted(mask)
    expected = dense * mask
    torch.testing.assert_close(part.to_dense(), expected)
    left = torch.randn(6, 2, dtype=torch.float64)
    torch.testing.assert_close(part.t_matmul(left), expected.T @ left)
    torch.testing.assert_close(part.totals(), expected.sum(1))


def test_other_values_at_the_same_entries():
    dense, x = example((6, 9), torch.float64)
    values = torch.arange(1.0, x.values.numel() + 1, dtype=torch.float64)
    expected = dense.clone()
    expected[dense != 0] = values
    other = x.with_values(values)
    torch.testing.assert_close(other.to_dense(), expected)
    left = torch.randn(6, 2, dtype=torch.float64)
    torch.testing.assert_close(other.t_matmul(left), expected.T @ left)
