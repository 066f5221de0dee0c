from __future__ import annotations

import json

import pytest

from longtail.training import EpochRecord, History


def record(epoch, valid=True):
    figure = 100.0 / epoch if valid else None
    return EpochRecord(
        epoch=epoch,
        updates=epoch * 3,
        kl_weight=0.1 * epoch,
        learning_rate=1e-3,
        refine_steps=10,
        train_nats_per_row=-10.1,
        train_kl=0.3,
        valid_nats_per_row=figure,
        valid_per_doc_amortized=figure,
        valid_per_doc_refined=figure,
        active_kl=2,
        seconds=0.25,
        rows_per_second=1e4,
    )


def test_a_sequence():
    history = History().plus(record(1)).plus(record(2))
    assert len(history) == 2
    assert history[-1].epoch == 2
    assert [r.epoch for r in history] == [1, 2]
    assert repr(history) == "History(2 epochs)"
    shorter = History([record(1)])
    shorter.plus(record(2))
    assert len(shorter) == 1


@pytest.mark.parametrize("valid", [True, False])
def test_round_trip_through_json(valid):
    history = History([record(e, valid) for e in (1, 2, 3)])
    again = History.from_list(json.loads(json.dumps(history.to_list())))
    assert list(again) == list(history)


def test_frame():
    frame = History([record(1), record(2, valid=False)]).frame()
    assert frame.columns == list(EpochRecord.__dataclass_fields__)
    assert frame["epoch"].to_list() == [1, 2]
    assert frame["valid_per_doc_refined"].to_list() == [100.0, None]
    assert History().frame().height == 0
