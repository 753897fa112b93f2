from __future__ import annotations

from headstart.report.history import curves, rates


def _epoch(epoch, phase="all", stage="lp-ft", fold=None, **values):
    return {"kind": "epoch", "stage": stage, "fold": fold, "phase": phase, "epoch": epoch, **values}


def _step(step, phase="all", stage="lp-ft", fold=None, **rates_):
    return {"kind": "step", "stage": stage, "fold": fold, "phase": phase, "step": step, "rates": rates_}


def test_epochs_count_on_across_phases():
    run = curves([_epoch(0, "head"), _epoch(1, "head"), _epoch(0, "all", train_loss=0.5)])[0]
    assert run.epochs == [1, 2, 3]
    assert run.phases == [(1, "head"), (3, "all")]
    assert run.train_loss == [None, None, 0.5]


def test_an_epoch_written_again_after_a_resume_counts_once_as_it_was_last():
    run = curves([_epoch(0, train_loss=3.0), _epoch(1, train_loss=2.0), _epoch(1, train_loss=1.5)])[0]
    assert run.train_loss == [3.0, 1.5]


def test_candidates_and_folds_are_kept_apart():
    found = curves([_epoch(0, fold=0), _epoch(0, fold=1), _epoch(0), _epoch(0, stage="full")])
    assert [(c.stage, c.fold) for c in found] == [("lp-ft", 0), ("lp-ft", 1), ("lp-ft", None), ("full", None)]


def test_rates_are_those_of_the_run_on_all_data():
    events = [_step(0, fold=0, head=9.0), _step(0, head=1.0), _step(1, head=2.0)]
    assert rates(events)[0].lines == {"head": [(0, 1.0), (1, 2.0)]}
    assert rates(events[:1])[0].lines == {"head": [(0, 9.0)]}


def test_steps_count_on_where_a_phase_starts_at_zero_and_stay_where_it_does_not():
    again = rates([_step(0, "a", head=1.0), _step(1, "a", head=1.0), _step(0, "b", head=1.0)])[0]
    assert [s for s, _ in again.lines["head"]] == [0, 1, 2]
    assert again.phases == [(0, "a"), (2, "b")]
    on = rates([_step(0, "a", head=1.0), _step(1, "a", head=1.0), _step(2, "b", head=1.0)])[0]
    assert [s for s, _ in on.lines["head"]] == [0, 1, 2]


def test_rates_of_zero_have_no_place_on_a_logarithmic_axis():
    assert rates([_step(0, head=0.0), _step(1, head=1.0)])[0].lines == {"head": [(1, 1.0)]}


def test_long_runs_are_thinned_and_keep_their_ends():
    points = rates([_step(i, head=1.0) for i in range(5000)], most=100)[0].lines["head"]
    assert len(points) <= 102
    assert points[0][0] == 0
    assert points[-1][0] == 4999


def test_lines_of_other_kinds_are_passed_over():
    assert curves([{"kind": "note"}, {}]) == []
    assert rates([{"kind": "step", "rates": None}, {}]) == []
