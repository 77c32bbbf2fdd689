"""Programs in other languages compute what the library computes."""

import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from sympy.parsing.mathematica import parse_mathematica
from sympy.printing.pycode import PythonCodePrinter

from attnflow.errors import UnknownFunction
from attnflow.export import scalar, standalone
from attnflow.export.document import export
from attnflow.export.languages import LANGUAGES, _Writer, program
from attnflow.numeric.closed_form import solve
from attnflow.settings import Setting
from attnflow.symbolic.algebra.float_form import stable, textbook
from attnflow.symbolic.catalogue import CATALOGUE, HARD, LVML, SOFT
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, C, alpha, complement, mu, nu, rho, tau

RUNNERS = {"julia": ["julia"], "mathematica": ["wolframscript", "-file"]}


class Printer(PythonCodePrinter):
    def __init__(self, settings):
        super().__init__({**settings, "fully_qualified_modules": False})


PYTHON = replace(  # a language whose interpreter is always at hand
    LANGUAGES["julia"],
    title="Python",
    printer=Printer,
    known={},
    frame=("", ""),
    function="def {name}({arguments}):\n{body}    return {result}\n\n",
    constant="{name} = {value}\n",
    matrix=("[[", ", ", "],\n  [", "]]"),
    part="{list}[{place} - 1]",
    choice="({yes} if {test} else {no})",
    anonymous="(lambda {arguments}: {result})",
)


@pytest.fixture(scope="module")
def translated():
    helpers = ("each", "pairs", "inner", "total", "repeat_while", "nan")
    names = {name: getattr(scalar, name) for name in helpers}
    names |= {name: getattr(np, name) for name in ("exp", "log", "log1p", "expm1")}
    names["log_quotient"] = standalone._log_quotient
    text = program((SOFT, HARD, LVML), PYTHON)
    exec(re.sub(r" \^ ", " ** ", text).replace("&&", "and").replace("||", "or"), names)
    return names


