from alignmlm.reporting.tables import cell, tables_of, with_interval
from tests.reporting.conftest import row


def test_seeds_of_one_cell_become_a_mean_with_its_range():
    _, transfer = tables_of([row("mlm", 0, 40.0), row("mlm", 1, 50.0), row("tlm", 0, 60.0)])
    place = len(transfer.names) + transfer.measures.index("BZ (%)")
    assert [line[place] for line in transfer.lines] == ["45.0 (40.0 to 50.0)", "60.0"]


def test_what_no_row_has_is_no_column():
    assert "aligned, held out (%)" not in tables_of([row("mlm", 0, 40.0)])[0].measures


def test_what_one_row_lacks_is_shown_as_a_dash():
    rows = [row("mlm", 0, 40.0), row("tlm", 0, 40.0, alignment_held_out_percent=12.3)]
    pretraining, _ = tables_of(rows)
    assert [line[-1] for line in pretraining.lines] == ["–", "12.3"]  # noqa: RUF001


def test_objectives_of_one_target_lie_together():
    tasks, objectives = ("pos", "ner"), ("mlm", "tlm")
    rows = [row(objective, 0, 40.0, task=task) for objective in objectives for task in tasks]
    pretraining, transfer = tables_of(rows)
    assert [line[0] for line in pretraining.lines] == ["mlm", "tlm"]
    assert [(line[0], line[2]) for line in transfer.lines] == [
        ("pos", "mlm"), ("pos", "tlm"), ("ner", "mlm"), ("ner", "tlm"),
    ]  # fmt: skip


def test_a_run_counts_once_in_the_means_of_pre_training_however_many_tasks_it_has():
    rows = [row("mlm", 0, 40.0, task=task) for task in ("pos", "ner", "nli")]
    pretraining, _ = tables_of([*rows, row("mlm", 1, 40.0, task="pos")])
    assert pretraining.lines[0][1] == "3.600 (3.100 to 4.100)"


def test_a_loss_of_transfer_that_is_rounded_to_zero_has_no_sign():
    assert cell([-0.04], 1) == "0.0"
    assert cell([-0.04, 0.03], 1) == "0.0 (0.0 to 0.0)"
    assert with_interval({"delta": -0.04}, "delta") == "0.0"
