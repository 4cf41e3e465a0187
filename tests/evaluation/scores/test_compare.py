import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.scores.compare import (
    ResultSet,
    cell_difference,
    compare,
    compare_paths,
    side_of,
)
from alignmlm.evaluation.scores.results import empty, read_results, with_task, write_results
from alignmlm.evaluation.scores.score_rows import (
    ALL_WORDS,
    Cell,
    ScoreRow,
    by_cell,
    mean_alignment,
    measured,
    score_rows,
)
from alignmlm.evaluation.scores.scoring import (
    Answered,
    Sample,
    Scores,
    confusion,
    recorded_samples,
    samples_in,
    write_samples,
)
from alignmlm.evaluation.scores.statistics import correlation, holm, jackknife_error, spearman
from alignmlm.numerics.counter_rng import key, keys, uniform
from alignmlm.tasks.examples import doc_hash
from alignmlm.tasks.metrics import macro_f1

SOURCE, TARGET = "qaa-Latn", "qaa-Latn-x-trans"
PAPER_RHO = {"xnli": -0.727, "ner": -0.781, "pos": -0.734}


def row(seed: int, bz: float, objective="mlm", task="toy", target=TARGET, bs=90.0) -> ScoreRow:
    cell = Cell(objective, task, SOURCE, target)
    return ScoreRow(cell=cell, seed=seed, source=95.0, bs=bs, bz=bz, delta=bs - bz)


def side(*rows: ScoreRow) -> ResultSet:
    return ResultSet("some", list(rows))


def samples_of(arm, seed: int, share: float, name: str, examples: int = 300) -> list[Sample]:
    right = uniform(keys(key("sample", name, seed), np.arange(examples))) < share
    return [
        Sample(
            seed=seed, arm=arm, doc_id=str(i), doc_hash=doc_hash(f"text {i}"), target=["a"],
            filtered_resps=["a" if good else "b"], gained=float(good), possible=1.0,
        )
        for i, good in enumerate(right)
    ]  # fmt: skip


def write_evaluated(
    folder: Path, objective: str, scores: list[Scores], samples: list[Sample] | None, metric: str
) -> Path:
    config = {"task": {"name": "toy", "version": 1, "metric": metric}, "source": SOURCE}
    document = with_task(empty({"objective": objective}), config, scores, {}, 1.0)
    write_results(folder, document, {"toy": {TARGET: samples}} if samples else None)
    return folder


def evaluated(
    folder: Path, objective: str, bz_share: float, seeds: int, samples: bool = True
) -> Path:
    scores, found = [], []
    for seed in range(seeds):
        own = [
            *samples_of("bs", seed, 0.9, f"{objective} bs"),
            *samples_of("bz", seed, bz_share, f"{objective} bz"),
        ]
        percents = {
            arm: 100 * np.mean([s.gained for s in own if s.arm == arm]) for arm in ("bs", "bz")
        }
        found += own
        scores.append(
            Scores(
                seed=seed, source=SOURCE, target=TARGET, source_dev=95.0, source_test=95.0,
                bs=float(percents["bs"]), bz=float(percents["bz"]),
            )
        )  # fmt: skip
    return write_evaluated(folder, objective, scores, found if samples else None, "accuracy")


def with_samples(folder: Path, change) -> None:
    """Write the samples of some results anew, changed."""
    document = read_results(folder)
    found = recorded_samples(folder, document["samples"], "toy", TARGET)
    write_results(folder, document, {"toy": {TARGET: change(found)}})


@pytest.fixture
def paper(shared_data) -> Path:
    return shared_data / "upstream_reference"


@pytest.mark.parametrize("task", PAPER_RHO)
def test_spearmans_rho_over_the_papers_cells_is_the_papers(paper, task):
    cells = {c: rows for c, rows in by_cell(score_rows(paper)).items() if c.task == task}
    aligned = np.array([mean_alignment(rows, ALL_WORDS) for rows in cells.values()])
    delta = np.array([measured(rows, "delta").estimate for rows in cells.values()])
    found = correlation(aligned, delta, task)
    assert (found.pairs, round(found.rho, 3)) == (12, PAPER_RHO[task])
    assert found.interval.low < found.rho < found.interval.high < 0
    assert found.p == pytest.approx(scipy.stats.spearmanr(aligned, delta).pvalue, abs=0.004)


