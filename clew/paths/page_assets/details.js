// What the page says: in tips, aloud, and beside the drawing.

// What the page says of a part of the drawing: a title, rows of a list, and one spoken line.
function describe(part) {
  const rows = part.members
    ? edgeRows(part)
    : part.node !== undefined
      ? nodeRows(part.node)
      : groupRows(part);
  const title = part.members ? `${nameOf(part.from)} → ${nameOf(part.to)}` : part.name;
  const what =
    { box: "open box", group: "closed box", steps: "other steps of the loop" }[part.kind] ??
    part.kind;
  return { title, rows, spoken: [title, what, ...rows.map((row) => row.join(" "))].join(", ") };
}

function nameOf(key) {
  return drawing.visible.items.get(key).name;
}

function nodeRows(place) {
  const { kind, type, where, steps, norm, paths } = graph.nodes[place];
  const scopes = scopesAround(place);
  return [
    ["kind", { scope: "scope, contracted", sink: "where the gradient starts" }[kind] ?? kind],
    ["type", type],
    scopes && ["in", scopes],
    steps.length && ["time step", steps.join(", ")],
    where && ["line", where],
    norm !== null && ["gradient", figure(norm)],
    ["paths", paths === "0" ? "none" : shortCount(paths)],
  ].filter(Boolean);
}

function scopesAround(place) {
  const around = graph.path(graph.nodes[place].group).map((group) => graph.groups[group]);
  return around
    .filter(({ kind }) => kind === "scope")
    .map(({ name }) => name)
    .join(" / ");
}

function groupRows(part) {
  const count = part.group === undefined ? part.places.length : graph.size[part.group];
  const touching = (end) =>
    drawing.visible.edges.filter((edge) => edge[end] === part.key && edge.norm !== null);
  const rows = [["values", count.toLocaleString("en")]];
  if (part.kind === "box" || !graph.weighed) return rows;
  const [arrives, leaves] = ["from", "to"].map((end) =>
    Math.hypot(...touching(end).map((edge) => edge.norm)),
  );
  return [...rows, ["gradient in", figure(arrives)], ["gradient out", figure(leaves)]];
}

function edgeRows({ members, norm, carries }) {
  const { gain, type } = graph.edges[members[0]];
  const several = members.length > 1;
  return [
    !carries && ["gradient", "no path"],
    norm !== null && ["gradient", figure(norm)],
    several && [
      "uses",
      `${members.length.toLocaleString("en")}${norm === null ? "" : ", root of the sum of squares"}`,
    ],
    !several && gain !== null && ["gain", `× ${figure(gain)}`],
    !several && ["type", type],
  ].filter(Boolean);
}

function showDetails() {
  const holder = d3.select("#details").html("");
  if (state.selected === null) {
    holder.append("h2").text("Nothing selected");
    const text = Object.keys(graph.lengths).length
      ? "Click a parameter, in the drawing or in the table, to light its paths."
      : "Click a node to light its paths.";
    holder.append("p").attr("class", "quiet hint").text(text);
    const keys = holder.append("p").attr("class", "quiet hint");
    keys.html(
      "<kbd>Tab</kbd> into the drawing, <kbd>←</kbd> <kbd>↑</kbd> <kbd>→</kbd> <kbd>↓</kbd> to move, <kbd>Enter</kbd> to open or select, <kbd>Esc</kbd> to clear, <kbd>+</kbd> <kbd>−</kbd> to zoom. <kbd>Ctrl</kbd> and the wheel zoom, too.",
    );
    return;
  }
  const node = graph.nodes[state.selected];
  holder.append("h2").text(node.name);
  appendList(holder, nodeRows(state.selected));
  const verdict = document.querySelector(`#table tr[data-place="${state.selected}"] td:last-child`);
  if (verdict)
    holder
      .append("p")
      .attr("class", "verdict")
      .node()
      .append(...verdict.cloneNode(true).childNodes);
  if (node.paths.length > 7)
    holder
      .append("details")
      .call((each) => each.append("summary").text("All digits of the number of paths"))
      .append("p")
      .style("overflow-wrap", "anywhere")
      .text(node.paths);
  if (graph.lengths[state.selected]) showLengths(holder, graph.lengths[state.selected]);
  showUses(holder, "Gradient arrives from", graph.outEdges[state.selected], "to");
  showUses(holder, "Gradient goes on to", graph.inEdges[state.selected], "from");
}

function showLengths(holder, known) {
  const { count, share } = known;
  if (!count.length) {
    const text = "This picture holds no numbers of paths by length.";
    if (graph.nodes[state.selected].paths !== "0") holder.append("h3").text(text);
    return;
  }
  if (count.length === 1) {
    holder.append("h3").text("Paths by length");
    const [[length, digits]] = count;
    const all = digits === "1" ? "The one path has" : `All ${shortCount(digits)} paths have`;
    holder.append("p").attr("class", "quiet").text(`${all} length ${length}.`);
    return;
  }
  const shares = new Map(share.map(([length, , part]) => [length, part]));
  if (state.unit) {
    holder
      .append("label")
      .attr("for", "length")
      .text(`Light only paths of length (in ${state.unit})`);
    const choice = holder
      .append("select")
      .attr("id", "length")
      .on("change", (event) =>
        choose(event.target.value === "" ? null : Number(event.target.value)),
      );
    choice.append("option").attr("value", "").text("any");
    for (const [length, digits] of count) {
      const part = shares.has(length) ? `, ${percent(shares.get(length))}` : "";
      choice
        .append("option")
        .attr("value", length)
        .text(`${length}: ${shortCount(digits)} path${digits === "1" ? "" : "s"}${part}`);
    }
    choice.property("value", state.length ?? "");
  }
  holder.append("h3").text("Paths by length");
  const charts = holder.append("div").attr("class", "charts");
  drawCharts(charts, known, state.length, state.unit ? choose : () => {});
}

// The strongest uses of the selected node, as links to the other end.
function showUses(holder, title, numbers, end) {
  if (!numbers.length) return;
  holder.append("h3").text(title);
  const strongest = [...numbers]
    .sort((a, b) => graph.edges[b].norm - graph.edges[a].norm)
    .slice(0, 6);
  const row = holder
    .append("ul")
    .attr("class", "links")
    .selectAll("li")
    .data(strongest.map((number) => graph.edges[number]))
    .join("li");
  row
    .append("button")
    .attr("type", "button")
    .attr("class", "plain")
    .text((edge) => labelOf(edge[end]))
    .on("click", (event, edge) => go(edge[end]));
  row.append("span").text(strengthOf);
  if (numbers.length > strongest.length)
    holder
      .append("p")
      .attr("class", "quiet")
      .text(`and ${numbers.length - strongest.length} more`);
}

function strengthOf({ carries, norm, gain }) {
  if (norm === null) return carries ? "" : "no path";
  return figure(norm) + (gain === null ? "" : ` (× ${figure(gain)})`);
}

function labelOf(place) {
  const { name, steps } = graph.nodes[place];
  return steps.length ? `${name}, step ${steps.join(", ")}` : name;
}
