// Ties the page together: what is open, selected and filtered, and every control.

const START_OPEN = 40; // items with which the page opens, at most

const graph = new Graph(JSON.parse(document.getElementById("picture").textContent));
const lengths = new Lengths(graph);
const byId = (name) => document.getElementById(name);
const state = {
  steps: graph.loops.map((loop) => loop.last),
  opened: new Set(), // families of groups, the longest open first
  downward: false,
  selected: null, // place of a node
  length: null, // of the paths that are lit; null for all
  unit: null, // what a length counts for the selected node
};
state.opened = graph.openLevels(START_OPEN, state.steps);

const scale = {
  ...graph.scale,
  place: (norm) =>
    norm > 0
      ? Math.min(
          1,
          Math.max(0, (Math.log10(norm) - graph.scale.low) / (graph.scale.high - graph.scale.low)),
        )
      : 0,
  colour(norm, theme) {
    if (norm === null || norm === undefined) return graph.weighed ? this.noPath : this.notWeighed;
    return Number.isFinite(norm)
      ? d3.interpolateRgbBasis(this[theme])(this.place(norm))
      : this.notFinite;
  },
  width(norm) {
    if (norm === null) return 1;
    return Number.isFinite(norm) ? 1 + 5 * this.place(norm) : 6;
  },
};
const drawing = new Drawing(byId("view"), scale, { activate, describe, sink: graph.sink });

// Draw again after something was opened, closed or moved on.
function redraw(anchor) {
  const focused = byId("view").contains(document.activeElement);
  const visible = graph.visible(state.opened, state.steps);
  for (const item of visible.items.values())
    if (item.node !== undefined) item.norm = graph.nodes[item.node].norm;
  drawing.draw(visible, { downward: state.downward, anchor });
  drawing.setCursor(anchor ?? drawing.cursor);
  if (focused) drawing.focus(drawing.cursor);
  byId("open").disabled = ![...visible.items.values()].some((item) => item.kind === "group");
  byId("close").disabled = !state.opened.size;
  showLit();
}

function showLit() {
  drawing.light(litNow(), state.selected);
}

function litNow() {
  if (state.selected === null) return null;
  if (state.length === null) return graph.between(state.selected);
  return lengths.exactly(state.selected, state.length, state.unit);
}

function activate(part) {
  if (part.kind === "box") close(part);
  else if (part.kind === "group") open(part.group, part.key);
  else if (part.kind === "steps") showStep(part.loop, part.nearest);
  else select(part.node === state.selected ? null : part.node);
}

function open(group, anchor) {
  state.opened.add(graph.groups[group].family);
  const closed = keepWithinLimit(graph.path(group));
  redraw(anchor);
  say(
    `${graph.groups[group].name} opened${closed ? `, ${closed} others closed to keep the drawing small` : ""}`,
  );
}

function close({ group, name, key }) {
  const { family } = graph.groups[group];
  if (graph.groups[group].kind === "step") return;
  for (const each of [...state.opened])
    if (each === family || each.startsWith(`${family}/`)) state.opened.delete(each);
  redraw(key);
  say(`${name} closed`);
}

// Close what was opened first until the rest can be drawn; never what the user is about to see.
function keepWithinLimit(wanted) {
  const spared = new Set(wanted.map((group) => graph.groups[group].family));
  let closed = 0;
  for (const family of [...state.opened]) {
    if (graph.visible(state.opened, state.steps).items.size <= MOST_VISIBLE) break;
    if (spared.has(family)) continue;
    state.opened.delete(family);
    closed += 1;
  }
  return closed;
}

function say(text) {
  byId("said").textContent = text;
}

function select(place) {
  state.selected = place;
  state.length = null;
  const known = graph.lengths[place];
  state.unit =
    known &&
    lengths.unitOf(
      place,
      known.count.map(([length]) => length),
    );
  byId("clear").hidden = place === null;
  showLit();
  showDetails();
  document
    .querySelectorAll("#table tbody tr")
    .forEach((row) => row.setAttribute("aria-selected", Number(row.dataset.place) === place));
  say(place === null ? "selection cleared" : `${graph.nodes[place].name} selected`);
}

// Open what is around a node, go to its step, and look at it.
function reveal(place) {
  const around = graph.path(graph.nodes[place].group);
  for (const group of around) {
    const { kind, family, loop, step } = graph.groups[group];
    if (kind === "step") state.steps[loop] = step;
    else state.opened.add(family);
  }
  keepWithinLimit(around);
  showSliders();
  redraw();
  drawing.setCursor(`n${place}`);
  drawing.bringIntoView(`n${place}`);
}

function choose(length) {
  const focused = document.activeElement?.id === "length";
  state.length = length === state.length ? null : length;
  showLit();
  showDetails();
  if (focused) byId("length").focus();
  say(state.length === null ? "all lengths" : `paths of length ${state.length}`);
}

function go(place) {
  select(place);
  reveal(place);
  byId("view").scrollIntoView({ block: "nearest" });
}

