"""The explorer: one self-contained HTML page that computes trajectories in the browser."""

import os
from collections.abc import Sequence
from html import escape
from typing import Any

from attnflow.environment import versions
from attnflow.errors import SettingError
from attnflow.export.explorer.javascript import formulas
from attnflow.export.explorer.mathml import mathml
from attnflow.export.explorer.program import asset, literal, program
from attnflow.files import atomic
from attnflow.palette import COLOURS, DASHES
from attnflow.settings import Setting, check_setting
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import CATALOGUE
from attnflow.symbolic.catalogue import paradigm as find_paradigm
from attnflow.symbolic.derivation.derived import derive
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import K0, L, dt_dmu, mu_dot, nu_dot, rho, slope, tau

HYBRID = "hybrid"
MOST = len(COLOURS) - 1  # the last colour is the hybrid's

QUANTITIES = {
    "alpha": "focus weight α",
    "complement": "1 − α",
    "mu": "margin μ",
    "nu": "focus score ν",
    "loss": "loss L",
}
PLOTS = {
    "alpha": ("Focus weight α(t)", "attention on the true segment"),
    "mu": ("Margin μ(t)", "of the classifier"),
    "nu": ("Focus score ν(t)", "of the true segment"),
    "loss": ("Loss L(t)", "of the paradigm active at the time"),
}
CONTROLS = {
    "Setting": (("m", "<b><i>m</i></b> segments"), ("C", "<b><i>C</i></b> classes")),
    "Start": (("mu0", "<b>μ₀</b> margin"), ("nu0", "<b>ν₀</b> focus score")),
    "Time": (("T", "<b><i>T</i></b> horizon"), ("t", "<b><i>t</i></b> of the values")),
}


class Page(str):
    """The HTML text of an explorer, which a notebook shows in a frame of its own."""

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self)}" title="attention dynamics explorer" loading="lazy" '
            'style="width: 100%; height: 900px; border: 0"></iframe>'
        )


def page(
    paradigms: "Sequence[str | Paradigm] | None" = None,
    path: "str | os.PathLike[str] | None" = None,
    *,
    setting: Setting | None = None,
    horizon: float | None = None,
    title: str = "Attention dynamics explorer",
) -> "Page":
    """The explorer as HTML: sliders, curves, phase plane, the best switch, and the formulas.

    It needs no network and no server. The formulas that run in it are printed from the sympy
    expressions that ``solve`` evaluates; its numbers agree with ``solve`` to 1e-9 for
    2 <= m, C <= 1e6, starts within [-5, 20] and times to 1e15. A paradigm without first integral is
    integrated in steps instead (to about 1e-9).

    Args:
        paradigms: names or Paradigms, at most 6; the built-in ones where it is None.
        path: where to write the page as well, whole or not at all.
        setting: what the sliders show at first: segments and classes (the others must be simple).
        horizon: the last time shown at first, t = step x learning rate; without it the time that
            shows the onset, which follows the setting.
        title: the page's heading.

    Returns:
        The HTML text; a notebook shows it as the page that it is.

    Raises:
        SettingError: too many paradigms, two of one name, or a setting that has no sliders.
        ParadigmError: no paradigm of that name.
        UnknownFunction: a loss holds a function that JavaScript does not have.
    """
    parts = _parts_of(_distinct([*CATALOGUE] if paradigms is None else paradigms), title)
    parts["start"] = literal({**_start(setting, horizon), **parts.pop("switches")})
    # piece by piece, so that a part's own text is never taken for a place
    pieces = asset("page.html").split("@")
    html = "".join(parts.get(piece, piece) for piece in pieces)
    if path is not None:
        with atomic(path) as temporary:
            temporary.write_text(html, encoding="utf-8")
    return Page(html)


