// The box around a surface: walls with grid lines behind it, numbers and labels outside.
const box = (() => {
  const TOP = camera.HEIGHT / 2;
  const HALF = [0.5, 0.5, TOP];

  function signs(eye) {
    const back = [eye[0] > 0 ? -1 : 1, eye[1] > 0 ? -1 : 1, -1]; // sides facing away; always the floor
    return { back, front: [-back[0], -back[1], -1] };
  }

  // The ticks of the three axes, each { at (in the box), text }.
  function marks(sweep, chosen) {
    const plane = sweep.axes.map(({ at }) => {
      const [lo, hi] = [at[0], at[at.length - 1]];
      return pen.ticks(lo, hi, 5).map((value) => ({ at: relief.boxed(at, value), text: scale.write(value) }));
    });
    const upright = chosen.ticks(6).map((value) => ({
      at: (chosen.unit(value) - 0.5) * camera.HEIGHT,
      text: scale.write(value),
    }));
    return [...plane, upright];
  }

  // Drawn before the surface: the floor and the two walls behind it.
  function behind(ctx, view, ticks) {
    const { back } = signs(view.eye);
    for (let normal = 0; normal < 3; normal++) {
      const [u, v] = [0, 1, 2].filter((axis) => axis !== normal);
      const point = (at, bt) => {
        const found = [0, 0, 0];
        [found[normal], found[u], found[v]] = [back[normal] * HALF[normal], at, bt];
        return view.project(found);
      };
      const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([a, b]) => point(a * HALF[u], b * HALF[v]));
      ctx.beginPath();
      corners.forEach(([x, y], k) => (k ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
      ctx.closePath();
      ctx.fillStyle = pen.colour("pane");
      ctx.fill();
      for (const { at } of ticks[u]) pen.line(ctx, [point(at, -HALF[v]), point(at, HALF[v])], pen.colour("grid"));
      for (const { at } of ticks[v]) pen.line(ctx, [point(-HALF[u], at), point(HALF[u], at)], pen.colour("grid"));
      pen.line(ctx, [...corners, corners[0]], pen.colour("rule"));
    }
  }

  // `point` on an edge, moved outwards (away from `inner`) by a number of pixels.
  function outside(view, point, inner, pixels) {
    const [[x, y], [ix, iy]] = [view.project(point), view.project(inner)];
    const far = Math.hypot(x - ix, y - iy) || 1;
    return [x + ((x - ix) / far) * pixels, y + ((y - iy) / far) * pixels];
  }

  // Drawn after the surface: numbers and labels along the edges in front.
  function around(ctx, view, ticks, names) {
    const { front } = signs(view.eye);
    const standing = leftmost(view);
    [0, 1].forEach((axis) => {
      const other = 1 - axis;
      const edge = (at, depth) => {
        const found = [0, 0, -TOP];
        [found[axis], found[other]] = [at, front[other] * depth];
        return found;
      };
      for (const { at, text } of ticks[axis]) {
        // Where two axes meet, their numbers would overlap.
        if (Math.abs(at - front[axis] * 0.5) < 0.04) continue;
        if (standing[other] === front[other] * 0.5 && Math.abs(at - standing[axis]) < 0.04) continue;
        const [x, y] = outside(view, edge(at, 0.5), edge(at, 0.4), 18);
        pen.line(ctx, [view.project(edge(at, 0.5)), outside(view, edge(at, 0.5), edge(at, 0.4), 5)], pen.colour("muted"));
        pen.text(ctx, text, x, y);
      }
      const [x, y] = outside(view, edge(0, 0.5), edge(0, 0.4), 40);
      pen.text(ctx, names[axis], x, y, { size: 13, ink: pen.colour("ink") });
    });
    upright(ctx, view, ticks[2], names[2], standing);
  }

  // The left one of the two outer edges, which has the vertical axis.
  function leftmost(view) {
    const { back, front } = signs(view.eye);
    const edges = [[front[0], back[1]], [back[0], front[1]]].map(([x, y]) => [0.5 * x, 0.5 * y]);
    const [a, b] = edges.map(([x, y]) => view.project([x, y, 0])[0]);
    return edges[a < b ? 0 : 1];
  }

  function upright(ctx, view, ticks, name, [x, y]) {
    for (const { at, text } of ticks) {
      const [px, py] = view.project([x, y, at]);
      pen.line(ctx, [[px, py], [px - 5, py]], pen.colour("muted"));
      pen.text(ctx, text, px - 9, py, { align: "right" });
    }
    const [px, py] = view.project([x, y, TOP]);
    pen.text(ctx, name, Math.max(6, px - 40), py - 16, { align: "left", size: 13, ink: pen.colour("ink") });
  }

  // The pointer's position on a surface: a vertical line to the floor, and a ring, faint if the surface hides it.
  function marker(ctx, view, shape, [u, v, unit]) {
    const top = [u, v, (unit - 0.5) * camera.HEIGHT];
    const [x, y] = view.project(top);
    const hidden = isHidden(view, shape, top);
    ctx.save();
    ctx.globalAlpha = hidden ? 0.55 : 1;
    ctx.setLineDash([3, 3]);
    pen.line(ctx, [view.project([u, v, -TOP]), [x, y]], pen.colour("ink"));
    ctx.setLineDash(hidden ? [2, 3] : []);
    pen.ring(ctx, x, y, 6);
    ctx.restore();
  }

  // Whether the surface hides one of its own points.
  function isHidden(view, shape, point) {
    const [x, y, depth] = view.project(point);
    const hit = relief.hit(shape, view.ray(x, y));
    return hit !== null && hit[3] < depth - 0.02;
  }

  return { marks, behind, around, marker, isHidden };
})();
