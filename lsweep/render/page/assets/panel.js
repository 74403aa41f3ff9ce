// One sweep on the page: its name, its views, and the values under the pointer.
const panel = (() => {
  function element(tag, className, words) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (words !== undefined) made.textContent = words;
    return made;
  }

  function canvas(className, label) {
    const made = element("canvas", className);
    made.tabIndex = 0;
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", label);
    return made;
  }

  // Cache results by key: most redraws only move the camera or the pointer.
  function memory() {
    const kept = new Map();
    return (name, key, make) => {
      if (kept.get(name)?.key !== key) kept.set(name, { key, value: make() });
      return kept.get(name).value;
    };
  }

  function build(sweep, solid) {
    const root = element("section", "panel");
    const title = sweep.title || sweep.file;
    const heading = element("div", "heading");
    heading.append(element("h2", "", title), element("p", "notes"));
    root.append(heading);
    const views = element("div", "views");
    const made = { sweep, root, remember: memory(), notes: heading.lastChild };
    Object.assign(made, { ground: null, relief: null, plane: null, curves: null });
    if (data.kind === "line") {
      made.curves = canvas("curves", `Line plot of ${title}. Left and right arrow keys move from point to point.`);
      views.append(made.curves);
    } else {
      if (solid) {
        made.relief = canvas("relief", `Surface of ${title} in three dimensions. Arrow keys rotate it, plus and minus zoom.`);
        made.ground = element("canvas");
        made.ground.setAttribute("aria-hidden", "true");
        const stack = element("div", "stack");
        stack.append(made.ground, made.relief);
        views.append(stack);
      }
      made.plane = canvas("plane", `Map of ${title}. Arrow keys move from point to point.`);
      views.append(made.plane);
    }
    made.bar = element("canvas", "own-bar");
    made.bar.hidden = true;
    made.bar.setAttribute("aria-hidden", "true");
    made.readout = element("dl", "readout");
    root.append(views, made.bar, made.readout);
    return made;
  }

  // Give a panel new data of the same sweep.
  function renew(made, sweep) {
    Object.assign(made, { sweep, remember: memory() });
  }

  // The index of the point of this sweep nearest to a place, or −1 outside.
  function pointAt(sweep, place) {
    const found = sweep.axes.map(({ at }, k) => {
      const [first, last] = [at[0], at[at.length - 1]];
      const air = at.length > 1 ? (last - first) / (at.length - 1) / 2 : Infinity;
      return place[k] < first - air || place[k] > last + air ? -1 : data.nearest(at, place[k]);
    });
    if (found.includes(-1)) return -1;
    return found.length > 1 ? found[1] * sweep.nx + found[0] : found[0];
  }

  const placeOf = (sweep, k) =>
    sweep.axes.length > 1
      ? [sweep.axes[0].at[k % sweep.nx], sweep.axes[1].at[Math.floor(k / sweep.nx)]]
      : [sweep.axes[0].at[k]];

  // The data of a point as rows of { term, words, now, status }.
  function rows(sweep, k, quantity) {
    const found = placeOf(sweep, k).map((at, axis) => ({ term: sweep.axes[axis].letter, words: scale.digits(at) }));
    for (const { key, name, percent } of data.quantities) {
      const value = sweep.values.get(key)?.[k];
      if (value === undefined || (Number.isNaN(value) && sweep.status[k] !== 1)) continue;
      const error = sweep.errors.get(key)?.[k] ?? NaN;
      const words = scale.digits(value, percent) + (Number.isNaN(error) ? "" : ` ± ${Number(error.toPrecision(2))}`);
      found.push({ term: name, words, now: key === quantity.key });
    }
    const status = data.STATUS[sweep.status[k]] ?? "unknown";
    return [...found, { term: "", words: status, status }];
  }

  function readout(made, scene) {
    const k = scene.cursor ? pointAt(made.sweep, scene.cursor) : -1;
    const hint = scene.cursor ? "outside this sweep" : "Point at or tap a picture, or press Shift and an arrow key, to see values.";
    const shown = k < 0 ? [] : rows(made.sweep, k, scene.quantity);
    const lines = shown.map(({ term, words, now, status }) => {
      const line = element("div", now ? "now" : status ? "status" : "");
      const value = element("dd", "", words);
      if (status) value.dataset.status = status;
      line.append(element("dt", term ? "" : "hidden", term || "status"), value);
      return line;
    });
    made.readout.replaceChildren(...(lines.length ? lines : [element("div", "hint", hint)]));
    return shown.map(({ term, words }) => `${term} ${words}`.trim()).join(", ");
  }

  // The heights of a quantity in [0, 1], and the grid drawn from them.
  function heights(made, scene, chosen) {
    const { sweep, remember } = made;
    const key = `${scene.quantity.key} ${chosen.key}`;
    const units = remember("units", key, () => sweep.values.get(scene.quantity.key).map(chosen.unit));
    const filled = remember("filled", key, () => filling.of(sweep, units));
    const shape = remember("shape", key, () => relief.grid(filled.sweep, filled.units, filled.sweep.stride));
    return { key, units, filled, shape };
  }

  // The surface has a separate canvas below the elements that follow the pointer. `fineness`: see pace.js.
  function drawRelief(made, scene, chosen, fineness) {
    if (!made.relief || !made.sweep.values.has(scene.quantity.key)) return;
    const { key, units, filled, shape } = heights(made, scene, chosen);
    const ticks = made.remember("ticks", key, () => box.marks(made.sweep, chosen));
    const over = pen.fit(made.relief);
    const view = camera.view(over.w, over.h);
    const seen = [key, scene.colours.key, scene.dark, view.matrix, over.w, over.h, pen.ratio(), fineness.detail].join(" ");
    made.remember("ground", seen, () => drawGround(made, scene, chosen, { key, filled, view, ticks, fineness }));
    const unit = scene.quantity.percent ? " (%)" : chosen.log ? " (log)" : "";
    const names = [...made.sweep.axes.map(({ letter }) => letter), scene.quantity.name + unit];
    box.around(over.ctx, view, ticks, names);
    if (scene.path) path.onSurface(over.ctx, view, shape, made.sweep);
    const k = scene.cursor ? pointAt(made.sweep, scene.cursor) : -1;
    if (k >= 0 && !Number.isNaN(units[k])) box.marker(over.ctx, view, shape, inBox(made.sweep, k, units[k]));
    made.seen = { view, shape, units };
  }

  function drawGround(made, scene, chosen, { key, filled, view, ticks, fineness }) {
    const { ctx, w, h } = pen.fit(made.ground);
    const { detail, facets } = fineness;
    const mesh = made.remember(`mesh ${facets}`, key, () => relief.mesh(filled.sweep, filled.units, facets));
    box.behind(ctx, view, ticks);
    if (!mesh.indices.length) return;
    const levels = chosen.levels.map(chosen.unit).filter((level) => level > 0 && level < 1);
    const [wide, high] = [made.ground.width, made.ground.height].map((side) => Math.min(4096, Math.round(side * detail)));
    const look = { colours: scene.colours, levels, thick: 0.55 * pen.ratio() * detail };
    const drawn = shader.draw(made, mesh, view, wide, high, look);
    ctx.drawImage(drawn, 0, drawn.height - high, wide, high, 0, 0, w, h);
  }

  const inBox = (sweep, k, unit) => [...placeOf(sweep, k).map((at, axis) => relief.boxed(sweep.axes[axis].at, at)), unit];

  function drawPlane(made, scene, chosen) {
    const { ctx, w, h } = pen.fit(made.plane);
    const { key, units, shape } = heights(made, scene, chosen);
    const area = plane.frame(w, h, made.sweep, scene.cells);
    const size = [key, w, h, pen.ratio(), scene.cells, scene.dark, scene.colours.key].join(" ");
    const picture = made.remember("picture", size, () => plane.raster(made.sweep, units, shape, area, scene));
    ctx.drawImage(picture, area.x, area.y, area.w, area.h);
    if (!scene.cells) {
      const found = made.remember("contours", size, () => plane.contours(ctx, shape, area, chosen));
      plane.drawContours(ctx, found, scene.colours, area);
    }
    plane.axes(ctx, area, made.sweep);
    if (scene.path) path.onPlane(ctx, area, made.sweep);
    plane.marks(ctx, area, made.sweep, scene.evaluated);
    const k = scene.cursor ? pointAt(made.sweep, scene.cursor) : -1;
    if (k >= 0) plane.marker(ctx, area, placeOf(made.sweep, k));
    made.area = area;
  }

  function blank(made, scene) {
    for (const view of [made.ground, made.relief, made.plane, made.curves].filter(Boolean)) {
      const { ctx, w, h } = pen.fit(view);
      if (view === made.ground) continue;
      pen.text(ctx, `no ${scene.quantity.name} in this file`, w / 2, h / 2, { size: 13 });
    }
    made.remember("ground", "", () => null);
    [made.seen, made.area] = [null, null];
  }

  // Remarks on a sweep as currently drawn.
  function remarks({ sweep }, scene) {
    const values = sweep.values.get(scene.quantity.key);
    const { high } = scene.look;
    const cut = high !== null && values?.some((value) => value > high);
    return [
      ...sweep.notes,
      ...(sweep.stride > 1 ? [data.live ? "pending points interpolated" : `drawn at 1/${sweep.stride} resolution`] : []),
      ...(cut ? [`clipped at ${scale.write(high, scene.quantity.percent)}`] : []),
      ...(values?.some(Number.isFinite) === false ? ["no finite value"] : []),
    ];
  }

  // Draw all views of a sweep; returns the text of the readout.
  function draw(made, scene, chosen, fineness) {
    made.notes.textContent = remarks(made, scene).join(" · ");
    if (!made.sweep.values.has(scene.quantity.key)) blank(made, scene);
    else if (made.curves) made.area = curves.draw(made.curves, made.sweep, scene, chosen);
    else {
      drawRelief(made, scene, chosen, fineness);
      drawPlane(made, scene, chosen);
    }
    return readout(made, scene);
  }

  return { element, build, renew, draw, drawRelief, pointAt, placeOf, inBox };
})();
