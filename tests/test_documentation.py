"""The documentation is built without a warning, and its pages load nothing from outside."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="sphinx is not installed: pip install '.[docs]'")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages; no proxy leads out while they are made."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(folder)],
        cwd=ROOT,
        env={**os.environ, **nowhere, "ATTNFLOW_DOCS_EXECUTE": "0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_derivations_and_notebooks_run_into_the_pages(tmp_path):
    scripts = [*(ROOT / "derivations").glob("[0-9]*.py"), *(ROOT / "notebooks").glob("[0-9]*.py")]
    if not scripts:
        pytest.skip("this checkout has neither derivations nor notebooks")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "ATTNFLOW_DOCS_EXECUTE": "1", "ATTNFLOW_QUICK": "1"},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for script in scripts:
        text = (tmp_path / "generated" / script.parent.name / f"{script.stem}.html").read_text()
        assert ("<math" if script.parent.name == "derivations" else "cell_output") in text


def pages(site):
    return {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}


def test_the_pages_load_nothing_from_outside(site):
    outside = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*(?:src|href)=["'](?:https?:)?//""")
    found = {name: outside.findall(text) for name, text in pages(site).items()}
    assert not {name: hits for name, hits in found.items() if hits}
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import\s+url\(|url\(['\"]?https?:", sheet.read_text()), sheet


def test_every_command_and_public_name_has_its_place(site):
    import attnflow
    from attnflow.cli.app import app

    commands, names = (site / "cli.html").read_text(), (site / "api.html").read_text()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f'id="attnflow-{name}"' in commands
    for name in attnflow.__all__:
        assert f'id="attnflow.{name}"' in names


def test_every_option_has_an_anchor(site):
    import typer

    from attnflow.cli.app import app

    text = (site / "cli.html").read_text()
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        for parameter in command.params:
            option = max(parameter.opts, key=len)
            if option.startswith("--") and not getattr(parameter, "hidden", False):
                assert text.count(f'id="attnflow-{name}{option}"') == 1, (name, option)


def test_public_functions_link_to_their_source_and_code_has_a_button(site):
    text = (site / "api.html").read_text()
    assert re.search(r'href="_modules/attnflow/numeric/[\w/]+\.html#solve"', text)
    assert 'src="_static/copy.js' in text and (site / "_static" / "copy.js").exists()


def test_every_derivation_and_notebook_is_a_page(site):
    for folder in ("derivations", "notebooks"):
        for script in (ROOT / folder).glob("[0-9]*.py"):
            assert (site / "generated" / folder / f"{script.stem}.html").exists()


def test_formulas_are_mathml_and_the_explorer_lies_beside(site):
    lvml = (site / "generated" / "formulas" / "2-lvml.html").read_text()
    assert lvml.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') > 20
    assert "\\frac" not in lvml
    assert 'id="plot-phase"' in (site / "interactive.html").read_text()
    assert 'src="interactive.html"' in (site / "explorer.html").read_text()


def test_row_spacing_of_latex_is_not_shown_as_text():
    place = ROOT / "docs" / "extensions" / "offline_math.py"
    spec = importlib.util.spec_from_file_location("offline_math", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    math, tag = module.to_mathml(r"\begin{split}a &= b \\[1ex] &+ c\end{split}\tag{3}", block=True)
    assert "ex" not in re.sub(r"<[^>]*>", "", math) and tag == "3"
    assert math.count("<mtr>") == 2
