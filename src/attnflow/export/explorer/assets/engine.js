// Trajectories in closed form, as the library computes them: time is one quadrature over the
// margin mu, laid in panels of Gauss points as wide as a polynomial allows, and inverted panel by
// panel; the focus follows from the first integral x + e^x = z, x = logit(alpha), solved for its
// change since the panel's start, so that no digit is lost however small the motion.

const POINTS = 20, PANELS = 400, NOISE = 4e-15, ROUGH = 1e-4, TOLERANCE = 1e-15;

const GAUSS = (() => {
  // Gauss-Legendre points and weights on [0, 1]; values -> integral from 0 to each point;
  // values -> Legendre coefficients
  const nodes = [], weights = [], table = [];
  const legendre = (x) => {
    const p = [1, x];
    for (let d = 1; d <= POINTS; d++) p.push(((2 * d + 1) * x * p[d] - d * p[d - 1]) / (d + 1));
    return p;
  };
  for (let i = 0; i < POINTS; i++) {
    // Newton's method in the angle, which keeps 1 - x^2 = sin^2 to all digits
    let angle = Math.PI * (POINTS - i - 0.25) / (POINTS + 0.5);
    for (let k = 0; k < 8; k++) {
      const x = Math.cos(angle), p = legendre(x), s = Math.sin(angle);
      angle += p[POINTS] * s / (POINTS * (p[POINTS - 1] - x * p[POINTS]));
    }
    const x = Math.cos(angle), s = Math.sin(angle), p = legendre(x);
    nodes.push(x);
    table.push(p);
    weights.push(2 * s * s / (POINTS * p[POINTS - 1]) ** 2);
  }
  const sum = weights.reduce((a, b) => a + b);
  const weight = weights.map((w) => 2 * w / sum);
  const coefficients = Array.from({length: POINTS}, (_, d) =>
    Float64Array.from(nodes, (_x, j) => (d + 0.5) * table[j][d] * weight[j]));
  const running = nodes.map((x, i) => Float64Array.from(nodes, (_x, j) => {
    let value = (x + 1) * coefficients[0][j];
    for (let d = 1; d < POINTS; d++)
      value += (table[i][d + 1] - table[i][d - 1]) / (2 * d + 1) * coefficients[d][j];
    return value / 2;
  }));
  return {
    points: Float64Array.from(nodes, (x) => (x + 1) / 2),
    weights: Float64Array.from(weight, (w) => w / 2),
    coefficients, running,
  };
})();

function dot(row, values) {
  let sum = 0;
  for (let i = 0; i < POINTS; i++) sum += row[i] * values[i];
  return sum;
}

/** delta with delta + weight expm1(delta) = force: the first integral between two points. */
function increment(force, weight) {
  let delta = force > 0
    ? Math.min(force, Math.log1p(force / weight))
    : Math.min(force / (1 + weight), force + weight);
  for (let k = 0; k < 3; k++) {
    const bend = weight * Math.exp(delta);
    const residual = delta + weight * Math.expm1(delta) - force;
    const slope = 1 + bend;
    delta -= residual * (slope * slope - residual * bend / 2)
      / (slope * (slope * slope - residual * bend) + residual * residual * bend / 6);
  }
  return delta;
}

/** Legendre series on [0, 1] and its derivative. */
function series(coefficients, at) {
  const x = 2 * at - 1;
  let before = 1, now = x, dBefore = 0, dNow = 1;
  let value = coefficients[0] + coefficients[1] * x, slope = coefficients[1];
  for (let d = 1; d < POINTS - 1; d++) {
    const next = ((2 * d + 1) * x * now - d * before) / (d + 1);
    const dNext = dBefore + (2 * d + 1) * now;
    value += coefficients[d + 1] * next;
    slope += coefficients[d + 1] * dNext;
    before = now; now = next; dBefore = dNow; dNow = dNext;
  }
  return [value, 2 * slope];
}

