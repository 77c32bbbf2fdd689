"""Printed formulas and the page as text: right values, clear refusals, nothing from outside."""

import re
from html import unescape

import mpmath
import numpy as np
import pytest
import sympy as sp

from attnflow.errors import ParadigmError, SettingError, UnknownFunction
from attnflow.export.explorer import page
from attnflow.export.explorer.javascript import TABLE, javascript
from attnflow.export.explorer.mathml import mathml
from attnflow.settings import Setting
from attnflow.symbolic.algebra.functions import wright_omega
from attnflow.symbolic.catalogue import LVML, SOFT
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, mu, slope
from explorer.conftest import run_node


@pytest.fixture(scope="module")
def html():
    return page(["soft", "hard"])


def test_the_page_is_one_small_file_that_loads_nothing(html):
    assert len(html.encode()) < 300_000
    assert not re.search(r"""(src|href)\s*=\s*["']?(?!data:)[a-z/.]""", html)
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|https?://", html.replace("xmlns", ""))


def test_a_notebook_shows_the_page_in_a_frame(html):
    (frame,) = re.findall(r'<iframe srcdoc="([^"]*)"', html._repr_html_())
    assert unescape(frame) == html


def test_every_function_of_the_table_computes_what_it_prints():
    """A printed call against 30 digits, at a positive argument."""
    questions, expected, prelude = [], [], []
    from attnflow.export.explorer.program import asset

    for name, call in TABLE.items():
        if name == "log_quotient":
            continue
        value = 1.25 if name == "acosh" else 0.625
        prelude.append(f"const f_{name} = (u) => {call}(u);")
        questions.append([f"f_{name}", value])
        if name == "wright_omega":
            exact = wright_omega(sp.Rational(value)).evalf(30)
        else:
            exact = getattr(mpmath, name)(value)
        expected.append(float(exact))
    found = run_node(asset("functions.js") + "\n".join(prelude), questions)
    assert found == pytest.approx(expected, rel=4e-16)


def test_wright_omega_and_erf_hold_over_their_range():
    from attnflow.export.explorer.program import asset

    points = [-700.0, -50.0, -2.0, -0.3, 0.0, 1.0, 30.0, 1e6, 1e300]
    sizes = [-5.0, -2.6, -0.1, 1e-9, 1.0, 2.4, 2.5, 6.0]
    found = run_node(
        asset("functions.js"),
        [["wrightOmega", z] for z in points] + [[f, u] for f in ("erf", "erfc") for u in sizes],
    )
    exact = [float(wright_omega(sp.Float(z, 30)).evalf(30)) for z in points]
    assert found[: len(points)] == pytest.approx(exact, rel=1e-15)
    erf, erfc = np.reshape(found[len(points) :], (2, -1))
    assert erf == pytest.approx([float(mpmath.erf(u)) for u in sizes], rel=1e-15)
    # 1 - erf(2.4) is 7e-4
    assert erfc == pytest.approx([float(mpmath.erfc(u)) for u in sizes], rel=1e-12)


def test_an_unknown_function_is_refused_by_name():
    with pytest.raises(UnknownFunction, match="no JavaScript function is known for zeta in zeta"):
        javascript(sp.zeta(mu), (mu,))
    with pytest.raises(UnknownFunction, match="no JavaScript function is known for Integral"):
        javascript(sp.Integral(sp.exp(-(alpha**2)), (alpha, 0, mu)), (mu,), as_written=True)


def test_a_missing_argument_is_refused_by_name():
    with pytest.raises(UnknownFunction, match="holds C, which is not among the arguments mu"):
        javascript(mu * C, (mu,))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([["sotf"]], {}, ParadigmError, "did you mean 'soft'"),
        ([[]], {}, SettingError, "paradigms must be 1 to 6 for one page, got 0"),
        (
            [[SOFT, Paradigm("soft", LVML.loss)]],
            {},
            SettingError,
            "different names, and none 'hybrid', got soft, soft",
        ),
        (
            [["soft"]],
            {"setting": Setting(20, 20, background_norm=1.0)},
            SettingError,
            "sliders for segments and classes only",
        ),
        ([["soft"]], {"setting": Setting(10**7, 2)}, SettingError, "m must be at most 1e6"),
        ([["soft"]], {"horizon": 1e16}, SettingError, "horizon must be from 1e-3 to 1e15"),
    ],
)
def test_what_a_page_cannot_show_is_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        page(*arguments, **options)


def test_names_cannot_break_out_of_the_page():
    hostile = Paradigm("<!--<script></script><b>x", SOFT.loss, title="<i>a & b</i>")
    html = page([hostile, "hard"])
    assert "</script><b>" not in html
    assert html.count("</script>") == 1
    assert "<i>a & b</i>" not in html.split("<script>")[0]


def test_equations_are_presentation_mathml():
    assert "<mo>+</mo><mi>C</mi><mo>\u2212</mo><mn>1</mn>" in mathml(slope, sp.exp(mu) + C - 1)
    text = mathml(slope, (C - 1) / C * mu)
    assert text.startswith('<math display="block">') and "<mfrac>" in text
    assert "<msup><mi>\u03a6</mi><mo>\u2032</mo></msup><mo>=</mo>" in text