def _parts_of(found: list[Paradigm], title: str) -> dict[str, Any]:
    """What the page's places hold, by their names; "switches" is what the start says of them."""
    looks = _looks(found)
    solvable = [p for p in found if derive(p).first_integral]
    hybrid = len(solvable) > 1
    names = [p.name for p in found] + ([HYBRID] if hybrid else [])
    both = {"soft", "hard"} <= {p.name for p in solvable}
    return {
        "switches": {"first": "soft", "then": "hard"} if both else {},
        "title": escape(title),
        "style": asset("style.css"),
        "controls": _controls(names, looks, solvable if hybrid else []),
        "curves": _curves(),
        "phase": _PHASE,
        "columns": "".join(f'<th scope="col">{q}</th>' for q in QUANTITIES.values()),
        "rows": "\n".join(_row(name, looks[name]) for name in names),
        "switch": '<p id="switch" role="status"></p>' if hybrid else "",
        "formulas": "\n".join(_formulas(p, looks[p.name]) for p in found),
        "version": escape(versions().get("attnflow", "unknown")),
        "program": program(found),
        "looks": literal({name: looks[name] for name in names}),
        "view": asset("view.js"),
    }


def _distinct(paradigms: Any) -> list[Paradigm]:
    if isinstance(paradigms, str | Paradigm):
        paradigms = [paradigms]
    found = list(dict.fromkeys(find_paradigm(p) for p in paradigms))
    if not 1 <= len(found) <= MOST:
        raise SettingError(f"paradigms must be 1 to {MOST} for one page, got {len(found)}")
    names = [p.name for p in found]
    if len(set(names)) < len(names) or HYBRID in names:
        raise SettingError(
            f"paradigms must have different names, and none {HYBRID!r}, got {', '.join(names)}"
        )
    return found


def _start(setting: Setting | None, horizon: float | None) -> dict[str, Any]:
    start: dict[str, Any] = {}
    if setting is not None:
        check_setting(setting, "the explorer")
        simple = Setting(setting.segments, setting.classes)
        if setting.as_dict() != simple.as_dict():
            raise SettingError(
                f"the explorer has sliders for segments and classes only, got {setting.as_dict()}"
            )
        numbers = setting.numbers()
        for name, value in (("m", numbers["segments"]), ("C", numbers["classes"])):
            if not value <= 1e6:
                raise SettingError(f"{name} must be at most 1e6 for the explorer, got {value}")
            start[name] = int(value)
    if horizon is not None:
        if not 1e-3 <= horizon <= 1e15:
            raise SettingError(f"horizon must be from 1e-3 to 1e15, got {horizon}")
        start |= {"T": float(horizon), "t": float(horizon) / 4, "fit": False}
    return start


def _looks(paradigms: Sequence[Paradigm]) -> dict[str, dict[str, str]]:
    looks = {}
    for place, paradigm in enumerate(paradigms):
        dash = DASHES[place]
        pattern = " ".join(f"{2 * part:g}" for part in dash[1]) if dash != "-" else "none"
        looks[paradigm.name] = {
            "title": paradigm.title,
            "colour": COLOURS[place],
            "dash": pattern,
        }
    looks[HYBRID] = {"title": "Hybrid, best switch", "colour": "var(--ink)", "dash": "none"}
    return looks


def _swatch(look: dict[str, str]) -> str:
    return (
        '<svg width="34" height="10" aria-hidden="true"><path d="M1 5H33" fill="none" '
        f'stroke-width="3" stroke="{look["colour"]}" stroke-dasharray="{look["dash"]}"/></svg>'
    )


def _slider(name: str, label: str) -> str:
    plain = {"m": "segments m", "C": "classes C", "mu0": "start of mu", "nu0": "start of nu"}
    plain |= {"T": "horizon T", "t": "time t", "target": "target focus weight"}
    return (
        f'<div class="control"><label for="field-{name}">{label}</label>'
        f'<input type="number" step="any" id="field-{name}">'
        f'<input type="range" min="0" max="1000" step="0.5" id="slider-{name}" '
        f'aria-label="{plain[name]}, slider"></div>'
    )


