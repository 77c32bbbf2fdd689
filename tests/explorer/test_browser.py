"""The page in a real headless browser: sliders moved, values read, compared with the library."""

import json
import math
import shutil

import numpy as np
import pytest

import attnflow as af
from attnflow.export.explorer import page
from attnflow.settings import Setting

selenium = pytest.importorskip("selenium", reason="selenium is not installed")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    BROWSER is None or DRIVER is None,
    reason="no browser with its driver is installed (chromium, chromedriver)",
)
pytestmark = needs_browser

AGREE = 1e-9


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless browser with the page of the built-in paradigms open, from disk."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    file = tmp_path_factory.mktemp("page") / "explorer.html"
    page(path=file)
    options = Options()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(20)
    try:
        driver.get(file.as_uri())
        drawn(driver)
        yield driver
        assert driver.get_log("browser") == []  # no error or warning, whatever the tests did
    finally:
        driver.quit()


def drawn(driver):
    """Wait until the present state is drawn."""
    driver.execute_async_script(
        "const done = arguments[0];"
        "const look = () => document.body.dataset.drawn ? done() : setTimeout(look, 10); look();"
    )


def slide(driver, name, keys):
    """Move a slider as a user does, by keys."""
    from selenium.webdriver.common.by import By

    driver.find_element(By.ID, f"slider-{name}").send_keys(keys)
    drawn(driver)


def state(driver):
    """What the sliders were brought to, from the address that a user would share."""
    pairs = driver.execute_script(
        "return Object.fromEntries(new URLSearchParams(location.hash.slice(1)))"
    )
    return {
        k: float(v) if k in ("m", "C", "mu0", "nu0", "T", "t", "target") else v
        for k, v in pairs.items()
    }


def table(driver):
    """The values that the page shows, with all their digits."""
    text = driver.execute_script(
        "return JSON.stringify(Object.fromEntries([...document.querySelectorAll("
        "'#readout tbody tr:not([hidden])')].map((row) => [row.dataset.name, Object.fromEntries("
        "[...row.querySelectorAll('td')].map((c) => [c.dataset.quantity, c.textContent]))])))"
    )
    return {
        name: {quantity: float(v) for quantity, v in row.items()}
        for name, row in json.loads(text).items()
    }


def show_all_digits(driver):
    from selenium.webdriver.common.by import By

    box = driver.find_element(By.ID, "digits")
    if not box.is_selected():
        box.send_keys(" ")
    drawn(driver)


def test_the_values_follow_the_sliders_and_are_those_of_solve(browser):
    from selenium.webdriver.common.keys import Keys

    show_all_digits(browser)
    moves = [
        [],
        [("m", Keys.PAGE_UP * 2), ("C", Keys.PAGE_UP * 3), ("T", Keys.PAGE_UP * 2)],
        [("mu0", Keys.HOME), ("nu0", Keys.END), ("t", Keys.PAGE_DOWN)],
        [("m", Keys.END), ("C", Keys.HOME), ("nu0", Keys.HOME), ("T", Keys.END), ("t", Keys.END)],
        [("C", Keys.END), ("mu0", Keys.END), ("t", Keys.PAGE_DOWN * 3)],
        [("m", Keys.HOME), ("mu0", Keys.PAGE_DOWN * 6), ("t", Keys.HOME)],
    ]
    seen = []
    for move in moves:
        for name, keys in move:
            slide(browser, name, keys)
        now = state(browser)
        seen.append(tuple(now[k] for k in ("m", "C", "mu0", "nu0", "t")))
        values = table(browser)
        setting, start = Setting(now["m"], now["C"]), (now["mu0"], now["nu0"])
        for name in ("soft", "hard", "lvml"):
            reference = af.solve(name, setting, np.array([now["t"]]), start)
            for quantity, value in values[name].items():
                exact = float(getattr(reference, quantity)[0])
                moved = abs(exact - now.get(f"{quantity}0", 0.0))
                assert math.isclose(value, exact, rel_tol=AGREE, abs_tol=AGREE * moved), (
                    now,
                    name,
                    quantity,
                )
    assert len(set(seen)) == len(moves)
    assert seen[3][4] == 1e15 and seen[3][:2] == (1e6, 2.0)


