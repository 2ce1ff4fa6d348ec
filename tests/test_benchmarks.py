"""Benchmarks at tiny sizes: Clew's answers against formulas, differences, and peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.signal import correlate
from scipy.stats import multivariate_normal

from benchmarks import __main__ as command
from benchmarks import (
    bundle,
    characters,
    chart,
    gmm,
    kmeans,
    lstm,
    matmul,
    measure,
    overhead,
    report,
    resnet,
    shading,
    siamese,
    sparse,
    throw,
)
from clew.core import pytree
from clew.testing import directional_difference

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WORKS = {
    "throw": partial(throw.work, 12),
    "shading": partial(shading.work, 8),
    "gmm": partial(gmm.work, 3, 2, 7),
    "characters": partial(characters.work, 5),
    "kmeans": partial(kmeans.work, 3, 20, 2),
    "bundle": partial(bundle.work, 12),
    "bundle-sparse": partial(bundle.work, 12, "sparse"),
    "siamese": partial(siamese.work, 6, (5, 4, 3)),
    "lstm": partial(lstm.work, 3, 2, 4),
    "resnet": partial(resnet.work, 2, 3, 4, 2),
    "matmul": partial(matmul.work, 5),
    "call-vector": overhead.vector,
    "call-dict": overhead.dictionary,
}
SLOW = ("torch.compile", "torch.compile (3, H, W)", "JAX jacfwd")  # up to 20 s each


def outputs_of(make: measure.Maker) -> list[np.ndarray]:
    side = make()
    return measure.arrays(side.outputs(side.run()))


def wide(tree: Any) -> Any:
    """The same tree with f32 leaves in f64."""
    leaves, structure = pytree.flatten(tree)
    return structure.unflatten(
        [np.float64(leaf) if leaf.dtype == np.float32 else leaf for leaf in leaves]
    )


# --- against the peers -------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in WORKS if name != "bundle-sparse"])
def test_peers_agree(name):
    work = WORKS[name]()
    expected = outputs_of(work.ours)
    compared = 0
    for peer, make in work.peers.items():
        if peer in SLOW:
            continue
        try:
            found = outputs_of(make)
        except measure.Missing:
            continue
        compared += 1
        assert measure.difference(found, expected) <= work.tolerance, peer
    if not compared:
        pytest.skip("no peer is installed")


# --- gradients against differences of the function, run by NumPy --------------------------


@pytest.mark.parametrize(
    ("name", "tolerance", "rate"),
    [
        ("throw", 1e-8, None),
        ("shading", 1e-4, None),
        ("gmm", 1e-8, None),
        ("characters", 1e-8, None),
        ("siamese", 1e-3, siamese.RATE),
        ("lstm", 1e-4, None),
        ("resnet", 1e-2, resnet.RATE),
    ],
)
def test_gradients(name, tolerance, rate):
    work = WORKS[name]()
    assert work.differentiated is not None
    function, (params, *others) = work.differentiated()
    value, *slopes = outputs_of(work.ours)
    leaves, structure = pytree.flatten(wide(params))
    if rate is not None:
        slopes = [(old - new) / rate for old, new in zip(leaves, slopes, strict=True)]
    others = wide(others)
    assert value == pytest.approx(function(structure.unflatten(leaves), *others), rel=1e-5)
    generator = np.random.default_rng(1)
    direction = [generator.normal(size=leaf.shape) for leaf in leaves]
    found = sum(np.sum(a * b) for a, b in zip(slopes, direction, strict=True))
    expected = directional_difference(
        lambda tree: function(tree, *others),
        [structure.unflatten(leaves)],
        [structure.unflatten(direction)],
        step=1e-3,
    )[0]
    size = np.sqrt(sum(np.sum(a * a) for a in slopes) * sum(np.sum(b * b) for b in direction))
    assert abs(found - expected) <= tolerance * size


@pytest.mark.parametrize("name", ["bundle", "bundle-sparse"])
def test_bundle_jacobian(name):
    problem = bundle.example(12)
    cameras, points, weights, of_weights = outputs_of(WORKS[name]().ours)
    generator = np.random.default_rng(1)
    moves = [generator.normal(size=each.shape) for each in problem[:3]]
    expected = directional_difference(
        lambda *first: sparse.reprojection(*first, *problem[3:]), problem[:3], moves, step=1e-3
    )
    found = np.einsum("nij,nj->ni", cameras, moves[0][problem[3]])
    found += np.einsum("nij,nj->ni", points, moves[1][problem[4]])
    found += weights * moves[2][:, None]
    np.testing.assert_allclose(found, expected[0], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(of_weights * moves[2], expected[1], rtol=1e-7, atol=1e-7)


def test_kmeans_in_closed_form():
    centres, points = kmeans.example(3, 20, 2)
    slope, diagonal = outputs_of(WORKS["kmeans"]().ours)
    nearest = np.argmin(np.linalg.norm(points[:, None] - centres, axis=2), axis=1)
    for number, centre in enumerate(centres):
        own = points[nearest == number]
        np.testing.assert_allclose(slope[number], np.sum(2.0 * (centre - own), axis=0), rtol=1e-12)
        np.testing.assert_allclose(diagonal[number], 2.0 * len(own))


# --- values against formulas ---------------------------------------------------------------


def test_throw_step_by_step():
    controls = throw.example(12)
    x, v = throw.START, throw.SPEED
    for control in controls:
        v = v + throw.STEP * (control + throw.GRAVITY - throw.DRAG * np.hypot(*v) * v)
        x = x + throw.STEP * v
    expected = np.sum((x - throw.TARGET) ** 2) + throw.COST * np.sum(controls**2)
    assert outputs_of(WORKS["throw"]().ours)[0] == pytest.approx(expected, rel=1e-12)


def test_shading_of_a_pixel():
    params, (positions, normals, _) = shading.example(8)
    x, n = positions[5, 3].astype(float), normals[5, 3].astype(float)
    path, sight = params["light"] - x, np.array(shading.CAMERA) - x
    distance = np.linalg.norm(path)
    halfway = path / distance + sight / np.linalg.norm(sight)
    halfway /= np.linalg.norm(halfway)
    light = params["intensity"] / distance**2
    matte = params["ambient"] + light * max(0.0, n @ path / distance)
    gloss = params["specular"] * light * np.exp(params["shininess"] * (n @ halfway - 1.0))
    found = shading.shade(params, positions, normals)
    np.testing.assert_allclose(found[5, 3], params["albedo"] * matte + gloss, rtol=1e-5)


def test_scene_lies_on_ball_and_table():
    positions, normals = shading.scene(32)
    ball = normals[..., 2] != 1.0
    middle = positions[ball] - np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(np.linalg.norm(middle, axis=-1), 1.0, atol=1e-5)
    assert 0.1 < ball.mean() < 0.9


def test_gmm_by_scipy():
    params, points = gmm.example(3, 2, 7)
    (n, d), k = points.shape, 2
    logs, prior = np.zeros((n, k)), 0.0
    weights = params["alphas"] - np.log(np.sum(np.exp(params["alphas"])))
    degrees = d + gmm.WISHART_M + 1
    for number, factor in enumerate(params["factors"]):
        q = np.diag(np.exp(factor[:d]))
        q[1, 0], q[2, 0], q[2, 1] = factor[d:]
        covariance: Any = np.linalg.inv(q.T @ q)
        normal = multivariate_normal(params["means"][number], covariance)
        logs[:, number] = weights[number] + normal.logpdf(points)
        prior += 0.5 * gmm.WISHART_GAMMA**2 * np.sum(q * q) - gmm.WISHART_M * np.sum(factor[:d])
        prior -= degrees * d * np.log(gmm.WISHART_GAMMA / np.sqrt(2.0))
        prior += gmm.log_gamma(0.5 * degrees, d)
    expected = np.sum(np.log(np.sum(np.exp(logs), axis=1))) + prior
    assert outputs_of(WORKS["gmm"]().ours)[0] == pytest.approx(expected, rel=1e-10)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def test_characters_step_by_step():
    params, state, sequence = characters.example(5)
    hidden, cell = list(state[:, 0]), list(state[:, 1])
    total = 0.0
    for x, gold in pairwise(sequence):
        x = x * params["extra"][0]
        for number, (weight, bias) in enumerate(params["main"]):
            gates = np.concatenate([x, hidden[number]] * 2).reshape(4, -1)
            f, i, o, g = gates * weight.reshape(4, -1) + bias.reshape(4, -1)
            cell[number] = cell[number] * logistic(f) + logistic(i) * np.tanh(g)
            x = hidden[number] = logistic(o) * np.tanh(cell[number])
        y = x * params["extra"][1] + params["extra"][2]
        total += np.sum(gold * (y - np.log(2.0 + np.sum(np.exp(y)))))
    expected = -total / (4 * characters.BITS)
    assert outputs_of(WORKS["characters"]().ours)[0] == pytest.approx(expected, rel=1e-12)


def test_lstm_step_by_step():
    layers, (inputs, target) = lstm.example(3, 2, 4)
    x = list(inputs)
    for ahead, around, bias in layers:
        h = c = np.zeros((2, 4))
        for number, each in enumerate(x):
            i, f, g, o = np.split(each @ ahead + h @ around + bias, 4, axis=1)
            c = logistic(f) * c + logistic(i) * np.tanh(g)
            x[number] = h = logistic(o) * np.tanh(c)
    expected = np.mean((x[-1] - target) ** 2)
    assert outputs_of(WORKS["lstm"]().ours)[0] == pytest.approx(expected, rel=1e-5)


def test_siamese_pair_by_pair():
    layers, (left, right, same) = siamese.example(6, (5, 4, 3))
    total = 0.0
    for a, b, alike in zip(left, right, same, strict=True):
        for number, (weight, bias) in enumerate(layers):
            a, b = a @ weight + bias, b @ weight + bias
            if number < len(layers) - 1:
                a, b = np.maximum(a, 0.0), np.maximum(b, 0.0)
        apart = np.linalg.norm(a - b)
        total += 0.5 * (apart**2 if alike else max(0.0, siamese.MARGIN - apart) ** 2)
    assert outputs_of(WORKS["siamese"]().ours)[0] == pytest.approx(total / 6, rel=1e-5)


def test_resnet_by_scipy():
    blocks, (x, target) = resnet.example(2, 3, 4, 2)
    x = x.astype(float)

    def layer(x, kernel, gamma, beta):
        padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
        y = [[correlate(each, one, "valid")[0] for one in kernel] for each in padded]
        y = np.moveaxis(np.array(y), 1, -1)
        y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + resnet.EPSILON)
        return np.moveaxis(gamma * y + beta, -1, 1)

    for first, second in blocks:
        x = np.maximum(x + layer(np.maximum(layer(x, *first), 0.0), *second), 0.0)
    expected = np.mean((x.mean((2, 3)) - target) ** 2)
    assert outputs_of(WORKS["resnet"]().ours)[0] == pytest.approx(expected, rel=1e-5)


def test_products_and_small_functions():
    a, b = matmul.example(5)
    exact = a.astype(float) @ b.astype(float)
    np.testing.assert_allclose(outputs_of(WORKS["matmul"]().ours)[0], exact, atol=1e-5)
    np.testing.assert_array_equal(outputs_of(overhead.vector().ours)[0], [1.0, 3.0, 5.0])
    np.testing.assert_array_equal(outputs_of(overhead.dictionary().ours)[0], [45.0, 55.0, 65.0])


# --- measuring and reporting ---------------------------------------------------------------


def test_names_are_those_of_the_works():
    for module in (throw, gmm, characters, kmeans, siamese, lstm, overhead, matmul):
        for name, make in module.WORKS.items():
            assert make().name == name
    assert bundle.work(12, "sparse").name == "bundle-sparse"
    assert shading.work(1024 // 8).name == "shading128"
    listed = command.works_of([])
    assert {"resnet", "shading256", "shading1024", "gmm10", "bundle-sparse"} <= listed.keys()
    assert list(command.works_of(["throw", "matmul64"])) == ["throw", "matmul64"]


def test_difference_sees_wrong_outputs():
    good = [np.array([1.0, 2.0])]
    assert measure.difference(good, good) == 0.0
    assert measure.difference([np.array([1.0, 2.2])], good) == pytest.approx(0.1)
    assert measure.difference([np.array([[1.0, 2.0]])], good) == float("inf")
    assert measure.difference([np.array([1.0, np.nan])], good) == float("inf")
    assert measure.difference([], good) == float("inf")


def toy(peers: dict[str, measure.Maker]) -> measure.Measurement:
    ours = lambda: measure.Side(lambda: np.ones(2))  # noqa: E731
    aims = (measure.Aim(0.0, ("same",)), measure.Aim(1.0, ("absent",)))
    work = measure.Work("toy", "toy", ours, peers, aims)
    return measure.measure(work, measure.Budget(0.01, 2, 3))


def absent() -> measure.Side:
    raise measure.Missing("absent is not installed")


def test_measure_sorts_peers():
    found = toy(
        {
            "same": lambda: measure.Side(lambda: [np.ones(2)]),
            "other": lambda: measure.Side(lambda: [2 * np.ones(2)]),
            "absent": absent,
        }
    )
    assert found.skipped == {"absent": "absent is not installed"}
    assert list(found.wrong) == ["other"]
    assert found.steady.keys() == found.samples.keys() == {"Clew", "same", "other"}
    assert all(2 <= count <= 3 for count in found.samples.values())
    row = report.work_row(found)
    assert row["seconds"].keys() == {"Clew", "same"}
    assert row["best_peer"] == "same"
    assert [aim["met"] for aim in row["aims"]] == [True, None]
    text = report.table([row])
    assert "toy: absent: absent is not installed" in text
    assert "toy: other: differs by 1.0e+00" in text


def test_peers_can_be_left_out():
    work = overhead.vector()
    found = measure.measure(work, measure.Budget(0.01, 2, 2), only=["nobody"])
    assert found.steady.keys() == {"Clew"}
    assert report.work_row(found)["ratio_to_best"] is None


def test_ratios_are_peer_over_ours():
    found = toy({})
    found.steady = {"Clew": 2.0, "same": 6.0}
    found.first = {"Clew": 5.0, "same": 6.0, "JAX": 7.0}
    found.least = {"Clew": 1.0, "same": 5.0}
    row = report.work_row(found)
    assert row["ratio_to_best"] == 3.0
    assert row["ratio_of_least"] == 5.0
    found.steady["JAX"] = 1.0
    row = report.compile_row(found)
    assert row is not None
    assert row["seconds"] == {"Clew": 3.0, "JAX": 6.0}
    assert row["aims"][0]["met"] is True
    found.first["Clew"] = 2.0
    assert report.compile_row(found) is None


def test_gradient_cost_and_share_of_peak():
    work = matmul.work(5)
    found = measure.Measurement(work, steady={"Clew": 1.0, "NumPy": 2.0})
    row = report.peak_row(found, peak=500.0, least=0.8)
    assert row["shares"] == {"Clew": 0.5, "NumPy": 0.25}
    assert row["met"] is False
    row = report.gradient_row(measure.Measurement(WORKS["throw"]()))
    assert row is not None
    assert 1.0 < row["ratio"] < 10.0
    assert "gradient cost / function cost: throw" in report.table([row])


def test_the_peak_is_a_rate():
    try:
        assert 1e8 < matmul.peak(repeats=1) < 1e14
    except measure.Missing:
        pytest.skip("no gcc")


def test_the_command_writes_rows_and_the_chart_draws_them(tmp_path):
    path = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks", "call-vector", "--quick", "--out", str(path)]
    done = subprocess.run(
        [*command, "--peers", "nobody"], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert "call overhead, 2 x + 1 of 3 numbers" in done.stdout
    found = json.loads(path.read_text())
    assert [row["kind"] for row in found["works"]] == ["work", "compile"]
    found["works"][0]["seconds"]["JAX"] = 1.0
    chart.chart(found, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes()[:4] == b"\x89PNG"
