// The legend, and two charts over the length of a path: how many paths, how much gradient.

const CHART = {
  width: 336,
  left: 52,
  right: 8,
  top: 16,
  count: 110,
  share: 110,
  gap: 40,
  bottom: 34,
};
const MOST_BARS = 120;

// Bars of equal numbers of lengths: their counts summed as logarithms, their shares as they are.
function binned(count, share) {
  const shares = new Map(
    share.map(([length, norm, part]) => [length, { norm: Number(norm), part: Number(part) }]),
  );
  const lengths = [...new Set([...count.map(([length]) => length), ...shares.keys()])].sort(
    (a, b) => a - b,
  );
  const logs = new Map(count.map(([length, digits]) => [length, log10Of(digits)]));
  const size = Math.ceil(lengths.length / MOST_BARS);
  return d3.range(0, lengths.length, size).map((start) => {
    const members = lengths.slice(start, start + size);
    const known = members.map((length) => logs.get(length) ?? -Infinity);
    const top = Math.max(...known);
    const log =
      top === -Infinity ? top : top + Math.log10(d3.sum(known, (each) => 10 ** (each - top)));
    const parts = members.map((length) => shares.get(length)?.part ?? 0);
    const strongest = members[d3.maxIndex(parts, Math.abs)];
    return { members, log, part: d3.sum(parts), strongest };
  });
}

function drawCharts(holder, { count, share }, chosen, choose) {
  const bins = binned(count, share);
  const { width, left, right, top, gap, bottom } = CHART;
  const height = top + CHART.count + (share.length ? gap + CHART.share : 0) + bottom;
  const svg = holder
    .append("svg")
    .attr("class", "chart")
    .attr("viewBox", `0 0 ${width} ${height}`)
    .attr("role", "img");
  svg.attr("aria-label", spokenChart(bins, share.length > 0));
  const x = d3
    .scaleBand(d3.range(bins.length), [left, width - right])
    .paddingInner(bins.length > 60 ? 0 : 0.18);
  const base = top + CHART.count;
  const most = Math.max(
    0.5,
    d3.max(bins, (bin) => bin.log),
  );
  const counts = d3.scaleLinear([-most / 12, most], [base, top]);
  const few = [1, 2, 5, 10, 20, 50, 100].map(Math.log10).filter((tick) => tick <= most);
  const powers =
    most < 2 ? few : counts.ticks(4).filter((tick) => tick >= 0 && Number.isInteger(tick));
  drawGrid(svg, counts, powers, (tick) =>
    tick < 4 ? Math.round(10 ** tick).toLocaleString("en") : `10${superscript(tick)}`,
  );
  const bars = (name, from, to) => drawBars(svg, { bins, x, name, from, to, chosen });
  bars(
    "",
    (bin) => counts(bin.log),
    () => base,
  );
  if (share.length) {
    const low = top + CHART.count + gap + CHART.share;
    const parts = d3
      .scaleLinear(
        [
          Math.min(
            0,
            d3.min(bins, (bin) => bin.part),
          ),
          Math.max(
            0,
            d3.max(bins, (bin) => bin.part),
          ),
        ],
        [low, low - CHART.share],
      )
      .nice(4);
    drawGrid(svg, parts, parts.ticks(4), (tick) => `${Math.round(100 * tick)} %`);
    bars(
      "part",
      (bin) => parts(Math.max(0, bin.part)),
      (bin) => parts(Math.min(0, bin.part)),
    );
    svg
      .append("line")
      .attr("class", "zero")
      .attr("x1", left)
      .attr("x2", width - right)
      .attr("y1", parts(0))
      .attr("y2", parts(0));
    caption(svg, low - CHART.share - 12, "share of the gradient, signed");
  }
  caption(svg, top - 8, "number of paths");
  const every = Math.ceil(bins.length / 8);
  const ticks = svg
    .selectAll(".length")
    .data(bins.filter((_, n) => n % every === 0))
    .join("text")
    .attr("class", "length");
  ticks
    .attr("x", (bin) => x(bins.indexOf(bin)) + x.bandwidth() / 2)
    .attr("y", height - bottom + 16)
    .attr("text-anchor", "middle")
    .text((bin) => bin.members[0]);
  svg
    .append("text")
    .attr("x", (left + width - right) / 2)
    .attr("y", height - 3)
    .attr("text-anchor", "middle")
    .text("length of the path");
  const hit = svg
    .selectAll(".hit")
    .data(bins)
    .join("rect")
    .attr("class", "hit")
    .attr("x", (_, n) => x(n))
    .attr("y", top);
  hit
    .attr("width", x.step())
    .attr("height", height - top - bottom)
    .on("click", (event, bin) => choose(bin.strongest));
  hit.append("title").text((bin) => spokenBin(bin, share.length > 0));
}

