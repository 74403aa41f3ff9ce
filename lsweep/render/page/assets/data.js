// The payload as arrays. Grids are stored row by row: column i of row j is at [j * nx + i], so y is the slow axis.
const data = (() => {
  const raw = JSON.parse(document.getElementById("data").textContent);
  const STATUS = ["pending", "evaluated", "failed", "interpolated"];

  function bytes(text) {
    const letters = atob(text);
    const found = new Uint8Array(letters.length);
    for (let k = 0; k < letters.length; k++) found[k] = letters.charCodeAt(k);
    return found;
  }

  // The data are little-endian, like every machine that runs a browser.
  const doubles = (text) => new Float64Array(bytes(text).buffer);
  const unpack = (packed) => new Map(Object.entries(packed).map(([key, text]) => [key, doubles(text)]));

  function sweep(stored) {
    const axes = stored.axes.map((axis) => ({ ...axis, at: doubles(axis.at) }));
    const nx = axes[0].at.length;
    return {
      ...stored,
      axes,
      nx,
      ny: axes.length > 1 ? axes[1].at.length : 1,
      status: bytes(stored.status),
      values: unpack(stored.values),
      errors: unpack(stored.errors),
      paths: stored.paths.map((trail) => ({ ...trail, x: doubles(trail.x), y: doubles(trail.y) })),
    };
  }

  // Whether another payload is a later state of the same sweeps.
  function fits(fresh) {
    const form = ({ kind, sweeps }) =>
      JSON.stringify([kind, sweeps.map(({ title, file, axes, paths }) => [title, file, axes, paths])]);
    return form(fresh) === form(raw);
  }

  // Replace the data by a payload that fits.
  function take({ quantities, sweeps }) {
    Object.assign(known, { quantities, sweeps: sweeps.map(sweep) });
  }

  // The index of the point nearest to a coordinate on an increasing axis.
  function nearest(axis, at) {
    let low = 0;
    let high = axis.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (axis[middle] <= at) low = middle;
      else high = middle;
    }
    return at - axis[low] <= axis[high] - at ? low : high;
  }

  // The index of the cell of an increasing axis that contains a coordinate, and the position in it, in [0, 1].
  function locate(axis, at) {
    const last = axis.length - 2;
    let cell = Math.floor(((at - axis[0]) / (axis[last + 1] - axis[0])) * (last + 1)); // exact for equal steps
    cell = Math.max(0, Math.min(last, cell));
    while (cell > 0 && at < axis[cell]) cell--;
    while (cell < last && at > axis[cell + 1]) cell++;
    return [cell, (at - axis[cell]) / (axis[cell + 1] - axis[cell])];
  }

  // Bilinear interpolation between the corners of a cell; NaN if a corner with non-zero weight is missing.
  function bilinear(values, nx, i, fx, j, fy) {
    const mix = (a, b, part) => (part === 0 ? a : part === 1 ? b : a + part * (b - a));
    const k = j * nx + i;
    return mix(mix(values[k], values[k + 1], fx), mix(values[k + nx], values[k + nx + 1], fx), fy);
  }

  const known = {
    STATUS,
    kind: raw.kind,
    rules: raw.rules,
    start: raw.start,
    live: raw.live ?? null, // only in a page that follows a running sweep, see follow.js
    quantities: raw.quantities,
    maps: new Map(Object.entries(raw.maps).map(([name, text]) => [name, bytes(text)])),
    sweeps: raw.sweeps.map(sweep),
    fits,
    take,
    nearest,
    locate,
    bilinear,
  };
  return known;
})();
