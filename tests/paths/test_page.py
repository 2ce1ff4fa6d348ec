"""The page, driven in a real browser: nothing leaves it, and everything works by keyboard too."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

import clew
from clew.paths.page import write_page
from tests.paths import pictures
from tests.paths.browser import launched

READY = "html[data-ready]"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
LINES = """all => all.map(({ __data__: { norm }, children: [line] }) => {
    const style = getComputedStyle(line);
    return [norm, parseFloat(style.strokeWidth), style.stroke, style.strokeDasharray];
})"""
STRONGEST = """getComputedStyle([...document.querySelectorAll("#scene .edge")]
    .sort((a, b) => b.__data__.norm - a.__data__.norm)[0].children[0]).stroke"""
CORNER = """(name) => {
    const all = [...document.querySelectorAll("#scene .item")];
    const { x, y } = all.find((e) => e.__data__.name === name).getBoundingClientRect();
    return [x, y];
}"""


@pytest.fixture(scope="module")
def browser():
    playwright, found = launched()
    yield found
    found.close()
    playwright.stop()


@pytest.fixture
def show(browser, tmp_path):
    """Open a picture's page; afterwards nothing may have gone wrong or out in any of them."""
    faults, requests, contexts = [], [], []

    def opened(picture, **settings):
        file = tmp_path / f"{len(contexts)}.html"
        write_page(picture, file)
        settings.setdefault("viewport", {"width": 1300, "height": 1000})
        context = browser.new_context(**settings)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector(READY, timeout=30_000)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []
    assert len(requests) == len(contexts)  # the files themselves
    assert all(url.startswith("file:") for url in requests)


def items(page, chosen="#scene .item"):
    """The names of drawn nodes and closed boxes, in the order of the graph."""
    return page.eval_on_selector_all(chosen, "all => all.map((each) => each.__data__.name)")


def box_titles(page):
    return page.eval_on_selector_all("#scene .box", "all => all.map((each) => each.__data__.name)")


def lit(page):
    """Places of the lit nodes, and the numbers of the lit edges, of what is drawn."""
    return [
        sorted(page.eval_on_selector_all(f"#scene .{kind}.lit", f"all => all.flatMap({read})"))
        for kind, read in (("item", "e => e.__data__.places"), ("edge", "e => e.__data__.members"))
    ]


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def box(page, name):
    return page.locator(
        "#scene [role=button]", has=page.locator("text", has_text=re.compile(f"^{name}$"))
    )


def step_box(page, step):
    return page.locator("#scene .box text", has_text=re.compile(f"^step {step}$"))


def enter(page, part):
    """Open, close or select by the keyboard, which also brings the part into view."""
    part.focus()
    page.keyboard.press("Enter")


def paths_between(picture, source):
    """Every gradient path from a node to the sink, as lists of edge numbers."""
    sink, found, waiting = picture["sink"]["node"], [], [(source, [])]
    while waiting:
        node, way = waiting.pop()
        if node == sink:
            found.append(way)
        for number, edge in enumerate(picture["edges"]):
            if edge["from"] == node and edge["norm"] is not None:
                waiting.append((edge["to"], [*way, number]))
    return found


def on_paths(picture, ways):
    numbers = sorted({number for way in ways for number in way})
    ends = {picture["edges"][number][end] for number in numbers for end in ("from", "to")}
    return [sorted(ends), numbers]


def test_five_thousand_nodes(show, capsys):
    picture = pictures.recurrent()
    assert len(picture["nodes"]) > 5000
    began = time.perf_counter()
    page = show(picture)
    with capsys.disabled():
        print(f"\n5,000 nodes: written and drawn in {time.perf_counter() - began:.2f} s", end=" ")
    names = items(page)
    assert 10 <= len(names) <= 60
    assert "steps 0 to 98" in names
    assert box_titles(page) == ["step 99"]


def test_a_chain_without_scopes_is_gathered_into_runs(show):
    page = show(pictures.flat())
    assert 40 <= len(items(page)) <= 60
    for number in range(6):
        enter(page, page.locator("#scene .item.group").nth(number))
        assert len(items(page)) <= 300
    assert "others closed to keep the drawing small" in page.locator("#said").text_content()


def test_boxes_open_and_close(show):
    page = show(pictures.residual(12))
    closed = items(page)
    assert "block3" in closed
    assert "tanh" not in closed
    button(page, "Fit").click()
    box(page, "block3").click()
    assert box_titles(page) == ["block3"]
    assert {"tanh", "params.block3.weight"} <= set(items(page))
    assert page.locator("#said").text_content() == "block3 opened"
    box(page, "block3").click()
    assert items(page) == closed
    button(page, "Open more").click()
    assert len(box_titles(page)) == 12
    button(page, "Close all").click()
    assert items(page) == closed