def test_the_switch_shown_reaches_the_target_when_it_says(browser):
    """That no other time is better is test_engine.py's claim."""
    from selenium.webdriver.common.by import By

    browser.find_element(By.ID, "reset").send_keys("\ue007")  # enter
    drawn(browser)
    shown = browser.find_element(By.ID, "switch")
    assert "Switch at" in shown.text
    keys = ("switch-time", "total", "alone-first", "alone-then", "gain")
    switch, total, first, then, gain = (float(shown.get_attribute(f"data-{k}")) for k in keys)
    assert math.isclose(gain, min(first, then) / total, rel_tol=1e-12)

    def solve(name, time, start=(0.0, 0.0)):
        return af.solve(name, Setting(20, 20), np.array([time]), start)

    here = solve("soft", switch)
    there = solve("hard", total - switch, (float(here.mu[0]), float(here.nu[0])))
    for arrival in (there, solve("soft", first), solve("hard", then)):
        assert math.isclose(float(arrival.alpha[0]), 0.9, rel_tol=AGREE)
    slide(browser, "target", "\ue00f")  # a page down
    assert float(shown.get_attribute("data-total")) < total


def test_an_address_brings_back_the_view(browser):
    base = browser.current_url.split("#")[0]
    browser.get("about:blank")
    browser.get(f"{base}#m=100&C=1000&mu0=0.5&T=4e5&t=1e5&scale=linear&shown=lvml,soft&digits=1")
    drawn(browser)
    now = state(browser)
    assert (now["m"], now["C"], now["mu0"], now["nu0"]) == (100, 1000, 0.5, 0)
    assert (now["T"], now["t"], now["scale"]) == (4e5, 1e5, "linear")
    assert set(table(browser)) == {"lvml", "soft"}
    exact = float(af.solve("lvml", Setting(100, 1000), np.array([1e5]), (0.5, 0.0)).alpha[0])
    assert math.isclose(table(browser)["lvml"]["alpha"], exact, rel_tol=AGREE)


def test_nonsense_in_the_address_is_brought_into_range(browser):
    base = browser.current_url.split("#")[0]
    browser.get("about:blank")
    browser.get(f"{base}#m=-4&C=1e99&mu0=abc&T=0&t=-1&scale=cubic&first=none&shown=x")
    drawn(browser)
    now = state(browser)
    assert (now["m"], now["C"], now["mu0"], now["T"], now["scale"]) == (2, 1e6, 0, 1e-3, "log")


def opened(driver, address):
    """The page at an address, drawn."""
    base = driver.current_url.split("#")[0]
    driver.get("about:blank")
    driver.get(base + address)
    drawn(driver)


def test_the_horizon_follows_the_setting_until_it_is_set(browser):
    for m, classes in ((20, 20), (1000, 50)):
        opened(browser, f"#m={m}&C={classes}")
        onsets = [
            float(af.time_to_focus(p, Setting(m, classes), 0.5)) for p in ("soft", "hard", "lvml")
        ]
        assert state(browser)["T"] == pytest.approx(4 * max(onsets), rel=0.06)  # two digits
    slide(browser, "T", "\ue00e")  # a page up
    chosen = state(browser)
    assert chosen["fit"] == "0"
    slide(browser, "m", "\ue00e")
    assert state(browser)["T"] == chosen["T"]