function drawGrid(svg, scale, ticks, label) {
  const line = svg
    .append("g")
    .selectAll("g")
    .data(ticks)
    .join("g")
    .attr("transform", (tick) => `translate(0,${scale(tick)})`);
  line
    .append("line")
    .attr("class", "grid")
    .attr("x1", CHART.left)
    .attr("x2", CHART.width - CHART.right);
  line
    .append("text")
    .attr("x", CHART.left - 6)
    .attr("y", 4)
    .attr("text-anchor", "end")
    .text(label);
}

function drawBars(svg, { bins, x, name, from, to, chosen }) {
  const bar = svg.append("g").selectAll("rect").data(bins).join("rect");
  bar.attr(
    "class",
    (bin) =>
      `bar ${name}${name && bin.part < 0 ? " negative" : ""}${bin.members.includes(chosen) ? " chosen" : ""}`,
  );
  bar.attr("x", (_, n) => x(n)).attr("width", Math.max(1, x.bandwidth()));
  bar.attr("y", from).attr("height", (bin) => Math.max(0.5, to(bin) - from(bin)));
}

function caption(svg, y, text) {
  svg.append("text").attr("x", CHART.left).attr("y", y).text(text);
}

function spokenBin({ members, log, part }, shared) {
  const lengths =
    members.length > 1 ? `lengths ${members[0]} to ${members.at(-1)}` : `length ${members[0]}`;
  const count =
    log < 6 ? Math.round(10 ** log).toLocaleString("en") : `10${superscript(Math.round(log))}`;
  return `${lengths}: ${count} paths${shared ? `, ${percent(part)} of the gradient` : ""}`;
}

function spokenChart(bins, shared) {
  const most = bins[d3.maxIndex(bins, (bin) => bin.log)];
  const strongest = bins[d3.maxIndex(bins, (bin) => Math.abs(bin.part))];
  const share = shared ? ` Largest share: ${spokenBin(strongest, true)}.` : "";
  return `Paths by length. Most paths: ${spokenBin(most, shared)}.${share}`;
}

function percent(part) {
  const hundredths = 100 * Number(part);
  return Math.abs(hundredths) < 0.005 ? "about 0 %" : `${Number(hundredths.toPrecision(3))} %`;
}

function showLegend() {
  const legend = d3.select("#legend");
  const text = [
    "Arrows show the way the gradient takes, from the loss back. Lines between boxes stand for all uses between them",
  ];
  if (graph.weighed) {
    drawRamp(legend);
    text.unshift(
      "Width and colour of a line: norm of the gradient that flows along it, on a logarithmic scale.",
    );
    text[1] += ": the root of the sum of their squares.";
  } else {
    text.unshift("The output is not a single number, so that its paths have no norms.");
    text[1] += ".";
  }
  if (graph.edges.some((edge) => !edge.carries)) text.push("Dashed: no path.");
  legend.append("p").text(text.join(" "));
}

function drawRamp(legend) {
  const { low, high, light, dark } = graph.scale;
  const svg = legend.append("svg").attr("width", 250).attr("height", 38).attr("role", "img");
  svg.attr(
    "aria-label",
    `Width and colour: norm of the gradient, from 10 to the ${low} to 10 to the ${high}`,
  );
  const stops = svg
    .append("defs")
    .append("linearGradient")
    .attr("id", "ramp")
    .selectAll("stop")
    .data(d3.range(0, 1.01, 0.1))
    .join("stop");
  stops.attr("class", "stop").attr("offset", (at) => at);
  stops
    .style("--on-light", (at) => d3.interpolateRgbBasis(light)(at))
    .style("--on-dark", (at) => d3.interpolateRgbBasis(dark)(at));
  svg.append("path").attr("d", "M0,7.5L250,5L250,11L0,8.5Z").attr("fill", "url(#ramp)");
  const mark = svg
    .selectAll("text")
    .data(d3.ticks(low, high, 5).filter(Number.isInteger))
    .join("text");
  mark
    .attr("x", (power) => (250 * (power - low)) / (high - low))
    .attr("y", 30)
    .text((power) => `10${superscript(power)}`);
  mark.attr("text-anchor", (power) =>
    power === low ? "start" : power === high ? "end" : "middle",
  );
}
