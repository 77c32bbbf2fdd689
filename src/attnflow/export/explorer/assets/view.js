// The page: sliders write one state, the state is drawn, and the address keeps it.

const VIEW = (() => {
  const $ = (id) => document.getElementById(id);
  const NAMES = Object.keys(PARADIGMS), HYBRID = "hybrid";
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const rounded = (v, digits) => Number(v.toPrecision(digits));

  // How a slider's position (0 to 1000) and a value belong together.
  const logarithmic = (low, high, tidy) => ({
    low, high, value: (p) => tidy(low * (high / low) ** (p / 1000)),
    place: (v) => 1000 * Math.log(v / low) / Math.log(high / low),
  });
  const linear = (low, high, digits) => ({
    low, high, value: (p) => Number((low + (high - low) * p / 1000).toFixed(digits)),
    place: (v) => 1000 * (v - low) / (high - low),
  });
  const logit = (a) => Math.log(a) - Math.log1p(-a);
  const CONTROLS = {
    m: logarithmic(2, 1e6, (v) => Math.round(rounded(v, 3))),
    C: logarithmic(2, 1e6, (v) => Math.round(rounded(v, 3))),
    mu0: linear(-5, 20, 3),
    nu0: linear(-5, 20, 3),
    T: logarithmic(1e-3, 1e15, (v) => rounded(v, 3)),
    t: {
      low: 0,
      get high() { return state.T; },
      value: (p) => state.scale === "log"
        ? earliest() * (state.T / earliest()) ** (p / 1000) : state.T * p / 1000,
      place: (v) => 1000 * (state.scale === "log"
        ? clamp(Math.log(v / earliest()) / Math.log(state.T / earliest()), 0, 1) : v / state.T),
    },
    target: {
      low: 1e-3, high: 0.9999,
      value: (p) => rounded(1 / (1 + Math.exp(-(logit(1e-3) + (logit(0.9999) - logit(1e-3)) * p / 1000))), 4),
      place: (v) => 1000 * (logit(v) - logit(1e-3)) / (logit(0.9999) - logit(1e-3)),
    },
  };
  const SOLVABLE = NAMES.filter((n) => PARADIGMS[n].slope);
  const INITIAL = {
    m: 20, C: 20, mu0: 0, nu0: 0, T: 2000, t: 500, target: 0.9, scale: "log",
    shown: SOLVABLE.length > 1 ? [...NAMES, HYBRID] : [...NAMES], first: SOLVABLE[0],
    then: SOLVABLE[1], levels: true, digits: false, fit: true, ...START,
  };
  let state = {...INITIAL};

  /** First time of a logarithmic axis. */
  const earliest = () => Math.min(state.T * 1e-3, 1e-2 * state.m * state.C);

  // --- the state and the address -----------------------------------------------------------

  function toHash() {
    const parts = {};
    for (const name in CONTROLS) parts[name] = state[name];
    Object.assign(parts, {
      scale: state.scale, shown: state.shown.join(","), first: state.first, then: state.then,
      levels: Number(state.levels), digits: Number(state.digits), fit: Number(state.fit),
    });
    return "#" + new URLSearchParams(parts);
  }

  function fromHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    const next = {...INITIAL};
    for (const name of ["m", "C", "mu0", "nu0", "T", "target"]) {
      const value = Number(given.get(name) ?? NaN), {low, high} = CONTROLS[name];
      if (given.has(name) && Number.isFinite(value)) next[name] = clamp(value, low, high);
    }
    next.m = Math.round(next.m);
    next.C = Math.round(next.C);
    const t = Number(given.get("t") ?? NaN);
    next.t = given.has("t") && t >= 0 ? Math.min(t, next.T) : Math.min(next.t, next.T);
    if (["log", "linear"].includes(given.get("scale"))) next.scale = given.get("scale");
    if (given.has("shown"))
      next.shown = given.get("shown").split(",").filter((n) => [...NAMES, HYBRID].includes(n));
    for (const name of ["first", "then"])
      if (SOLVABLE.includes(given.get(name))) next[name] = given.get(name);
    if (given.has("T")) next.fit = false;
    for (const name of ["levels", "digits", "fit"])
      if (given.has(name)) next[name] = given.get(name) === "1";
    state = next;
  }

  function set(name, value) {
    if (!Number.isFinite(value)) return;
    const share = state.T > 0 ? CONTROLS.t.place(state.t) : 500;
    const {low, high} = CONTROLS[name];
    state[name] = clamp(value, low, high);
    if (name === "m" || name === "C") state[name] = Math.round(state[name]);
    if (name === "T") {
      state.fit = false;
      state.t = Math.min(CONTROLS.t.value(share), state.T);
    }
    update();
  }

  /** The horizon brought to the setting: four times the latest onset of what is shown. */
  function fit() {
    const key = JSON.stringify([setting(), state.shown]);
    if (!state.fit || state.fitted === key) return;
    const share = CONTROLS.t.place(state.t);
    const ends = state.shown.filter((n) => n !== HYBRID).map((n) => onset(n, setting()));
    const last = Math.max(...ends.filter(Number.isFinite), 0);
    if (last > 0) state.T = clamp(rounded(4 * last, 2), CONTROLS.T.low, CONTROLS.T.high);
    state.t = Math.min(rounded(CONTROLS.t.value(share), 6), state.T);
    state.fitted = key;
  }

  // --- computing -----------------------------------------------------------------------------

  const setting = () => ({m: state.m, C: state.C, mu0: state.mu0, nu0: state.nu0});
  let known = {key: "", best: null};

  function hybridBest() {
    const {first, then, target} = state;
    if (!first || !then || first === then) return null;
    const key = JSON.stringify([setting(), first, then, target]);
    if (known.key !== key) known = {key, best: bestSwitch(first, then, setting(), target)};
    return known.best;
  }

  function partsOf(name, best) {
    if (name !== HYBRID) return [[name, Infinity]];
    if (!best) return null;
    if (best.switchTime === Infinity) return [[state.first, Infinity]];
    if (best.switchTime === 0) return [[state.then, Infinity]];
    return [[state.first, best.switchTime], [state.then, Infinity]];
  }

  // --- drawing -------------------------------------------------------------------------------

  const SUPER = {"-": "\u207b", 0: "\u2070", 1: "\u00b9", 2: "\u00b2", 3: "\u00b3", 4: "\u2074",
    5: "\u2075", 6: "\u2076", 7: "\u2077", 8: "\u2078", 9: "\u2079"};
  const raised = (n) => [...String(n)].map((c) => SUPER[c]).join("");
  const powerText = (n) => n === 0 ? "1" : n === 1 ? "10" : `10${raised(n)}`;

  function shortText(v) {
    if (v === 0) return "0";
    if (v === Infinity) return "\u221e";
    const size = Math.abs(v);
    if (size >= 1e-3 && size < 1e5) return String(rounded(v, 6)).replace("-", "\u2212");
    const [digits, power] = v.toExponential(3).split("e");
    const lead = String(Number(digits)).replace("-", "\u2212");
    return (lead === "1" ? "" : `${lead}\u00d7`) + `10${raised(Number(power))}`;
  }

  function linearTicks(low, high, most = 5) {
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw);
    const digits = (v) => Math.ceil(Math.log10(Math.abs(v) / step) + 1e-9) + 1; // tell neighbours apart
    const word = (v) => digits(v) > 6 ? v.toPrecision(Math.min(digits(v), 17)).replace("-", "\u2212")
      : shortText(v);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++)
      ticks.push([k * step, word(rounded(k * step, 15))]);
    return ticks;
  }

  function logTicks(low, high, most) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    if (last - first < 1) return linearTicks(low, high, most).filter(([v]) => v > 0);
    const every = Math.max(1, Math.ceil((last - first) / most));
    const ticks = [];
    for (let n = first; n <= last; n += every) ticks.push([10 ** n, powerText(n)]);
    return ticks;
  }

  function axis(low, high, log, from, to, most = 6) {
    if (log && !(low > 0)) low = high * 1e-12;
    if (!(high > low)) [low, high] = log ? [low / 2, low * 2 || 1] : [low - 0.5, low + 0.5];
    const at = log
      ? (v) => from + (to - from) * Math.log(Math.max(v, 1e-300) / low) / Math.log(high / low)
      : (v) => from + (to - from) * (v - low) / (high - low);
    return {at, low, high, ticks: log ? logTicks(low, high, most) : linearTicks(low, high, Math.min(most, 5))};
  }

  /** The plane of a plot with its axes: the left edge leaves room for the longest label. */
  function plane(svg, x, y) {
    const [width, height] = size(svg), top = 10, bottom = height - 42;
    const down = axis(...y, bottom, top);
    const left = Math.max(34, 14 + 7 * Math.max(...down.ticks.map(([, word]) => word.length)));
    const across = axis(...x, left, width - 14, clamp(Math.floor((width - left) / 62), 2, 6));
    return {x: across, y: down, box: [left, top, width - 14, bottom]};
  }

  const path = (x, y, xs, ys) => {
    let text = "", pen = false;
    for (let i = 0; i < xs.length; i++) {
      if (!Number.isFinite(xs[i]) || !Number.isFinite(ys[i])) { pen = false; continue; }
      text += `${pen ? "L" : "M"}${x.at(xs[i]).toFixed(1)} ${y.at(ys[i]).toFixed(1)}`;
      pen = true;
    }
    return text;
  };

  function frame(x, y, box, labels) {
    const [l, t, r, b] = box;
    let text = `<g class="grid">`;
    for (const [v] of x.ticks) text += `<path d="M${x.at(v).toFixed(1)} ${t}V${b}"/>`;
    for (const [v] of y.ticks) text += `<path d="M${l} ${y.at(v).toFixed(1)}H${r}"/>`;
    text += `</g><g class="axis"><path d="M${l} ${t}V${b}H${r}"/>`;
    for (const [v, word] of x.ticks)
      text += `<text x="${x.at(v).toFixed(1)}" y="${b + 16}" text-anchor="middle">${word}</text>`;
    for (const [v, word] of y.ticks)
      text += `<text x="${l - 7}" y="${(y.at(v) + 4).toFixed(1)}" text-anchor="end">${word}</text>`;
    return `${text}<text class="label" x="${(l + r) / 2}" y="${b + 33}" text-anchor="middle">${labels}</text></g>`;
  }

  function size(svg) {
    const width = Math.max(Math.round(svg.getBoundingClientRect().width), 220);
    const height = svg.dataset.tall ? clamp(width * 0.72, 280, 460) : clamp(width * 0.5, 190, 250);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    return [width, height];
  }

  const pen = (name) => `stroke="${LOOKS[name].colour}" stroke-dasharray="${LOOKS[name].dash}"`;
  const QUANTITIES = {
    alpha: "focus weight \u03b1", mu: "margin \u03bc", nu: "focus score \u03bd", loss: "loss L (nats)",
  };
  const drawn = {};
  let shown = {};

  /** The time that a place across a plot stands for. */
  function timeAt(name, place) {
    const {x, box, log} = drawn[name], share = clamp((place - box[0]) / (box[2] - box[0]), 0, 1);
    return log ? x.low * (x.high / x.low) ** share : x.high * share;
  }

  function timePlot(quantity, curves, now, best) {
    const svg = $(`plot-${quantity}`), log = state.scale === "log";
    const values = Object.values(curves).flatMap((c) => c[quantity]).filter(Number.isFinite);
    let low = Math.min(...values), high = Math.max(...values);
    const logY = quantity === "loss" && log && low > 0 && high / low > 20;
    if (quantity === "alpha") [low, high] = [0, 1];
    else if (!logY) {
      if (quantity === "loss") low = 0;
      const margin = 0.04 * (high - low);
      low -= quantity === "loss" ? 0 : margin;
      high += margin;
    }
    const {x, y, box} = plane(svg, [log ? earliest() : 0, state.T, log], [low, high, logY]);
    drawn[quantity] = {x, y, box, log};
    let text = frame(x, y, box, "time t = step \u00d7 learning rate");
    text += `<clipPath id="clip-${quantity}"><rect x="${box[0]}" y="${box[1] - 4}" `
      + `width="${box[2] - box[0] + 4}" height="${box[3] - box[1] + 8}"/></clipPath>`
      + `<g clip-path="url(#clip-${quantity})">`;
    for (const name in curves)
      text += `<path class="curve" ${pen(name)} d="${path(x, y, curves[name].times, curves[name][quantity])}"/>`;
    const inside = (t) => t > x.low && t <= x.high;
    if (inside(state.t) || state.t === 0) {
      const place = x.at(Math.max(state.t, x.low)).toFixed(1);
      text += `<path class="cursor" d="M${place} ${box[1]}V${box[3]}"/>`;
      for (const name in now) if (Number.isFinite(now[name][quantity]))
        text += `<circle class="dot" cx="${place}" cy="${y.at(now[name][quantity]).toFixed(1)}" `
          + `r="4" fill="${LOOKS[name].colour}"/>`;
    }
    if (best && curves[HYBRID] && inside(best.switchTime))
      text += diamond(x.at(best.switchTime), y.at(best[quantity]));
    svg.innerHTML = text + '</g><path class="hover"/>';
  }

  const diamond = (x, y) => `<path class="switch" d="M${x.toFixed(1)} ${(y - 7).toFixed(1)}`
    + `l7 7l-7 7l-7 -7z"><title>best switch</title></path>`;

  function phasePlot(curves, now, best) {
    const svg = $("plot-phase");
    const all = (q) => Object.values(curves).flatMap((c) => c[q]).filter(Number.isFinite);
    const [mus, nus] = [[...all("mu"), state.mu0], [...all("nu"), state.nu0]];
    const range = (v) => {
      const [a, b] = [Math.min(...v), Math.max(...v)], edge = 0.06 * (b - a) || 0.5;
      return [a - edge, b + edge];
    };
    const {x, y, box} = plane(svg, [...range(mus), false], [...range(nus), false]);
    drawn.phase = {x, y, box};
    let text = frame(x, y, box, "margin \u03bc");
    text += `<clipPath id="clip-phase"><rect x="${box[0]}" y="${box[1]}" width="${box[2] - box[0]}" `
      + `height="${box[3] - box[1]}"/></clipPath><g clip-path="url(#clip-phase)">`;
    if (state.levels) for (const name in curves) {
      if (name === HYBRID || !PARADIGMS[name].slope) continue;
      const margins = Array.from({length: 81}, (_, i) => x.low + (x.high - x.low) * i / 80);
      const span = y.high - y.low;
      const starts = Array.from({length: 13}, (_, i) => y.low + span * (i - 2.5) / 8);
      for (const line of levels(name, setting(), margins, starts))
        text += `<path class="level" ${pen(name)} d="${path(x, y, margins, line)}"/>`;
    }
    const goal = Math.log(SETTING.ratio(state.m)) + logit(state.target);
    if (goal > y.low && goal < y.high)
      text += `<path class="goal" d="M${box[0]} ${y.at(goal).toFixed(1)}H${box[2]}"/>`
        + `<text class="note" x="${box[0] + 6}" y="${(y.at(goal) - 5).toFixed(1)}">\u03b1 = ${state.target}</text>`;
    for (const name in curves)
      text += `<path class="curve" ${pen(name)} d="${path(x, y, curves[name].mu, curves[name].nu)}"/>`;
    for (const name in now) if (Number.isFinite(now[name].mu))
      text += `<circle class="dot" cx="${x.at(now[name].mu).toFixed(1)}" `
        + `cy="${y.at(now[name].nu).toFixed(1)}" r="4.5" fill="${LOOKS[name].colour}"/>`;
    if (best && curves[HYBRID] && best.switchTime > 0 && best.switchTime < Infinity)
      text += diamond(x.at(best.mu), y.at(best.nu));
    text += `<circle class="start" cx="${x.at(state.mu0).toFixed(1)}" cy="${y.at(state.nu0).toFixed(1)}" r="4"/>`;
    svg.innerHTML = `${text}</g><text class="label" x="${box[0] + 6}" y="${box[1] + 12}">focus score \u03bd</text>`;
  }

  // --- what lies under the pointer -----------------------------------------------------------

  const swatch = (name) => `<svg width="22" height="8"><path d="M0 4H22" stroke-width="3" ${pen(name)}/></svg> `
    + LOOKS[name].title.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);

  /** Values at the drawn time nearest to the pointer; in the phase plane, at the nearest state. */
  function hover(name, e) {
    const svg = $(`plot-${name}`), bounds = svg.getBoundingClientRect(), {x, y, box, log} = drawn[name];
    const [px, py] = [e.clientX - bounds.left, e.clientY - bounds.top];
    const nearest = (values, distance) =>
      values.reduce((best, v, i) => distance(v, i) < distance(values[best], best) ? i : best, 0);
    let text = "";
    if (name === "phase") {
      let least = 20;
      for (const [curve, c] of Object.entries(shown)) {
        const far = (v, i) => Math.hypot(x.at(v) - px, y.at(c.nu[i]) - py) || 0;
        const i = nearest(c.mu, far);
        if (!(far(c.mu[i], i) < least)) continue;
        least = far(c.mu[i], i);
        text = `<tr><th>${swatch(curve)}</th></tr><tr><td>t = ${shortText(rounded(c.times[i], 5))}, `
          + `\u03bc = ${shortText(rounded(c.mu[i], 5))}, \u03bd = ${shortText(rounded(c.nu[i], 5))}, `
          + `\u03b1 = ${shortText(rounded(c.alpha[i], 5))}</td></tr>`;
      }
    } else if (px >= box[0] && px <= box[2]) {
      const t = timeAt(name, px);
      text = `<tr><th colspan="2">t = ${shortText(rounded(t, 4))}</th></tr>`;
      for (const [curve, c] of Object.entries(shown)) {
        const i = nearest(c.times, (v) => Math.abs(x.at(v) - px));
        text += `<tr><th>${swatch(curve)}</th><td>${shortText(rounded(c[name][i], 5))}</td></tr>`;
      }
      svg.querySelector(".hover").setAttribute("d", `M${px.toFixed(1)} ${box[1]}V${box[3]}`);
    }
    const hint = $("hint");
    hint.hidden = !text;
    hint.innerHTML = `<table>${text}</table>`;
    hint.style.left = `${clamp(e.clientX + 16, 0, innerWidth - hint.offsetWidth - 8)}px`;
    hint.style.top = `${clamp(e.clientY + 16, 0, innerHeight - hint.offsetHeight - 8)}px`;
  }

  function leave(name) {
    $("hint").hidden = true;
    $(`plot-${name}`).querySelector(".hover")?.removeAttribute("d");
  }

  // --- numbers -------------------------------------------------------------------------------

  function readout(now) {
    $("time-now").textContent = state.digits ? String(state.t) : shortText(state.t);
    $("time-now").dataset.value = String(state.t);
    for (const row of document.querySelectorAll("#readout tbody tr")) {
      const values = now[row.dataset.name];
      row.hidden = !values;
      for (const cell of row.querySelectorAll("td")) {
        const value = values ? values[cell.dataset.quantity] : NaN;
        cell.dataset.value = values ? String(value) : "";
        cell.textContent = !values ? "" : state.digits ? String(value) : shortText(value);
      }
    }
  }

  function switchText(best) {
    const out = $("switch");
    for (const name of Object.keys(out.dataset)) delete out.dataset[name];
    const title = (name) => LOOKS[name].title;
    if (state.first === state.then) out.textContent = "Choose two different paradigms.";
    else if (!best) out.textContent = "The target lies below the focus at the start, or is not reached.";
    else {
      const a = best.alone[state.first], b = best.alone[state.then], alone = Math.min(a, b);
      Object.assign(out.dataset, {
        switchTime: String(best.switchTime), total: String(best.total),
        aloneFirst: String(a), aloneThen: String(b), gain: String(alone / best.total),
      });
      const number = (v) => state.digits ? String(v) : shortText(v);
      const words = best.switchTime === 0 ? `<b>${title(state.then)}</b> alone is best`
        : best.switchTime === Infinity ? `<b>${title(state.first)}</b> alone is best`
        : `Switch at <b>t = ${number(best.switchTime)}</b>`;
      out.innerHTML = `${words}: \u03b1 = ${state.target} is reached at <b>t = ${number(best.total)}</b>, `
        + `<b>${shortText(rounded(alone / best.total, 4))} times</b> as fast as by the better of the two `
        + `alone (${title(state.first)} ${number(a)}, ${title(state.then)} ${number(b)}).`;
    }
  }

  // --- all together ---------------------------------------------------------------------------

  function fieldText(name) {
    const value = name === "t" ? rounded(state.t, 6) : state[name];
    return value >= 1e6 ? value.toExponential().replace("e+", "e") : String(value);
  }

  function controls() {
    for (const name in CONTROLS) {
      const slider = $(`slider-${name}`), field = $(`field-${name}`);
      if (document.activeElement !== slider) slider.value = CONTROLS[name].place(state[name]);
      slider.setAttribute("aria-valuetext", shortText(state[name]));
      if (document.activeElement !== field) field.value = fieldText(name);
    }
    for (const box of document.querySelectorAll("[name=shown]"))
      box.checked = state.shown.includes(box.value);
    for (const radio of document.querySelectorAll("[name=scale]"))
      radio.checked = radio.value === state.scale;
    for (const name of ["first", "then"]) if ($(name)) $(name).value = state[name];
    for (const name of ["levels", "digits", "fit"]) $(name).checked = state[name];
  }

  /**
   * A trajectory from time 0 at the times that draw it smoothly, in time and in the phase plane:
   * a grid of the shown scale, made denser wherever a value moves by much of its range.
   */
  function sampled(parts) {
    const first = earliest(), spread = (low, n) =>
      Array.from({length: n + 1}, (_, i) => low * (state.T / low) ** (i / n));
    let times = [0, ...spread(first * 1e-9, 40), ...spread(first, 120)];
    if (state.scale === "linear") times.push(...Array.from({length: 121}, (_, i) => state.T * i / 120));
    times.push(...parts.map(([, end]) => end).filter((end) => end < state.T));
    for (let round = 0; ; round++) {
      times = [...new Set(times)].sort((a, b) => a - b);
      const found = {times, ...solve(parts, setting(), times)}, more = [];
      if (round === 9) return found;
      const steps = ["alpha", "mu", "nu"].map((name) => {
        const size = Math.max(...found[name]) - Math.min(...found[name]);
        return times.map((_, i) => Math.abs(found[name][i + 1] - found[name][i]) * 80 / (size || 1));
      });
      for (let i = 0; i + 1 < times.length; i++) {
        const parts = Math.min(Math.ceil(Math.max(...steps.map((s) => s[i] || 0))), 8);
        const [a, b] = [times[i], times[i + 1]];
        for (let k = 1; k < parts; k++)
          more.push(a > 0 && b > 2 * a ? a * (b / a) ** (k / parts) : a + (b - a) * k / parts);
      }
      if (!more.length) return found;
      times.push(...more);
    }
  }

  function draw() {
    const best = hybridBest();
    const curves = {}, now = {};
    for (const name of state.shown) {
      const parts = partsOf(name, best);
      if (!parts) continue;
      curves[name] = sampled(parts);
      const here = solve(parts, setting(), [state.t]);
      now[name] = Object.fromEntries(Object.entries(here).map(([k, [v]]) => [k, v]));
    }
    let marked = null;
    if (best) {
      const x = best.nu - Math.log(SETTING.ratio(state.m));
      marked = {...observe(PARADIGMS[state.first], setting(), best.mu, x), ...best};
    }
    shown = curves;
    for (const quantity in QUANTITIES) timePlot(quantity, curves, now, marked);
    phasePlot(curves, now, marked);
    readout(now);
    if ($("switch")) switchText(best);
  }

  const shareable = location.protocol !== "about:"; // a notebook's frame has no address
  let waiting = 0;
  function update() {
    fit();
    controls();
    delete document.body.dataset.drawn;
    clearTimeout(waiting);
    waiting = setTimeout(() => { // not a frame: those stand still while the page is hidden
      draw();
      if (shareable) history.replaceState(null, "", toHash());
      document.body.dataset.drawn = "yes";
    });
  }

  function begin() {
    for (const name in CONTROLS) {
      $(`slider-${name}`).addEventListener("input", (e) =>
        set(name, CONTROLS[name].value(Number(e.target.value))));
      $(`field-${name}`).addEventListener("change", (e) => {
        if (e.target.value.trim() !== "") set(name, Number(e.target.value));
        e.target.value = fieldText(name);
      });
    }
    for (const box of document.querySelectorAll("[name=shown]"))
      box.addEventListener("change", () => {
        state.shown = [...document.querySelectorAll("[name=shown]:checked")].map((b) => b.value);
        update();
      });
    for (const radio of document.querySelectorAll("[name=scale]"))
      radio.addEventListener("change", () => { state.scale = radio.value; update(); });
    for (const name of ["first", "then"])
      $(name)?.addEventListener("change", (e) => { state[name] = e.target.value; update(); });
    for (const name of ["levels", "digits", "fit"])
      $(name).addEventListener("change", (e) => { state[name] = e.target.checked; update(); });
    $("reset").addEventListener("click", () => { state = {...INITIAL}; update(); });
    $("link").hidden = !shareable;
    $("link").addEventListener("click", async () => {
      const say = (text) => { $("link").textContent = text; };
      try { await navigator.clipboard.writeText(location.href); say("Link copied"); }
      catch { prompt("The link to this view:", location.href); }
      setTimeout(say, 2000, "Copy a link to this view");
    });
    const narrow = matchMedia("(max-width: 900px)"), settle = () => { $("sheet").open = !narrow.matches; };
    narrow.addEventListener("change", settle);
    settle();
    for (const quantity in QUANTITIES) {
      const svg = $(`plot-${quantity}`);
      const move = (e) => {
        if (e.buttons) set("t", timeAt(quantity, e.clientX - svg.getBoundingClientRect().left));
      };
      svg.addEventListener("pointerdown", (e) => { svg.setPointerCapture(e.pointerId); move(e); });
      svg.addEventListener("pointermove", move);
    }
    for (const name of [...Object.keys(QUANTITIES), "phase"]) {
      $(`plot-${name}`).addEventListener("pointermove", (e) => e.buttons ? leave(name) : hover(name, e));
      $(`plot-${name}`).addEventListener("pointerleave", () => leave(name));
    }
    addEventListener("hashchange", () => { fromHash(); update(); });
    addEventListener("resize", update);
    fromHash();
    update();
  }

  return {begin};
})();

VIEW.begin();