def test_the_papers_deltas_are_those_printed(paper):
    rows = {r.cell: r for r in score_rows(paper)}
    found = rows[Cell("dict_mlm", "xnli", "eng-Latn", "eng-Latn-x-syn-fra-trans")]
    assert (found.bs, found.bz, found.delta) == (74.3, 72.2, 2.2)  # rounded after subtraction


def test_one_seed_without_samples_tells_nothing(paper):
    assert {r.verdict() for r in compare_paths(paper, paper)} == {"unknown"}


def test_differences_are_b_minus_a_and_have_scipys_p_value():
    a, b = [40.0, 41.0, 43.0], [60.0, 63.0, 62.0]
    found = compare(
        side(*(row(i, x) for i, x in enumerate(a))),
        side(*(row(i, x) for i, x in enumerate(b))),
        ["bz"],
    )[0]
    assert found.difference.interval.estimate == pytest.approx(np.mean(b) - np.mean(a))
    assert found.p_holm == pytest.approx(scipy.stats.ttest_rel(b, a).pvalue)
    assert (found.seeds, found.verdict()) == (3, "differs")


def test_holm_counts_the_cells_of_one_measure():
    def shifted(by: float) -> ResultSet:
        cells = [row(s, 40.0 + s + by * (1 + s / 9), task=t) for t in "xyz" for s in range(3)]
        return side(*cells)

    found = compare(shifted(0.0), shifted(9.0), ["bz"])
    assert [r.p_holm for r in found] == pytest.approx([3 * r.difference.p for r in found])


def test_models_of_two_objectives_are_compared_cell_by_cell():
    found = compare(side(row(0, 40.0)), side(row(0, 60.0, objective="align_mlm")), ["delta"])
    assert [(r.cell.objective, r.a, r.b) for r in found] == [("mlm -> align_mlm", 50.0, 30.0)]


def test_seeds_of_one_side_alone_are_left_out():
    found = compare(side(row(0, 1.0), row(1, 2.0), row(2, 50.0)), side(row(0, 3.0), row(1, 4.0)))
    assert {r.seeds for r in found} == {2}
    assert found[1].a == 1.5


def test_nothing_in_common_is_an_error():
    with pytest.raises(DataError, match="no task, source and target is in both"):
        compare(side(row(0, 1.0)), side(row(0, 1.0, task="other")))


def test_an_unknown_measure_is_an_error(paper):
    with pytest.raises(ConfigError, match="measures = 'bw'"):
        compare_paths(paper, paper, ["bw"])


def test_a_cell_with_a_seed_twice_is_an_error():
    with pytest.raises(DataError, match="seed more than once"):
        compare(side(row(0, 1.0), row(0, 2.0)), side(row(0, 1.0)))


def test_with_one_seed_the_noise_is_that_of_the_examples(tmp_path):
    a = evaluated(tmp_path / "a", "mlm", 0.5, 1)
    b = evaluated(tmp_path / "b", "align_mlm", 0.7, 1)
    found = {r.measure: r for r in compare_paths(a, b)}
    bz = found["bz"].difference
    assert bz.method == "300 examples"
    assert bz.interval.estimate == pytest.approx(found["bz"].b - found["bz"].a)
    expected = 1.96 * 100 * math.sqrt((0.25 + 0.21) / 300)
    assert (bz.interval.high - bz.interval.low) / 2 == pytest.approx(expected, rel=0.1)
    assert [found[m].verdict() for m in ("bs", "bz", "delta")] == [
        "within noise", "differs", "differs",
    ]  # fmt: skip


def test_several_seeds_add_their_noise_to_that_of_the_examples(tmp_path):
    folders = [
        [evaluated(tmp_path / f"{name}{seeds}", name, share, seeds, samples)
         for name, share in (("mlm", 0.5), ("align_mlm", 0.55))]
        for seeds, samples in ((3, True), (4, False))
    ]  # fmt: skip
    both, seeds_alone = (compare_paths(*pair, ["bz"])[0].difference for pair in folders)
    assert (both.method, seeds_alone.method) == (
        "3 seeds and 300 examples",
        "4 seeds",
    )
    assert both.interval.low < both.interval.estimate < both.interval.high


def labels_of(name: str) -> list[tuple[str, str]]:
    """Right labels, of three, and answers of which 80 % are right."""
    right = "a" * 41 + "b" * 14 + "c" * 5
    draws = uniform(keys(key("labels", name), np.arange(len(right))))
    wrong = {"a": "b", "b": "c", "c": "a"}
    return [(a, a if x < 0.8 else wrong[a]) for a, x in zip(right, draws, strict=True)]


