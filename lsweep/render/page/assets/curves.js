// A line through weight space: the quantity in every split on the left axis and, for a loss, the accuracy on the right.
const curves = (() => {
  const ROOM = { left: 62, right: 16, top: 26, bottom: 42 };
  const DASHES = [[], [6, 4], [1.5, 3], [7, 3, 1.5, 3]]; // one per split
  const NARROW = 480; // pixels; on a narrower canvas, the legend has a row for each axis
  const ROW = 17;
  const FEW = 61; // up to this many points, each has a dot

  const head = (key) => key.split("_")[0];

  // The quantities on the left and on the right axis when one is chosen.
  function families(sweep, quantity) {
    const named = (name) => data.quantities.filter(({ key }) => head(key) === name && sweep.values.has(key));
    const split = ["loss", "accuracy"].includes(head(quantity.key));
    const left = split ? named(head(quantity.key)) : data.quantities.filter(({ key }) => key === quantity.key);
    const right = head(quantity.key) === "loss" ? named("accuracy") : [];
    return { left: left.filter(({ key }) => sweep.values.has(key)), right };
  }

  function frame(w, h, sweep, twin) {
    const at = sweep.axes[0].at;
    const [lo, hi] = at.length > 1 ? [at[0], at[at.length - 1]] : [at[0] - 1, at[0] + 1];
    const wide = Math.max(10, w - ROOM.left - (twin ? ROOM.left - 8 : ROOM.right));
    const top = w < NARROW ? ROOM.top + ROW : ROOM.top;
    const high = Math.max(10, h - top - ROOM.bottom);
    return {
      x: ROOM.left, y: top, w: wide, h: high, limits: [lo, hi],
      across: (value) => ROOM.left + ((value - lo) / (hi - lo)) * wide,
      place: (px) => lo + ((px - ROOM.left) / wide) * (hi - lo),
      up: (unit) => top + high * (0.96 - 0.92 * unit), // with a small margin above and below
    };
  }

  function curve(ctx, area, sweep, units, ink, dash) {
    const at = sweep.axes[0].at;
    ctx.save();
    ctx.setLineDash(dash);
    ctx.lineJoin = "round";
    ctx.beginPath();
    [ctx.strokeStyle, ctx.lineWidth] = [ink, 1.8];
    let drawing = false;
    units.forEach((unit, k) => {
      if (Number.isNaN(unit)) return void (drawing = false);
      if (drawing) ctx.lineTo(area.across(at[k]), area.up(unit));
      else ctx.moveTo(area.across(at[k]), area.up(unit));
      drawing = true;
    });
    ctx.stroke();
    ctx.restore();
    // A point between two gaps has no line but only a dot.
    const gaps = units.some(Number.isNaN);
    units.forEach((unit, k) => {
      if (Number.isNaN(unit) || (at.length > FEW && !gaps)) return;
      ctx.beginPath();
      ctx.arc(area.across(at[k]), area.up(unit), 2.2, 0, 2 * Math.PI);
      ctx.fillStyle = sweep.status[k] === 3 ? pen.colour("card") : ink;
      ctx.fill();
      [ctx.strokeStyle, ctx.lineWidth] = [ink, 1];
      ctx.stroke();
    });
  }

  function axes(ctx, area, sweep, chosen, names, inks, right) {
    for (const value of chosen.ticks(7)) {
      const y = area.up(chosen.unit(value));
      pen.line(ctx, [[area.x, y], [area.x + area.w, y]], pen.colour("grid"));
      pen.text(ctx, scale.write(value), area.x - 8, y, { align: "right" });
    }
    for (const value of pen.ticks(...area.limits, Math.max(3, Math.min(8, area.w / 70)))) {
      const x = area.across(value);
      pen.line(ctx, [[x, area.y], [x, area.y + area.h]], pen.colour("grid"));
      pen.text(ctx, scale.write(value), x, area.y + area.h + 13);
    }
    pen.line(ctx, [[area.x, area.y], [area.x, area.y + area.h], [area.x + area.w, area.y + area.h]], pen.colour("muted"));
    const [{ letter, meaning }] = sweep.axes;
    pen.text(ctx, `${letter}  (${meaning})`, area.x + area.w / 2, area.y + area.h + 32, { size: 12.5, ink: pen.colour("ink") });
    pen.text(ctx, names[0], area.x - 52, area.y + area.h / 2, { size: 12.5, ink: inks[0], angle: -Math.PI / 2 });
    if (!right) return;
    for (const value of right.ticks(6)) {
      pen.text(ctx, scale.write(value), area.x + area.w + 8, area.up(right.unit(value)), { align: "left" });
    }
    pen.text(ctx, names[1], area.x + area.w + 44, area.y + area.h / 2, { size: 12.5, ink: inks[1], angle: Math.PI / 2 });
  }

  // The legend of the lines, above the axes.
  function legend(ctx, x, y, entries) {
    for (const { name, ink, dash } of entries) {
      ctx.save();
      ctx.setLineDash(dash);
      pen.line(ctx, [[x, y], [x + 24, y]], ink, 1.8);
      ctx.restore();
      pen.text(ctx, name, x + 30, y, { align: "left", ink: pen.colour("ink"), size: 12 });
      x += 48 + pen.width(ctx, name, 12);
    }
  }

  // Draw a sweep; returns the frame, which maps the pointer to a coordinate.
  function draw(canvas, sweep, scene, chosen) {
    const { ctx, w, h } = pen.fit(canvas);
    const { left, right } = families(sweep, scene.quantity);
    const area = frame(w, h, sweep, right.length > 0);
    const twin = right.length ? scale.choose([Float64Array.of(0, 100)], { log: false, low: 0, high: 100 }, true) : null;
    const inks = [pen.colour(scene.quantity.percent ? "accuracy" : "loss"), pen.colour("accuracy")];
    const shown = [
      ...left.map((quantity, k) => ({ quantity, on: chosen, ink: inks[0], dash: DASHES[k % 4] })),
      ...right.map((quantity, k) => ({ quantity, on: twin, ink: inks[1], dash: DASHES[k % 4] })),
    ].map((entry) => ({ ...entry, name: entry.quantity.name, units: sweep.values.get(entry.quantity.key).map(entry.on.unit) }));
    const unit = (quantity) => (quantity.percent ? " (%)" : "");
    const title = (list) => (list.length ? head(list[0].key) === list[0].key ? list[0].name : scene.quantity.name : "");
    axes(ctx, area, sweep, chosen, [title(left) + unit(scene.quantity), "accuracy (%)"], inks, twin);
    for (const { units, ink, dash } of shown) curve(ctx, area, sweep, units, ink, dash);
    if (w < NARROW) [chosen, twin].forEach((on, k) => legend(ctx, 6, 11 + ROW * k, shown.filter((one) => one.on === on)));
    else legend(ctx, area.x, 11, shown);
    if (scene.cursor) marker(ctx, area, sweep, scene.cursor[0], shown);
    return area;
  }

  function marker(ctx, area, sweep, at, shown) {
    const axis = sweep.axes[0].at;
    const k = data.nearest(axis, at);
    const x = area.across(axis[k]);
    pen.line(ctx, [[x, area.y], [x, area.y + area.h]], pen.colour("muted"));
    for (const { units, ink } of shown) {
      if (!Number.isNaN(units[k])) pen.ring(ctx, x, area.up(units[k]), 5, ink, pen.colour("card"));
    }
  }

  return { families, draw };
})();
