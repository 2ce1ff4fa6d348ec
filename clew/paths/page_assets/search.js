// Search: names that hold the words, as a list to choose from.

const MOST_FOUND = 30;
let found = [];
let marked = -1;

function search() {
  const words = byId("search").value.trim().toLowerCase();
  const names = graph.nodes.map((node, place) => ({ place, text: node.name.toLowerCase() }));
  const rank = ({ text }) => (text === words ? 0 : text.startsWith(words) ? 1 : 2);
  const hits = words
    ? names.filter(({ text }) => text.includes(words)).sort((a, b) => rank(a) - rank(b))
    : [];
  found = hits.slice(0, MOST_FOUND);
  mark(found.length ? 0 : -1);
  const list = d3
    .select("#results")
    .attr("hidden", words ? null : "")
    .html("");
  byId("search").setAttribute("aria-expanded", String(Boolean(words)));
  if (words && !found.length) list.append("li").attr("class", "none quiet").text("no such name");
  const row = list
    .selectAll("li.hit")
    .data(found)
    .join("li")
    .attr("class", "hit")
    .attr("role", "option")
    .attr("id", (_, number) => `hit${number}`);
  row
    .text(({ place }) => labelOf(place))
    .append("span")
    .attr("class", "quiet")
    .text(({ place }) =>
      [" ", scopesAround(place), graph.nodes[place].where].filter(Boolean).join(" "),
    );
  row.on("pointerdown", (event, { place }) => {
    event.preventDefault();
    take(place);
  });
  if (hits.length > found.length)
    list
      .append("li")
      .attr("class", "none quiet")
      .text(`and ${(hits.length - found.length).toLocaleString("en")} more`);
  mark(marked);
  if (words) say(`${hits.length} found`);
}

function mark(number) {
  marked = number;
  d3.selectAll("#results .hit").attr("aria-selected", (_, each) => String(each === number));
  byId(`hit${number}`)?.scrollIntoView({ block: "nearest" });
  if (number >= 0) byId("search").setAttribute("aria-activedescendant", `hit${number}`);
  else byId("search").removeAttribute("aria-activedescendant");
}

function take(place) {
  byId("search").value = "";
  search();
  go(place);
  drawing.focus(`n${place}`);
}

function searchKey(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && found.length) mark((marked + step + found.length) % found.length);
  else if (event.key === "Enter" && marked >= 0) take(found[marked].place);
  else if (event.key === "Escape") {
    byId("search").value = "";
    search();
  } else return;
  event.preventDefault();
  event.stopPropagation();
}
