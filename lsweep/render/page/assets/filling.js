// Preview of a running sweep: a pending point shows the mean of its neighbours on the coarser lattice.
// Points are evaluated from coarse to fine; each lattice halves the spacing of the one before (lsweep/grid.py).
const filling = (() => {
  // { sweep, units } on all points, only for drawing; the readout shows only known values.
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

  // The neighbours of an index on the lattice twice as coarse, or the index itself; none beyond the end of the lattice.
  function parents(at, stride, count) {
    const beside = at % (2 * stride);
    if (!beside) return [at];
    return at + beside < count ? [at - beside, at + beside] : [];
  }

  function mean(filled, nx, columns, rows) {
    let sum = 0;
    for (const j of rows) for (const i of columns) sum += filled[j * nx + i];
    return sum / (rows.length * columns.length); // NaN if a neighbour is missing
  }

  return { of };
})();
