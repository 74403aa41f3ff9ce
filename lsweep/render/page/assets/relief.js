// A grid of heights as triangles for WebGL, and its intersection with a ray.
const relief = (() => {
  const FACETS = 180; // approximate number of facets along a side, to which the cells of a coarse grid are subdivided
  const FLOATS = 7; // floats per vertex: position (3), normal (3), openness of its surroundings (1)
  const { HEIGHT } = camera;

  // Convert a coordinate on an axis to one in the box.
  const boxed = (axis, at) => (at - axis[0]) / (axis[axis.length - 1] - axis[0]) - 0.5;
  const unboxed = (axis, at) => axis[0] + (at + 0.5) * (axis[axis.length - 1] - axis[0]);

  // Every stride-th point of a sweep, as coordinates in the box and heights in [0, 1].
  function grid(sweep, units, stride) {
    const at = sweep.axes.map((axis) => axis.at.filter((_, k) => k % stride === 0));
    const [x, y] = at.map((kept, k) => kept.map((value) => boxed(sweep.axes[k].at, value)));
    const heights = new Float64Array(x.length * y.length);
    for (let j = 0; j < y.length; j++) {
      for (let i = 0; i < x.length; i++) heights[j * x.length + i] = units[j * stride * sweep.nx + i * stride];
    }
    return { at, x, y, nx: x.length, ny: y.length, heights };
  }

  // Normals at the points: the sum over the complete cells around each.
  function normals({ x, y, nx, ny, heights }) {
    const sums = new Float64Array(3 * nx * ny);
    for (let j = 0; j + 1 < ny; j++) {
      for (let i = 0; i + 1 < nx; i++) {
        const corners = [j * nx + i, j * nx + i + 1, (j + 1) * nx + i + 1, (j + 1) * nx + i];
        const [a, b, c, d] = corners.map((k) => heights[k] * HEIGHT);
        if (Number.isNaN(a + b + c + d)) continue;
        const [dx, dy] = [x[i + 1] - x[i], y[j + 1] - y[j]];
        // The cross product of the cell's diagonals.
        const [nu, nv, nw] = [dy * (a + d - b - c), dx * (a + b - c - d), 2 * dx * dy];
        for (const k of corners) {
          sums[3 * k] += nu;
          sums[3 * k + 1] += nv;
          sums[3 * k + 2] += nw;
        }
      }
    }
    return sums; // the shader normalises them after interpolation
  }

  // Height of a point above its blurred surroundings (box blur): hollows are darker than exposed points.
  function openness({ nx, ny, heights }) {
    const reach = Math.max(1, Math.round(Math.max(nx, ny) * 0.035));
    const blurred = blur(blur(heights, nx, ny, reach, 1, nx), ny, nx, reach, nx, 1);
    return heights.map((height, k) => Math.max(0.45, Math.min(1.12, 1 + 2.2 * (height - blurred[k]) * HEIGHT)));
  }

  // Means over a window along lines of `count` values, `step` apart; NaN values are skipped.
  function blur(values, count, lines, reach, step, apart) {
    const found = new Float64Array(values.length);
    for (let line = 0; line < lines; line++) {
      for (let n = 0; n < count; n++) {
        let [sum, weight] = [0, 0];
        for (let m = Math.max(0, n - reach); m <= Math.min(count - 1, n + reach); m++) {
          const value = values[line * apart + m * step];
          if (!Number.isNaN(value)) [sum, weight] = [sum + value, weight + 1];
        }
        found[line * apart + n * step] = sum / weight;
      }
    }
    return found;
  }

  // Subdivide each cell into `parts`; the shape of the surface does not change.
  function refined(axis, parts) {
    const fine = [];
    for (let k = 0; k + 1 < axis.length; k++) {
      for (let part = 0; part < parts; part++) fine.push([k, part / parts]);
    }
    return [...fine, [axis.length - 2, 1]];
  }

  // The mesh of every cell that has all its corners, { vertices, indices }, of at most `facets` along a side.
  function mesh(sweep, units, facets) {
    const coarser = Math.max(1, Math.ceil(Math.max(sweep.nx, sweep.ny) / sweep.stride / facets));
    const shape = grid(sweep, units, sweep.stride * coarser);
    const { x, y, nx, ny, heights } = shape;
    if (nx < 2 || ny < 2) return { vertices: new Float32Array(0), indices: new Uint32Array(0) };
    const parts = Math.max(1, Math.floor(Math.min(FACETS, facets) / Math.max(nx, ny)));
    const [columns, rows] = [refined(x, parts), refined(y, parts)];
    const [normal, open] = [normals(shape), openness(shape)];
    const vertices = new Float32Array(FLOATS * columns.length * rows.length);
    const parted = [0, 1, 2].map((k) => normal.filter((_, n) => n % 3 === k));
    let at = 0;
    for (const [j, fy] of rows) {
      for (const [i, fx] of columns) {
        const mix = (values) => data.bilinear(values, nx, i, fx, j, fy);
        vertices[at] = x[i] + fx * (x[i + 1] - x[i]);
        vertices[at + 1] = y[j] + fy * (y[j + 1] - y[j]);
        vertices[at + 2] = mix(heights);
        for (let k = 0; k < 3; k++) vertices[at + 3 + k] = mix(parted[k]);
        vertices[at + 6] = mix(open);
        at += FLOATS;
      }
    }
    return { vertices, indices: triangles(shape, parts, columns.length) };
  }

  function triangles({ nx, ny, heights }, parts, width) {
    const found = [];
    for (let j = 0; j + 1 < ny; j++) {
      for (let i = 0; i + 1 < nx; i++) {
        const k = j * nx + i;
        if (Number.isNaN(heights[k] + heights[k + 1] + heights[k + nx] + heights[k + nx + 1])) continue;
        for (let v = j * parts; v < (j + 1) * parts; v++) {
          for (let u = i * parts; u < (i + 1) * parts; u++) {
            const a = v * width + u;
            found.push(a, a + 1, a + width + 1, a, a + width + 1, a + width);
          }
        }
      }
    }
    return new Uint32Array(found);
  }

  // The height of the surface above a place in the box; NaN outside and over holes.
  function height({ x, y, nx, ny, heights }, u, v) {
    if (nx < 2 || ny < 2 || !(u >= x[0] && u <= x[nx - 1] && v >= y[0] && v <= y[ny - 1])) return NaN;
    const [[i, fx], [j, fy]] = [data.locate(x, u), data.locate(y, v)];
    return (data.bilinear(heights, nx, i, fx, j, fy) - 0.5) * HEIGHT;
  }

  // The interval of a ray inside the box around the surface.
  function crossed({ origin, direction }) {
    let [from, to] = [0, Infinity];
    [0.5, 0.5, HEIGHT / 2 + 1e-6].forEach((half, k) => {
      const ends = [(-half - origin[k]) / direction[k], (half - origin[k]) / direction[k]];
      [from, to] = [Math.max(from, Math.min(...ends)), Math.min(to, Math.max(...ends))];
    });
    return [from, to];
  }

  // The first point of the surface on a ray, [x, y, z, distance], or null.
  function hit(shape, ray) {
    const [from, to] = crossed(ray);
    if (!(from < to)) return null;
    const point = (t) => ray.origin.map((value, k) => value + t * ray.direction[k]);
    const above = (t) => {
      const [u, v, w] = point(t);
      return w - height(shape, u, v);
    };
    const steps = 3 * (shape.nx + shape.ny);
    let before = above(from);
    for (let n = 1; n <= steps; n++) {
      let t = from + ((to - from) * n) / steps;
      const now = above(t);
      if (before * now <= 0) {
        let start = t - (to - from) / steps;
        for (let halves = 0; halves < 24; halves++) {
          const middle = (start + t) / 2;
          if (above(middle) * before > 0) start = middle;
          else t = middle;
        }
        return [...point(t), t];
      }
      before = now;
    }
    return null;
  }

  return { FLOATS, boxed, unboxed, grid, mesh, height, hit };
})();
