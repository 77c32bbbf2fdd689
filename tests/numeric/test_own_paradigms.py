"""A user's own paradigm is solved from its loss alone."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from attnflow import Paradigm, Schedule, Setting, crossings, simulate, solve, time_to_focus
from attnflow.errors import IntegrationFailed, NoFirstIntegral
from attnflow.numeric import crossings as crossings_module
from attnflow.symbols import C, alpha, mu
from oracles.zoo import MIXTURE, SEPARABLE
from tolerances import CLAIM, STEPPED

USERS = {p.name: p for p in SEPARABLE if p.name in ("focal", "zero-one", "brier", "exponential")}
USERS["linear"] = Paradigm("linear", -alpha * mu)
USERS["doubly-exponential"] = Paradigm("doubly-exponential", sp.exp(-alpha * sp.exp(mu)))
USERS["probit"] = Paradigm("probit", -sp.log((1 + sp.erf(alpha * mu)) / 2))
SMOOTHED = next(p for p in SEPARABLE if p.name == "label-smoothed")


def stepped(paradigm, m, classes, times, freeze=None):
    """SciPy's integrator on the flow differentiated and printed by sympy, as written."""
    loss = paradigm.expanded.subs(C, classes)
    slopes = sp.lambdify((alpha, mu), (loss.diff(mu), loss.diff(alpha)), ["numpy", "scipy"])

    def field(_, state):
        a = 1 / (1 + (m - 1) * np.exp(-state[1]))
        by_mu, by_alpha = slopes(a, state[0])
        rates = np.array([-by_mu / (classes - 1), -a * (1 - a) * by_alpha / classes])
        return rates * [freeze != "classifier", freeze != "focus"]

    start = [0.5, 0.0]
    done = solve_ivp(
        field, (0, times[-1]), start, method="DOP853", rtol=1e-12, atol=1e-14, t_eval=times
    )
    return done.y


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "brier" else n for n in USERS]
)
def test_a_users_paradigm_is_solved_from_its_loss_alone(name):
    times = np.array([0.5, 5.0, 40.0])
    found = solve(USERS[name], Setting(4, 5), times, (0.5, 0.0))
    wanted = stepped(USERS[name], 4, 5, times)
    np.testing.assert_allclose((found.mu, found.nu), wanted, rtol=STEPPED)
    far = solve(USERS[name], Setting(4, 5), np.array([1e3, 1e6, 1e9]), (0.5, 0.0))
    assert np.all(np.isfinite(far.mu))
    assert np.all(np.diff(far.mu) > 0)


def test_under_a_linear_loss_the_margin_grows_like_time():
    found = solve(USERS["linear"], Setting(4, 5), np.array([1e4, 1e6, 1e9]), (0.5, 0.0))
    # mu' = alpha/(C - 1), and 1 - alpha falls like e^(-mu^2/2)
    assert (found.mu[2] - found.mu[1]) / (1e9 - 1e6) == pytest.approx(0.25, rel=CLAIM)


@pytest.mark.slow
def test_a_label_smoothed_loss_comes_to_rest_at_its_equilibrium():
    # 9/10 of the label's probability is reached at alpha mu = log(9 (C - 1)), from below
    times = np.array([50.0, 1e3, 1e15])
    for m, classes in [(4, 5), (20, 20)]:
        found = solve(SMOOTHED, Setting(m, classes), times)
        rest = np.log(9 * (classes - 1))
        assert found.alpha[0] * found.mu[0] < rest
        np.testing.assert_allclose(found.alpha[2] * found.mu[2], rest, rtol=CLAIM)
    wanted = stepped(SMOOTHED, 4, 5, times[:2])
    found = solve(SMOOTHED, Setting(4, 5), times, (0.5, 0.0))
    np.testing.assert_allclose((found.mu[:2], found.nu[:2]), wanted, rtol=STEPPED)
    many = solve(SMOOTHED, Setting(4, 5), np.geomspace(1.0, 1e15, 8), (0.5, 0.0))
    np.testing.assert_allclose(many.mu[-1], found.mu[2], rtol=CLAIM)


