// A sweep that is being filled in, for the eye: where a point is still pending, the mean of its neighbours on the
// lattice before. Points are evaluated coarse to fine, every second one of the next lattice (lsweep/grid.py).
const filling = (() => {
  // { sweep, units } on all points, for drawing alone; the readout keeps to what is known.
  function of(sweep, units) {
    if (!data.live || sweep.stride === 1 || sweep.ny === 1) return { sweep, units };
    const filled = units.slice();
    let stride = 1;
    while (stride < Math.max(sweep.nx, sweep.ny)) stride *= 2;
    for (; stride >= 1; stride /= 2) refine(sweep, filled, stride);
    return { sweep: { ...sweep, stride: 1 }, units: filled };
  }

  function refine({ nx, ny, status }, filled, stride) {
    for (let j = 0; j < ny; j += stride) {
      for (let i = 0; i < nx; i += stride) {
        const k = j * nx + i;
        if (status[k] === 0) filled[k] = mean(filled, nx, parents(i, stride, nx), parents(j, stride, ny));
      }
    }
  }

  // The indices around one, or itself, on the lattice twice as coarse; none where that ends before.
  function parents(at, stride, count) {
    const beside = at % (2 * stride);
    if (!beside) return [at];
    return at + beside < count ? [at - beside, at + beside] : [];
  }

  function mean(filled, nx, columns, rows) {
    let sum = 0;
    for (const j of rows) for (const i of columns) sum += filled[j * nx + i];
    return sum / (rows.length * columns.length); // NaN where one is missing
  }

  return { of };
})();
