// Draws the visible part as SVG, by D3: zoom, focus, overview.

const LONGEST_LABEL = 168; // pixels
const ROOM = 24; // pixels kept free around what is fitted or brought into view
const LEGIBLE = 0.75; // smallest zoom at which the page opens

class Drawing {
  constructor(view, scale, { activate, describe, sink }) {
    this.view = view;
    this.scale = scale;
    this.act = { activate, describe, sink };
    this.pen = document.createElement("canvas").getContext("2d");
    this.pen.font = `600 13px ${getComputedStyle(view).fontFamily}`;
    this.svg = d3.select(view).append("svg").attr("class", "drawing");
    this.zoomed = this.svg.append("g");
    this.scene = this.zoomed.append("g").attr("id", "scene");
    [this.boxLayer, this.edgeLayer, this.itemLayer] = ["boxes", "edges", "items"].map((name) =>
      this.scene.append("g").attr("class", name),
    );
    this.overview = d3
      .select(view)
      .append("svg")
      .attr("class", "overview")
      .attr("aria-hidden", "true");
    this.tip = d3
      .select(view)
      .append("div")
      .attr("class", "tip")
      .attr("aria-hidden", "true")
      .attr("hidden", "");
    this.zoom = d3.zoom().scaleExtent([0.02, 3]);
    this.zoom.filter(
      (event) => !event.button && (event.type !== "wheel" || event.ctrlKey || event.metaKey),
    );
    this.zoom.on("zoom", ({ transform }) => {
      this.zoomed.attr("transform", transform);
      this.hideTip();
      this.drawOverview();
    });
    this.svg.call(this.zoom).on("dblclick.zoom", null);
    this.overview.on("click", (event) => this.centre(d3.pointer(event, this.overview.node())));
  }

  // Lay out and draw; the item or box `anchor` stays where it is on the screen.
  draw(visible, { downward, anchor }) {
    const before = anchor && this.places?.get(anchor);
    const screen = before && this.transform().apply(before.corner);
    this.visible = visible;
    Object.assign(
      this,
      layOut(visible, downward, (item) => this.sizeOf(item)),
    );
    this.drawBoxes([...visible.boxes.values()]);
    this.drawEdges(visible.edges);
    this.drawItems([...visible.items.values()]);
    this.growView();
    const after = this.places.get(anchor);
    if (screen && after) {
      const { k } = this.transform();
      this.moveTo(
        d3.zoomIdentity
          .translate(screen[0] - k * after.corner[0], screen[1] - k * after.corner[1])
          .scale(k),
      );
    } else this.drawOverview();
  }

  sizeOf(item) {
    const closed = item.kind === "group" || item.kind === "steps";
    item.count = closed ? item.places.length.toLocaleString("en") : "";
    item.label = this.shortened(item.name, LONGEST_LABEL);
    const [name, count] = [item.label, item.count].map((text) => this.pen.measureText(text).width);
    return { width: Math.max(36, Math.ceil(name + count) + (closed ? 34 : 26)), height: 28 };
  }

  shortened(name, most) {
    const letters = [...name.replace(/\p{C}/gu, "\ufffd")];
    if (this.pen.measureText(letters.join("")).width <= most) return letters.join("");
    let kept = letters.length - 1;
    const cut = () =>
      [
        ...letters.slice(0, Math.ceil(kept / 2)),
        "…",
        ...letters.slice(letters.length - Math.floor(kept / 2)),
      ].join("");
    while (kept > 1 && this.pen.measureText(cut()).width > most) kept -= 1;
    return cut();
  }

  drawBoxes(boxes) {
    boxes.sort((a, b) => this.places.get(b.key).width - this.places.get(a.key).width);
    const box = this.boxLayer
      .selectAll("g.box")
      .data(boxes, (each) => each.key)
      .join((enter) => {
        const made = enter
          .append("g")
          .attr("class", "box")
          .attr("id", (each) => each.key);
        made.append("rect").attr("class", "frame").attr("rx", 8);
        const title = made
          .append("g")
          .attr("class", "title")
          .attr("role", "button")
          .attr("tabindex", -1)
          .attr("aria-expanded", "true");
        title.append("rect").attr("class", "ring").attr("rx", 4).attr("height", 18);
        title.append("text").attr("x", 6).attr("y", 13);
        return made;
      })
      .order();
    const at = (each) => this.places.get(each.key);
    box
      .select(".frame")
      .attr("x", (each) => at(each).left)
      .attr("y", (each) => at(each).top)
      .attr("width", (each) => at(each).width)
      .attr("height", (each) => at(each).height);
    const title = box
      .select(".title")
      .attr("transform", (each) => `translate(${at(each).left + 2},${at(each).top + 1})`)
      .attr("aria-label", (each) => this.act.describe(each).spoken);
    title
      .select("text")
      .text((each) => this.shortened(each.name, Math.max(40, at(each).width - 24)));
    title
      .select("rect")
      .attr("width", (each) =>
        Math.min(at(each).width - 4, this.pen.measureText(each.name).width + 12),
      );
    this.listen(title);
  }