def with_macro_f1(folder: Path, name: str) -> tuple[Path, list[tuple[str, str]]]:
    """Results of macro F1, and the right labels and answers."""
    pairs = labels_of(name)
    found = [
        replace(sample, target=[right], filtered_resps=[given], gained=float(right == given))
        for sample, (right, given) in zip(samples_of("bz", 0, 0.5, name, 60), pairs, strict=True)
    ]
    percent = 100 * macro_f1(*zip(*pairs, strict=True))
    scores = Scores(seed=0, source=SOURCE, target=TARGET, source_test=95.0, bz=percent, bs=None)
    return write_evaluated(folder, name, [scores], found, "macro_f1"), pairs


def test_the_noise_of_macro_f1_is_that_of_all_examples_at_once(tmp_path):
    (a, pairs_a), (b, pairs_b) = (with_macro_f1(tmp_path / n, n) for n in ("mlm", "tlm"))
    found = compare_paths(a, b, ["bz"])[0].difference

    def without(pairs: list[tuple[str, str]], place: int) -> float:
        return 100 * macro_f1(*zip(*pairs[:place], *pairs[place + 1 :], strict=True))

    left_out = np.array([without(pairs_b, i) - without(pairs_a, i) for i in range(60)])
    half = scipy.stats.t.ppf(0.975, 59) * jackknife_error(left_out)
    assert found.method == "60 examples"
    assert found.interval.high - found.interval.estimate == pytest.approx(half)


def test_a_file_of_results_has_the_noise_of_its_folder(tmp_path):
    folders = [evaluated(tmp_path / name, name, 0.5, 1) for name in ("mlm", "tlm")]
    files = [folder / "results.json" for folder in folders]
    assert compare_paths(*files)[0].difference == compare_paths(*folders)[0].difference


def test_other_examples_on_one_side_are_an_error(tmp_path):
    a, b = (evaluated(tmp_path / n, n, 0.5, 1) for n in ("mlm", "tlm"))
    other = {doc_hash("text 7"): "0" * 16}
    with_samples(
        b, lambda found: [replace(s, doc_hash=other.get(s.doc_hash, s.doc_hash)) for s in found]
    )
    with pytest.raises(DataError, match="different test examples"):
        compare_paths(a, b)


@pytest.mark.parametrize(("key", "value"), [("metric", "macro_f1"), ("version", 2)])
def test_scores_of_another_metric_or_version_are_not_compared(tmp_path, key, value):
    a, b = (evaluated(tmp_path / n, n, 0.5, 1) for n in ("mlm", "tlm"))
    document = read_results(b)
    document["configs"]["toy"]["task"][key] = value
    write_results(b, document)
    with pytest.raises(DataError, match=f"toy has {key} .* in .*mlm, but '?{value}'? in .*tlm"):
        compare_paths(a, b)


def test_a_missing_example_means_that_nothing_is_known_of_examples(tmp_path):
    a, b = (evaluated(tmp_path / name, name, 0.5, 2) for name in ("mlm", "tlm"))
    with_samples(a, lambda found: found[1:])
    found = compare_paths(a, b, ["bs", "bz"])
    assert [r.difference.method for r in found] == ["2 seeds", "2 seeds and 300 examples"]


@pytest.mark.parametrize(
    ("seeds", "examples", "reason"),
    [
        (1, 1, "1 example only"),
        (3, 1, "1 example only"),
        (2, 5, "no spread over 2 seeds and 5 examples"),
        (2, 0, "no spread over 2 seeds"),
        (1, 0, "one seed without answers"),
    ],
)
def test_where_noise_is_unknown_the_cell_says_so_and_holm_leaves_it_out(seeds, examples, reason):
    def answers(share: float) -> Answered:
        shape = (examples, seeds)
        documents = tuple((str(number), "") for number in range(examples))
        return Answered(documents, np.full(shape, share), np.ones(shape))

    parts = [(-1, answers(0.0)), (1, answers(1.0))] if examples else None
    found = cell_difference(np.full(seeds, 100.0), parts)
    assert (found.interval.estimate, found.interval.known) == (100.0, False)
    assert (math.isnan(found.p), found.method) == (True, f"no p-value: {reason}")
    assert holm([found.p, 0.04])[1] == 0.04


def test_samples_come_back_as_they_were(tmp_path):
    samples = samples_of("bz", 3, 0.5, "x", 5)
    recorded = {"toy": {TARGET: write_samples(tmp_path, "toy", TARGET, samples)}}
    assert recorded_samples(tmp_path, recorded, "toy", TARGET) == samples
    assert recorded_samples(tmp_path, recorded, "toy", SOURCE) == []


