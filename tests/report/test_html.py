"""The pages: valid, complete, safe whatever a ruleset says, and readable in light and dark."""

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import html5lib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ruleaudit
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.report import check_html, html_page, packet_path, suggest_html
from ruleaudit.report.wording import printable
from ruleaudit.results import FileReport
from ruleaudit.source import Include, SourceFile, Span
from tests.report import made

EXPECTED = Path(__file__).parent / "expected"
TEMPLATES = Path(html_page.__file__).parent / "templates"
GONE = [("gone.v4", "gone.v4: cannot be read: no such file or directory")]
PAGES = {
    "check-html": check_html.render([made.REPORT], [made.REWRITE]),
    "check-html-several": check_html.render([made.REPORT, made.REPORT], ["it holds errors", made.REFUSAL], GONE),
    "check-html-needless": check_html.render([made.REPORT], [made.NEEDLESS], notes=True),
    "suggest-html": suggest_html.render([suggest_html.section(made.REWRITE, "file-1", ("--except", "8080"))]),
    "suggest-html-several": suggest_html.render(
        [
            html_page.failed(*GONE[0]),
            suggest_html.section(made.REFUSAL, "file-2", (), made.NOT_OBSERVED),
            suggest_html.section(made.NEEDLESS, "file-3"),
            suggest_html.section(made.REWRITE, "file-4", (), made.OBSERVED),
            suggest_html.section(made.REWRITE, "file-5", (), made.CONTRADICTED),
        ]
    ),
}
TAGS = (
    "html head meta title style body header h1 h2 h3 h4 nav main section footer figure figcaption div p ul ol li dl dt"
    " dd table caption colgroup col thead tbody tr th td details summary pre code span strong mark ins del a br"
    " svg desc text path rect"
)
ATTRIBUTES = (
    "lang charset http-equiv content name class id href scope colspan tabindex role aria-label aria-labelledby"
    " data-head viewBox x y width height rx d"
)


def tree(page: str) -> ElementTree.Element:
    """The page as a browser reads it; what is no valid HTML is refused."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    root = parser.parse(page)
    for element in root.iter():
        element.tag = str(element.tag).removeprefix("{http://www.w3.org/2000/svg}")
    return root


def elements(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return list(root.iter(kind))


def words(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


# -- every page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_valid_and_holds_nothing_active(name: str) -> None:
    assert_safe(PAGES[name])


def assert_safe(page: str) -> None:
    root = tree(page)
    assert {str(e.tag) for e in root.iter()} <= set(TAGS.split())
    assert {key for e in root.iter() for key in e.attrib} <= set(ATTRIBUTES.split())
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids))
    links = [e.attrib["href"] for e in root.iter() if "href" in e.attrib]
    assert {link[0] for link in links} <= {"#"} and {link[1:] for link in links} <= set(ids)
    labels = [id for e in root.iter() for id in e.attrib.get("aria-labelledby", "").split()]
    assert set(labels) <= set(ids)
    (style,) = elements(root, "style")
    digest = base64.b64encode(hashlib.sha256(words(style).encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert [e.attrib["content"] for e in root.iter("meta") if "http-equiv" in e.attrib] == [policy]
    assert "url(" not in words(style) and "@import" not in words(style)
    assert all(letter == "\n" or letter.isprintable() for letter in page)


@pytest.mark.parametrize("name", PAGES)
def test_headings_go_down_step_by_step_and_tables_have_heads(name: str) -> None:
    root = tree(PAGES[name])
    levels = [int(str(e.tag)[1]) for e in root.iter() if re.fullmatch("h[1-6]", str(e.tag))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    for table in elements(root, "table"):
        assert all("scope" in head.attrib for head in table.iter("th")) and list(table.iter("thead"))


@pytest.mark.parametrize("name", PAGES)
def test_colour_is_never_alone(name: str) -> None:
    for element in tree(PAGES[name]).iter():
        if {"word", "answer", "told"} & set(element.attrib.get("class", "").split()):
            assert words(element).strip()


def told(root: ElementTree.Element) -> Iterator[str]:
    """What the page says, a line for each element with words of its own, after the element's name."""
    inline = {"code", "span", "strong", "mark", "ins", "del", "a", "br"}
    for element in root.iter():
        if element.tag in inline or element.tag in ("style", "text"):
            continue
        own = [element.text or ""]
        for child in element:
            own += [words(child) if child.tag in inline and child.tag != "br" else " ", child.tail or ""]
        said = " ".join("".join(own).split())
        if said:
            yield f"{element.tag}: {said}"


@pytest.mark.parametrize("name", PAGES)
def test_the_words_of_the_page_are_as_expected(name: str) -> None:
    assert "\n".join(told(tree(PAGES[name]))) + "\n" == (EXPECTED / f"{name}.txt").read_text()