  drawItems(items) {
    const at = (item) => this.places.get(item.key);
    const item = this.itemLayer
      .selectAll("g.item")
      .data(items, (each) => each.key)
      .join((enter) => {
        const made = enter
          .append("g")
          .attr("id", (each) => each.key)
          .attr("role", "button")
          .attr("tabindex", -1);
        const bundle = made.filter((each) => each.kind === "group" || each.kind === "steps");
        bundle.append("rect").attr("class", "behind").attr("x", 3).attr("y", 3);
        made.append("rect").attr("class", "shape");
        made
          .append("rect")
          .attr("class", "strength")
          .attr("x", 6)
          .attr("y", 7)
          .attr("width", 3)
          .attr("rx", 1.5)
          .attr("height", 14);
        made
          .append("text")
          .attr("class", "name")
          .attr("x", (each) => (each.count ? 11 : 15))
          .attr("y", 18.5);
        made
          .append("text")
          .attr("class", "count")
          .attr("aria-hidden", "true")
          .attr("y", 18.5)
          .attr("text-anchor", "end");
        made.append("rect").attr("class", "ring").attr("x", -4).attr("y", -4);
        return made;
      })
      .order();
    const round = (each) => (each.kind === "source" || each.kind === "sink" ? 14 : 5);
    item
      .attr("class", (each) => `item ${each.kind}`)
      .attr("transform", (each) => `translate(${at(each).left},${at(each).top})`)
      .attr("aria-label", (each) => this.act.describe(each).spoken)
      .attr("aria-expanded", (each) => (each.kind === "group" ? "false" : null));
    item
      .select(".shape")
      .attr("width", (each) => at(each).width)
      .attr("height", 28)
      .attr("rx", round);
    item
      .select(".behind")
      .attr("width", (each) => at(each).width)
      .attr("height", 28)
      .attr("rx", round);
    item
      .select(".ring")
      .attr("width", (each) => at(each).width + 8)
      .attr("height", 36)
      .attr("rx", (each) => round(each) + 4);
    item
      .select(".strength")
      .call(this.coloured, this.scale)
      .style("visibility", (each) =>
        each.norm === undefined || each.kind === "sink" ? "hidden" : null,
      );
    item.select(".name").text((each) => each.label);
    item
      .select(".count")
      .attr("x", (each) => at(each).width - 10)
      .text((each) => each.count);
    this.listen(item);
  }

  drawEdges(edges) {
    const edge = this.edgeLayer
      .selectAll("g.edge")
      .data(edges, (each) => each.key)
      .join((enter) => {
        const made = enter.append("g");
        for (const part of ["line", "head", "touch"]) made.append("path").attr("class", part);
        return made;
      })
      .order();
    const line = d3.line().curve(d3.curveBasis);
    edge.attr(
      "class",
      (each) =>
        `edge${each.carries ? "" : " no-path"}${Number.isFinite(each.norm ?? 0) ? "" : " not-finite"}`,
    );
    edge.each((each) =>
      Object.assign(each, headed(this.places.get(each.key).points, this.scale.width(each.norm))),
    );
    edge
      .select(".line")
      .attr("d", (each) => line(each.points))
      .style("stroke-width", (each) => this.scale.width(each.norm))
      .call(this.coloured, this.scale);
    edge
      .select(".head")
      .attr("d", (each) => each.head)
      .call(this.coloured, this.scale);
    edge.select(".touch").attr("d", (each) => line(each.points));
    edge
      .on("pointerenter", (event, each) => this.showTip(each, d3.pointer(event, this.view)))
      .on("pointerleave", () => this.hideTip());
  }

  coloured(parts, scale) {
    parts
      .style("--on-light", (each) => scale.colour(each.norm, "light"))
      .style("--on-dark", (each) => scale.colour(each.norm, "dark"));
  }