def test_a_small_graph_starts_open(show):
    page = show(pictures.residual(2))
    assert sorted(box_titles(page)) == ["block1", "block2"]


def test_edges_between_closed_boxes_are_the_root_of_the_sum_of_squares(show):
    picture = pictures.residual(12)
    page = show(picture)
    drawn = page.eval_on_selector_all(
        "#scene .edge", "all => all.map(({ __data__: e }) => [e.from, e.to, e.norm, e.members])"
    )
    keys = page.eval_on_selector_all(
        "#scene .item", "all => all.flatMap(({ __data__: e }) => e.places.map((p) => [p, e.key]))"
    )
    key = dict(keys)
    expected = {}
    for number, edge in enumerate(picture["edges"]):
        ends = key[edge["from"]], key[edge["to"]]
        if ends[0] != ends[1]:
            expected.setdefault(ends, []).append(number)
    assert {(start, end): members for start, end, _, members in drawn} == expected
    for *_, norm, members in drawn:
        norms = [picture["edges"][number]["norm"] for number in members]
        told = [each for each in norms if each is not None]
        assert norm == (pytest.approx(math.hypot(*told), rel=1e-14) if told else None)
    assert max(len(members) for members in expected.values()) > 1 or len(expected) == len(drawn)


def test_wider_and_darker_is_stronger_and_no_path_is_dashed(show):
    page = show(pictures.residual(12))
    drawn = page.eval_on_selector_all("#scene .edge", LINES)
    cut = [each for each in drawn if each[0] is None]
    flowing = sorted(each for each in drawn if each[0] is not None)
    assert [each[3] for each in cut] == ["4px, 4px"]
    assert {each[3] for each in flowing} == {"none"}
    widths = [each[1] for each in flowing]
    assert widths == sorted(widths)
    assert widths[-1] > 2 * widths[0]
    light = [sum(map(int, re.findall(r"\d+", each[2]))) for each in flowing]
    assert light == sorted(light, reverse=True)


@pytest.mark.parametrize("opened", [True, False])
def test_a_parameter_lights_its_paths(show, opened):
    picture = pictures.residual(3, opened)
    page = show(picture)
    assert page.locator(".lit").count() == 0
    for row in picture["table"]:
        button(page, row["source"]).first.click()
        ways = paths_between(picture, row["node"])
        expected = on_paths(picture, ways) if ways else [[], []]
        assert lit(page) == expected, row["source"]
    page.keyboard.press("Escape")
    assert page.locator("#scene .lit").count() == 0
    assert page.locator("#scene.lighting").count() == 0


@pytest.mark.parametrize(("opened", "unit"), [(True, "equations"), (False, "scopes")])
def test_paths_of_one_length(show, opened, unit):
    picture = pictures.residual(3, opened)
    kind = unit[:-1]
    page = show(picture)
    kinds = [node["kind"] for node in picture["nodes"]]
    for row in picture["table"][:3]:
        button(page, row["source"]).first.click()
        ways = paths_between(picture, row["node"])
        counted = Counter(
            sum(kinds[picture["edges"][number]["to"]] == kind for number in way) for way in ways
        )
        if len(counted) == 1:
            assert page.locator("#length").count() == 0
            continue
        assert f"in {unit}" in page.locator("label[for=length]").text_content()
        for length, count in counted.items():
            page.select_option("#length", str(length))
            assert (
                f"{length}: {count} path" in page.locator("#length option:checked").text_content()
            )
            chosen = [
                way
                for way in ways
                if sum(kinds[picture["edges"][each]["to"]] == kind for each in way) == length
            ]
            assert lit(page) == on_paths(picture, chosen)
        page.select_option("#length", "")
        assert lit(page) == on_paths(picture, ways)


def test_a_bar_of_the_chart_chooses_a_length(show):
    picture = pictures.residual(4, False)
    page = show(picture)
    button(page, "image").first.click()
    chart = page.get_by_role("img", name="Paths by length")
    assert "Most paths: length 2: 6 paths" in chart.get_attribute("aria-label")
    assert chart.locator(".bar:not(.part)").count() == 5
    assert chart.locator(".negative").count() == sum(
        share < 0 for *_, share in picture["lengths"]["image"]["share"]
    )
    chart.locator(".hit").nth(1).click()
    assert page.locator("#length").input_value() == "1"
    assert page.locator(".chart .chosen").count() == 2
    page.locator(".chart .hit").nth(1).click()
    assert page.locator("#length").input_value() == ""


