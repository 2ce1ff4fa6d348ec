// The graph as the page knows it, what of it is visible, and which parts a selection lights.
// Nothing here draws. A node is known by its place in data.nodes, a group by its in data.groups.

const MOST_VISIBLE = 300;
const FEW = 5;

class Graph {
  constructor(data) {
    Object.assign(this, data);
    this.edges = data.edges.map(([from, to, carries, norm, gain, type]) => ({
      from,
      to,
      carries,
      norm: asNumber(norm),
      gain,
      type,
    }));
    for (const node of this.nodes) node.norm = asNumber(node.norm);
    this.inEdges = this.nodes.map(() => []);
    this.outEdges = this.nodes.map(() => []);
    this.edges.forEach((edge, number) => {
      this.outEdges[edge.from].push(number);
      this.inEdges[edge.to].push(number);
    });
    this.loops = data.loops.map((name) => ({ name, first: Infinity, last: -Infinity }));
    this.turns = new Map(); // one execution of a loop -> its steps, rising
    for (const group of this.groups) {
      if (group.kind !== "step") continue;
      const loop = this.loops[group.loop];
      loop.first = Math.min(loop.first, group.step);
      loop.last = Math.max(loop.last, group.step);
      if (!this.turns.has(group.turn)) this.turns.set(group.turn, []);
      this.turns.get(group.turn).push(group.step);
    }
    this.turns.forEach((steps) => steps.sort((a, b) => a - b));
    this.pathOf = this.groups.map(() => null);
    this.groups.forEach((_, number) => this.path(number));
    this.size = this.groups.map(() => 0);
    for (const node of this.nodes) for (const group of this.path(node.group)) this.size[group] += 1;
  }

  // The groups around and including this one, outermost first.
  path(group) {
    if (group < 0) return [];
    const { parent } = this.groups[group];
    return (this.pathOf[group] ??= [...this.path(parent), group]);
  }

  // For each turn of a loop the step to show: the chosen one, or the nearest that it has.
  shownSteps(chosen) {
    const shown = new Map();
    for (const { kind, turn, loop } of this.groups) {
      if (kind !== "step" || shown.has(turn)) continue;
      const away = (step) => Math.abs(step - chosen[loop]);
      shown.set(
        turn,
        this.turns.get(turn).reduce((best, step) => (away(step) < away(best) ? step : best)),
      );
    }
    return shown;
  }

  // For each group the key of the closed item that stands for it, or null if it is open.
  standsFor(opened, shown) {
    const found = new Array(this.groups.length);
    const visit = (number) => {
      if (found[number] !== undefined) return found[number];
      const { kind, parent, family, turn, step } = this.groups[number];
      const outer = parent < 0 ? null : visit(parent);
      if (outer !== null) found[number] = outer;
      else if (kind !== "step") found[number] = opened.has(family) ? null : `g${number}`;
      else if (step === shown.get(turn)) found[number] = null;
      else found[number] = `${step < shown.get(turn) ? "earlier" : "later"}${turn}`;
      return found[number];
    };
    this.groups.forEach((_, number) => visit(number));
    return found;
  }

  // What is to be drawn: items (nodes and closed groups), the open boxes around them, and edges.
  visible(opened, chosen) {
    const shown = this.shownSteps(chosen);
    const stand = this.standsFor(opened, shown);
    const items = new Map();
    const boxes = new Map();
    const keyOf = this.nodes.map((node, place) => {
      const key = (node.group >= 0 && stand[node.group]) || `n${place}`;
      if (!items.has(key))
        items.set(key, { key, places: [], ...this.item(key, place, stand, shown) });
      items.get(key).places.push(place);
      return key;
    });
    for (const item of items.values()) {
      for (const group of this.path(item.parent)) {
        const { parent, name } = this.groups[group];
        boxes.set(`g${group}`, { key: `g${group}`, kind: "box", name, parent, group });
      }
    }
    return { items, boxes, edges: this.merged(keyOf), keyOf };
  }

  // The item of this key, which stands for the node at this place.
  item(key, place, stand, shown) {
    const node = this.nodes[place];
    if (key === `n${place}`)
      return { kind: node.kind, name: node.name, parent: node.group, node: place };
    const group = this.path(node.group).find((each) => stand[each] === key);
    const { kind, name, parent, turn, loop } = this.groups[group];
    if (kind !== "step") return { kind: "group", name, parent, group };
    const later = key.startsWith("later");
    const steps = this.turns
      .get(turn)
      .filter((step) => (later ? step > shown.get(turn) : step < shown.get(turn)));
    const span = steps.length > 1 ? `steps ${steps[0]} to ${steps.at(-1)}` : `step ${steps[0]}`;
    return { kind: "steps", name: span, parent, loop, nearest: later ? steps[0] : steps.at(-1) };
  }

  // Edges between the same two items become one: the root of the sum of the squared norms.
  merged(keyOf) {
    const found = new Map();
    this.edges.forEach((edge, number) => {
      const [from, to] = [keyOf[edge.from], keyOf[edge.to]];
      if (from === to) return;
      const key = `${from}>${to}`;
      if (!found.has(key))
        found.set(key, { key, from, to, carries: false, norm: null, members: [] });
      const one = found.get(key);
      one.members.push(number);
      one.carries ||= edge.carries;
      if (edge.norm !== null) one.norm = Math.hypot(one.norm ?? 0, edge.norm);
    });
    return [...found.values()];
  }

  // Open level after level, from the outside in, as long as at most so many items are visible; a
  // few items are opened in any case. Returns the families that are open then.
  openLevels(most, chosen) {
    let opened = new Set();
    for (;;) {
      const seen = this.visible(opened, chosen).items;
      const closed = [...seen.values()].filter((item) => item.kind === "group");
      const next = new Set([...opened, ...closed.map((item) => this.groups[item.group].family)]);
      const after = this.visible(next, chosen).items.size;
      if (!closed.length || (after > most && (seen.size > FEW || after > MOST_VISIBLE)))
        return opened;
      opened = next;
    }
  }

  // Which nodes and edges lie on gradient paths between a node and the sink.
  between(place) {
    const down = this.reach(place, this.outEdges, "to");
    const up = this.reach(this.sink, this.inEdges, "from");
    const nodes = down.map((on, each) => on & up[each]);
    const edges = this.edges.map(({ from, to, carries }) => carries && nodes[from] && nodes[to]);
    return { nodes, edges };
  }

  reach(start, around, end) {
    const reached = new Uint8Array(this.nodes.length);
    const waiting = [start];
    reached[start] = 1;
    while (waiting.length) {
      for (const number of around[waiting.pop()]) {
        const next = this.edges[number][end];
        if (!this.edges[number].carries || reached[next]) continue;
        reached[next] = 1;
        waiting.push(next);
      }
    }
    return reached;
  }
}

// Norms that JSON has no number for come as text.
function asNumber(norm) {
  return norm === null ? null : Number(norm);
}