/** Series of u -> (1/u) integral from 0 to u, from values at the Gauss points. */
function meanSeries(values) {
  const mean = new Float64Array(POINTS);
  for (let i = 0; i < POINTS; i++) mean[i] = dot(GAUSS.running[i], values) / GAUSS.points[i];
  return GAUSS.coefficients.map((row) => dot(row, mean));
}

const TELLING = [POINTS / 2, Math.floor(3 * POINTS / 4), POINTS - 2];

/** Whether a panel resolves a function, and by what factor its width may change. */
function growth(values, scale) {
  const pairs = TELLING.map((d) => Math.max(
    Math.abs(dot(GAUSS.coefficients[d], values)),
    Math.abs(dot(GAUSS.coefficients[d + 1], values))) / (scale + 1e-300));
  const factors = TELLING.map((d, i) => (TOLERANCE ** (d / POINTS) / (pairs[i] + 1e-17)) ** (1 / d));
  const seen = pairs.map((p) => p > NOISE);
  const factor = 0.93 * (seen[2] ? factors[2] : seen[1] ? factors[1] : factors[0]);
  const fine = pairs[2] < Math.max(4 * TOLERANCE ** (TELLING[2] / POINTS), 10 * NOISE);
  // small coefficients that no longer fall are rounding: no narrower panel would be better
  const rough = seen[2] && pairs[2] < ROUGH && pairs[2] > 0.1 * pairs[0];
  return [fine || rough, rough ? 2 : factor];
}

const least = (values) => values.reduce((a, b) => Math.min(a, Math.abs(b)), Infinity);
const most = (values) => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

/**
 * An orbit of one paradigm from (mu0, x0), as panels that are laid when they are asked for.
 * clock = mu - mu0, companion = x - x0.
 */
class Orbit {
  constructor(formulas, classes, mu0, x0, withSensitivity = false) {
    Object.assign(this, {formulas, classes, mu0, x0, withSensitivity});
    this.weight = Math.exp(x0);
    this.panels = [];
    // time and sensitivity are sums with their rounding kept beside them
    this.end = {clock: 0, companion: 0, time: 0, timeRest: 0, sensitivity: 0};
    const pace = this.pace(0, this.weight);
    this.sign = Math.sign(pace);
    this.stuck = !Number.isFinite(pace) || pace === 0;
    this.startPace = Math.abs(pace);
    this.width = 0;
  }

  state(clock, weight) {
    return [weight / (1 + weight), 1 / (1 + weight), this.mu0 + clock, this.classes];
  }

  pace(clock, weight) { return this.formulas.pace(...this.state(clock, weight)); }

  slope(clock) { return this.formulas.slope(this.mu0 + clock, this.classes); }

  /** The next panel, at the width that resolves it; false where none can be laid. */
  advance(first) {
    if (this.width === 0) this.width = Math.min(Math.max(first / this.startPace, 1e-280), 1);
    for (let tries = 0; tries < 4 * PANELS && !this.stuck; tries++) {
      if (this.panels.length >= PANELS) this.stuck = true;
      const start = this.end, width = this.sign * this.width;
      if (Math.abs(width) < 4e-16 * Math.abs(start.clock) + 1e-300) { this.stuck = true; break; }
      const drive = GAUSS.points.map((u) => this.slope(start.clock + width * u));
      const weight = this.weight * Math.exp(start.companion);
      const pace = new Float64Array(POINTS), sensitive = new Float64Array(POINTS);
      let sound = true;
      for (let i = 0; i < POINTS; i++) {
        const moved = increment(width * dot(GAUSS.running[i], drive), weight);
        const here = this.state(start.clock + width * GAUSS.points[i], weight * Math.exp(moved));
        pace[i] = this.formulas.pace(...here);
        if (this.withSensitivity) sensitive[i] = this.formulas.sensitivity(...here);
        sound = sound && Number.isFinite(pace[i]) && pace[i] * this.sign > 0;
      }
      const checks = [growth(pace, least(pace)), growth(drive, most(drive))];
      if (this.withSensitivity) checks.push(growth(sensitive, most(sensitive)));
      const good = sound && checks.every(([fine]) => fine);
      const factor = sound ? Math.min(...checks.map(([, f]) => f)) : 0.25;
      this.width *= good
        ? Math.min(Math.max(factor, 0.5), 8) : Math.min(Math.max(factor, 0.1), 0.7);
      if (!good) continue;
      const clock = start.clock + width;
      if (clock === start.clock) this.stuck = true;
      const gained = width * dot(GAUSS.weights, pace);
      const time = start.time + gained;
      this.end = {
        clock,
        companion: start.companion + increment(width * dot(GAUSS.weights, drive), weight),
        time,
        timeRest: start.timeRest + (gained - (time - start.time)),
        sensitivity: start.sensitivity + width * dot(GAUSS.weights, sensitive),
      };
      this.panels.push({start, end: this.end, width, weight, pace, drive, sensitive});
      return true;
    }
    return false;
  }