def test_numbers_of_three_hundred_digits(show):
    page = show(pictures.recurrent())
    button(page, "state0").first.click()
    chart = page.get_by_role("img", name="Paths by length")
    assert chart.locator(".bar:not(.part)").count() <= 120
    assert "10³⁰⁰" in chart.text_content()
    assert str(2**1000) in page.locator("#details details").text_content()
    assert "1.07 × 10³⁰¹" in page.locator("#details").text_content()
    enter(page, box(page, "cell9"))
    page.select_option("#length", "1000")
    told = page.locator("#scene .item.lit").evaluate_all("a => a.map((e) => e.__data__.name)")
    assert told.count("add") == 1
    assert "dot" not in told


def test_the_slider_moves_through_time_by_arrow_keys(show):
    page = show(pictures.recurrent())
    slider = page.get_by_role("slider", name="Time step of the loop at m.py:1")
    assert slider.input_value() == "99"
    enter(page, box(page, "cell3"))
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    step_box(page, 96).wait_for()
    assert slider.get_attribute("aria-valuetext") == "96 of 0 to 99"
    assert sorted(box_titles(page)) == ["cell3", "step 96"]  # open boxes stay open
    assert {"steps 0 to 95", "steps 97 to 99"} <= set(items(page))
    enter(page, box(page, "steps 0 to 95"))
    step_box(page, 95).wait_for()
    assert slider.input_value() == "95"
    page.keyboard.press("Home")
    steps = "all => all.map((e) => e.getAttribute('aria-label'))"
    shown = page.eval_on_selector_all("#scene .item.equation", steps)
    assert len(shown) == 5
    assert all("time step 95" in each for each in shown)


def test_two_loops_and_a_loop_in_a_loop_have_sliders_of_their_own(show):
    draft = pictures.Draft()
    value = draft.source("x")
    for step in range(3):
        for inner in range(4):
            value = draft.node("sin", value, steps=[step, inner], where="m.py:3")
        value = draft.node("mul", value, steps=[step], where="m.py:4")
    for step in range(5):
        value = draft.node("exp", value, steps=[step], where="m.py:9")
    page = show(draft.picture(draft.node("loss", value, kind="sink"), "equation"))
    sliders = page.get_by_role("slider")
    assert sliders.evaluate_all("all => all.map((e) => [e.min, e.max])") == [
        ["0", "2"],
        ["0", "3"],
        ["0", "4"],
    ]
    assert Counter(items(page)) == Counter(
        ["x", "steps 0 to 1", "steps 0 to 2", "sin", "mul", "steps 0 to 3", "exp", "loss"]
    )


def test_search_finds_and_reveals(show):
    page = show(pictures.residual(12))
    search = page.get_by_role("combobox", name="Search by name")
    search.fill("block7")
    assert search.get_attribute("aria-expanded") == "true"
    assert page.get_by_role("option").count() == 2
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("option", selected=True).text_content().startswith("params.block7.bias")
    page.keyboard.press("Enter")
    assert box_titles(page) == ["block7"]
    assert items(page, "#scene .selected") == ["params.block7.bias"]
    assert page.evaluate("document.activeElement.__data__.name") == "params.block7.bias"
    search.fill("nothing of that name")
    assert page.locator("#results").text_content() == "no such name"
    page.keyboard.press("Escape")
    assert not page.locator("#results").is_visible()
    assert items(page, "#scene .selected") == ["params.block7.bias"]


def test_search_goes_to_the_step_of_what_it_finds(show):
    page = show(pictures.recurrent())
    search = page.get_by_role("combobox", name="Search by name")
    search.fill("tanh")
    assert "and 970 more" in page.locator("#results").text_content()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.get_by_role("slider").input_value() == "0"
    assert sorted(box_titles(page)) == ["cell1", "step 0"]