@pytest.mark.parametrize("given", (SOFT, HARD, LVML), ids=str)
@pytest.mark.parametrize(
    ("segments", "classes", "start", "horizon"),
    [(20, 20, (0.0, 0.0), 2e3), (100, 1000, (0.0, 0.0), 4e5), (5, 3, (0.4, -1.0), 1e6)],
)
def test_the_translated_program_draws_the_curves_of_solve(
    translated, given, segments, classes, start, horizon
):
    times = np.geomspace(1e-9 * horizon, horizon, 7)
    wanted = solve(given, Setting(segments, classes), times, initial=start)
    setting = (segments - 1, classes, *start)
    found = np.array([translated[f"{given}_trajectory"](t, *setting) for t in times])
    # both solve the same quadrature to rounding; where the onset is steep it amplifies a rounding
    np.testing.assert_allclose(found[:, 0] - start[0], wanted.mu - start[0], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(found[:, 1] - start[1], wanted.nu - start[1], rtol=1e-10, atol=1e-14)
    back = [translated[f"{given}_time"](margin, *setting) for margin in found[:, 0]]
    np.testing.assert_allclose(back, times, rtol=1e-7 if start[0] else 1e-13)
    score = [translated[f"{given}_nu"](margin, *setting) for margin in found[:, 0]]
    np.testing.assert_allclose(score, found[:, 1], rtol=1e-9, atol=1e-14)
    assert math.isnan(translated[f"{given}_time"](start[0] - 1.0, *setting))
    assert math.isnan(translated[f"{given}_margin"](-1.0, *setting))


def _formulas(given):
    flow = derive_flow(given)
    yield from map(stable, (given.expanded, flow.mu_dot, flow.nu_dot))
    yield derive_first_integral(given).slope


def _values(expr, generator):
    weight = generator.uniform(0.05, 0.95)
    given = {alpha: weight, complement: 1 - weight, mu: generator.uniform(0.1, 5)}
    given |= {nu: generator.uniform(-2, 2), B: 7.0, C: float(generator.integers(2, 30))}
    given |= {rho: 1.5, tau: 0.5}
    return given, float(textbook(expr).subs(given).evalf(30))


@pytest.mark.parametrize("given", CATALOGUE.values(), ids=str)
def test_formulas_of_mathematica_read_back_have_the_same_value(given):
    heads = {"log1p": lambda u: sp.log(1 + u), "expm1": lambda u: sp.exp(u) - 1}
    heads["logQuotient"] = lambda n, d, gap: sp.log(n / d)
    generator = np.random.default_rng(3)
    for expr in _formulas(given):
        writer = _Writer(LANGUAGES["mathematica"])
        read = parse_mathematica(writer.formulas[writer.formula(expr)])
        for head, function in heads.items():
            read = read.replace(sp.Function(head), function)
        values, wanted = _values(expr, generator)
        named = {
            {"\\bar{\\alpha}": "complement", "C": "c", "B": "b"}.get(s.name, s.name): v
            for s, v in values.items()
        }
        found = read.subs({sp.Symbol(name): value for name, value in named.items()})
        assert float(found) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("given", CATALOGUE.values(), ids=str)
def test_formulas_of_julia_read_as_python_have_the_same_value(given):
    generator = np.random.default_rng(4)
    for expr in _formulas(given):
        writer = _Writer(LANGUAGES["julia"])
        text = writer.formulas[writer.formula(expr)]
        text = text.replace(".^", "**").replace(".*", "*").replace("./", "/").replace("//", "/")
        values, wanted = _values(expr, generator)
        names = {s.name.replace("\\bar{\\alpha}", "complement"): v for s, v in values.items()}
        names |= {name: getattr(math, name) for name in ("exp", "log", "log1p", "expm1")}
        names["log_quotient"] = lambda n, d, gap: math.log(n / d)
        assert eval(text, names) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_name_that_a_program_calls_is_its_own_or_the_languages(name):
    text = export("all", name)
    own = set(re.findall(r"^(?:function )?(\w[\w$]*)[(\[].*?[)\]](?: :?=|$)", text, re.MULTILINE))
    code = re.sub(r"\(\*.*?\*\)|#.*|\"[^\"]*\"", "", text)
    called = set(
        re.findall(r"([A-Za-z_][\w$]*)" + ("\\((?!\\*)" if name == "julia" else r"\[(?!\[)"), code)
    )
    passed = {"drive", "pace", "integrand", "test", "step"}
    base = "map sum min max abs exp log log1p expm1 tanh sinh cosh include"
    if name == "mathematica":
        base = (
            "Map Dot Total Min Max Abs Exp Log Sinh Tanh Cosh ArcTanh If TrueQ Function Module "
            "MapThread NestWhile BeginPackage Begin End EndPackage Get"
        )
    assert called - own - passed <= set(base.split())
    for opening, closing in ("()", "[]", "{}"):
        assert code.count(opening) == code.count(closing)


def test_a_function_that_a_language_lacks_is_refused_by_name():
    probit = Paradigm("probit", -sp.log((1 + sp.erf(alpha * mu)) / 2))
    with pytest.raises(UnknownFunction, match="no Julia function is known for erf"):
        export(probit, "julia")
    assert "Erfc[" in export(probit, "mathematica")


def test_a_title_cannot_end_a_comment():
    text = export(Paradigm("own", SOFT.loss, "a *) Quit[] (* b"), "mathematica")
    assert "*) Quit" not in text and "* ) Quit" in text


@pytest.mark.parametrize("name", RUNNERS)
def test_the_program_runs_in_its_language(name, tmp_path):
    if not shutil.which(RUNNERS[name][0]):
        pytest.skip(f"{RUNNERS[name][0]} is not installed")
    times, setting = (1e-6, 30.0, 800.0), "19, 20, 0.1, -0.5"
    ending = {"julia": "jl", "mathematica": "wl"}[name]
    (tmp_path / f"lvml.{ending}").write_text(export("lvml", name))
    if name == "julia":
        run = f'include("{tmp_path}/lvml.jl")\nusing .Dynamics\n'
        run += "".join(f"println(lvml_margin({t}, {setting}))\n" for t in times)
    else:
        run = f'Get["{tmp_path}/lvml.wl"];\n'
        run += "".join(f"Print[CForm[lvmlMargin[{t:f}, {setting}]]];\n" for t in times)
    (tmp_path / "run").write_text(run)
    done = subprocess.run(
        [*RUNNERS[name], str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    wanted = solve(LVML, Setting(20, 20), np.array(times), initial=(0.1, -0.5)).mu
    np.testing.assert_allclose([float(v) for v in done.stdout.split()], wanted, rtol=1e-11)


def test_no_local_name_is_a_word_of_julia():
    words = set(
        "baremodule begin break catch const continue do else elseif end export finally for "
        "function global if import let local macro module quote return struct try using "
        "while".split()
    )
    text = export("all", "julia")
    assigned = set(re.findall(r"^ +([\w, ]+) = ", text, re.MULTILINE))
    given = set(re.findall(r"\w+", " ".join(re.findall(r"\(([\w, ]*)\) ->", text))))
    heads = re.findall(r"^function \w+\((.*)\)$", text, re.MULTILINE)
    given |= set(re.findall(r"[A-Za-z]\w*", " ".join(heads)))
    assert {"state", "mu0", "u"} <= given and "paces" in assigned
    assert not words & (given | assigned)


def test_no_local_name_of_mathematica_hides_a_constant_or_a_built_in_symbol():
    text = export("all", "mathematica")
    constants = set(re.findall(r"^(\w+) = ", text, re.MULTILINE))
    local = set(
        re.findall(r"\w+", " ".join(re.findall(r"(?:Module|Function)\[\{([\w, ]*)\}", text)))
    )
    local |= set(re.findall(r"(\w+)_", text))
    assert constants == {"resolved", "nodes", "weights", "running", "highest"}
    assert not constants & local
    assert not {name for name in local if name[0].isupper()} - {"Phi"}