# -- whatever a ruleset says --------------------------------------------------------------------------

HOSTILE = st.text(
    st.one_of(
        st.sampled_from("<>&\"'`={}%#;/\\-\t\r\x00\x07\x1b\x7f\x85\u2028\u2029\u202e\u2066\ufeff\udc80\udcff"),
        st.characters(),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60)
@given(HOSTILE, HOSTILE)
@example("</title><script>alert(1)</script>", "</style><img src=x onerror=alert(1)>")
@example('" onmouseover="alert(1)', "' style='x")
@example("{{ 7 * 7 }}{% raw %}", "]]></svg><svg onload=alert(1)>")
@example("\u202egnp.exe", "caf\udce9 -->")
def test_no_text_of_a_ruleset_becomes_markup(text: str, other: str) -> None:
    text, other = text.replace("\n", " "), other.replace("\n", " ")
    source = SourceFile(f"{other}.v4", f'*filter\n:INPUT DROP [0:0]\n-A INPUT -m comment --comment "{text}"\nCOMMIT\n')
    span = Span(27, 27 + len(text))
    finding = Finding(
        "RA101",
        "needless-tracking",
        Severity.WARNING,
        text,
        span,
        other,
        (Label(span, text),),
        (("note", other),),
        Witness(text, other),
    )
    report = FileReport(source, made.RULESET, 1, 1, (), (finding,), made.TRACKING)
    flow = replace(made.WEB, ports=(text,), addresses=(other,))
    suggestion = replace(
        made.REWRITE,
        source=source,
        flows=(flow,),
        changes=(),
        text=source.text.replace("DROP", other),
        assumptions=((text, other),),
        notes=(text,),
    )
    page = check_html.render([report], [suggestion], [(text, other)])
    assert_safe(page)
    assert_safe(suggest_html.render([suggest_html.section(suggestion, "file-1", (text,))]))
    said = words(elements(tree(page), "main")[0])
    assert printable(text).replace("\r", "") in said


def test_real_rulesets_with_markup_in_them(tmp_path: Path) -> None:
    path = tmp_path / "<b>&.v4"
    path.write_text(made.TEXT.replace("INPUT drop: ", "</code><script>&amp;'--"))
    (report,) = ruleaudit.check([str(path)])
    page = check_html.render([report], [ruleaudit.suggest(str(path))])
    assert_safe(page)
    assert "</code><script>&amp;'--" in words(elements(tree(page), "main")[0])


# -- the ruleset in place -----------------------------------------------------------------------------


def long_file(rules: int) -> FileReport:
    """A ruleset of many lines, with a warning in the middle."""
    text = "*filter\n" + "".join(f"-A INPUT -s 10.0.{n // 256}.{n % 256} -j DROP\n" for n in range(rules)) + "COMMIT\n"
    at = text.index("\n", len(text) // 2) + 1
    finding = replace(made.FINDING, span=Span(at, at + 8), related=())
    return FileReport(SourceFile("long.v4", text), None, rules, rules, (), (finding,), None)


def lines_of(page: str) -> list[tuple[str, str]]:
    """The lines in the ruleset: number and text."""
    found = []
    for row in tree(page).iter("li"):
        number = row.find("span[@class='number']")
        if number is not None:
            found.append((words(number), words(row[2])))
    return found


@pytest.mark.parametrize("rules", [7, 140, 400])
def test_no_line_of_a_file_is_left_out(rules: int) -> None:
    report = long_file(rules)
    page = check_html.render([report], ["no"])
    texts = report.source.text.splitlines()
    assert lines_of(page) == [(str(number), text) for number, text in enumerate(texts, 1)]


def test_what_is_found_is_never_folded_away() -> None:
    page = check_html.render([long_file(400)], ["no"])
    root = tree(page)
    folded = [row for row in root.iter("li") if row.attrib.get("class") == "folded"]
    assert len(folded) == 2
    assert not any("told warning" in e.attrib.get("class", "") for row in folded for e in row.iter())
    assert any("told warning" in e.attrib.get("class", "") for e in root.iter())


def test_what_is_missing_at_the_end_is_told_there() -> None:
    (report,) = ruleaudit.check([SourceFile("cut.v4", made.TEXT.removesuffix("COMMIT\n"))])
    page = check_html.render([report], ["no"])
    assert_safe(page)
    (last,) = (e for e in tree(page).iter("li") if e.attrib.get("id") == "file-1-0-12")
    assert "COMMIT is missing" in words(last) and lines_of(page)[-1] == ("12", "")


def test_rules_that_ask_for_tracking_stay_in_sight_where_they_are_few() -> None:
    drops = "".join(f"-A INPUT -s 10.0.{n}.1 -j DROP\n" for n in range(200))
    text = "*filter\n" + drops + made.TEXT.split("\n", 4)[4]
    source = SourceFile("long.v4", text)
    (report,) = ruleaudit.check([source])
    root = tree(check_html.render([report], ["no"]))
    folded = {e.attrib["id"] for row in root.iter("details") for e in row.iter("li") if "id" in e.attrib}
    assert "file-1-0-100" in folded
    for line in (203, 204, 206, 207):
        assert "-m conntrack" in source.line(line) and f"file-1-0-{line}" not in folded


def test_the_size_of_a_page_is_bounded_by_that_of_the_file() -> None:
    small, large = (len(check_html.render([long_file(n)], ["no"])) for n in (1_000, 10_000))
    assert large - small < 9_000 * 260  # 32 bytes of text in each line


def test_a_line_without_end_is_shown_in_part_and_its_finding_with_an_excerpt() -> None:
    text = '{"nftables": [' + ", ".join('{"rule": "x"}' for _ in range(20_000)) + "]}\n"
    at = text.index("rule", 150_000)
    finding = replace(made.FINDING, span=Span(at, at + 4), related=())
    page = check_html.render([FileReport(SourceFile("all.json", text), None, 1, 1, (), (finding,), None)], ["no"])
    assert len(page) < 40_000
    (excerpt,) = (e for e in tree(page).iter("p") if e.attrib.get("class") == "excerpt")
    assert [words(mark) for mark in excerpt.iter("mark")] == ["rule"] and words(excerpt).startswith("...")


def test_included_files_stand_below_and_are_pointed_at() -> None:
    parts = (SourceFile("parts/web.nft", "tcp dport 80 accept\n"), SourceFile("parts/none.nft", "# nothing\n"))
    settings = SourceFile("ruleaudit.toml", "[[expect]]\n")
    main = 'table inet filter {\n include "parts/*.nft"\n}\n'
    include = Include(Span(21, 42), "parts/*.nft", "", (0, 1))
    source = SourceFile("main.nft", main, (*parts, settings), (include,))
    web, expected = len(main) + 1, len(main) + sum(len(part.text) + 1 for part in parts) + 1
    finding = replace(made.FINDING, span=Span(0, 5), related=(Label(Span(web, web + 3), "here"),))
    wanted = replace(finding, related=(*finding.related, Label(Span(expected, expected + 10), "wanted here")))
    shown = [source.path, *(part.path for part in parts)]
    for found, files in ((finding, shown), (wanted, [*shown, settings.path])):
        root = tree(check_html.render([FileReport(source, None, 1, 1, (), (found,), None)], ["no"]))
        assert [words(h) for h in elements(root, "h4")] == files
        (link,) = (a for a in root.iter("a") if words(a) == "line 1 of parts/web.nft")
        (line,) = (e for e in root.iter("li") if e.attrib.get("id") == link.attrib["href"][1:])
        assert "tcp dport 80 accept" in words(line)


# -- the picture --------------------------------------------------------------------------------------


def drawn(*shown: packet_path.Panel) -> ElementTree.Element:
    """The picture, read as XML."""
    return ElementTree.fromstring(packet_path.picture(shown, "x", alone=True))


def highest(path: str) -> int:
    """How far up a lane goes."""
    numbers = re.sub(r"H-?\d+", "", path)
    return min(int(y) for y in re.findall(r"-?\d+ (-?\d+)", numbers))


def test_what_leaves_is_drawn_around_the_table_afterwards_alone() -> None:
    before, after = packet_path.panels(made.REWRITE)
    assert (before.words, after.words) == (
        "Before: tcp/80,443: tracked; the rest: tracked.",
        "After: tcp/80,443: not tracked; the rest: tracked.",
    )
    for panel, around in ((before, False), (after, True)):
        picture = drawn(panel)
        tables = [int(e.attrib["y"]) for e in picture.iter() if e.attrib.get("class") == "table box"]
        for kind, leaves in (("freed", around), ("rest", False)):
            legend, *lanes = [e.attrib["d"] for e in picture.iter() if e.attrib.get("class") == f"lane {kind}"]
            assert len(lanes) == len(tables) == 2 and "C" not in legend
            assert [highest(lane) < top for lane, top in zip(lanes, tables, strict=True)] == [leaves, leaves]


def test_where_nothing_needs_tracking_everything_goes_around_without_the_tests() -> None:
    before, after = packet_path.panels(made.NEEDLESS)
    assert before.words == "Before: everything: tracked." and before.on
    assert after.words == "Without the tests: everything: not tracked." and not after.on


@pytest.mark.parametrize(
    ("directions", "ways"), [(("in",), {"in", "out"}), (("out",), {"in", "out"}), (("forward",), {"through"})]
)
def test_the_ways_that_change_are_drawn(directions: tuple[str, ...], ways: set[str]) -> None:
    flows = tuple(replace(made.WEB, direction=direction) for direction in directions)
    for panel in packet_path.panels(replace(made.REWRITE, flows=flows)):
        assert set(panel.ways) == ways


def now(raw: str) -> packet_path.Panel:
    source = SourceFile("rules.v4", f"*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{raw}COMMIT\n{made.TEXT}")
    return packet_path.present(ruleaudit.lower(source).rulesets[0], ruleaudit.explain(source))


def test_a_notrack_of_one_direction_is_drawn_as_that() -> None:
    one, both = "-A PREROUTING -p udp --dport 53 -j NOTRACK\n", "-A OUTPUT -p udp --sport 53 -j CT --notrack\n"
    assert now("").words == "Now: everything: tracked."
    said = "Now: what NOTRACK matches (line 4): not tracked on the way in alone; the rest: tracked."
    assert now(one).words == said
    said = "Now: what NOTRACK matches (lines 4 and 5): not tracked; the rest: tracked."
    assert now(one + both).words.replace("4, 5", "4 and 5") == said


def test_a_late_notrack_of_nft_is_drawn_as_nothing() -> None:
    for priority, said in ((-300, "what NOTRACK matches (line 3): not tracked"), (-100, "everything: tracked")):
        text = (
            "table ip t {\n"
            f" chain c {{ type filter hook prerouting priority {priority};\n  udp dport 53 notrack\n }}\n"
            f" chain o {{ type filter hook output priority {priority};\n  jump n\n }}\n"
            " chain n {\n  udp sport 53 notrack\n }\n"
            " chain i { type filter hook input priority 0;\n  ct state invalid drop\n }\n}\n"
        )
        source = SourceFile("x.nft", text)
        panel = packet_path.present(ruleaudit.lower(source).rulesets[0], ruleaudit.explain(source))
        assert panel.words.startswith(f"Now, IPv4: {said}".replace("line 3", "lines 3, 9"))


def test_without_a_rule_for_it_the_table_is_not_in_use() -> None:
    panel = packet_path.present(made.RULESET, replace(made.TRACKING, judgements=()))
    assert panel.words == "Now: everything: not tracked." and not panel.on
    assert not [e for e in drawn(panel).iter() if e.attrib.get("class") == "table box"]


# -- colours ------------------------------------------------------------------------------------------


def schemes() -> dict[str, dict[str, str]]:
    """The colours of light and dark."""
    light, dark = (TEMPLATES / "colours.css").read_text().split("@media")
    return {name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text)) for name, text in (("l", light), ("d", dark))}


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["l", "d"])
def test_text_and_lines_stand_out_from_their_ground(scheme: str) -> None:
    colours = schemes()[scheme]
    assert colours.keys() == schemes()["l"].keys()
    tones = ("good", "warning", "bad", "plain")
    text = [(tone, f"{tone}-ground") for tone in tones] + [("text", f"{tone}-ground") for tone in tones]
    text += [(name, ground) for name in ("text", "quiet", "link") for ground in ("ground", "quiet-ground")]
    text += [("quiet", "warning-ground"), ("link", "warning-ground"), ("link", "bad-ground"), ("link", "plain-ground")]
    assert [pair for pair in text if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []
    lanes = [("lane-freed", "ground"), ("lane-rest", "ground"), ("lane-noted", "ground"), ("table-edge", "ground")]
    lanes += [("lane-freed", "warning-ground"), ("lane-rest", "warning-ground"), ("lane-noted", "warning-ground")]
    assert [pair for pair in lanes if contrast(colours[pair[0]], colours[pair[1]]) < 3] == []


def test_the_style_takes_its_colours_from_there() -> None:
    used = "".join((TEMPLATES / name).read_text() for name in ("style.css", "packet_path.css"))
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(", used) == []
    named = set(re.findall(r"var\(--([\w-]+)", used)) - {"tone", "tone-ground"}
    assert named <= schemes()["l"].keys()


# -- who pays -----------------------------------------------------------------------------------------


def test_the_other_formats_do_not_load_the_templates() -> None:
    code = "import sys\nfrom ruleaudit import cli\ncli.run(['check', sys.argv[1]])\nassert 'jinja2' not in sys.modules"
    example = Path(__file__).parent.parent.parent / "examples" / "haproxy-host" / "rules.v4"
    done = subprocess.run([sys.executable, "-c", code, str(example)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    # python -m tests.report.test_html: expect today's words; read the difference before it is committed
    for name, page in PAGES.items():
        (EXPECTED / f"{name}.txt").write_text("\n".join(told(tree(page))) + "\n")
