"""Every method against walking all paths of small graphs one by one."""

from __future__ import annotations

import collections
import contextlib
import itertools

import numpy as np
import pytest

import clew
from clew.paths import Semiring, sweep
from clew.paths.gains import largest_gain
from clew.paths.singular import edge_operator, singular_values, stretch_operator
from tests.paths.enumerating import all_paths, carried, jacobian_of

MIX = np.array([[0.6, -0.4, 0.1], [0.3, 0.8, -0.2], [0.5, 0.2, -0.7]])
AT = np.array([0.3, -0.5, 0.8])


def skips(x):
    for number in range(3):
        with clew.scope(f"block{number}"):
            y = np.tanh(MIX @ x)
        x = x + y * x
    return np.sum(x * x)


def looping(x):
    def step(carry, scale):
        with clew.scope("cell"):
            carry = np.sin(carry * scale + x[0])
        return carry, carry * carry

    last, squares = clew.scan(step, x[1:], np.array([0.5, 1.5, 2.0]))
    return np.sum(last) + np.sum(squares[1:] * x[2])


def branching(x):
    with clew.scope("choice"):
        y = clew.cond(x[0] > 0, lambda x: x * x[::-1], np.cos, x)
        z = clew.while_loop(lambda c: c < 3.0, lambda c: c * 2.0 + x[1] ** 2, y[2])
    return np.sum(y) * z


def two_results(x):
    with clew.scope("both"):
        a, b = np.sin(x), x * 2.0
        a, c = a * b, np.exp(b)
    return np.sum(a * c) + np.sum(c)


def factored(x):
    values, vectors = np.linalg.eigh(MIX @ np.diag(x + 2.0) @ MIX.T)
    return np.sum(np.log(values + 5.0)) + vectors[0, 0] ** 2


FUNCTIONS = [skips, looping, branching, two_results, factored]
CASES = [(f, level) for f in FUNCTIONS for level in ("equation", "scope:1") if f is not factored]
CASES.append((factored, "equation"))


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].__name__}-{case[1]}", scope="module")
def case(request):
    function, level = request.param
    flow = clew.flow(function, level=level)(AT)
    sink, source = flow.run.outputs[0], flow.run.inputs[0]
    paths = list(all_paths(flow.net, sink, {source}))
    parts = [carried(flow.net, sink, path) for path in paths]
    return flow, clew.grad(function)(AT), paths, parts


def test_the_walk_itself(case):
    _, gradient, paths, parts = case
    assert 1 < len(paths) < 500
    np.testing.assert_allclose(np.sum(parts, axis=0), gradient, rtol=1e-10)


@pytest.mark.parametrize("length", [None, "scopes", "equations", "edges"])
def test_counts_and_lengths(case, length):
    flow, _, paths, _ = case
    assert flow.count() == len(paths)
    scopes = [sum(edge.in_scope for edge in path) for path in paths]
    edges = [len(path) for path in paths]
    rest = [all_ - some for all_, some in zip(edges, scopes, strict=True)]
    lengths = {"scopes": scopes, "edges": edges, "equations": rest}
    chosen = lengths[length or ("scopes" if flow.has_scopes else "equations")]
    assert flow.lengths(length=length) == dict(sorted(collections.Counter(chosen).items()))
    assert flow.shortest(length=length) == min(chosen)
    assert flow.longest(length=length) == max(chosen)


@pytest.mark.parametrize("length", ["scopes", "equations", "edges"])
def test_gradient_by_length(case, length):
    flow, gradient, paths, parts = case
    expected = collections.defaultdict(lambda: np.zeros(3))
    for path, part in zip(paths, parts, strict=True):
        marks = {"scopes": lambda e: e.in_scope, "equations": lambda e: not e.in_scope}
        expected[sum(map(marks.get(length, lambda e: 1), path))] += part
    split = flow.gradient_by_length(length=length)
    assert split.lengths == tuple(sorted(expected))
    for size, part, norm, share in zip(
        split.lengths, split.parts, split.norms, split.shares, strict=True
    ):
        np.testing.assert_allclose(part, expected[size], rtol=1e-9, atol=1e-11)
        assert norm == pytest.approx(np.linalg.norm(expected[size]), rel=1e-9, abs=1e-11)
        whole = expected[size] @ gradient / (gradient @ gradient)
        assert share == pytest.approx(whole, rel=1e-8, abs=1e-10)


