"""The bench's own pure parts: what it reads from a command line, counts, and writes."""

from __future__ import annotations

import argparse
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.__main__ import SCENARIOS, build_parser, main, parse_size
from bench.chart import chart_svg
from bench.content import make_file, make_folder
from bench.document import BEGIN, END, PAGE, section_of, with_section
from bench.measure import Command, CommandFailed, timed
from bench.play import play
from bench.programs import Unavailable
from bench.results import Report, Result, Sample, Series
from bench.scene import Cast, Contender, Run, Scenario, Scene, Settings
from bench.table import table_lines

ALONE = "mirrornode, 1 taker"


def sample(seconds: float, seed_bytes: int | None = None) -> Sample:
    return Sample(seconds, 1.0, 0.5, 100.0, 50.0, wire_bytes=110, seed_bytes=seed_bytes)


def report() -> Report:
    ours = Series(ALONE, "0.1.0", "verified", 100, samples=[sample(1.0), sample(3.0), sample(2.0)])
    crowd = Series("mirrornode, 8", "0.1.0", "verified", 100, 8, ALONE, [sample(4.0, 150)])
    absent = Series("<rival>", "", "fetched", 100, left_out="skipped: not installed")
    result = Result("crowd", "From one & all", "A remark.", "MB/s", 6.0, [ours, crowd, absent])
    return Report({"": "2 cores", "date": "2026-11-23"}, 3, [result])


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("64MiB", 64 << 20), ("2G", 2 << 30), ("1 kb", 1024), ("7", 7)]
)
def test_size_when_written_as_people_do_then_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


def test_size_when_nonsense_then_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_size("many")


def test_command_line_when_every_scenario_is_named_then_taken() -> None:
    words = [word for name in SCENARIOS for word in ("--only", name)]
    assert build_parser().parse_args(words).only == list(SCENARIOS)


def test_table_when_ratios_then_against_the_first_and_its_own_row() -> None:
    lines = table_lines(report().results[0])
    row = next(line for line in lines if line.startswith("mirrornode, 8"))
    assert "2.00x  2.00x" in row  # 4 s over the median of 2 s, twice
    assert "0.138" in row  # 110 bytes for 8 takers of 100
    assert "1.500" in row  # the seed sent one and a half copies


def test_table_when_left_out_then_named_with_its_reason() -> None:
    assert any("skipped: not installed" in line for line in table_lines(report().results[0]))


def test_chart_when_drawn_then_xml_with_all_names() -> None:
    svg = chart_svg(report())
    texts = [element.text for element in ET.fromstring(svg).iter() if element.text]
    assert "From one & all" in texts
    assert "<rival>" in texts
    assert svg.count("<rect") == 2


def test_report_when_through_json_then_the_same() -> None:
    assert Report.from_json(json.loads(json.dumps(report().to_json()))) == report()


def test_from_when_given_a_file_then_prints_its_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "result.json"
    source.write_text(json.dumps(report().to_json()))
    assert main(["--from", str(source)]) == 0
    assert "From one & all" in capsys.readouterr().out


def test_section_when_written_twice_then_only_between_the_markers() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = with_section(page, section_of(report()))
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert with_section(once, section_of(report())) == once


def test_section_when_no_markers_then_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_section("nothing here", "section")


def test_page_when_in_the_repository_then_has_its_markers() -> None:
    with_section(PAGE.read_text(encoding="utf-8"), "section")


def test_timed_when_it_ends_well_then_counted() -> None:
    done = timed([Command([sys.executable, "-c", "bytearray(1 << 20)"])], timeout_s=30)
    assert done.seconds > 0
    assert done.client_cpu_s > 0


def test_timed_when_it_fails_then_says_what_it_said() -> None:
    with pytest.raises(CommandFailed, match="no such luck"):
        timed([Command([sys.executable, "-c", "exit('no such luck')"])], timeout_s=30)


def test_timed_when_late_then_ended() -> None:
    with pytest.raises(CommandFailed, match="not done in time"):
        timed([Command(["sleep", "600"])], timeout_s=0.05)


def test_content_when_the_copy_differs_then_refused(tmp_path: Path) -> None:
    file = make_file(tmp_path / "a", 100)
    folder = make_folder(tmp_path / "b", 3, 10)
    file.check(file.path)
    folder.check(folder.path)
    (tmp_path / "copy").write_bytes(bytes(100))
    with pytest.raises(CommandFailed, match="wrong bytes"):
        file.check(tmp_path / "copy")
    with pytest.raises(CommandFailed, match="3 of 3"):
        folder.check(tmp_path)


def test_play_when_some_are_absent_or_fail_then_the_rest_goes_on(tmp_path: Path) -> None:
    def absent() -> Run:
        raise Unavailable("not installed")

    def failing() -> Run:
        def run() -> Sample:
            raise CommandFailed("wrong bytes")

        return run

    def cast(scene: Scene) -> Cast:
        def contender(name: str, opens: Run | None) -> Contender:
            return Contender(name, str, "", (lambda: opens) if opens else absent)

        bad = Contender("bad", str, "", failing)
        good = contender("good", lambda: sample(1.0))
        return Cast("title", scene.file(10), (contender("gone", None), bad, good))

    result = play(Scenario("one", cast), tmp_path, Settings(10, 1.0), 2, lambda _: None)
    gone, bad, good = result.rows
    assert gone.left_out == "skipped: not installed"
    assert bad.left_out == "failed: wrong bytes"
    assert len(good.samples) == 2