  ready(panel) {
    if (!panel.meanPace) {
      panel.meanPace = meanSeries(panel.pace);
      panel.meanDrive = meanSeries(panel.drive);
    }
    return panel;
  }

  /** Where the orbit is at a share of a panel. */
  inside(panel, at) {
    this.ready(panel);
    const force = panel.width * at * series(panel.meanDrive, at)[0];
    return {
      clock: panel.start.clock + panel.width * at,
      companion: panel.start.companion + increment(force, panel.weight),
    };
  }

  /** Lay panels until the time is covered, and find the clock and companion there. */
  at(time, first = time) {
    if (!(time > 0)) return {clock: 0, companion: 0};
    while (this.end.time < time && this.advance(first));
    if (this.end.time < time) // an equilibrium, where the clock stands still
      return this.stuck && this.panels.length < PANELS ? this.end : {clock: NaN, companion: NaN};
    const panel = this.ready(this.find((p) => p.end.time >= time));
    const passed = (time - panel.start.time) - panel.start.timeRest;
    const target = passed / panel.width;
    const share = passed / (panel.end.time - panel.start.time);
    const steep = Math.log(panel.pace[POINTS - 1] / panel.pace[0])
      / (GAUSS.points[POINTS - 1] - GAUSS.points[0]);
    let at = Math.abs(steep) < 1e-6 ? share : Math.log1p(share * Math.expm1(steep)) / steep;
    for (let k = 0; k < 8; k++) {
      const [mean, slope] = series(panel.meanPace, at);
      const next = Math.min(Math.max(at - (at * mean - target) / (mean + at * slope), 0), 1);
      const done = Math.abs(next - at) <= 1e-13 * next; // what is left, exact() takes away
      at = next;
      if (done) break;
    }
    return this.exact(panel, at, passed);
  }

  /**
   * Inside a panel, once more by Gauss points of its part up to a share, and one step of Newton's
   * method: the series of the panel are right to 1e-13 of its shortest pace, and just after the
   * onset of a large setting mu changes thousands of times as fast as log t.
   */
  exact(panel, at, passed) {
    const {start, weight} = panel, width = panel.width * at;
    if (width === 0) return start;
    const drive = GAUSS.points.map((u) => this.slope(start.clock + width * u));
    const pace = GAUSS.points.map((u, i) => this.pace(start.clock + width * u,
      weight * Math.exp(increment(width * dot(GAUSS.running[i], drive), weight))));
    const force = width * dot(GAUSS.weights, drive);
    const here = weight * Math.exp(increment(force, weight));
    const step = (passed - width * dot(GAUSS.weights, pace)) / this.pace(start.clock + width, here);
    const last = force + step * this.slope(start.clock + width);
    return {
      clock: start.clock + (width + step), companion: start.companion + increment(last, weight),
    };
  }