def test_uses(case):
    flow, gradient, paths, parts = case
    expected = collections.defaultdict(lambda: np.zeros(3))
    for path, part in zip(paths, parts, strict=True):
        expected[path[-1].node, path[-1].operand] += part
    uses = flow.by_use()
    assert len(uses) == len(expected)
    for use, (_, part) in zip(uses, sorted(expected.items()), strict=True):
        np.testing.assert_allclose(use.contribution, part, rtol=1e-9, atol=1e-11)
        assert use.norm == pytest.approx(np.linalg.norm(part), abs=1e-11)
        assert use.share == pytest.approx(part @ gradient / (gradient @ gradient), abs=1e-9)


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_strongest_paths(case, k):
    flow, gradient, paths, parts = case
    found = flow.strongest(k=k)
    assert found.exact
    norms = sorted((np.linalg.norm(part) for part in parts), reverse=True)
    assert len(found.paths) == min(k, len(paths))
    np.testing.assert_allclose(
        [each.norm for each in found.paths], norms[:k], rtol=1e-9, atol=1e-12
    )
    for each in found.paths:
        close = [np.allclose(each.contribution, part, rtol=1e-9, atol=1e-12) for part in parts]
        assert any(close)
        assert np.prod(each.gains) == pytest.approx(each.norm, rel=1e-9, abs=1e-12)
        share = each.contribution @ gradient / (gradient @ gradient)
        assert each.share == pytest.approx(share, abs=1e-9)
    if k == 1000:
        assert sum(each.share for each in found.paths) == pytest.approx(1.0)


def test_a_search_that_may_not_finish_says_so():
    flow = clew.flow(skips)(AT)
    assert not flow.strongest(k=5, budget=3).exact


def test_bottlenecks(case):
    flow, _, paths, _ = case
    met = flow.bottlenecks()
    every = set.intersection(*({edge.node for edge in path} for path in paths))
    names = [flow.run.equations[flow.net.nodes[n].start].where for n in sorted(every)[::-1]]
    assert [each.where for each in met.passed] == names
    assert len(met.cut) == fewest(paths)


def fewest(paths):
    """Return how many nodes it takes to be on every path, by trying all sets."""
    sets = [frozenset(edge.node for edge in path) for path in paths]
    nodes = sorted(set().union(*sets))
    for size in itertools.count(1):
        for chosen in itertools.combinations(nodes, size):
            if all(each.intersection(chosen) for each in sets):
                return size
    raise AssertionError


@pytest.mark.parametrize(("ways", "ends"), [(3, 2), (2, 4), (3, 3)])
def test_cuts_of_more_than_one_node(ways, ends):
    """Every way leads to every end, so the smaller number has to be cut."""

    def f(x):
        middles = [np.sin(x * k) for k in range(1, 1 + ways)]
        with clew.scope("ends"):
            joined = [clew.numpy.stack([m * k for m in middles]) for k in range(1, 1 + ends)]
        return sum(np.sum(each) for each in joined)

    flow = clew.flow(f)(0.3)
    sinks = flow.ends.sink("ends").values
    source = {flow.run.inputs[0]}
    paths = [path for sink in sinks for path in all_paths(flow.net, sink, source)]
    met = flow.bottlenecks(sink="ends")
    assert len(sinks) == ends
    assert met.passed == ()
    assert len(met.cut) == fewest(paths) == min(ways, ends)


