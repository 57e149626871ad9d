"""Graph and fitted model agree for every candidate and task, and the file carries its contract."""

import json
from dataclasses import asdict, replace

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from training.errors import ParityError
from training.fit import decision, local, search
from training.fit.calibration import Calibrator
from training.fit.local import TrainingRows
from training.fit.search import Columns
from training.model import contract, onnx_export, onnx_runtime

SMALL = {"extra_trees": {"n_estimators": 20}, "random_forest": {"n_estimators": 20}, "xgboost": {"n_estimators": 20}}
CANDIDATES = sorted(SMALL)


@pytest.fixture
def mixed(table: pd.DataFrame) -> TrainingRows:
    """Numbers with gaps and a category with gaps."""
    features = table[["body mass", "height", "colour"]].astype({"body mass": "float32", "height": "float32"})
    features.loc[::7, "height"] = np.nan
    features.loc[::11, "colour"] = ""
    fold = np.arange(len(features)) % 2
    return TrainingRows(Columns(("body mass", "height"), ("colour",), 0), features, table["y"].to_numpy(), fold)


@pytest.fixture
def labelled(mixed: TrainingRows) -> TrainingRows:
    target = np.digitize(mixed.target, np.quantile(mixed.target, [0.3, 0.6]))
    return replace(mixed, columns=replace(mixed.columns, classes=3), target=target)


def fitted(kind: str, rows: TrainingRows) -> search.Pipeline:
    return search.build({"candidate": kind, **SMALL[kind]}, rows.columns, 1).fit(rows.features, rows.target)


@pytest.mark.parametrize("kind", CANDIDATES)
def test_classification_agrees_and_names_labels(kind: str, labelled: TrainingRows) -> None:
    model = fitted(kind, labelled)
    content = onnx_export.graph(model, labelled.columns, ["low", "middle", "tall"]).SerializeToString()
    assert onnx_export.check_parity(content, labelled.features, search.predict(model, labelled.features, 3), 1.0) < 1e-4
    labels, probabilities = onnx_runtime.run(content, labelled.features)
    assert probabilities is not None
    assert probabilities.shape == (400, 3)
    assert set(labels) == {"low", "middle", "tall"}


@pytest.mark.parametrize("sharpness", [0.0, 0.4, 3.0])
def test_probabilities_are_calibrated_inside_the_graph(sharpness: float, labelled: TrainingRows) -> None:
    model, calibrator = fitted("random_forest", labelled), Calibrator(sharpness, 1e-3)
    expected = calibrator(search.predict(model, labelled.features, 3))
    names = ["low", "middle", "tall"]
    content = onnx_export.graph(model, labelled.columns, names, calibrator).SerializeToString()
    assert onnx_export.check_parity(content, labelled.features, expected, 1.0) < 1e-5
    labels, probabilities = onnx_runtime.run(content, labelled.features)
    assert probabilities is not None
    assert labels.tolist() == [names[index] for index in probabilities.argmax(axis=1)]
    assert (labels == np.array(names)[search.predict(model, labelled.features, 3).argmax(axis=1)]).mean() > 0.99


def test_numbers_only(table: pd.DataFrame) -> None:
    iris = load_iris(as_frame=True)
    columns = Columns(tuple(iris.data.columns), (), 3)
    rows = TrainingRows(columns, iris.data.astype("float32"), iris.target.to_numpy(), np.zeros(150))
    model = fitted("extra_trees", rows)
    graph = onnx_export.graph(model, rows.columns, ["a", "b", "c"])
    assert graph.graph.input[0].name == "sepal_length__cm_"
    onnx_export.check_parity(graph.SerializeToString(), rows.features, search.predict(model, rows.features, 3), 1.0)


def test_a_graph_of_another_model_is_refused(mixed: TrainingRows) -> None:
    other = replace(mixed, target=mixed.target + 5)
    content = onnx_export.graph(fitted("extra_trees", other), mixed.columns, []).SerializeToString()
    with pytest.raises(ParityError, match="differ by"):
        onnx_export.check_parity(
            content, mixed.features, search.predict(fitted("extra_trees", mixed), mixed.features, 0), 1.0
        )


def test_a_column_is_a_plain_vector_and_one_row_gives_what_many_give(mixed: TrainingRows) -> None:
    content = onnx_export.graph(fitted("xgboost", mixed), mixed.columns, []).SerializeToString()
    many, _ = onnx_runtime.run(content, mixed.features)
    one, _ = onnx_runtime.run(content, mixed.features.iloc[[14]])
    assert one[0] == pytest.approx(many[14], abs=1e-6)


def test_the_file_carries_its_contract_and_is_the_same_each_time(mixed: TrainingRows) -> None:
    graph = onnx_export.graph(fitted("random_forest", mixed), mixed.columns, [])
    terms = {"version": 1, "features": [{"name": "body mass"}]}
    content = onnx_export.attach(graph, terms)
    assert onnx_runtime.read_contract(content) == terms
    assert onnx_export.attach(onnx.load_from_string(content), terms) == content


def test_golden_rows_are_json_with_null_for_missing(mixed: TrainingRows) -> None:
    content = onnx_export.graph(fitted("extra_trees", mixed), mixed.columns, []).SerializeToString()
    golden = contract.golden(content, mixed.features, 2.0)
    again = json.loads(json.dumps(asdict(golden), allow_nan=False))
    assert again["rows"][0]["height"] is None
    assert again["rows"][0]["colour"] is None
    assert len(again["predictions"]) == contract.GOLDEN_ROWS
    assert again["tolerance"] == pytest.approx(2e-4)


