"""Documents and modules written from the derivations: complete, compilable, right."""

import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import sympy as sp

from attnflow.errors import MissingPart, ParadigmError, SettingError, UnknownFunction
from attnflow.export import document as exporting
from attnflow.export import numpy_module, standalone
from attnflow.export.document import compile_pdf, export, latex_document, sections
from attnflow.numeric import quadrature
from attnflow.numeric.closed_form import solve
from attnflow.numeric.precision import float64
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, LVML, SOFT
from attnflow.symbolic.derivation.derived import derive
from attnflow.symbolic.first_integral import MOTION
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, delta, mu, odds

BUILT_IN = (SOFT, HARD, LVML)
HAS_LATEX = any(shutil.which(name) for name in ("latexmk", "pdflatex", "tectonic"))


@pytest.fixture(scope="module")
def document() -> str:
    return latex_document(BUILT_IN)


def test_the_document_holds_every_step_once_and_in_order(document):
    labels = re.findall(r"\\tag\{(\d+)\}\\label\{([^}]*)\}", document)
    parts = sections(BUILT_IN)
    told = [step for part in parts for _, step in part.steps]
    assert [label for _, label in labels] == [
        f"{p.name}:{s.name}" for p in parts for _, s in p.steps
    ]
    assert [int(number) for number, _ in labels] == list(range(1, len(labels) + 1))
    shared = set.intersection(*(set(derive(given).steps) for given in BUILT_IN))
    assert len(shared) > 10 and all(told.count(step) == 1 for step in shared)
    assert set(told) > {step for given in BUILT_IN for step in derive(given).steps}
    assert [p.name for p in parts] == ["common", *map(str, BUILT_IN), "difference", "switch"]
    assert document.index("\\section*{Symbols}") > document.index(labels[-1][1])


def test_the_document_needs_amsmath_alone(document):
    assert re.findall(r"\\usepackage(?:\[.*?\])?\{(.*?)\}", document) == ["amsmath"]
    assert document.startswith("\\documentclass[11pt]{article}")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_document_compiles_without_complaint(document, tmp_path):
    (tmp_path / "d.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "d.tex"]
    for _ in range(2):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, errors="replace"
        )
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "d.log").read_text(errors="replace")
    for complaint in ("undefined", "multiply defined", "Overfull", "Missing", "Error"):
        assert complaint not in log.replace("Error-", ""), complaint


@pytest.mark.skipif(not HAS_LATEX, reason="no LaTeX compiler is installed")
def test_a_pdf_is_written(tmp_path):
    contents = export("soft", "pdf", tmp_path / "soft.pdf")
    assert contents[:5] == b"%PDF-"
    assert (tmp_path / "soft.pdf").read_bytes() == contents


def test_without_latex_the_message_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(exporting.shutil, "which", lambda name: None)
    with pytest.raises(MissingPart, match="latexmk, pdflatex or tectonic.*apt-get install texlive"):
        export("soft", "pdf", tmp_path / "soft.pdf")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not HAS_LATEX, reason="no LaTeX compiler is installed")
def test_a_document_that_does_not_compile_says_so():
    broken = "\\documentclass{article}\\begin{document}\\nosuch\\end{document}"
    with pytest.raises(MissingPart, match="could not compile the document"):
        compile_pdf(broken)


def test_markdown_holds_every_step_with_its_number():
    text = export([SOFT, HARD], "markdown")
    parts = sections([SOFT, HARD])
    count = sum(len(part.steps) for part in parts)
    assert [int(n) for n in re.findall(r"\\tag\{(\d+)\}", text)] == list(range(1, count + 1))
    assert text.count("$$") == 2 * count
    assert "\\label" not in text


NASTY = Paradigm(
    r"x}\input{a}<b>|",
    SOFT.loss,
    "A|b <i>c</i> `nu`\n\\input{/etc/passwd} _d_",
    "`\\input{/etc/passwd}` | <script>",
)


def test_a_paradigm_named_as_a_command_stays_text_in_latex():
    text = latex_document([NASTY, HARD])
    assert r"\input" not in text
    for label in re.findall(r"\\label\{(.*?)\}", text):
        assert re.fullmatch(r"[\w/.+:-]+", label)
    if HAS_LATEX:
        assert compile_pdf(text)[:5] == b"%PDF-"


def test_a_paradigm_named_as_markup_stays_text_in_markdown():
    text = export([NASTY, HARD], "markdown")
    outside = re.sub(r"\$.*?\$", "", re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL))
    assert "<" not in outside
    title = "A&#124;b &#60;i&#62;c&#60;/i&#62; &#96;nu&#96; &#92;input{/etc/passwd} &#95;d&#95;"
    assert f"## {title}\n" in text
    assert all(line.count("|") == 3 for line in outside.splitlines() if "|" in line)


def test_json_holds_every_step():
    document = json.loads(export("lvml", "json"))
    assert [s["label"] for s in document[0]["steps"]] == [
        f"lvml:{s.name}" for s in derive("lvml").steps
    ]
    assert all(s["latex"] and s["text"] and s["check"] for s in document[0]["steps"])