  /** The first panel with a property that once true stays true. */
  find(holds) {
    let low = 0, high = this.panels.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holds(this.panels[middle])) high = middle; else low = middle + 1;
    }
    return this.panels[low];
  }

  /** Time and companion where the clock shows a value that panels cover. */
  atClock(clock) {
    const panel = this.ready(this.find((p) => Math.abs(p.end.clock) >= Math.abs(clock)));
    const at = (clock - panel.start.clock) / panel.width;
    return {
      time: panel.start.time + panel.width * at * series(panel.meanPace, at)[0],
      ...this.inside(panel, at), clock,
    };
  }

  /** Time, clock and integral of the sensitivity where x reaches a goal; null if it never does. */
  reach(goal, longest = Infinity) {
    const rise = goal - this.x0;
    if (rise <= 0) return {clock: 0, companion: 0, time: 0, sensitivity: 0};
    while (this.end.companion < rise && this.end.time < longest) if (!this.advance(1e300)) break;
    const panel = this.panels.find((p) => p.end.companion >= rise);
    if (!panel) return null;
    this.ready(panel);
    let low = 0, high = 1, at = 0.5;
    for (let k = 0; k < 60; k++) {
      const here = this.inside(panel, at), over = here.companion - rise;
      if (over > 0) high = at; else low = at;
      const weight = this.weight * Math.exp(here.companion);
      const next = at - over * (1 + weight) / (this.slope(here.clock) * panel.width);
      const step = next > low && next < high ? next : (low + high) / 2;
      if (Math.abs(step - at) <= 2e-16 * at) break;
      at = step;
    }
    const result = {
      ...this.inside(panel, at), companion: rise,
      time: panel.start.time + panel.width * at * series(panel.meanPace, at)[0],
    };
    if (this.withSensitivity) result.sensitivity = panel.start.sensitivity
      + panel.width * at * series(meanSeries(panel.sensitive), at)[0];
    return result;
  }
}

/** What is shown of a state, for the paradigm that is active there. */
function observe(formulas, setting, mu, x) {
  const weight = Math.exp(x), alpha = weight / (1 + weight), complement = 1 / (1 + weight);
  return {
    mu, nu: x + Math.log(SETTING.ratio(setting.m)), alpha, complement,
    beta: SETTING.beta(mu, setting.C), loss: formulas.loss(alpha, complement, mu, setting.C),
  };
}

/**
 * A trajectory at increasing times: {mu, nu, alpha, complement, beta, loss}, arrays.
 * parts: [[paradigm, end], ...], the last end infinite.
 */
function solve(parts, setting, times) {
  const found = {mu: [], nu: [], alpha: [], complement: [], beta: [], loss: []};
  const ratio = SETTING.ratio(setting.m);
  let state = {mu: setting.mu0, nu: setting.nu0}, begin = 0, place = 0;
  for (const [paradigm, end] of parts) {
    const formulas = PARADIGMS[paradigm];
    const chosen = [];
    for (; place < times.length && (times[place] <= end || begin === end); place++)
      chosen.push(times[place] - begin);
    const last = Number.isFinite(end) ? end - begin : null;
    const here = states(formulas, setting, state, last === null ? chosen : [...chosen, last]);
    for (const {mu, nu} of here.slice(0, chosen.length)) {
      const seen = observe(formulas, setting, mu, nu - Math.log(ratio));
      seen.nu = nu;
      for (const name in found) found[name].push(seen[name]);
    }
    if (last !== null) state = here[here.length - 1];
    begin = end;
  }
  return found;
}

/** (mu, nu) of one paradigm at times after a start. */
function states(formulas, setting, start, times) {
  const first = times.find((t) => t > 0) ?? 1;
  if (!formulas.slope) return integrate(formulas, setting, start, times);
  const x0 = start.nu - Math.log(SETTING.ratio(setting.m));
  const orbit = new Orbit(formulas, setting.C, start.mu, x0);
  orbit.weight = Math.exp(start.nu) / SETTING.ratio(setting.m);
  return times.map((t) => {
    const {clock, companion} = orbit.at(t, first);
    return {mu: start.mu + clock, nu: start.nu + companion};
  });
}

