// The training path on a plane: a square at the start, a star at the end, rings at learning-rate drops.
// On a surface the path follows the surface, and is faint where the surface hides it.
const path = (() => {
  const COLOURS = ["#d55e00", "#cc79a7", "#ffffff", "#56b4e9"]; // in contrast to viridis, as in the figures
  const SAMPLES = 240; // approximate number of surface points evaluated per frame

  function sign(ctx, x, y, points, inner, ink) {
    ctx.beginPath();
    for (let k = 0; k < points; k++) {
      const angle = ((k + (points === 4 ? 0.5 : 0)) * 2 * Math.PI) / points - Math.PI / 2;
      const far = k % 2 && inner ? inner : 6;
      ctx.lineTo(x + far * Math.cos(angle), y + far * Math.sin(angle));
    }
    ctx.closePath();
    [ctx.fillStyle, ctx.strokeStyle, ctx.lineWidth] = [ink, "rgb(0 0 0 / 70%)", 1.2];
    ctx.fill();
    ctx.stroke();
  }

  // Draw the checkpoints. `at` returns the pixel of a checkpoint, or null if it is not visible.
  function checkpoints(ctx, trail, ink, at) {
    const last = trail.x.length - 1;
    for (let k = 0; k <= last; k++) {
      const place = at(k);
      if (!place) continue;
      const [x, y] = place;
      ctx.beginPath();
      ctx.arc(x, y, last > 60 ? 1.4 : 2.4, 0, 2 * Math.PI);
      ctx.fillStyle = ink;
      ctx.fill();
      if (trail.drops.includes(k)) pen.ring(ctx, x, y, 5, ink);
      if (k === 0) sign(ctx, x, y, 4, 0, ink);
      if (k === last) sign(ctx, x, y, 10, 2.7, ink);
    }
  }

  function onPlane(ctx, area, sweep) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(area.x, area.y, area.w, area.h);
    ctx.clip();
    ctx.lineJoin = "round";
    sweep.paths.forEach((trail, n) => {
      const ink = COLOURS[n % COLOURS.length];
      const pixels = [...trail.x].map((x, k) => area.pixel([x, trail.y[k]]));
      pen.line(ctx, pixels, "rgb(0 0 0 / 60%)", 3.4);
      pen.line(ctx, pixels, ink, 1.8);
      checkpoints(ctx, trail, ink, (k) => pixels[k]);
    });
    ctx.restore();
  }

  // Map a place of the plane to a point of the surface in the box, or null off the surface.
  function raised(grid, sweep, x, y) {
    const [u, v] = [x, y].map((value, axis) => relief.boxed(sweep.axes[axis].at, value));
    const w = relief.height(grid, u, v);
    return Number.isNaN(w) ? null : [u, v, w];
  }

  function onSurface(ctx, view, grid, sweep) {
    const steps = Math.max(1, Math.round(SAMPLES / sweep.paths.reduce((sum, { x }) => sum + x.length, 0)));
    sweep.paths.forEach((trail, n) => {
      const ink = COLOURS[n % COLOURS.length];
      for (let k = 0; k + 1 < trail.x.length; k++) segment(ctx, view, grid, sweep, trail, k, steps, ink);
      checkpoints(ctx, trail, ink, (k) => {
        const point = raised(grid, sweep, trail.x[k], trail.y[k]);
        return point && !box.isHidden(view, grid, point) ? view.project(point) : null;
      });
    });
  }

  function segment(ctx, view, grid, sweep, trail, k, steps, ink) {
    let before = null;
    for (let step = 0; step <= steps; step++) {
      const along = (at) => at[k] + (step / steps) * (at[k + 1] - at[k]);
      const point = raised(grid, sweep, along(trail.x), along(trail.y));
      if (before && point) {
        ctx.globalAlpha = box.isHidden(view, grid, point) ? 0.25 : 1;
        pen.line(ctx, [view.project(before), view.project(point)], ink, 2.2);
        ctx.globalAlpha = 1;
      }
      before = point;
    }
  }

  return { onPlane, onSurface };
})();