  listen(parts) {
    parts
      .on("click", (event, each) => this.act.activate(each))
      .on("pointerenter", (event, each) => each.kind !== "box" && this.showTip(each))
      .on("pointerleave", () => this.hideTip())
      .on("focus", (event, each) => this.arrive(each))
      .on("blur", () => this.hideTip());
  }

  // Fade what is not on the lit paths; null lights everything.
  light(lit, selected) {
    this.scene.classed("lighting", lit !== null);
    this.itemLayer
      .selectAll(".item")
      .classed("lit", (item) => lit !== null && item.places.some((place) => lit.nodes[place]))
      .classed("selected", (item) => item.node === selected)
      .attr("aria-pressed", (item) =>
        item.node === undefined ? null : String(item.node === selected),
      );
    this.edgeLayer
      .selectAll(".edge")
      .classed("lit", (edge) => lit !== null && edge.members.some((number) => lit.edges[number]));
    this.drawOverview();
  }

  // Focus and the keyboard.
  arrive(part) {
    this.cursor = part.key;
    this.scene
      .selectAll("[role=button]")
      .attr("tabindex", (each) => (each.key === part.key ? 0 : -1));
    // Only for the keyboard: what moves under a pressed pointer is not clicked.
    if (!this.focusable(part.key).matches(":focus-visible")) return;
    this.bringIntoView(part.key);
    this.showTip(part);
  }

  focusable(key) {
    return this.scene
      .selectAll("[role=button]")
      .filter((each) => each.key === key)
      .node();
  }

  focus(key) {
    this.focusable(key)?.focus({ preventScroll: true });
  }

  // Exactly one part takes part in the tab order.
  setCursor(key) {
    this.cursor = this.places.get(key) ? key : `n${this.act.sink}`;
    this.scene
      .selectAll("[role=button]")
      .attr("tabindex", (each) => (each.key === this.cursor ? 0 : -1));
  }

  // The nearest part in a direction, one step aside counting as much as two and a half ahead.
  towards([x, y]) {
    const from = this.places.get(this.cursor).middle;
    let best = { cost: Infinity };
    for (const { key } of [...this.visible.items.values(), ...this.visible.boxes.values()]) {
      const to = this.places.get(key).middle;
      const [right, down] = [to[0] - from[0], to[1] - from[1]];
      const [ahead, aside] = [right * x + down * y, Math.abs(right * y - down * x)];
      const cost = ahead + 2.5 * aside;
      if (key !== this.cursor && ahead > 2 && cost < best.cost) best = { key, cost };
    }
    return best.key;
  }

  // Moving about.
  transform() {
    return d3.zoomTransform(this.svg.node());
  }

  moveTo(transform) {
    this.svg.call(this.zoom.transform, transform);
  }

  zoomBy(factor) {
    this.svg.call(this.zoom.scaleBy, factor);
  }

  fit(least = 0) {
    const { clientWidth, clientHeight } = this.view;
    const [width, height] = this.size;
    const scale = Math.min(1.15, (clientWidth - ROOM) / width, (clientHeight - ROOM) / height);
    const k = Math.max(scale, least);
    this.moveTo(
      d3.zoomIdentity
        .translate((clientWidth - k * width) / 2, (clientHeight - k * height) / 2)
        .scale(k),
    );
    return k === scale;
  }

  // As high as the drawing needs, never less than before, so that the page does not jump.
  growView() {
    const wanted = Math.min(0.68 * innerHeight, LEGIBLE * this.size[1] + 200);
    if (wanted > this.view.clientHeight) this.view.style.height = `${wanted}px`;
  }

  bringIntoView(key) {
    const { left, top, width, height } = this.places.get(key);
    const { x, y, k } = this.transform();
    const shift = (low, size, all) =>
      low < ROOM ? ROOM - low : Math.min(0, all - ROOM - low - size);
    const across = shift(x + k * left, k * Math.min(width, 200), this.view.clientWidth);
    const along = shift(y + k * top, k * Math.min(height, 40), this.view.clientHeight);
    if (across || along) this.moveTo(d3.zoomIdentity.translate(x + across, y + along).scale(k));
  }