def _controls(
    names: Sequence[str], looks: dict[str, dict[str, str]], solvable: Sequence[Paradigm]
) -> str:
    shown = "\n".join(
        f'<label class="choice"><input type="checkbox" name="shown" value="{escape(name)}">'
        f"{_swatch(looks[name])} {escape(looks[name]['title'])}</label>"
        for name in names
    )
    parts = [f"<fieldset><legend>Curves</legend>\n{shown}\n</fieldset>"]
    for heading, sliders in CONTROLS.items():
        inner = "\n".join(_slider(*slider) for slider in sliders)
        if heading == "Time":
            inner += (
                '\n<div class="row"><label class="choice"><input type="checkbox" id="fit"> fit time'
                "</label>"
                + "".join(
                    f'<label class="choice"><input type="radio" name="scale" value="{value}"> '
                    f"{text}</label>"
                    for value, text in (("log", "logarithmic"), ("linear", "linear"))
                )
                + "</div>"
            )
        parts.append(f"<fieldset><legend>{heading}</legend>\n{inner}\n</fieldset>")
    if solvable:
        options = "".join(
            f'<option value="{escape(p.name)}">{escape(p.title)}</option>' for p in solvable
        )
        parts.append(
            "<fieldset><legend>Hybrid</legend>\n"
            '<div class="pair"><label for="first">first</label>'
            f'<select id="first">{options}</select>'
            f'<label for="then">then</label><select id="then">{options}</select></div>\n'
            f"{_slider('target', '<b>α</b> to reach')}\n</fieldset>"
        )
    else:
        parts.append(f"<div hidden>{_slider('target', 'α')}</div>")
    parts.append(
        "<fieldset><legend>Show</legend>\n"
        '<div class="row"><label class="choice"><input type="checkbox" id="levels"> level curves'
        '</label><label class="choice"><input type="checkbox" id="digits"> all digits</label></div>'
        "\n</fieldset>"
    )
    return "\n".join(parts)


def _curves() -> str:
    return "\n".join(
        f'<figure class="card"><figcaption>{title} <small>{text}</small></figcaption>'
        f'<svg id="plot-{name}" role="img" aria-label="{title}, {text}, over time; the values at '
        f'time t stand in the table below"></svg></figure>'
        for name, (title, text) in PLOTS.items()
    )


_PHASE = """<figure class="card wide"><figcaption>Phase plane (μ, ν) <small>orbits from the start
(circle) over level curves of the first integrals; diamond: the best switch</small></figcaption>
<svg id="plot-phase" data-tall="1" role="img"
aria-label="Orbits in the plane of margin and focus score"></svg></figure>"""


def _row(name: str, look: dict[str, str]) -> str:
    cells = "".join(f'<td data-quantity="{q}"></td>' for q in QUANTITIES)
    return (
        f'<tr data-name="{escape(name)}"><th scope="row">{_swatch(look)}'
        f"{escape(look['title'])}</th>{cells}</tr>"
    )


def _formulas(paradigm: Paradigm, look: dict[str, str]) -> str:
    derivation = derive(paradigm)
    simple = {rho: 1, tau: 1}
    rows = [("loss", L, derivation.loss)]
    for text, left, right in (
        ("velocity of the margin", mu_dot, derivation.flow.mu_dot),
        ("velocity of the focus", nu_dot, derivation.flow.nu_dot),
    ):
        rows.append((text, left, factored(right).subs(simple)))
    if derivation.solution and derivation.potential and derivation.first_integral:
        rows += [
            ("constant on an orbit", K0, derivation.first_integral.conserved.subs(rho, 1)),
            ("slope of the potential", slope, factored(derivation.potential.slope)),
            ("time, a quadrature", dt_dmu, derivation.solution.pace_in_omega.subs(simple)),
        ]
    shown = "\n".join(f"<dt>{t}</dt><dd>{mathml(left, right)}</dd>" for t, left, right in rows)
    note = "" if derivation.solution else f"<p>{escape(str(derivation.no_first_integral))}.</p>"
    code = "\n".join(f"{name} = {body}" for name, body in formulas(paradigm).items())
    return (
        f"<details open><summary>{_swatch(look)} {escape(paradigm.title)}</summary>\n"
        f'<dl class="formulas">\n{shown}\n</dl>{note}\n'
        f"<details><summary>as they run here</summary><pre>{escape(code)}</pre></details>\n"
        "</details>"
    )
