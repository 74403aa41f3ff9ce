// Map from values to [0, 1], by the rules of lsweep's figures (lsweep/render/scale.py and levels.py). They are
// implemented in the browser because the reader can change the ends and the logarithm.
const scale = (() => {
  const { rules } = data;
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const known = new WeakMap();

  const isFlat = (lo, hi) => !(hi - lo > 1e-9 * Math.max(Math.abs(lo), Math.abs(hi), rules.smallest));
  const clamp = (value, lo, hi) => Math.min(Math.max(value, lo), hi);
  const inside = (levels, lo, hi) => levels.filter((level) => level > lo && level < hi);

  function logLevels(lo, hi, steps, every) {
    const found = [];
    for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++) {
      if (e % every === 0) for (const step of steps) found.push(Number(`${step}e${e}`));
    }
    return inside(found, lo, hi);
  }

  function evenLevels(lo, hi, width) {
    const found = [];
    const last = Math.ceil(hi / width);
    for (let n = Math.floor(lo / width); n <= last; n++) found.push(Number((n * width).toPrecision(12)));
    return inside(found, lo, hi);
  }

  function stepsAround(width) {
    const exponent = Math.floor(Math.log10(width));
    return [-1, 0, 1].flatMap((more) => rules.steps.map((step) => Number(`${step}e${exponent + more}`)));
  }

  // About `count` round numbers strictly inside (lo, hi), increasing; at least one if lo < hi.
  function roundLevels(lo, hi, count, log) {
    if (isFlat(lo, hi)) return [];
    const choices =
      log && hi / lo > 2
        ? [
            ...rules.decades.map((steps) => logLevels(lo, hi, steps, 1)),
            ...rules.every.map((every) => logLevels(lo, hi, [1], every)),
          ]
        : stepsAround((hi - lo) / count).map((width) => evenLevels(lo, hi, width));
    const off = (levels) => Math.abs(levels.length - count);
    const best = choices.reduce((a, b) => (off(b) < off(a) ? b : a));
    return best.length ? best : [log ? Math.sqrt(lo * hi) : (lo + hi) / 2];
  }

  // Common levels for several panels: uniformly dense if that suits each, else denser in the narrowest range.
  function sharedLevels(ranges, count, log) {
    const wide = ranges.filter(([lo, hi]) => !isFlat(lo, hi));
    if (!wide.length) return [];
    const span = ([lo, hi]) => (log ? Math.log(hi / lo) : hi - lo);
    const [low, high] = wide.reduce((a, b) => (span(b) < span(a) ? b : a));
    const ends = [Math.min(...wide.map((r) => r[0])), Math.max(...wide.map((r) => r[1]))];
    for (const steps of log && wide.length > 1 ? rules.decades : []) {
      const levels = logLevels(...ends, steps, 1);
      const numbers = wide.map((each) => inside(levels, ...each).length);
      if (Math.max(...numbers) <= rules.mostShared && Math.min(...numbers) >= 0.75 * count) return levels;
    }
    const all = roundLevels(...ends, count, log);
    const inner = roundLevels(low, high, count, log);
    const outside = all.filter((v) => v < inner[0] * (1 - 1e-9) || v > inner[inner.length - 1] * (1 + 1e-9));
    return [...new Set([...inner, ...outside])].sort((a, b) => a - b);
  }

  // Extremes of the finite values of an array, cached.
  function summary(values) {
    if (known.has(values)) return known.get(values);
    const found = { min: Infinity, max: -Infinity, positive: Infinity, top: -Infinity };
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      found.min = Math.min(found.min, value);
      found.max = Math.max(found.max, value);
      if (value > rules.smallest) {
        found.positive = Math.min(found.positive, value);
        found.top = Math.max(found.top, value);
      }
    }
    known.set(values, found);
    return found;
  }

  function merged(arrays) {
    const all = arrays.map(summary);
    const least = (key) => Math.min(...all.map((s) => s[key]), Infinity);
    const most = (key) => Math.max(...all.map((s) => s[key]), -Infinity);
    return { min: least("min"), max: most("max"), positive: least("positive"), top: most("top") };
  }

  // Whether a logarithmic scale can show everything: no value is below 0 and one is above.
  function canLog(arrays) {
    const { min, top } = merged(arrays);
    return min >= 0 && top > 0;
  }

  function prefersLog(arrays, percent, bounds) {
    if (data.start.log !== "auto") return data.start.log && canLog(arrays);
    if (percent || !canLog(arrays) || bounds.some((bound) => bound !== null && bound <= 0)) return false;
    const { positive, top } = merged(arrays);
    const cut = bounds[1] === null ? Infinity : bounds[1];
    return Math.min(top, cut) > rules.logRatio * Math.min(positive, cut);
  }

  // The finite range of the values, clipped at `cut`; above 0 on a log scale.
  function range({ min, max, positive, top }, log, cut = Infinity) {
    const [lo, hi] = log ? [Math.min(positive, cut), Math.min(top, cut)] : [Math.min(min, cut), Math.min(max, cut)];
    if (!(lo <= hi)) return log ? [0.1, 1] : [0, 1];
    return isFlat(lo, hi) ? [hi, hi] : [lo, hi];
  }

  // A constant surface still needs two ends.
  function ends(lo, hi, look) {
    let vmin = look.low ?? lo;
    let vmax = look.high ?? hi;
    if (isFlat(vmin, vmax)) {
      if (look.high === null) vmax = look.log ? 2 * vmin : vmin + Math.max(Math.abs(vmin) / 10, 1e-3);
      vmin = look.low ?? (look.log ? vmax / 4 : vmax - 2 * Math.max(Math.abs(vmax) / 10, 1e-3));
    }
    return [vmin, vmax];
  }

  // The common scale of arrays for a look { log, low, high }; null takes an end from the values.
  function choose(arrays, look, percent) {
    const all = merged(arrays);
    const [lo, hi] = range(all, look.log, look.high ?? Infinity);
    const [vmin, vmax] = ends(lo, hi, look);
    const line = look.log ? Math.log10 : (value) => value;
    const [bottom, height] = [line(vmin), line(vmax) - line(vmin)];
    const cut = [Math.max(lo, vmin), Math.min(hi, vmax)];
    const spans = arrays.map((values) => range(summary(values), look.log).map((end) => clamp(end, ...cut)));
    const count = arrays.length > 1 ? rules.sharedLevels : rules.levels;
    const fixed = rules.fixedLevels && rules.fixedLevels.filter((level) => !look.log || level > 0);
    return {
      log: look.log,
      percent,
      vmin,
      vmax,
      full: range(all, look.log),
      levels: fixed ?? sharedLevels(spans, count, look.log),
      key: [look.log, vmin, vmax].join(),
      // Infinities are drawn at the ends, and on a log scale a zero at the smallest positive value.
      unit: (value) => clamp((line(clamp(value, lo, hi)) - bottom) / height, 0, 1),
      value: (unit) => (look.log ? 10 ** (bottom + unit * height) : bottom + unit * height),
      ticks: (n) => roundLevels(vmin - Math.abs(vmin) * 1e-12, vmax + Math.abs(vmax) * 1e-12, n, look.log),
    };
  }

  function powers(text) {
    const [factor, exponent] = text.split("e");
    const raised = [...String(Number(exponent))].map((c) => SUPERSCRIPTS[c] ?? "⁻").join("");
    return (Number(factor) === 1 ? "" : `${Number(factor)}×`) + `10${raised}`;
  }

  // A number as a label: plain digits if they are few, else a power of ten.
  function write(value, percent = false) {
    const size = Math.abs(value);
    const text = value !== 0 && !(size >= 1e-3 && size < 99999.5) ? powers(value.toExponential(2)) : null;
    return (text ?? `${Number(value.toPrecision(percent ? 4 : 5))}${percent ? "%" : ""}`).replace("-", "−");
  }

  // A value in the readout, with six digits.
  function digits(value, percent = false) {
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    const size = Math.abs(value);
    const text = value !== 0 && !(size >= 1e-4 && size < 1e7) ? powers(value.toExponential(5)) : null;
    return `${text ?? Number(value.toPrecision(6))}${percent ? " %" : ""}`.replace("-", "−");
  }

  return { choose, canLog, prefersLog, roundLevels, sharedLevels, write, digits, clamp };
})();