@pytest.mark.parametrize("kind", CANDIDATES)
def test_regression_agrees_and_rare_and_unknown_categories_are_encoded_alike(kind: str) -> None:
    generator = np.random.default_rng(4)
    cities = [f"city {i}" for i in generator.geometric(0.01, 3000)]
    features = pd.DataFrame({"city": pd.Series(cities, dtype=object), "size": np.arange(3000, dtype=np.float32) % 17})
    features.loc[::7, "size"] = np.nan
    features.loc[::11, "city"] = ""
    frequent = features["city"].value_counts().index[:100].sort_values().tolist()
    columns = Columns(("size",), ("city",), 0, {"city": frequent})
    rows = TrainingRows(columns, features, generator.normal(size=3000), np.arange(3000) % 2)
    model = fitted(kind, rows)
    content = onnx_export.graph(model, rows.columns, []).SerializeToString()
    assert onnx_export.check_parity(content, features, search.predict(model, features, 0), 1.0) < 1e-4
    rare = next(city for city in features["city"] if city not in frequent)
    some = features[:2].assign(city=[rare, "never seen"], size=np.float32(3))
    first, second = onnx_runtime.run(content, some)[0]
    assert first == second


def test_a_label_that_a_fold_lacks_gets_probability_zero(labelled: TrainingRows) -> None:
    target = labelled.target.copy()
    target[:] = np.where(labelled.fold == 0, target, np.minimum(target, 1))
    rows = replace(labelled, target=target)
    for kind in CANDIDATES:
        assert local.cross_validate({"candidate": kind, **SMALL[kind]}, rows, "log_loss", 1) > 0


def test_leaves_of_a_forest_name_only_the_labels_that_they_vote_for() -> None:
    """Twenty labels: the file is a fraction of the converter's own, and the probabilities are scikit-learn's."""
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(generator.normal(size=(600, 3)).astype("float32"), columns=["a", "b", "c"])
    columns, labels = Columns(("a", "b", "c"), (), 20), [f"label {i:02}" for i in range(20)]
    small = {"candidate": "random_forest", "n_estimators": 20, "max_features": 1.0, "min_samples_leaf": 1}
    model = search.build(small, columns, 1).fit(frame, np.arange(600) % 20)
    converted = onnx_export.graph(model, columns, labels)
    leaves = sum(tree.tree_.n_leaves for tree in model.named_steps["model"].estimators_)
    (forest,) = (node for node in converted.graph.node if node.op_type == "TreeEnsembleClassifier")
    votes = next(one for one in forest.attribute if one.name == "class_weights")
    assert len(votes.floats) < 1.5 * leaves
    expected = search.predict(model, frame, 20)
    assert onnx_export.check_parity(converted.SerializeToString(), frame, expected, 1.0) < 1e-5


def test_balanced_labels_and_a_threshold_are_in_the_graph() -> None:
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(generator.normal(size=(500, 2)).astype("float32"), columns=["a", "b"])
    target = (frame["a"] + generator.normal(size=500) > 1.5).astype(int).to_numpy()
    columns, shares = Columns(("a", "b"), (), 2), np.bincount(target) / 500
    small = {"candidate": "random_forest", "n_estimators": 50, "max_features": 1.0, "min_samples_leaf": 5}
    model = search.fit(search.build(small, columns, 1), frame, target, "balanced")
    raw = search.predict(model, frame, 2)
    for calibrator in (Calibrator(0.0, 0.0, tuple(shares)), Calibrator(0.8, 1e-4, tuple(shares))):
        expected = calibrator(raw)
        assert abs(expected[:, 1].mean() - shares[1]) < 0.05 < raw[:, 1].mean() - shares[1]
        chosen = decision.choose(None, ["no", "yes"], expected, target, shares)
        assert chosen.threshold == {"label": "yes", "value": shares[1], "chosen_for": "balanced labels"}
        content = onnx_export.graph(model, columns, ["no", "yes"], calibrator, chosen).SerializeToString()
        assert onnx_export.check_parity(content, frame, expected, 1.0) < 1e-5
        served, _ = onnx_runtime.run(content, frame)
        assert served.tolist() == np.where(expected[:, 1] >= shares[1], "yes", "no").tolist()


def test_trees_of_a_regression_take_a_third_of_the_file_and_may_be_one_leaf(mixed: TrainingRows) -> None:
    """Half of these trees are single leaves: where a bootstrap has one target value, there is nothing to split."""
    target = np.where(np.arange(400) == 5, 1.0, 0.0)
    rows = replace(mixed, target=target)
    model = search.build({"candidate": "random_forest", "n_estimators": 40}, rows.columns, 1).fit(
        rows.features, rows.target
    )
    sizes = [tree.tree_.node_count for tree in model[-1].estimators_]
    assert min(sizes) == 1 < max(sizes)
    graph = onnx_export.graph(model, rows.columns, [])
    onnx_export.check_parity(graph.SerializeToString(), rows.features, search.predict(model, rows.features, 0), 1.0)
    deep = onnx_export.graph(fitted("extra_trees", mixed), mixed.columns, [])
    nodes = sum(tree.tree_.node_count for tree in fitted("extra_trees", mixed)[-1].estimators_)
    assert len(deep.SerializeToString()) < 25 * nodes  # the converter's own form takes 45 to 75 bytes a node
