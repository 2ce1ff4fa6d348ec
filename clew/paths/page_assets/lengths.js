// Paths of one length: which nodes and edges lie on one, without walking any path.
//
// A set of lengths is a BigInt with bit k set for length k. Passing a node of weight w shifts the
// set by w, and meeting paths are joined by "or". Numbers of paths come as text: they may have
// hundreds of digits.

const UNITS = {
  scopes: { ofNode: (node) => node.kind === "scope", ofEdge: 0n },
  equations: { ofNode: (node) => node.kind === "equation", ofEdge: 0n },
  edges: { ofNode: () => false, ofEdge: 1n },
};

class Lengths {
  constructor(graph) {
    this.graph = graph;
    this.order = topological(graph);
  }

  // What a path's length counts: the unit in which the paths have just the lengths that are given.
  unitOf(place, lengths) {
    const given = lengths.reduce((bits, length) => bits | (1n << BigInt(length)), 0n);
    return Object.keys(UNITS).find(
      (name) => this.down(place, UNITS[name])[this.graph.sink] === given,
    );
  }

  // The lengths of the paths from a node down to each other, their ends counted.
  down(place, unit) {
    const { graph } = this;
    const found = new Array(graph.nodes.length).fill(0n);
    found[place] = 1n;
    for (const node of this.order) {
      if (node !== place) {
        for (const number of graph.inEdges[node]) {
          const edge = graph.edges[number];
          if (edge.carries) found[node] |= found[edge.from] << unit.ofEdge;
        }
        if (unit.ofNode(graph.nodes[node])) found[node] <<= 1n;
      }
    }
    return found;
  }

  // Nodes and edges on paths of this length: what is reached with k behind it has length - k ahead.
  exactly(place, length, name) {
    const { graph } = this;
    const unit = UNITS[name];
    const behind = this.down(place, unit);
    const allowed = new Array(graph.nodes.length).fill(0n);
    allowed[graph.sink] = 1n << BigInt(length);
    for (const node of [...this.order].reverse()) {
      const inward = allowed[node] >> (unit.ofNode(graph.nodes[node]) ? 1n : 0n);
      for (const number of graph.inEdges[node]) {
        const edge = graph.edges[number];
        if (edge.carries) allowed[edge.from] |= inward >> unit.ofEdge;
      }
    }
    const nodes = Uint8Array.from(behind, (bits, node) => Number((bits & allowed[node]) !== 0n));
    const edges = graph.edges.map(({ from, to, carries }) => {
      if (!carries) return false;
      const passed = (behind[from] << unit.ofEdge) << (unit.ofNode(graph.nodes[to]) ? 1n : 0n);
      return (passed & allowed[to]) !== 0n;
    });
    return { nodes, edges };
  }
}

function topological(graph) {
  const missing = graph.inEdges.map((edges) => edges.length);
  const order = [];
  missing.forEach((count, node) => count || order.push(node));
  for (let at = 0; at < order.length; at += 1) {
    for (const number of graph.outEdges[order[at]]) {
      const next = graph.edges[number].to;
      missing[next] -= 1;
      if (!missing[next]) order.push(next);
    }
  }
  return order;
}

// The decimal logarithm of a whole number given as text.
function log10Of(digits) {
  if (digits === "0") return -Infinity;
  return digits.length - 1 + Math.log10(Number(`${digits[0]}.${digits.slice(1, 16) || 0}`));
}

function superscript(number) {
  return [...String(number)].map((each) => (each === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[each])).join("");
}

// A norm in three digits; powers of ten where it is very large or small.
function figure(value) {
  const number = Number(value);
  if (!Number.isFinite(number)) return Number.isNaN(number) ? "not a number" : "infinite";
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size >= 1e-3 && size < 1e5) return String(Number(number.toPrecision(3)));
  const [digits, power] = number.toExponential(2).split("e");
  return `${Number(digits)} × 10${superscript(Number(power))}`;
}

// A number of paths in few characters.
function shortCount(digits) {
  if (digits.length <= 7) return Number(digits).toLocaleString("en");
  const log = log10Of(digits);
  return `${(10 ** (log - Math.floor(log))).toFixed(2)} × 10${superscript(Math.floor(log))}`;
}
