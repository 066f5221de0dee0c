"""The pages of results have a place for every table, and what stands there comes from the rows."""

from __future__ import annotations

import pytest

from benchmarks import _beyond, _results, _scaling, _tables


@pytest.mark.parametrize("module", [_results, _beyond, _scaling])
def test_every_table_has_its_place_and_is_up_to_date(module) -> None:
    page = module.PAGE.read_text(encoding="utf-8")
    for name, table in module.TABLES.items():
        assert f"<!-- table: {name} -->\n\n{table()}\n" in page, name


def test_the_table_of_cells_is_up_to_date() -> None:
    page = _tables.CELLS_PAGE.read_text(encoding="utf-8")
    table = "\n".join(_tables.cells())
    assert f"<!-- table: cells -->\n\n{table}\n" in page
