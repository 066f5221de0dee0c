from __future__ import annotations

import subprocess
import sys

import pytest

import longtail


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_reading_data_does_not_load_torch():
    code = (
        "import sys, longtail; assert 'torch' not in sys.modules, 'import';"
        "longtail.CountMatrix, longtail.read_counts, longtail.save_plot;"
        "import longtail.data, longtail.features, longtail.errors;"
        "assert 'torch' not in sys.modules, 'data';"
        "longtail.NonlinearFactorAnalysis; assert 'torch' in sys.modules; print('ok')"
    )
    assert python(code).strip() == "ok"


def test_every_public_name_is_there():
    assert dir(longtail) == sorted(longtail.__all__)
    assert len(set(longtail.__all__)) == len(longtail.__all__)
    for name in longtail.__all__:
        assert getattr(longtail, name) is not None
    assert longtail.__version__.count(".") == 2


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'longtail' has no attribute 'nonsense'"):
        longtail.nonsense  # noqa: B018
    with pytest.raises(ImportError):
        exec("from longtail import nonsense")
