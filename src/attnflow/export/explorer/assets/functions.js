// Functions that the printed formulas call and Math lacks.

/** log(n/d), given n, d and n - d: accurate for n/d near 1 and far from it. */
function logQuotient(n, d, gap) {
  return Math.abs(gap) < 0.5 * Math.abs(d) ? Math.log1p(gap / d) : Math.log(n / d);
}

/** omega > 0 with omega + log(omega) = z, by the iteration of Fritsch, Shafer and Crowley. */
function wrightOmega(z) {
  if (z === Infinity) return z;
  let w = z < -2 ? Math.exp(z) : z < 1 ? Math.exp(0.5 * (z - 0.13)) : z - Math.log(z);
  for (let k = 0; k < (z < -40 || z > 1e10 ? 0 : 4); k++) {
    const residual = z - w - Math.log(w), one = 1 + w;
    const weight = 2 * one * (one + 2 * residual / 3);
    w *= 1 + residual / one * (weight - residual) / (weight - 2 * residual);
  }
  return w;
}

/** erf by its series near 0, and by erfc beyond. */
function erf(x) {
  const size = Math.abs(x);
  if (size < 2.5) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= 2 * x * x / (2 * n + 1);
      sum += term;
    }
    return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
  }
  return Math.sign(x) * (1 - erfc(size));
}

/** 1 - erf without the subtraction, by its continued fraction, where it is small. */
function erfc(x) {
  if (x < 2.5) return 1 - erf(x);
  let fraction = 0;
  for (let k = 80; k > 0; k--) fraction = k / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}