// One slider for each loop; none where there is no loop.
function showSliders() {
  const row = d3
    .select("#steps")
    .selectAll("div")
    .data(graph.loops)
    .join((enter) => {
      const made = enter.append("div").attr("class", "step");
      made
        .append("label")
        .attr("for", (_, number) => `step${number}`)
        .text((loop) => `Time step of the ${loop.name}`);
      made
        .append("input")
        .attr("type", "range")
        .attr("id", (_, number) => `step${number}`)
        .attr("step", 1)
        .attr("min", (loop) => loop.first)
        .attr("max", (loop) => loop.last);
      made.append("output").attr("for", (_, number) => `step${number}`);
      return made;
    });
  row.each((loop, number, all) => {
    const text = `${state.steps[number]} of ${loop.first} to ${loop.last}`;
    const one = d3.select(all[number]);
    one
      .select("input")
      .property("value", state.steps[number])
      .attr("aria-valuetext", text)
      .on("input", (event) => showStep(number, Number(event.target.value)));
    one.select("output").text(text);
  });
}

let waiting = 0;
function showStep(loop, step) {
  state.steps[loop] = step;
  showSliders();
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => redraw());
}

const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
function viewKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const part = d3.select(document.activeElement).datum();
  if (ARROWS[event.key]) drawing.focus(drawing.towards(ARROWS[event.key]) ?? drawing.cursor);
  else if ((event.key === "Enter" || event.key === " ") && part?.key) activate(part);
  else if (event.key === "+" || event.key === "=") drawing.zoomBy(1.3);
  else if (event.key === "-") drawing.zoomBy(1 / 1.3);
  else return;
  event.preventDefault();
}

function sortBy(column, header) {
  const rows = [...document.querySelectorAll("#table tbody tr")];
  const falling = header.getAttribute("aria-sort") === "ascending";
  const key = (row) => {
    const { key: text, number } = row.cells[column].dataset;
    return text ?? (number === "" ? -Infinity : Number(number.replace("inf", "Infinity")));
  };
  const order = (a, b) =>
    typeof a === "string" ? a.localeCompare(b, "en", { numeric: column === 0 }) : a - b || 0;
  rows.sort((a, b) => (falling ? -1 : 1) * order(key(a), key(b)));
  document.querySelectorAll("#table th").forEach((each) => each.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", falling ? "descending" : "ascending");
  document.querySelector("#table tbody").append(...rows);
}

function turn() {
  state.downward = !state.downward;
  byId("turn").setAttribute("aria-pressed", String(state.downward));
  redraw();
  home();
}

// All of it if that can be read, else the end at which the gradient starts.
function home() {
  if (drawing.fit(LEGIBLE)) return;
  drawing.bringIntoView(drawing.visible.keyOf[graph.sink]);
}

// One level more, or as many boxes of it as can be drawn.
function openMore() {
  for (const { kind, group } of drawing.visible.items.values()) {
    if (kind !== "group") continue;
    const { family } = graph.groups[group];
    state.opened.add(family);
    if (graph.visible(state.opened, state.steps).items.size > MOST_VISIBLE) {
      state.opened.delete(family);
      break;
    }
  }
  redraw(drawing.central());
}

function closeAll() {
  state.opened = new Set();
  redraw();
  home();
}

function theme() {
  const dark = byId("theme").getAttribute("aria-pressed") !== "true";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").setAttribute("aria-pressed", String(dark));
}

function listen(name, action) {
  byId(name).addEventListener("click", action);
}

listen("open", openMore);
listen("close", closeAll);
listen("turn", turn);
listen("fit", () => drawing.fit());
listen("in", () => drawing.zoomBy(1.3));
listen("out", () => drawing.zoomBy(1 / 1.3));
listen("clear", () => select(null));
listen("theme", theme);
byId("theme").setAttribute(
  "aria-pressed",
  String(matchMedia("(prefers-color-scheme: dark)").matches),
);
byId("search").addEventListener("input", search);
byId("search").addEventListener("keydown", searchKey);
byId("search").addEventListener("blur", () => byId("results").setAttribute("hidden", ""));
byId("view").addEventListener("keydown", viewKey);
document.addEventListener(
  "keydown",
  (event) => event.key === "Escape" && state.selected !== null && select(null),
);
document
  .querySelectorAll("#table th")
  .forEach((header, column) =>
    header.firstChild.addEventListener("click", () => sortBy(column, header)),
  );
document
  .querySelectorAll("#table tbody tr")
  .forEach((row) => row.addEventListener("click", () => go(Number(row.dataset.place))));
addEventListener("beforeprint", () => drawing.strips(byId("strips")));
matchMedia("print").addEventListener("change", () => drawing.strips(byId("strips")));
addEventListener("resize", () => drawing.drawOverview());

showLegend();
showSliders();
showDetails();
redraw();
home();
document.documentElement.dataset.ready = "true";