def test_a_damaged_sample_is_named_by_its_line(tmp_path):
    file = write_samples(tmp_path, "toy", TARGET, samples_of("bz", 3, 0.5, "x", 2))
    path = tmp_path / file["file"]
    with pytest.raises(DataError, match=r"samples_toy@.*\.jsonl:3: no sample"):
        samples_in(path.read_bytes() + b'{"seed": 1}\n', path)


def test_confusions_are_counted_by_right_and_given_label():
    samples = samples_of("bz", 0, 0.5, "x", 40)
    labels, counts = confusion(samples, "bz")
    right = sum(s.filtered_resps == ["a"] for s in samples)
    assert (labels, counts.tolist()) == (["a", "b"], [[right, 40 - right], [0, 0]])


@pytest.mark.parametrize("name", ["", "evaluation", "results.json"])
def test_scores_are_found_in_a_run_its_evaluation_and_its_file(tmp_path, name):
    evaluated(tmp_path / "evaluation" if name != "results.json" else tmp_path, "mlm", 0.5, 2)
    found = score_rows(tmp_path / name)
    assert [(r.cell, r.seed) for r in found] == [
        (Cell("mlm", "toy", SOURCE, TARGET), seed) for seed in (0, 1)
    ]


def test_results_without_transfer_are_no_side_of_a_comparison(tmp_path):
    write_results(tmp_path, empty({"objective": "mlm"}))
    with pytest.raises(DataError, match="no scores of transfer"):
        side_of(tmp_path)


def test_a_metric_of_a_package_that_is_not_installed_is_named(tmp_path):
    for name in ("mlm", "tlm"):
        folder = evaluated(tmp_path / name, name, 0.5, 1)
        document = read_results(folder)
        document["configs"]["toy"]["task"]["metric"] = "their_f1"
        write_results(folder, document)
    with pytest.raises(DataError, match="toy was scored by 'their_f1', which is not known"):
        compare_paths(tmp_path / "mlm", tmp_path / "tlm")


@pytest.mark.parametrize("kind", ["token_classification", "question_answering"])
def test_labels_that_were_changed_between_two_evaluations_are_an_error(tmp_path, kind):
    for name in ("mlm", "tlm"):
        folder = evaluated(tmp_path / name, name, 0.5, 1)
        document = read_results(folder)
        document["configs"]["toy"]["task"]["kind"] = kind
        write_results(folder, document)
    with_samples(tmp_path / "tlm", lambda found: [replace(found[0], target=["b"]), *found[1:]])
    if kind == "question_answering":  # of several right answers, the one nearest to the model's
        assert compare_paths(tmp_path / "mlm", tmp_path / "tlm")
        return
    with pytest.raises(DataError, match="toy: the right labels of 1 of 600 answers differ"):
        compare_paths(tmp_path / "mlm", tmp_path / "tlm")


def test_a_study_has_a_row_a_run_with_its_alignment(tmp_path):
    line = {
        "objective": "mlm", "task": "toy", "source_language": SOURCE, "language": TARGET, "seed": 4,
        "source": 95.0, "bs": 90.0, "bz": 50.0, "delta": 40.0, "n_seeds": 3,
        "alignment_in_dictionary_percent": 12.0, "alignment_held_out_percent": None,
    }  # fmt: skip
    text = json.dumps({"schema_version": 1, "name": "x", "rows": [line]})
    (tmp_path / "study.json").write_text(text)
    (found,) = score_rows(tmp_path)
    assert (found.seed, found.delta, found.alignment_percent) == (4, 40.0, {"in dictionary": 12.0})


def test_a_folder_without_scores_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no scores"):
        score_rows(tmp_path)


def test_a_damaged_study_is_an_error(tmp_path):
    (tmp_path / "study.json").write_text('{"schema_version": 1, "rows": [{}]}')
    with pytest.raises(DataError, match=r"study\.json: row 0: objective must be"):
        score_rows(tmp_path)


def test_a_table_without_its_columns_is_an_error(tmp_path):
    for name in ("xlm.csv", "alignment.csv"):
        (tmp_path / name).write_text("Pre-training method,Transformation\nMLM,Trans\n")
    with pytest.raises(DataError, match="not the paper's published tables"):
        score_rows(tmp_path)


def test_spearman_of_equal_values_is_no_number():
    assert math.isnan(spearman(np.ones(4), np.arange(4.0)))