def test_gains(case):
    flow, _, paths, _ = case
    gains = flow.gains()
    edges = [edge for node in flow.net.nodes for edge in node.edges]
    edges = [edge for edge in edges if any(edge in path for path in paths)]
    assert len(gains) == len(edges)
    values = gradients_at_values(flow)
    for gain, edge in zip(gains, edges, strict=True):
        rows = [values[result] @ jacobian_of(flow.net, edge, result) for result in edge.results]
        norm = np.linalg.norm(np.sum(rows, axis=0))
        assert gain.norm == pytest.approx(norm, rel=1e-9, abs=1e-12)
        before = np.linalg.norm(np.concatenate([values[each] for each in edge.results]))
        expected = norm / before if before else 0.0
        assert gain.gain == pytest.approx(expected, rel=1e-9, abs=1e-12)
        whole = np.concatenate([jacobian_of(flow.net, edge, each) for each in edge.results])
        exact = np.linalg.svd(whole, compute_uv=False)
        assert gain.exact
        assert gain.largest == pytest.approx(exact[0], rel=1e-9)
        assert gain.smallest == pytest.approx(exact[-1], rel=1e-7, abs=1e-9)


def gradients_at_values(flow):
    """Return the gradient at each value, by the chain rule on whole Jacobians."""
    run = flow.run
    values = collections.defaultdict(lambda: 0.0, {run.outputs[0]: np.ones(1)})
    for node in reversed(flow.net.nodes):
        for edge in node.edges:
            for result in edge.results:
                if result in values:
                    back = values[result] @ jacobian_of(flow.net, edge, result)
                    values[edge.value] = values[edge.value] + back
    return values


def test_what_a_scope_gives_is_seen_from_outside():
    """One result of a scope is made of the other; contracted, that is no path."""

    def f(x):
        with clew.scope("pair"):
            y = np.sin(x)
            z = y * y
        return y + 3.0 * z

    at = 0.4
    whole, parts = clew.flow(f)(at), clew.flow(f, level="scope:1")(at)
    assert (whole.count("pair"), parts.count("pair")) == (4, 2)
    inside = list(whole.gradient("pair").values())
    assert inside == pytest.approx([1.0 + 6.0 * np.sin(at), 3.0])
    assert list(parts.gradient("pair").values()) == pytest.approx([1.0, 3.0])
    split = parts.gradient_by_length("pair")
    assert split.lengths == (0,)
    assert [float(part[0]) for part in split.parts.values()] == pytest.approx([1.0, 3.0])
    assert parts.gradient() == pytest.approx(whole.gradient())


def test_sweeps_over_other_semirings(case):
    flow, _, paths, _ = case
    weight = lambda edge: 0.5 + 0.1 * (edge.value % 5)
    strongest = sweep(flow, Semiring(0.0, 1.0, max, lambda a, b: a * b, weight))
    assert strongest == pytest.approx(max(np.prod([weight(e) for e in path]) for path in paths))
    total = sweep(flow, Semiring(0.0, 1.0, lambda a, b: a + b, lambda a, b: a * b, weight))
    assert total == pytest.approx(sum(np.prod([weight(e) for e in path]) for path in paths))
    words = Semiring(
        frozenset(),
        frozenset([()]),
        frozenset.union,
        lambda a, b: frozenset(x + y for x in a for y in b),
        lambda edge: frozenset([((edge.node, edge.operand, edge.value),)]),
    )
    named = {tuple((e.node, e.operand, e.value) for e in path) for path in paths}
    assert sweep(flow, words) == named  # not commutative: edges stand in the order of the path


# --- random graphs with random scopes -------------------------------------------------------------


def random_graph(seed):
    """Return a function of three numbers: sums and products, scopes entered at random, nested."""
    draw = np.random.default_rng(seed)
    plan = [
        (draw.integers(0, 4), draw.integers(0, 3 + n, 2), draw.integers(0, 3))
        for n in range(int(draw.integers(4, 12)))
    ]

    def f(x):
        values = [x[0], x[1], x[2]]
        with contextlib.ExitStack() as scopes:
            depth = 0
            for kind, (left, right), move in plan:
                if move == 1 and depth < 2:
                    scopes.enter_context(clew.scope("ab"[depth]))
                    depth += 1
                elif move == 2 and depth:
                    scopes.pop_all().close()
                    depth = 0
                a, b = values[left], values[right]
                values.append([a * b, a + b, np.sin(a), a / (2.0 + b * b)][kind])
        return sum(values[-3:])

    return f


