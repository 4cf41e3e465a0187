"""Transfer between natural languages, retrieval, and every kind of task of the sample world."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alignmlm.corpus.sample_world import plain_text, sample_documents
from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.evaluated_model import open_model
from alignmlm.evaluation.fine_tuning.model_cache import make_room
from alignmlm.evaluation.scores.scoring import recorded_samples
from alignmlm.evaluation.selection import Skipped, direction_of, named_tasks, selected_tasks
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.reporting.every_eval_ever import evaluation_record
from alignmlm.tasks.task import load_task, requested_tasks
from tests.evaluation.shapes import write_checkpoint
from tests.toys import conllu

QUICK = FineTuneConfig(epochs=1, learning_rate=5e-3, batch_rows=8)
ONE, TWO = "qaa-Latn", "qab-Latn"
SENTENCES = ["the/DET dofor/NOUN drofa/VERB +./PUNCT", "every/DET kiru/NOUN lutek/VERB +./PUNCT"]
CONTEXT = "the dofor drofa mima. every kiru lutek the vustut."


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    texts = [plain_text(s) for document in sample_documents(200) for s in document]
    return write_checkpoint(tmp_path_factory.mktemp("model"), "roberta", texts, 400, 64)


@pytest.fixture
def written(tmp_path):
    """A YAML file of a task, its files beside it."""

    def write(name: str, text: str, **files: str) -> str:
        for file, content in files.items():
            (tmp_path / f"{name}.{file}").write_text(content, encoding="utf-8")
        splits = "".join(f"  {s}: {tmp_path / f'{name}.{s}'}\n" for s in files if s != "other")
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"name: {name}\nversion: 1\n{text}files:\n{splits}", encoding="utf-8")
        return str(path)

    return write


def settings(**changes) -> EvaluationConfig:
    return EvaluationConfig(**{"languages": [ONE, TWO], "finetune": QUICK, **changes})


POS = "kind: token_classification\nmetric: accuracy\nform: conllu_upos\nlanguage: "


def test_a_natural_pair_is_fine_tuned_on_one_language_and_tested_on_the_other(
    model, written, tmp_path
):
    text = conllu(SENTENCES)
    source = written("one", f"{POS}{ONE}\n", train=text, dev=text, test=text)
    target = written("two", f"{POS}{TWO}\n", test=text)
    found, _ = evaluate(model, [target], settings(source_task=source), tmp_path / "out")
    row = found["results"][f"two@{TWO}"]
    assert row["bz"] == row["source"]  # the same words, and nothing tells the languages apart
    assert (row["bs"], row["delta"]) == (None, None)
    assert found["configs"]["two"]["source_task"]["name"] == "one"
    assert found["matrix"]["two"] == {ONE: {TWO: row["bz"]}}
    data = {
        entry["evaluation_result_id"].rpartition("/")[2]: entry["source_data"]
        for entry in evaluation_record(found, "lab/toy")["evaluation_results"]
    }
    hashes = found["configs"]["two"]["source_files_xxh3"]
    assert (data["source"]["dataset_name"], data["bz"]["dataset_name"]) == ("one", "two")
    assert data["source"]["additional_details"] == {"files_xxh3": json.dumps(hashes)}
    samples = recorded_samples(tmp_path / "out", found["samples"], "two", TWO)
    assert {(s.arm, s.doc_id) for s in samples} == {("bz", "line 1"), ("bz", "line 6")}


def test_a_target_with_a_training_split_has_bs_too(model, written, tmp_path):
    text = conllu(SENTENCES)
    source = written("one", f"{POS}{ONE}\n", train=text, test=text)
    target = written("two", f"{POS}{TWO}\n", train=text, test=text)
    found, _ = evaluate(model, [target], settings(source_task=source), tmp_path / "out")
    row = found["results"][f"two@{TWO}"]
    assert row["delta"] == pytest.approx(row["bs"] - row["bz"])


def test_labels_that_the_source_lacks_are_an_error(model, written, tmp_path):
    source = written("one", f"{POS}{ONE}\n", train=conllu(SENTENCES), test=conllu(SENTENCES))
    target = written("two", f"{POS}{TWO}\n", test=conllu(["the/X dofor/NOUN"]))
    with pytest.raises(DataError, match=r"two has labels that one.*lacks: \['X'\]"):
        evaluate(model, [target], settings(source_task=source), tmp_path / "out")


def test_the_task_of_the_same_group_is_fine_tuned_on(model):
    export = open_model(model, ["eng-Latn", "fra-Latn"])
    found = direction_of(export, load_task("sequoia_pos"), None, [])
    assert (found.source_task.name, found.source, found.targets) == (
        "ewt_pos", "eng-Latn", ("fra-Latn",),
    )  # fmt: skip


@pytest.mark.parametrize("group", ["own", "pos"])
def test_a_task_of_the_users_own_is_fine_tuned_on_one_of_its_file(model, tmp_path, group):
    words = conllu(SENTENCES)
    for name in ("train", "test"):
        (tmp_path / f"{name}.conllu").write_text(words, encoding="utf-8")
    text = f"version: 1\n{POS.partition('language')[0]}group: {group}\ntasks:\n"
    text += f"  one: {{language: {ONE}, files: {{train: train.conllu, test: test.conllu}}}}\n"
    text += f"  two: {{language: {TWO}, files: {{test: test.conllu}}}}\n"
    (tmp_path / "tasks.yaml").write_text(text, encoding="utf-8")
    found, _ = evaluate(model, [f"{tmp_path}/tasks.yaml:two"], settings(), tmp_path / "out")
    assert found["configs"]["two"]["source_task"]["name"] == "one"


def test_a_task_with_a_test_split_only_is_fine_tuned_on_one_of_its_group(model):
    export = replace(open_model(model, ["eng-Latn"]), languages=("eng-Latn", "eng-Latn-x-inv"))
    found = direction_of(export, load_task("xquad_eng"), None, [])
    assert (found.source_task.name, found.targets) == ("tydiqa_eng", ("eng-Latn-x-inv",))


def test_a_group_is_all_tasks_that_the_model_has_languages_for(model):
    export = open_model(model, ["eng-Latn", "fra-Latn"])
    tasks = named_tasks(
        export, requested_tasks(["pos", "panx"]).by_name, EvaluationConfig(), Skipped()
    )
    assert [task.name for task in tasks] == ["french_gsd_pos", "sequoia_pos", "panx_fra"]
    with pytest.raises(ConfigError, match="task group"):
        selected_tasks(open_model(model, ["qaa-Latn"]), ["pos"], EvaluationConfig(), Skipped())


def test_pairs_and_questions_are_fine_tuned_and_scored(run_folder, written, tmp_path):
    pairs = "".join(f"the {n} drofa\tevery {n} lutek\t{['yes', 'no'][i % 2]}\n"
                    for i, n in enumerate(["dofor", "mima", "kiru", "vustut"] * 4))  # fmt: skip
    question = {"id": "q", "question": "every kiru?", "answers": [
        {"text": "vustut", "answer_start": CONTEXT.index("vustut")}]}  # fmt: skip
    squad = json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": [question]}]}]})
    nli = written("nli", f"kind: pair_classification\nmetric: accuracy\nform: pair_table\n"
                  f"language: {ONE}\n", train=pairs, test=pairs)  # fmt: skip
    qa = written("qa", f"kind: question_answering\nmetric: squad_f1\nform: squad_json\n"
                 f"language: {ONE}\n", train=squad, test=squad)  # fmt: skip
    found, _ = evaluate(run_folder, [nli, qa], EvaluationConfig(finetune=QUICK), tmp_path / "out")
    assert {key.partition("@")[0] for key in found["results"]} == {"nli", "qa"}
    for name in ("nli", "qa"):
        row = found["results"][name]
        assert 0 <= row["bz"] <= 100
        assert row["delta"] == pytest.approx(row["bs"] - row["bz"])
    counts = found["n-samples"]["qa"]["counts"][f"{ONE}-x-inv-trans"]
    assert (counts["questions_dropped"], counts["windows"] > 0) == (0, True)


def test_sentences_are_retrieved_at_every_layer_and_words_by_their_embeddings(
    model, written, tmp_path
):
    lines = "the dofor drofa mima.\nevery kiru lutek.\nthe vustut pife kewor.\n"
    (tmp_path / "twin").write_text(lines, encoding="utf-8")
    kind = "kind: sentence_retrieval\nmetric: retrieval_accuracy\nform: line_files\n"
    text = f"{kind}language: {ONE}\nother_language: {TWO}\n"
    sentences = written("lines", text, test=lines)
    raw = (
        Path(sentences)
        .read_text("utf-8")
        .replace(
            f"test: {tmp_path}/lines.test",
            f"test: {{path: {tmp_path}/lines.test, other: {tmp_path}/twin}}",
        )
    )
    Path(sentences).write_text(raw, encoding="utf-8")
    words = written(
        "words",
        f"kind: lexicon_induction\nmetric: precision_at_1\nform: word_pairs\n"
        f"language: {ONE}\nother_language: {TWO}\n",
        test="dofor mima\nkiru kiru\nvustut pife\n",
    )
    found, _ = evaluate(model, [sentences, words], settings(), tmp_path / "out")
    (row,) = found["retrieval"]["lines"]
    assert row["percent"] == 100.0  # the same sentences on both sides
    assert {f"layer_{n}/forward/csls_p1_percent" for n in range(3)} <= row["metrics"].keys()
    (row,) = found["retrieval"]["words"]
    assert (row["items"], row["counts"]["pairs_of_the_same_tokens"]) == (2, 1)
    shares = {
        entry["evaluation_result_id"]: entry["score_details"]["score"]
        for entry in evaluation_record(found, "lab/toy")["evaluation_results"]
    }
    assert shares == {f"lines@{ONE}:{TWO}": 1.0, f"words@{ONE}:{TWO}": row["percent"] / 100}


def test_a_limit_takes_the_first_examples_and_is_told(run_folder, toy_task, tmp_path):
    config = EvaluationConfig(finetune=QUICK, limit=5)
    found, _ = evaluate(run_folder, [str(toy_task.path)], config, tmp_path)
    told = found["n-samples"]["toy"]
    assert (told["original"], told["effective"]) == (16, 5)


def test_a_fine_tuned_model_is_taken_from_where_it_was_kept(run_folder, toy_task, tmp_path):
    config = EvaluationConfig(finetune=QUICK, models=str(tmp_path / "models"))
    first, _ = evaluate(run_folder, [str(toy_task.path)], config, tmp_path / "a")
    kept = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    times = [path.stat().st_ctime_ns for path in (tmp_path / "models").glob("*/model.safetensors")]
    again, _ = evaluate(run_folder, [str(toy_task.path)], config, tmp_path / "b")
    assert len(kept) == 2
    assert again["per_seed"] == first["per_seed"]
    assert times == [
        path.stat().st_ctime_ns for path in (tmp_path / "models").glob("*/model.safetensors")
    ]
    make_room(tmp_path / "models", 0.0)
    assert not any(path.is_dir() for path in (tmp_path / "models").iterdir())


def test_the_epoch_that_is_best_on_the_sources_development_split_is_kept(
    run_folder, toy_task, tmp_path, caplog
):
    chosen = FineTuneConfig(epochs=2, learning_rate=5e-3, batch_rows=8, selection="source_dev")
    with caplog.at_level("INFO"):
        evaluate(run_folder, [str(toy_task.path)], EvaluationConfig(finetune=chosen), tmp_path)
    assert sum("development score" in message for message in caplog.messages) == 4