# --- the Python module ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    path = tmp_path_factory.mktemp("module") / "dynamics.py"
    export("all", "python", path)
    spec = importlib.util.spec_from_file_location("dynamics", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_module_stands_alone(module):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import dynamics as d; "
        "print(d.soft_nu(1.0, 19.0, 20.0)); "
        "print(sorted(n for n in ('attnflow', 'jax', 'sympy', 'scipy') if n in sys.modules))"
    )
    folder = module.__file__.rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, folder],
        capture_output=True,
        text=True,
        check=True,
    )
    value, loaded = done.stdout.split("\n")[:2]
    assert float(value) == pytest.approx(float(module.soft_nu(1.0, 19.0, 20.0)), rel=1e-15)
    assert loaded == "[]"


@pytest.mark.parametrize("given", BUILT_IN, ids=str)
def test_the_module_agrees_with_the_lowered_functions(module, given):
    rng = np.random.default_rng(5)
    margin, score = rng.uniform(0.01, 20, 200), rng.uniform(-5, 15, 200)
    ratio, classes = rng.uniform(1, 500, 200), rng.integers(2, 1000, 200).astype(float)
    ours = {
        "loss": getattr(module, f"{given.name}_loss")(margin, score, ratio, classes),
        "mu_dot": getattr(module, f"{given.name}_mu_dot")(margin, score, ratio, classes, 1.5, 0.5),
        "nu_dot": getattr(module, f"{given.name}_nu_dot")(margin, score, ratio, classes, 1.5, 0.5),
    }
    theirs = _lowered(given, margin, score, ratio, classes)
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-13, err_msg=name)


def _lowered(given, margin, score, ratio, classes):
    from attnflow.numeric.lower import lower
    from attnflow.symbolic.algebra.float_form import stable
    from attnflow.symbolic.flow import derive_flow
    from attnflow.symbols import complement, rho, tau

    flow = derive_flow(given)
    focus, rest = 1 / (1 + ratio * np.exp(-score)), 1 / (1 + np.exp(score) / ratio)
    names = (alpha, complement, mu, C, rho, tau)

    @float64
    def values(*arguments):
        return {
            name: lower(stable(expr), names, as_written=True)(*arguments)
            for name, expr in (
                ("loss", given.expanded),
                ("mu_dot", flow.mu_dot),
                ("nu_dot", flow.nu_dot),
            )
        }

    full = np.full_like(margin, 1.5), np.full_like(margin, 0.5)
    return values(focus, rest, margin, classes, *full)


@pytest.mark.parametrize("given", BUILT_IN, ids=str)
def test_the_first_integral_of_the_module_is_constant_on_its_orbit(module, given):
    margin = np.linspace(0.5, 12, 24)
    ratio, classes, start = 19.0, 20.0, (0.5, -1.0)
    score = getattr(module, f"{given.name}_nu")(margin, ratio, classes, *start, 1.5)
    integral = getattr(module, f"{given.name}_first_integral")
    values = integral(margin, score, ratio, classes, 1.5)
    scale = np.exp(score) / ratio + abs(score)
    wanted = integral(np.asarray(start[0]), start[1], ratio, classes, 1.5)
    np.testing.assert_array_less(abs(values - wanted), 1e-13 * (1 + scale))
    assert score[0] == pytest.approx(start[1], abs=1e-13)


@pytest.mark.parametrize("given", BUILT_IN, ids=str)
def test_the_module_loses_no_digit_of_a_small_motion(module, given):
    slope = sp.lambdify((mu, C), derive(given).first_integral.slope, STABLE_HEADS)
    for margin, ratio, classes in ((1e-6, 999999, 10**6), (1e-9, 19, 20), (1e-3, 4, 3)):
        with mpmath.workdps(60):
            force = mpmath.quad(lambda u, c=classes: slope(u, c), [0, mpmath.mpf(margin)])
            odds = 1 / mpmath.mpf(ratio)
            wanted = mpmath.findroot(
                lambda d, f=force, w=odds: d + w * mpmath.expm1(d) - f, force / (1 + odds)
            )
        found = getattr(module, f"{given.name}_nu")(margin, float(ratio), float(classes))
        assert found == pytest.approx(float(wanted), rel=1e-14)


STABLE_HEADS = [
    {
        "log1p": mpmath.log1p,
        "expm1": mpmath.expm1,
        "log_quotient": lambda n, d, gap: mpmath.log1p(gap / d),
    },
    "mpmath",
]


