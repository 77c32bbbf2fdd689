"""What others read of a run: table, logs for TensorBoard, and pages hold what was measured."""

import csv
import re
import shutil
import struct
import sys
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from attnflow.cli import run as command
from attnflow.errors import MissingPart
from attnflow.train import drawing, logs
from attnflow.train.loop import train
from attnflow.train.report.page import Account, Page
from attnflow.train.run_folder import RunFolder
from training_runs import SMALL

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")
RUN = replace(SMALL, epochs=4, paradigm="soft@epoch=2,lvml")


class Stop(Exception):
    pass


def stopped(done, total, rows):
    if done == 3:
        raise Stop


def events(folder):
    """{tag: {step: value}} of the TensorBoard files of a folder, in the order written."""
    from tensorboardX.proto.event_pb2 import Event

    found, voids = {}, []
    for file in sorted(folder.glob("events*")):  # TensorBoard reads them in this order
        content = file.read_bytes()
        place = 0
        while place < len(content):  # length, checksum, event, checksum
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += 16 + length
            if event.session_log.status:
                voids.append(event.step)
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found, voids


def test_table_and_boards_say_what_the_metrics_say_after_a_resume_too(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorboardX.event_file_writer.time.time", lambda: 1.7e9)  # no time passes
    with pytest.raises(Stop):
        train(RUN, tmp_path, tensorboard=True, progress=stopped)
    train(None, tmp_path, resume=True)
    rows = RunFolder(tmp_path).metrics()
    late = shutil.copytree(tmp_path, tmp_path / "late", ignore=lambda *_: ["tensorboard", "late"])
    train(None, late, resume=True, tensorboard=True)
    assert events(late / "tensorboard" / "seed-0-learning-rate-0.05")[0]["epoch/loss"] == {
        row["epoch"]: pytest.approx(row["loss"]) for row in rows
    }
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in table] == [1, 2, 3, 4]
    shown, voids = events(tmp_path / "tensorboard" / "seed-0-learning-rate-0.05")
    assert voids == [1, 4]  # where a session begins, what an older one wrote is void
    for row, line in zip(rows, table, strict=True):
        assert float(line["loss"]) == row["loss"] and line["paradigm"] == row["paradigm"]
        assert float(line["heldout.mu"]) == row["sets"]["heldout"]["mu"]
        assert line["fixed_focus"] == line["train.loss"] == ""
        epoch = row["epoch"]
        assert shown["epoch/loss"][epoch] == pytest.approx(row["loss"])
        assert shown["test/accuracy"][epoch] == pytest.approx(row["sets"]["test"]["accuracy"])


@pytest.mark.slow
def test_several_runs_have_lines_and_boards_of_their_own(tmp_path):
    run = replace(RUN, epochs=1, seeds=(1, 2), paradigm="lvml", fixed_focus=(0.5,))
    train(run, tmp_path, tensorboard=True)
    names = sorted(p.name for p in (tmp_path / "tensorboard").iterdir())
    assert names == [f"seed-{s}-learning-rate-0.05-fixed-focus-0.5" for s in (1, 2)]
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(lines) == 3 and lines[0].split(",") == list(logs.COLUMNS)


def test_boards_without_their_library_say_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingPart, match=r"pip install '\.\[tensorboard\]'"):
        train(RUN, tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()
    assert command(["train", "--tensorboard"]) == 2
    assert "--tensorboard needs the run's folder" in capsys.readouterr().err


def test_a_page_is_the_same_in_both_forms_and_html_needs_nothing_else(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.svg").write_text("<svg/>")
    page = Page("Runs <compared>")
    page.text("a & b")
    page.table(("run", "rate"), [("x|y", "1.00"), ("<z>", "2.00")])
    page.figure("what it shows", tmp_path / "figures" / "a.svg")
    page.link("more", tmp_path / "50% of #1?.html")
    plain, html = (page.render(kind, tmp_path) for kind in ("markdown", "html"))
    assert "| x&#124;y | 1.00 |" in plain and "![what it shows](figures/a.svg)" in plain
    assert "<td>x|y</td><td>1.00</td>" in html and "<td>&lt;z&gt;</td>" in html
    assert "a &amp; b" in html and "Runs &lt;compared&gt;" in html
    assert "[more](50%25%20of%20%231%3F.html)" in plain
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in html and "figures/" not in html


def test_no_name_of_a_run_stops_a_report_or_takes_the_figure_of_another(tmp_path):
    names = ["a", "a", "a-1", "x" * 250, "x" * 249, "$_$", "$\\frac$", "\udcff", "line\nend", "[*?"]
    paths = [tmp_path / str(i) / name for i, name in enumerate(names)]
    rows = [{"epoch": 1, "sets": {"train": {"alpha": 0.5}}}]

    def figures(runs):
        for name, _ in runs:
            drawn = drawing.over_epochs([(name, rows)], drawing.learning("train"))
            yield f"curves-{name}", "Curves", drawn

    seen = []
    account = Account(
        "Runs",
        lambda path: SimpleNamespace(remarks=()),
        lambda runs: seen.extend(name for name, _ in runs),
        *(lambda *_: None, figures, lambda *_: None),
    )
    text = account.write(paths, tmp_path / "page", "markdown", lambda said: None).read_text()
    assert len(set(seen)) == len(names) and all(name.isprintable() for name in seen)
    files = {unquote(place) for place in re.findall(r"\]\((figures/.*)\)", text)}
    assert len(files) == len(names) and all((tmp_path / "page" / file).is_file() for file in files)


@pytest.mark.parametrize("count", [1, 30])
def test_the_legend_of_many_runs_leaves_their_curves_room(count):
    rows = [{"epoch": 1, "sets": {"train": {"alpha": 0.5}}}]
    figure = drawing.over_epochs(
        [(f"run {i}: soft, seed 0, rate 0.1", rows) for i in range(count)],
        drawing.learning("train"),
    )
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_position().height * figure.get_figheight() > 0.9  # inches