def test_keyboard_only(show):
    page = show(pictures.residual(12))
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("Boolean(document.activeElement.closest('#view'))"):
            break
    active = "document.activeElement.__data__?.name"
    assert page.evaluate(active) == "loss"
    assert page.locator(".tip").is_visible()
    ring = "getComputedStyle(document.activeElement.querySelector('.ring')).stroke"
    assert page.evaluate(ring) != "none"
    visited = []
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
        visited.append(page.evaluate(active))
    assert visited == ["mean_square", "add", "block12", "add"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert box_titles(page) == ["block12"]
    assert page.evaluate(active) == "block12"
    for _ in range(8):
        page.keyboard.press("ArrowRight")
        if page.evaluate(active) == "tanh":
            break
    page.keyboard.press("Enter")
    assert items(page, "#scene .selected") == ["tanh"]
    page.keyboard.press("Escape")
    assert items(page, "#scene .selected") == []
    assert page.evaluate(active) == "tanh"
    assert page.locator("#scene [tabindex='0']").count() == 1  # one stop for Tab
    before = page.evaluate("document.querySelector('.drawing > g').getAttribute('transform')")
    page.keyboard.press("+")
    assert (
        page.evaluate("document.querySelector('.drawing > g').getAttribute('transform')") != before
    )


def test_hovering_tells(show):
    page = show(pictures.residual(2))
    button(page, "Fit").click()
    box(page, "tanh").first.hover()
    told = page.locator(".tip").inner_text()
    for text in ("tanh", "f64[16]", "model.py:0", "block1", "0.01", "paths"):
        assert text in told
    page.locator("#scene .edge").first.dispatch_event(
        "pointerenter", {"clientX": 400, "clientY": 300}
    )
    told = page.locator(".tip").inner_text()
    assert "→" in told
    assert "gain" in told


def test_the_table_sorts_and_selects(show):
    picture = pictures.recurrent(40, 5)
    page = show(picture)

    def column():
        return page.locator("#table tbody tr td:first-child").all_text_contents()

    by_paths = sorted(picture["table"], key=lambda row: int(row["paths"]))
    button(page, "Paths").click()
    assert column() == [row["source"] for row in by_paths]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    button(page, "Paths").click()
    assert column() == [row["source"] for row in reversed(by_paths)]
    button(page, "Gradient").click()
    assert column()[0] == "state0"
    page.locator("#table tr", has_text="state0").locator("td").nth(3).click()
    assert items(page, "#scene .selected") == ["state0"]
    assert page.locator("#table tr[aria-selected=true]").count() == 1


def test_top_to_bottom(show):
    page = show(pictures.residual(2))
    first, last = page.evaluate(CORNER, "image"), page.evaluate(CORNER, "loss")
    assert last[0] - first[0] > abs(last[1] - first[1])
    button(page, "Top to bottom").click()
    assert button(page, "Top to bottom").get_attribute("aria-pressed") == "true"
    first, last = page.evaluate(CORNER, "image"), page.evaluate(CORNER, "loss")
    assert last[1] - first[1] > abs(last[0] - first[0])


def test_nothing_drawn_overlaps(show):
    page = show(pictures.residual(12))
    button(page, "Open more").click()
    rectangles = page.eval_on_selector_all(
        "#scene .item .shape",
        "a => a.map((e) => e.getBoundingClientRect()).map((r) => [r.x, r.y, r.right, r.bottom])",
    )
    assert len(rectangles) > 30
    for number, (left, top, right, bottom) in enumerate(rectangles):
        for other in rectangles[:number]:
            assert other[2] <= left or right <= other[0] or other[3] <= top or bottom <= other[1]


def test_names_stay_text(show):
    picture = pictures.hostile()
    page = show(picture)
    assert page.locator("h1").text_content() == picture["title"]
    assert box_titles(page) == ["<script>alert(1)</script>"]
    assert page.locator(".box text").text_content() == "<script>alert(1)</script>"
    button(page, picture["nodes"][0]["name"]).first.click()
    assert page.locator("#details h2").text_content() == picture["nodes"][0]["name"]
    page.get_by_role("combobox").fill("img")
    assert picture["nodes"][0]["name"] in page.get_by_role("option").text_content()
    assert page.locator("img, b, iframe").count() == 0
    assert "{{ 7 * 7 }}" in picture["nodes"][1]["name"]
    assert items(page)[1] == picture["nodes"][1]["name"]


def test_light_and_dark(show):
    light = show(pictures.residual(12))
    dark = show(pictures.residual(12), color_scheme="dark")
    assert light.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
    assert dark.evaluate(BACKGROUND) == "rgb(20, 24, 28)"
    seen = [page.evaluate(STRONGEST) for page in (light, dark)]
    assert seen[0] != seen[1]
    for page in (light, dark):
        button(page, "Dark").click()
    assert light.evaluate(BACKGROUND) == "rgb(20, 24, 28)"
    assert dark.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
    assert [page.evaluate(STRONGEST) for page in (light, dark)] == seen[::-1]


def test_on_paper(show):
    page = show(pictures.residual(12), color_scheme="dark")
    button(page, "params.block3.weight").first.click()
    assert not page.locator("#strips").is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
    assert not page.locator("#view").is_visible()
    assert not page.locator("#search").is_visible()
    strips = page.locator("#strips svg")
    strips.nth(1).wait_for(state="attached")  # drawn when the page hears of paper
    ends = strips.evaluate_all("a => a.map(({ viewBox: { baseVal: v } }) => [v.x, v.x + v.width])")
    assert len(ends) > 1
    assert all(one[1] > other[0] for one, other in pairwise(ends))
    wide = page.evaluate("document.querySelector('#scene').getBBox().width")
    assert ends[0][0] <= 0
    assert ends[-1][1] >= wide
    assert page.locator("#table tbody tr").last.is_visible()
    assert page.locator(".chart").is_visible()
    assert page.pdf(format="A4")[:5] == b"%PDF-"


def test_a_narrow_window_shows_everything(show):
    page = show(pictures.residual(12), viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#view").is_visible()
    assert page.locator("#table tbody tr").first.is_visible()


def test_nothing_to_choose_from_is_not_offered(show):
    page = show(pictures.residual(1, False))
    assert page.get_by_role("slider").count() == 0
    assert button(page, "Open more").is_disabled()
    assert button(page, "Close all").is_disabled()
    button(page, "params.block1.weight").first.click()
    assert page.locator("#length").count() == 0
    assert "The one path has length 1." in page.locator("#details").text_content()
    picture = pictures.residual(2)
    picture["lengths"]["image"] = {"count": [], "share": []}  # as for runs that are too large
    page = show(picture)
    button(page, "image").first.click()
    assert page.locator("#length").count() == 0
    assert "holds no numbers of paths by length" in page.locator("#details").text_content()


def test_a_single_value(show):
    draft = pictures.Draft("identity")
    picture = draft.picture(draft.source("x"), lengths={})
    page = show(picture | {"table": []})
    assert items(page) == ["x"]
    assert "no differentiated arguments" in page.locator("section.table").text_content()


def test_a_parameter_that_is_cut_off_says_why(show):
    page = show(pictures.residual(2))
    button(page, "target").first.click()
    assert "stopped by stop_gradient at model.py:40" in page.locator("#details").text_content()
    assert items(page, "#scene .selected") == ["target"]
    opacity = "getComputedStyle(document.querySelector('#scene .selected')).opacity"
    assert page.evaluate(opacity) == "1"


def test_an_output_that_is_no_number_has_paths_but_no_norms(show):
    picture = pictures.unweighed()
    page = show(picture)
    assert page.locator("#scene .no-path").count() == 1
    assert "no norms" in page.locator("#legend").text_content()
    assert page.locator("#legend svg").count() == 0
    weighed = pictures.residual(3)
    for row in weighed["table"]:
        button(page, row["source"]).first.click()
        ways = paths_between(weighed, row["node"])
        assert lit(page) == (on_paths(weighed, ways) if ways else [[], []])
    assert page.locator(".chart .part").count() == 0


def test_a_real_run(show):
    def network(params, xs):
        def step(state, x):
            with clew.scope("cell"):
                state = state + np.tanh(params["u"] * state + x)
            return state, None

        return clew.scan(step, params["start"], xs)[0] ** 2.0

    found = clew.flow(network)({"u": 0.5, "start": 0.1, "unused": 1.0}, np.ones(8))
    page = show(found.picture())
    assert page.get_by_role("slider").evaluate("(e) => [e.min, e.max]") == ["0", "7"]
    button(page, "start").first.click()
    assert "in equations" in page.locator("label[for=length]").text_content()
    texts = page.locator("#length option").all_text_contents()
    counted = [re.match(r"(\d+): (\d+) path", text).groups() for text in texts[1:]]
    assert {int(one): int(two) for one, two in counted} == found.lengths("start")
    button(page, "unused").first.click()
    assert page.locator("#scene .lit").count() == 0


def test_norms_that_are_no_numbers(show):
    draft = pictures.Draft("exploding")
    weight = draft.source("w", norm=float("inf"))
    value = draft.node("exp", (weight, float("inf")), norm=float("nan"))
    other = draft.node("log", (value, float("nan")), norm=0.0)
    sink = draft.node("loss", (other, 0.0), kind="sink", norm=1.0)
    page = show(draft.picture(sink, "equation"))
    assert page.locator("#scene .edge.not-finite").count() == 2
    box(page, "exp").hover()
    assert "not a number" in page.locator(".tip").inner_text()
    box(page, "w").hover()
    assert "infinite" in page.locator(".tip").inner_text()


def test_the_page_is_one_file_that_may_fetch_nothing(tmp_path):
    file = tmp_path / "page.html"
    write_page(pictures.hostile(), file)
    text = file.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?!data:)", text)
    data = text.split('id="picture">')[1].split("</script>")[0]
    assert "<" not in data
    assert text.count("Permission") >= 2  # the licences of the libraries
