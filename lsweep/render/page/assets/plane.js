// A map of a plane: smooth colours with labelled contour lines, or every point as a cell.
const plane = (() => {
  const ROOM = { left: 50, right: 12, top: 10, bottom: 40 };
  const FAILED = 3.2; // half the width of the cross on a failed point

  // The bounds of the cells around increasing coordinates.
  function edges(axis) {
    const n = axis.length;
    const middles = Array.from({ length: n - 1 }, (_, k) => (axis[k] + axis[k + 1]) / 2);
    return [2 * axis[0] - middles[0], ...middles, 2 * axis[n - 1] - middles[n - 2]];
  }

  // The area of the plane on a canvas, and the maps between coordinates and pixels. Units are equal unless the plane
  // would get too thin.
  function frame(w, h, sweep, cells) {
    const limits = sweep.axes.map(({ at }) => (cells ? edges(at) : at)).map((at) => [at[0], at[at.length - 1]]);
    const [[left, right], [bottom, top]] = limits;
    const ratio = (top - bottom) / (right - left);
    let [wide, high] = [w - ROOM.left - ROOM.right, h - ROOM.top - ROOM.bottom];
    if (ratio >= 1 / 3 && ratio <= 3) [wide, high] = [Math.min(wide, high / ratio), Math.min(high, wide * ratio)];
    [wide, high] = [Math.max(10, Math.floor(wide)), Math.max(10, Math.floor(high))];
    const x = Math.round(ROOM.left + (w - ROOM.left - ROOM.right - wide) / 2);
    const y = Math.round(ROOM.top + (h - ROOM.top - ROOM.bottom - high) / 2);
    return {
      x, y, w: wide, h: high, limits,
      pixel: ([a, b]) => [x + ((a - left) / (right - left)) * wide, y + ((top - b) / (top - bottom)) * high],
      place: (px, py) => [left + ((px - x) / wide) * (right - left), top - ((py - y) / high) * (top - bottom)],
    };
  }

  const packed = (css) => {
    const probe = document.createElement("canvas").getContext("2d");
    probe.fillStyle = css;
    probe.fillRect(0, 0, 1, 1);
    return new Uint32Array(probe.getImageData(0, 0, 1, 1).data.buffer)[0];
  };

  // For each pixel along an axis: [index of the nearest point, cell of the drawn grid, position in that cell].
  function samples(count, at, axis, kept) {
    return Array.from({ length: count }, (_, k) => {
      const value = at(k + 0.5);
      const cell = kept.length > 1 ? data.locate(kept, value) : [0, NaN];
      const within = value >= kept[0] && value <= kept[kept.length - 1];
      return [data.nearest(axis, value), cell[0], within ? cell[1] : NaN];
    });
  }

  // The colours as a separate picture in device pixels, which does not change when only the pointer moves.
  function raster(sweep, units, shape, area, { colours, cells }) {
    const picture = document.createElement("canvas");
    const [w, h] = [Math.round(area.w * pen.ratio()), Math.round(area.h * pen.ratio())];
    [picture.width, picture.height] = [w, h];
    const ctx = picture.getContext("2d");
    const image = ctx.createImageData(w, h);
    const pixels = new Uint32Array(image.data.buffer);
    const inks = new Uint32Array(256);
    for (let k = 0; k < 256; k++) {
      const [r, g, b] = colours.rgb.subarray(3 * k, 3 * k + 3);
      inks[k] = (255 << 24) | (b << 16) | (g << 8) | r;
    }
    const nan = packed(pen.colour("nan"));
    const columns = samples(w, (k) => area.place(area.x + (k * area.w) / w, 0)[0], sweep.axes[0].at, shape.at[0]);
    const rows = samples(h, (k) => area.place(0, area.y + (k * area.h) / h)[1], sweep.axes[1].at, shape.at[1]);
    for (let py = 0; py < h; py++) {
      const [row, j, fy] = rows[py];
      for (let px = 0; px < w; px++) {
        const [column, i, fx] = columns[px];
        const k = row * sweep.nx + column;
        const unit = cells ? units[k] : data.bilinear(shape.heights, shape.nx, i, fx, j, fy);
        if (!Number.isNaN(unit)) pixels[py * w + px] = inks[Math.round(255 * unit)];
        else if (Number.isNaN(units[k]) && sweep.status[k] === 1) pixels[py * w + px] = nan;
      }
    }
    ctx.putImageData(image, 0, 0);
    return picture;
  }

  // The contour lines in pixels and the labels on them.
  function contours(ctx, shape, area, chosen) {
    const taken = [];
    const found = [];
    const along = (axis, at) => {
      const k = Math.min(Math.floor(at), axis.length - 2);
      return axis[k] + (at - k) * (axis[k + 1] - axis[k]);
    };
    for (const level of chosen.levels) {
      const unit = chosen.unit(level);
      if (!(unit > 0 && unit < 1)) continue;
      const lines = isolines
        .lines(shape.heights, shape.nx, shape.ny, unit)
        .map((points) => points.map(([i, j]) => area.pixel([along(shape.at[0], i), along(shape.at[1], j)])));
      const words = scale.write(level, chosen.percent);
      const room = pen.width(ctx, words, 10.5) + 6;
      const longest = [...lines].sort((a, b) => b.length - a.length).slice(0, 2);
      const spots = longest.map((points) => isolines.spot(points, taken, room, area)).filter(Boolean).slice(0, 1);
      spots.forEach((spot) => taken.push(spot));
      found.push({ unit, lines, words, spots });
    }
    return found;
  }

  function drawContours(ctx, found, colours, area) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(area.x, area.y, area.w, area.h);
    ctx.clip();
    for (const { unit, lines } of found) {
      const ink = colours.dark(unit) ? "rgb(255 255 255 / 55%)" : "rgb(0 0 0 / 50%)";
      for (const points of lines) pen.line(ctx, points, ink, 0.9);
    }
    for (const { unit, words, spots } of found) {
      const ink = colours.dark(unit) ? "#ffffff" : "#000000";
      for (const { x, y, angle } of spots) pen.text(ctx, words, x, y, { angle, size: 10.5, ink, halo: colours.at(unit) });
    }
    ctx.restore();
  }

  function axes(ctx, area, sweep) {
    const [[left, right], [bottom, top]] = area.limits;
    const corners = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]].map(([u, v]) => [area.x + u * area.w, area.y + v * area.h]);
    pen.line(ctx, corners, pen.colour("rule"));
    for (const value of pen.ticks(left, right, Math.max(2, Math.min(6, area.w / 70)))) {
      const [x] = area.pixel([value, bottom]);
      pen.line(ctx, [[x, area.y + area.h], [x, area.y + area.h + 4]], pen.colour("muted"));
      pen.text(ctx, scale.write(value), x, area.y + area.h + 13);
    }
    for (const value of pen.ticks(bottom, top, Math.max(2, Math.min(6, area.h / 50)))) {
      const [, y] = area.pixel([left, value]);
      pen.line(ctx, [[area.x - 4, y], [area.x, y]], pen.colour("muted"));
      pen.text(ctx, scale.write(value), area.x - 8, y, { align: "right" });
    }
    const [alpha, beta] = sweep.axes.map(({ letter, meaning }) => `${letter}  (${meaning})`);
    pen.text(ctx, alpha, area.x + area.w / 2, area.y + area.h + 31, { size: 12.5, ink: pen.colour("ink") });
    pen.text(ctx, beta, area.x - 42, area.y + area.h / 2, { size: 12.5, ink: pen.colour("ink"), angle: -Math.PI / 2 });
  }

  // Marks of single points: crosses on failed ones, optional dots on evaluated ones, a plus at the trained network.
  function marks(ctx, area, sweep, evaluated) {
    const [xs, ys] = sweep.axes.map(({ at }) => at);
    for (let k = 0; k < sweep.status.length; k++) {
      const kind = sweep.status[k];
      if (kind !== 2 && !(evaluated && kind === 1)) continue;
      const [x, y] = area.pixel([xs[k % sweep.nx], ys[Math.floor(k / sweep.nx)]]);
      if (kind === 2) {
        pen.line(ctx, [[x - FAILED, y - FAILED], [x + FAILED, y + FAILED]], pen.colour("failed"), 1.5);
        pen.line(ctx, [[x - FAILED, y + FAILED], [x + FAILED, y - FAILED]], pen.colour("failed"), 1.5);
        continue;
      }
      ctx.fillStyle = "rgb(255 255 255 / 85%)";
      ctx.fillRect(x - 1.4, y - 1.4, 2.8, 2.8);
      ctx.fillStyle = "rgb(0 0 0 / 85%)";
      ctx.fillRect(x - 0.8, y - 0.8, 1.6, 1.6);
    }
    const [x, y] = area.pixel([0, 0]);
    if (x < area.x || x > area.x + area.w || y < area.y || y > area.y + area.h) return;
    for (const [ink, thick] of [["rgb(0 0 0 / 60%)", 3.4], ["#ffffff", 1.6]]) {
      pen.line(ctx, [[x - 5, y], [x + 5, y]], ink, thick);
      pen.line(ctx, [[x, y - 5], [x, y + 5]], ink, thick);
    }
  }

  function marker(ctx, area, at) {
    const [x, y] = area.pixel(at);
    ctx.save();
    ctx.globalAlpha = 0.55;
    pen.line(ctx, [[area.x, y], [area.x + area.w, y]], "#ffffff");
    pen.line(ctx, [[x, area.y], [x, area.y + area.h]], "#ffffff");
    ctx.restore();
    pen.ring(ctx, x, y, 6);
  }

  return { edges, frame, raster, contours, drawContours, axes, marks, marker };
})();