@pytest.mark.parametrize("level", ["equation", "scope:1", "scope:2", "ab"])
@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed, level):
    function = random_graph(seed)
    entered = {equation.scope for equation in clew.trace(function)(AT).equations}
    needed = {"equation": "", "scope:1": "a"}.get(level, "a/b")
    if needed not in entered and not any(path.startswith(needed) for path in entered):
        pytest.skip("this graph enters no scope so deep")
    level = ["a", "b"][seed % 2 :] if level == "ab" else level
    flow = clew.flow(function, level=level)(AT)
    paths = list(all_paths(flow.net, flow.run.outputs[0], {flow.run.inputs[0]}))
    assert flow.count() == len(paths) < 5000
    lengths = [sum(edge.in_scope for edge in path) for path in paths]
    assert flow.lengths(length="scopes") == dict(sorted(collections.Counter(lengths).items()))
    if len(paths) > 300 or not paths:
        return
    parts = [carried(flow.net, flow.run.outputs[0], path) for path in paths]
    np.testing.assert_allclose(np.sum(parts, axis=0), clew.grad(function)(AT), rtol=1e-9)
    split = flow.gradient_by_length(length="scopes")
    for size, part in zip(split.lengths, split.parts, strict=True):
        expected = sum(p for p, n in zip(parts, lengths, strict=True) if n == size)
        np.testing.assert_allclose(part, expected, rtol=1e-9, atol=1e-12)
    assert sum(use.contribution for use in flow.by_use()) == pytest.approx(np.sum(parts, axis=0))
    every = set.intersection(*({edge.node for edge in path} for path in paths))
    assert len(flow.bottlenecks().passed) == len(every)
    best = max(np.linalg.norm(part) for part in parts)
    assert flow.strongest(k=1).paths[0].norm == pytest.approx(best, rel=1e-9)


# --- singular values -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns", "rank"), [(5, 8, 5), (8, 5, 5), (9, 9, 3), (6, 1, 1)])
def test_singular_values_of_matrices(rows, columns, rank):
    generator = np.random.default_rng(rows)
    matrix = generator.normal(size=(rows, rank)) @ generator.normal(size=(rank, columns))

    def f(x):
        with clew.scope("linear"):
            y = matrix @ np.sin(x)
        return np.sum(y)

    flow = clew.flow(lambda x: f(2.0 * x))(np.linspace(-1, 1, columns))
    found = flow.spectrum("linear")
    expected = np.linalg.svd(matrix * np.cos(2 * np.linspace(-1, 1, columns)), compute_uv=False)
    assert found.exact
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-11)


def test_the_largest_of_many_singular_values():
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(120, 100))
    net = clew.flow(lambda x: matrix @ x)(np.zeros(100)).net
    (edge,) = net.nodes[0].edges
    expected = np.linalg.svd(matrix, compute_uv=False)
    few = singular_values(edge_operator(net, edge), 32)
    assert not few.exact
    assert few.largest == pytest.approx(expected[0], rel=1e-6)
    operator = stretch_operator(net, net.run.inputs, net.run.outputs, 0, 1)
    every = singular_values(operator, 100)
    assert every.exact
    np.testing.assert_allclose(every.values, expected, rtol=1e-9)


def test_the_bound_of_a_gain_is_one():
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(120, 100))
    net = clew.flow(lambda x: matrix @ x)(np.zeros(100)).net
    largest = np.linalg.svd(matrix, compute_uv=False)[0]
    assert largest <= largest_gain(net, net.nodes[0].edges[0]) <= 1.1 * largest
