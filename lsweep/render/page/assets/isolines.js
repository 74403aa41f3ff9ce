// Contour lines of a grid by marching squares, as polylines of fractional [column, row], and positions for labels.
const isolines = (() => {
  // The two edges that a line crosses, indexed by the corners above the level (bits: 1 lower left, 2 lower right,
  // 4 upper right, 8 upper left). Edges: 0 bottom, 1 right, 2 top, 3 left.
  const CROSSED = [
    [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], null, [[0, 2]], [[3, 2]],
    [[2, 3]], [[2, 0]], null, [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
  ];
  const SADDLE = { 5: [[[3, 0], [1, 2]], [[3, 2], [1, 0]]], 10: [[[0, 1], [2, 3]], [[0, 3], [2, 1]]] };

  // Number of an edge in the whole grid, the same from both cells: even for edges along x, odd for edges along y.
  function edge(nx, i, j, side) {
    if (side === 0) return 2 * (j * nx + i);
    if (side === 2) return 2 * ((j + 1) * nx + i);
    return 2 * (j * nx + i + (side === 1 ? 1 : 0)) + 1;
  }

  function segments(values, nx, ny, level) {
    const found = [];
    for (let j = 0; j + 1 < ny; j++) {
      for (let i = 0; i + 1 < nx; i++) {
        const k = j * nx + i;
        const [a, b, c, d] = [values[k], values[k + 1], values[k + nx + 1], values[k + nx]];
        if (Number.isNaN(a + b + c + d)) continue;
        const above = (a > level) + 2 * (b > level) + 4 * (c > level) + 8 * (d > level);
        const pairs = CROSSED[above] ?? SADDLE[above][(a + b + c + d) / 4 > level ? 1 : 0];
        for (const [from, to] of pairs) found.push([edge(nx, i, j, from), edge(nx, i, j, to)]);
      }
    }
    return found;
  }

  function crossing(values, nx, level, number) {
    const k = number >> 1;
    const [i, j] = [k % nx, Math.floor(k / nx)];
    const next = values[number & 1 ? k + nx : k + 1];
    const part = (level - values[k]) / (next - values[k]);
    return number & 1 ? [i, j + part] : [i + part, j];
  }

  // Join segments to chains from edge to edge, in both directions.
  function chains(pairs) {
    const at = new Map();
    pairs.forEach(([from, to], k) => {
      for (const end of [from, to]) at.set(end, [...(at.get(end) ?? []), k]);
    });
    const used = new Uint8Array(pairs.length);
    const follow = (end) => {
      const passed = [];
      for (;;) {
        const k = at.get(end).find((segment) => !used[segment]);
        if (k === undefined) return passed;
        used[k] = 1;
        end = pairs[k][0] === end ? pairs[k][1] : pairs[k][0];
        passed.push(end);
      }
    };
    const found = [];
    for (let k = 0; k < pairs.length; k++) {
      if (used[k]) continue;
      used[k] = 1;
      const [from, to] = pairs[k];
      found.push([...follow(from).reverse(), from, to, ...follow(to)]);
    }
    return found;
  }

  // The lines of a level in a grid of nx × ny values; NaN corners leave gaps.
  function lines(values, nx, ny, level) {
    return chains(segments(values, nx, ny, level)).map((chain) =>
      chain.map((number) => crossing(values, nx, level, number)),
    );
  }

  function measured(points) {
    let length = 0;
    return points.map((point, k) => {
      if (k) length += Math.hypot(point[0] - points[k - 1][0], point[1] - points[k - 1][1]);
      return length;
    });
  }

  // The position on a line (in pixels) where a label of this width is farthest from existing labels, or null.
  function spot(points, taken, width, bounds) {
    const along = measured(points);
    const total = along[along.length - 1];
    if (total < 6 * width) return null; // on a smaller ring the label would cover its neighbours
    let best = null;
    for (let n = 1; n < 24; n++) {
      const [from, to] = [-0.5, 0.5].map((side) => (total * n) / 24 + side * width);
      const [a, b] = [from, to].map((at) => points[along.findIndex((done) => done >= Math.min(at, total - 1e-9))]);
      const chord = Math.hypot(b[0] - a[0], b[1] - a[1]);
      const [x, y] = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
      const edge = Math.min(x - bounds.x, bounds.x + bounds.w - x, y - bounds.y, bounds.y + bounds.h - y);
      const room = Math.min(200, ...taken.map((t) => Math.hypot(t.x - x, t.y - y)));
      if (edge < 0.7 * width || room < 1.5 * width || chord < 0.9 * width) continue;
      // Otherwise all labels of nested rings would be where the lines happen to begin.
      const score = room + 0.12 * (x - y);
      if (!best || score > best.score) best = { x, y, angle: Math.atan((b[1] - a[1]) / (b[0] - a[0] || 1e-9)), score };
    }
    return best;
  }

  return { lines, spot };
})();