  // A small picture of the whole, where the whole does not fit.
  drawOverview() {
    const { clientWidth, clientHeight } = this.view;
    const [width, height] = this.size;
    const { x, y, k } = this.transform();
    const all =
      x >= -ROOM &&
      y >= -ROOM &&
      x + k * width <= clientWidth + ROOM &&
      y + k * height <= clientHeight + ROOM;
    this.overview.attr("hidden", all ? "" : null);
    if (all) return;
    const shrink = Math.min(260 / width, 110 / height);
    this.overview
      .attr("width", Math.max(24, width * shrink))
      .attr("height", Math.max(24, height * shrink))
      .attr("viewBox", `0 0 ${width} ${height}`);
    const lit = (item) => this.itemLayer.select(`#${item.key}`).classed("lit");
    this.overview
      .selectAll("rect.item")
      .data([...this.visible.items.values()], (item) => item.key)
      .join("rect")
      .attr("class", (item) => `item${lit(item) ? " lit" : ""}`)
      .each((item, number, all) =>
        setRectangle(d3.select(all[number]), this.places.get(item.key), 1.5 / shrink),
      );
    this.overview
      .selectAll("rect.window")
      .data([0])
      .join("rect")
      .attr("class", "window")
      .raise()
      .attr("x", -x / k)
      .attr("y", -y / k)
      .attr("width", clientWidth / k)
      .attr("height", clientHeight / k);
  }

  centre([x, y]) {
    const { k } = this.transform();
    this.moveTo(
      d3.zoomIdentity
        .translate(this.view.clientWidth / 2 - k * x, this.view.clientHeight / 2 - k * y)
        .scale(k),
    );
  }

  showTip(part, at) {
    const { title, rows } = this.act.describe(part);
    this.tip.attr("hidden", null).html("");
    this.tip.append("strong").text(title);
    appendList(this.tip, rows);
    const place = this.places.get(part.key);
    const [left, top] =
      at ??
      this.transform().apply([
        place.left,
        place.top + (part.kind === "box" ? 22 : place.height + 8),
      ]);
    const { offsetWidth, offsetHeight } = this.tip.node();
    const above = top + offsetHeight + 8 > this.view.clientHeight;
    this.tip.style(
      "left",
      `${Math.max(8, Math.min(left + 8 * Boolean(at), this.view.clientWidth - offsetWidth - 8))}px`,
    );
    this.tip.style(
      "top",
      `${Math.max(8, above ? top - offsetHeight - (at ? 12 : 44 * this.transform().k) : top + 12 * Boolean(at))}px`,
    );
  }

  hideTip() {
    this.tip.attr("hidden", "");
  }

  // The item that is nearest to the middle of the view.
  central() {
    const { clientWidth, clientHeight } = this.view;
    const [x, y] = this.transform().invert([clientWidth / 2, clientHeight / 2]);
    const away = ({ middle }) => Math.hypot(middle[0] - x, middle[1] - y);
    return d3.least(this.visible.items.keys(), (key) => away(this.places.get(key)));
  }

  // On paper the drawing is cut into strips, one below the other, so that it can be read. They
  // overlap by the widest node, so that each is whole in one of them, and are as high as need be.
  strips(holder) {
    const [width, height] = this.size;
    const across = Math.min(Math.max(width, 600), Math.max(1000, 1.4 * height));
    const count = Math.ceil((width - LONGEST_LABEL) / (across - LONGEST_LABEL));
    const starts = d3.range(count).map((n) => n && (n * (width - across)) / (count - 1));
    const strip = d3.select(holder).selectAll("svg").data(starts).join("svg");
    strip.attr("class", "drawing").html('<use href="#scene"></use>');
    strip.attr("viewBox", (start) => {
      const [top, bottom] = this.heightsBetween(start, start + across);
      return `${start} ${top} ${across} ${bottom - top}`;
    });
  }

  // How far up and down anything reaches between two places.
  heightsBetween(left, right) {
    const parts = [...this.places.values()].flatMap((each) =>
      each.points
        ? each.points.map(([x, y]) => [x, x, y, y])
        : [[each.left, each.left + each.width, each.top, each.top + each.height]],
    );
    const inside = parts.filter(([from, to]) => to >= left && from <= right);
    return [d3.min(inside, (part) => part[2]) - ROOM, d3.max(inside, (part) => part[3]) + ROOM];
  }
}

function setRectangle(rectangle, { left, top, width, height }, least) {
  rectangle
    .attr("x", left)
    .attr("y", top)
    .attr("width", Math.max(width, least))
    .attr("height", Math.max(height, least));
}

function appendList(parent, rows) {
  const list = parent.append("dl");
  for (const [name, value] of rows) {
    list.append("dt").text(name);
    list.append("dd").text(value);
  }
}
