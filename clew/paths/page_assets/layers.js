// Layout in layers, by dagre.

const LAYERS = { nodesep: 20, ranksep: 30, edgesep: 22, marginx: 16, marginy: 16 };

// Positions of items, boxes and edges by key, and the size of the whole.
function layOut(visible, downward, sizeOf) {
  const graph = new dagre.graphlib.Graph({ compound: true, multigraph: true });
  graph.setGraph({ ...LAYERS, rankdir: downward ? "TB" : "LR" }).setDefaultEdgeLabel(() => ({}));
  for (const box of visible.boxes.values()) graph.setNode(box.key, {});
  for (const item of visible.items.values()) graph.setNode(item.key, sizeOf(item));
  for (const part of [...visible.boxes.values(), ...visible.items.values()]) {
    if (part.parent >= 0) graph.setParent(part.key, `g${part.parent}`);
  }
  for (const edge of visible.edges) graph.setEdge(edge.from, edge.to, {}, edge.key);
  dagre.layout(graph);
  const places = new Map();
  for (const key of graph.nodes()) {
    const { x, y, width, height } = graph.node(key);
    const [left, top] = [x - width / 2, y - height / 2];
    const middle = visible.boxes.has(key) ? [left + 40, top + 10] : [x, y];
    places.set(key, { left, top, width, height, middle, corner: [left, top] });
  }
  for (const edge of visible.edges) {
    const { points } = graph.edge({ v: edge.from, w: edge.to, name: edge.key });
    places.set(edge.key, { points: points.map(({ x, y }) => [x, y]) });
  }
  return { places, size: [graph.graph().width, graph.graph().height] };
}

// The way of an edge with an arrow's head at its start: gradients run from reader to producer.
function headed(points, width) {
  const [[x, y], [nextX, nextY]] = points;
  const far = Math.hypot(nextX - x, nextY - y) || 1;
  const [right, down] = [(nextX - x) / far, (nextY - y) / far];
  const [long, half] = [6 + width, 2.5 + 0.75 * width];
  const [baseX, baseY] = [x + long * right, y + long * down];
  const head = `M${x},${y}L${baseX - half * down},${baseY + half * right}L${baseX + half * down},${baseY - half * right}Z`;
  return { head, points: [[baseX - right, baseY - down], ...points.slice(1)] };
}