/**
 * A paradigm without first integral: the flow by extrapolated midpoint steps (Gragg, Bulirsch,
 * Stoer) in s = log(1 + t/scale), for the change since the start.
 */
function integrate(formulas, setting, start, times) {
  const ratio = SETTING.ratio(setting.m), weight0 = Math.exp(start.nu) / ratio;
  const rate = (y) => {
    const weight = weight0 * Math.exp(y[1]);
    const state = [weight / (1 + weight), 1 / (1 + weight), start.mu + y[0], setting.C];
    return [formulas.muDot(...state), formulas.nuDot(...state)];
  };
  const speed = Math.max(...rate([0, 0]).map(Math.abs));
  const scale = Math.min(Math.max(1 / (speed + 1e-300), 1e-3), 1e12);
  const field = (s, y) => rate(y).map((v) => v * scale * Math.exp(s));
  const counts = [2, 4, 6, 8, 10, 12, 14, 16];
  let s = 0, y = [0, 0], step = 0.05;
  const attempt = (size) => {
    const rows = [];
    const initial = field(s, y);
    let error = Infinity;
    for (let k = 0; k < counts.length; k++) {
      const n = counts[k], h = size / n;
      let before = y, now = y.map((v, i) => v + h * initial[i]);
      for (let j = 1; j < n; j++) {
        const slope = field(s + j * h, now);
        [before, now] = [now, before.map((v, i) => v + 2 * h * slope[i])];
      }
      const slope = field(s + size, now);
      const row = [now.map((v, i) => (v + before[i] + h * slope[i]) / 2)];
      for (let j = 1; j <= k; j++) {
        const factor = (n / counts[k - j]) ** 2 - 1;
        row.push(row[j - 1].map((v, i) => v + (v - rows[k - 1][j - 1][i]) / factor));
      }
      if (k > 0) error = Math.max(...row[k].map((v, i) =>
        Math.abs(v - row[k - 1][i]) / (1e-13 * Math.abs(v) + 1e-16)));
      rows.push(row);
      if (k > 3 && error <= 1) break;
    }
    return [rows[rows.length - 1].at(-1), error];
  };
  return times.map((t) => {
    const goal = Math.log1p(Math.max(t, 0) / scale);
    for (let tries = 0; s < goal && tries < 20000; tries++) {
      const size = Math.min(step, goal - s);
      const [next, error] = attempt(size);
      const good = Number.isFinite(error) && error <= 1;
      if (good) { y = next; s = size === goal - s ? goal : s + size; }
      const factor = Number.isFinite(error) ? 0.9 * (error + 1e-10) ** (-1 / 15) : 0.2;
      if (size === step || !good) step = size * Math.min(Math.max(factor, 0.2), 3);
    }
    return s < goal ? {mu: NaN, nu: NaN} : {mu: start.mu + y[0], nu: start.nu + y[1]};
  });
}

/**
 * The best single switch between two paradigms to reach a focus weight soonest: among the roots of
 * g_A - g_B + V_z (slope_A - slope_B), found on a grid of margins, and both paradigms alone.
 * null where the target lies below the start, or is never reached.
 */