def test_closed_form_and_simulation_agree_on_a_users_paradigm():
    times = np.array([0.5, 5.0, 40.0])
    found = solve(USERS["focal"], Setting(4, 5), times, (0.5, 0.0))
    other = simulate(USERS["focal"], Setting(4, 5), times, (0.5, 0.0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose((found.mu, found.nu), (other.mu, other.nu), rtol=STEPPED)
    np.testing.assert_allclose(found.loss, other.loss, rtol=STEPPED)


def test_a_mixture_has_no_first_integral_but_its_parts_can_be_held():
    sentence = (
        r"paradigm 'mixture' has no first integral of the known form: alpha L_alpha/L_mu depends "
        r"on alpha, so mu and nu do not separate; use simulate \(or freeze one part\), "
        r"which need none"
    )
    with pytest.raises(NoFirstIntegral, match=sentence):
        solve(MIXTURE, Setting(4, 5), 1.0)
    with pytest.raises(NoFirstIntegral, match="paradigm 'mixture' has no first integral"):
        solve(Schedule([("soft", 1.0), (MIXTURE, None)]), Setting(4, 5), 1.0)
    times = np.array([0.5, 5.0, 40.0])
    for freeze in ("focus", "classifier"):
        found = solve(MIXTURE, Setting(4, 5), times, (0.5, 0.0), freeze=freeze)
        wanted = stepped(MIXTURE, 4, 5, times, freeze)
        np.testing.assert_allclose((found.mu, found.nu), wanted, rtol=STEPPED)


def test_a_flow_that_ends_in_a_singularity_is_refused_beyond_it():
    # mu mu' = -1/(C - 1): mu = 0 is reached at t = (C - 1) mu0^2/2 = 1/2
    falling = Paradigm("falling", sp.log(alpha * mu))
    found = solve(falling, Setting(4, 5), np.array([0.1, 0.4]), (0.5, 0.0))
    np.testing.assert_allclose(found.mu**2, 0.25 - np.array([0.1, 0.4]) / 2, rtol=CLAIM)
    with pytest.raises(IntegrationFailed, match="the panels do not reach every time"):
        solve(falling, Setting(4, 5), np.array([0.1, 0.6]), (0.5, 0.0))
    many = np.linspace(0.05, 0.54, 8)
    found = solve(falling, Setting(4, 5), many[:-1], (0.5, 0.0))
    np.testing.assert_allclose(found.mu**2, 0.25 - many[:-1] / 2, rtol=CLAIM)
    with pytest.raises(IntegrationFailed, match="the panels do not reach every time"):
        solve(falling, Setting(4, 5), many, (0.5, 0.0))
    with pytest.raises(IntegrationFailed, match="the panels do not reach every time"):
        solve(falling, Setting(4, 5), np.array([0.1, 0.4]), (0.0, 0.0))


@pytest.fixture
def simulated(monkeypatch):
    """Every loss as if none had a first integral: crossings and events simulate."""
    monkeypatch.setattr(crossings_module, "separates", lambda paradigm: False)

    def none(problem):
        raise NoFirstIntegral("none")

    monkeypatch.setattr(crossings_module, "evaluate", none)


def test_crossings_of_simulated_flows_are_those_of_the_closed_form(simulated):
    found = crossings("soft", "hard", Setting(5, 3), until=1e5)
    assert found.size == 1
    path = [solve(name, Setting(5, 3), found[0]) for name in ("soft", "hard")]
    assert float(path[0].nu) == pytest.approx(float(path[1].nu), rel=1e-9)


def test_a_mixture_has_a_time_to_focus_and_crossings():
    """Between those of its two losses, near their mean; and it crosses both."""
    times = {p: time_to_focus(p, Setting(5, 3), 0.9) for p in ("soft", "hard", MIXTURE)}
    assert times["hard"] < times[MIXTURE] < times["soft"]
    assert crossings("soft", MIXTURE, Setting(5, 3), until=1e5).size == 1