@pytest.mark.parametrize("given", BUILT_IN, ids=str)
@pytest.mark.parametrize(
    ("segments", "classes", "start", "horizon"),
    [(20, 20, (0.0, 0.0), 2e3), (100, 1000, (0.0, 0.0), 4e5), (5, 3, (0.4, -1.0), 1e6)],
)
def test_trajectories_of_the_module_are_those_of_solve(
    module, given, segments, classes, start, horizon
):
    times = np.geomspace(1e-9 * horizon, horizon, 40)
    wanted = solve(given, Setting(segments, classes), times, initial=start)
    ratio = segments - 1.0
    margin, score = getattr(module, f"{given.name}_trajectory")(times, ratio, classes, *start)
    # both solve the same quadrature to rounding; where the onset is steep it amplifies a rounding
    np.testing.assert_allclose(margin - start[0], wanted.mu - start[0], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(score - start[1], wanted.nu - start[1], rtol=1e-10, atol=1e-14)
    back = getattr(module, f"{given.name}_time")(margin, ratio, classes, *start)
    np.testing.assert_allclose(back, times, rtol=1e-7 if start[0] else 1e-13)
    assert np.isnan(getattr(module, f"{given.name}_time")(start[0] - 1.0, ratio, classes, *start))


def test_the_panels_of_the_module_are_those_of_the_library(module):
    for ours, theirs in (
        (module.NODES, quadrature.NODES),
        (module.WEIGHTS, quadrature.INTEGRALS[0]),
        (module.RUNNING, quadrature.INTEGRALS[1:]),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-16)


def test_the_increment_of_the_module_solves_the_first_integral():
    residual = sp.lambdify((delta, odds), MOTION, ["numpy", {"expm1": np.expm1}])
    force, weight = np.array([-1e3, -1.0, 1e-12, 0.3, 1e5]), np.array([1e-9, 2.0, 1.0, 50.0, 1e-6])
    found = standalone.increment(force, weight)
    np.testing.assert_allclose(residual(found, weight), force, rtol=1e-12)


def test_the_jax_module_agrees_and_differentiates(module):
    import jax

    loaded: dict = {}
    exec(export(LVML, "jax"), loaded)
    times = np.geomspace(1e-3, 1e4, 9)
    wanted = module.lvml_trajectory(times, 19.0, 20.0)

    @float64
    def values():
        state = jax.jit(loaded["lvml_trajectory"])(times, 19.0, 20.0)
        slope = jax.jit(jax.grad(lambda c: loaded["lvml_margin"](times, 19.0, c)[-1]))(20.0)
        return *map(np.asarray, state), float(slope)

    with jax.numpy_rank_promotion("allow"):  # as it is for users
        margin, score, slope = values()
    np.testing.assert_allclose(margin, wanted[0], rtol=1e-13)
    np.testing.assert_allclose(score, wanted[1], rtol=1e-12)
    step = 1e-3
    sides = [module.lvml_margin(times, 19.0, 20.0 + s)[-1] for s in (step, -step)]
    assert slope == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)


def test_a_paradigm_without_a_first_integral_has_loss_and_flow():
    mixed = Paradigm("0-mixed", SOFT.loss / 2 + HARD.loss / 2)
    text = export(mixed, "python")
    compile(text, "module", "exec")
    assert "def p_0_mixed_loss" in text
    assert "p_0_mixed_potential" not in text


def test_a_module_of_the_error_function_brings_it_along():
    probit = Paradigm("probit", -sp.log((1 + sp.erf(alpha * mu)) / 2))
    loaded = {}
    exec(export(probit, "python"), loaded)
    margin = np.array([-0.5, 1.5])
    weight = loaded["focus"](0.3, 4.0)
    wanted = [-math.log((1 + math.erf(weight * value)) / 2) for value in margin]
    np.testing.assert_allclose(loaded["probit_loss"](margin, 0.3, 4.0, 5.0), wanted, rtol=1e-14)
    assert loaded["probit_mu_dot"](1.5, 0.3, 4.0, 5.0) > 0


def test_a_function_that_numpy_lacks_is_refused_by_name():
    with pytest.raises(UnknownFunction, match="no NumPy code is known for mystery in mystery"):
        numpy_module.code(sp.Function("mystery")(mu))
    with pytest.raises(UnknownFunction, match=r"no NumPy code is known for gamma\(mu\): it needs"):
        numpy_module.code(sp.gamma(mu))


# --- files and arguments --------------------------------------------------------------------------


def test_a_file_is_written_whole_and_replaces_an_older_one(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("old")
    assert export("soft", "python", path) == path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["a.py"]


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(SettingError, match="that can be written, got: No space left"):
        export("soft", "python", tmp_path / "a.py")
    assert not list(tmp_path.iterdir())


def test_the_ending_of_a_file_says_its_format(tmp_path):
    assert export("soft", path=tmp_path / "a.MD") == export("soft", "markdown")
    assert export("soft", path=tmp_path / "a.txt") == export("soft")
    with pytest.raises(SettingError, match=r"path must end in \.py for format python, got .*\.tex"):
        export("soft", "python", tmp_path / "b.tex")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.MD", "a.txt"]


def test_bad_arguments_are_refused_by_name(tmp_path):
    with pytest.raises(SettingError, match="format must be one of latex, pdf, .*, got 'docx'"):
        export("soft", "docx")
    with pytest.raises(SettingError, match="out must be a file, got .* which is a folder"):
        export("soft", "python", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="must be a place that can be written.*Not a directory"):
        export("soft", "python", tmp_path / "file" / "a.py")
    with pytest.raises(ParadigmError, match="did you mean 'soft'"):
        export("sfot", "python")
    with pytest.raises(SettingError, match="different ones, got none"):
        export([], "latex")
    with pytest.raises(SettingError, match="different ones, got soft twice"):
        export(["soft", SOFT], "latex")