function bestSwitch(first, then, setting, target) {
  const one = PARADIGMS[first], other = PARADIGMS[then];
  const shift = Math.log(SETTING.ratio(setting.m));
  const goal = Math.log(target) - Math.log1p(-target), x0 = setting.nu0 - shift;
  if (!(goal > x0) || !one.slope || !other.slope) return null;
  const ahead = new Orbit(one, setting.C, setting.mu0, x0);
  const aloneOne = ahead.reach(goal)?.time ?? Infinity;
  const aloneOther = new Orbit(other, setting.C, setting.mu0, x0).reach(goal)?.time ?? Infinity;
  const cap = Math.min(aloneOne, aloneOther);
  if (!Number.isFinite(cap)) return null;
  const longest = Math.abs(ahead.at(cap, 1e300).clock);
  const evaluate = (length) => {
    const here = ahead.atClock(ahead.sign * length);
    const x = x0 + here.companion, mu = setting.mu0 + here.clock;
    const leg = new Orbit(other, setting.C, mu, x, true);
    const end = leg.reach(goal);
    if (!end) return {total: Infinity, condition: NaN};
    const last = leg.pace(end.clock, leg.weight * Math.exp(end.companion));
    const costate = end.sensitivity - last / leg.slope(end.clock);
    const condition = ahead.pace(here.clock, Math.exp(x)) - leg.pace(0, leg.weight)
      + costate * (ahead.slope(here.clock) - leg.slope(0));
    return {total: here.time + end.time, condition, time: here.time, mu, nu: x + shift};
  };
  const half = 64, grid = new Set();
  for (let i = 1; i < half; i++) grid.add(longest * i / half);
  for (let i = 0; i < half; i++) grid.add(longest * 1e-6 * (0.999e6) ** (i / (half - 1)));
  const lengths = [...grid].sort((a, b) => a - b);
  const values = lengths.map(evaluate);
  const alone = {[first]: aloneOne, [then]: aloneOther};
  const found = [{total: aloneOther, time: 0, mu: setting.mu0, nu: setting.nu0}];
  const arrived = ahead.reach(goal);
  if (arrived) found.push({
    total: aloneOne, time: Infinity,
    mu: setting.mu0 + arrived.clock, nu: setting.nu0 + arrived.companion,
  });
  for (let i = 0; i + 1 < lengths.length; i++) {
    if (!(values[i].condition < 0 && values[i + 1].condition > 0)) continue;
    let low = lengths[i], high = lengths[i + 1];
    for (let k = 0; k < 60 && high - low > 2e-16 * high; k++) {
      const middle = (low + high) / 2;
      if (evaluate(middle).condition < 0) low = middle; else high = middle;
    }
    found.push(evaluate((low + high) / 2));
  }
  const total = Math.min(...found.map((run) => run.total));
  const best = found.find((run) => run.total <= total * (1 + 1e-14));
  return {switchTime: best.time, total: best.total, mu: best.mu, nu: best.nu, alone};
}

/** When the focus weight reaches 1/2, or the focus score has risen by 1 where that comes later. */
function onset(paradigm, setting) {
  const shift = Math.log(SETTING.ratio(setting.m)), formulas = PARADIGMS[paradigm];
  const goal = Math.max(0, setting.nu0 - shift + 1);
  if (formulas.slope)
    return new Orbit(formulas, setting.C, setting.mu0, setting.nu0 - shift).reach(goal, 1e15)?.time ?? Infinity;
  const times = Array.from({length: 361}, (_, i) => 10 ** (-3 + i / 20));
  const start = {mu: setting.mu0, nu: setting.nu0};
  const reached = states(formulas, setting, start, times).findIndex(({nu}) => nu - shift >= goal);
  return reached < 0 ? Infinity : times[reached];
}

/** Level curves nu(mu) of a paradigm's first integral, each through one nu at the middle margin. */
function levels(paradigm, setting, margins, starts) {
  const formulas = PARADIGMS[paradigm];
  if (!formulas.slope) return [];
  const potential = [0];
  for (let i = 1; i < margins.length; i++) {
    const width = margins[i] - margins[i - 1];
    const drive = GAUSS.points.map((u) => formulas.slope(margins[i - 1] + width * u, setting.C));
    potential.push(potential[i - 1] + width * dot(GAUSS.weights, drive));
  }
  const ratio = SETTING.ratio(setting.m), middle = potential[margins.length >> 1];
  return starts.map((nu) => potential.map((p) => nu + increment(p - middle, Math.exp(nu) / ratio)));
}