def test_orbits_begin_on_the_start_and_turn_smoothly(browser):
    """Also where the passage takes a billionth of the time: no two segments differ by a corner."""
    opened(browser, "#m=1e6&C=1e6&mu0=-1&nu0=1")
    lines = browser.execute_script(
        "return [...document.querySelectorAll('#plot-phase .curve')].map((p) =>"
        "p.getAttribute('d').slice(1).split('L').map((q) => q.split(' ').map(Number)))"
    )
    place = browser.execute_script(
        "const c = document.querySelector('#plot-phase .start');"
        "return ['cx', 'cy'].map((a) => Number(c.getAttribute(a)))"
    )
    for line in map(np.array, lines):
        assert abs(line[0] - place).max() <= 0.1
        far = np.linalg.norm(np.diff(line, axis=0), axis=1)
        assert far.max() < 40  # of about 900 pixels


@pytest.mark.parametrize(
    "address",
    [
        "#m=20&C=20",
        "#T=1e15&scale=linear&t=5e14",
        "#mu0=3&nu0=2.5&T=1e-3&scale=linear",
        "#mu0=-5&nu0=-5&m=1e6&C=1e6",
    ],
)
def test_labels_of_axes_are_whole_and_differ(browser, address):
    opened(browser, address)
    cut, alike = browser.execute_script(
        "const cut = [], alike = [];"
        "for (const svg of document.querySelectorAll('figure svg')) {"
        " const card = svg.closest('figure').getBoundingClientRect(), rows = {};"
        " for (const t of svg.querySelectorAll('.axis text')) {"
        "  const b = t.getBoundingClientRect(), row = t.getAttribute('text-anchor') + svg.id;"
        "  if (b.left < card.left || b.right > card.right || b.bottom > card.bottom)"
        "   cut.push(t.textContent);"
        "  rows[row] ??= new Set(); if (rows[row].has(t.textContent)) alike.push(t.textContent);"
        "  rows[row].add(t.textContent); } } return [cut, alike]"
    )
    assert (cut, alike) == ([], [])


def test_a_pointer_over_a_plot_reads_its_curves(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    opened(browser, "#m=20&C=20&shown=soft")
    plot = browser.find_element(By.ID, "plot-mu")
    ActionChains(browser).move_to_element(plot).perform()
    words = browser.find_element(By.ID, "hint").text.replace("\n", " ").split()
    time, value = float(words[words.index("=") + 1]), float(words[-1])
    exact = float(af.solve("soft", Setting(20, 20), np.array([time])).mu[0])
    assert value == pytest.approx(exact, rel=0.1)  # at the drawn time beside it
    dot = browser.find_element(By.CSS_SELECTOR, "#plot-phase .start")
    browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", dot)
    ActionChains(browser).move_to_element(dot).perform()
    assert "Soft attention" in browser.find_element(By.ID, "hint").text


def test_dark_colours_follow_the_system(browser):
    def brightness():
        return sum(
            map(
                int,
                browser.execute_script(
                    "return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g)"
                )[:3],
            )
        )

    light = brightness()
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert brightness() < 100 < 600 < light
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_every_control_is_within_reach_of_one_screen(browser):
    size = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened(browser, "#m=20&C=20")
    below = browser.execute_script(
        "return [...document.getElementById('controls').elements]"
        ".filter((e) => e.getBoundingClientRect().bottom > 900).map((e) => e.id)"
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert below == []


def test_every_control_has_a_label_and_no_plot_overflows_a_phone(browser):
    unlabelled = browser.execute_script(
        "return [...document.querySelectorAll('input, select')].filter((e) => !e.labels.length "
        "&& !e.getAttribute('aria-label')).map((e) => e.id)"
    )
    assert unlabelled == []
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 375, "height": 800, "deviceScaleFactor": 2, "mobile": True},
    )
    opened(browser, "#m=20&C=20")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 375
    # curves first; the controls wait at the lower edge and leave the curves in sight when opened
    top = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
    assert browser.execute_script(top, "plot-alpha") < 400 < browser.execute_script(top, "sheet")
    browser.find_element("css selector", "#sheet > summary").click()
    assert browser.execute_script(top, "sheet") > 300
    assert browser.find_element("id", "slider-m").is_displayed()
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
