// The state of the page, the actions that change it, and the scheduling of redraws.
const page = (() => {
  const SPIN = 12; // degrees a second
  const solid = data.kind === "plane" && shader.ready(afresh);
  const panels = data.sweeps.map((sweep) => panel.build(sweep, solid));
  const quantityOf = (key) => data.quantities.find((quantity) => quantity.key === key) ?? data.quantities[0];
  const state = {};
  let waiting = false;
  let moving = false;
  let resting = 0;
  const main = document.getElementById("panels");
  let drawn = ""; // signature of the state that was drawn last
  let turned = 0; // time of the last frame of a slow rotation

  function restart() {
    camera.reset();
    Object.assign(state, {
      quantity: quantityOf(data.start.quantity).key,
      map: [...data.maps.keys()][0],
      cells: false,
      own: false,
      spin: false,
      evaluated: data.start.evaluated,
      path: true,
      cursor: null,
      held: false,
      looks: new Map(), // quantity → { log, low, high }
    });
    state.looks.set(state.quantity, first(state.quantity, data.start.low, data.start.high));
  }

  // The arrays of the given sweeps that share a scale.
  function arrays(sweeps, key) {
    const quantity = quantityOf(key);
    const shown = (sweep) => (data.kind === "line" ? curves.families(sweep, quantity).left : [quantity]);
    return sweeps.flatMap((sweep) => shown(sweep).map((q) => sweep.values.get(q.key)).filter(Boolean));
  }

  function first(key, low = null, high = null) {
    return { log: scale.prefersLog(arrays(data.sweeps, key), quantityOf(key).percent, [low, high]), low, high };
  }

  function look(key = state.quantity) {
    if (!state.looks.has(key)) state.looks.set(key, first(key));
    return state.looks.get(key);
  }

  function scenery() {
    const quantity = quantityOf(state.quantity);
    pen.restyle();
    return {
      quantity,
      look: look(),
      colours: pen.ramp(state.map, quantity.percent),
      cells: state.cells,
      evaluated: state.evaluated,
      path: state.path,
      cursor: state.cursor,
      dark: pen.isDark(),
    };
  }

  // Draw everything, or only the surfaces if only the camera has changed since the last time.
  function draw() {
    waiting = false;
    const scene = scenery();
    const signature = [
      ...[scene.quantity.key, scene.colours.key, ...Object.values(scene.look), scene.cursor, scene.dark, pen.ratio()],
      ...[state.cells, state.own, state.evaluated, state.path, state.spin, innerWidth, innerHeight, main.clientWidth],
    ].join();
    const fineness = pace.look(moving || state.spin);
    if (signature === drawn) return panels.forEach((made) => panel.drawRelief(made, scene, made.scale, fineness));
    drawn = signature;
    drawAll(scene, arrays(data.sweeps, state.quantity), fineness);
  }

  function drawAll(scene, everything, fineness) {
    const { percent } = scene.quantity;
    const all = scale.choose(everything, scene.look, percent);
    state.said = panels.map((made) => {
      made.scale = state.own ? scale.choose(arrays([made.sweep], state.quantity), scene.look, percent) : all;
      made.bar.hidden = !state.own;
      const words = panel.draw(made, scene, made.scale, fineness);
      if (state.own) bar.draw(made.bar, made.scale, [made.scale.vmin, made.scale.vmax], scene.colours, marked([made]));
      return words;
    });
    const plain = state.own || data.kind === "line";
    const reach = [Math.min(all.full[0], all.vmin), Math.max(all.full[1], all.vmax)];
    controls.show(state, scene.look, all, reach, scale.canLog(everything), marked(panels), plain ? null : scene.colours);
  }

  function atRest() {
    moving = false;
    draw();
  }

  // The values under the pointer.
  function marked(made) {
    if (!state.cursor) return [];
    return made.map(({ sweep }) => sweep.values.get(state.quantity)?.[panel.pointAt(sweep, state.cursor)] ?? NaN);
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame((now) => {
      if (state.spin) camera.turn((Math.min(now - turned, 100) / 1000) * SPIN, 0);
      if (state.spin || moving) pace.tick(now);
      turned = now;
      draw();
      if (state.spin) redraw();
    });
  }

  // Discard all cached drawings.
  function afresh() {
    panels.forEach((made) => made.remember("ground", "", () => null));
    drawn = "";
    redraw();
  }

  // Take new data of the same sweeps; reload the page if the sweeps are different ones.
  function renew(fresh) {
    if (!data.fits(fresh)) return location.reload();
    data.take(fresh);
    panels.forEach((made, k) => panel.renew(made, data.sweeps[k]));
    for (const [key, now] of state.looks) if (!now.byHand) now.log = first(key, now.low, now.high).log;
    controls.renew();
    drawn = "";
    redraw();
  }

  // The camera has moved: draw at once, as finely as time allows, and finely when it has come to rest.
  function moved() {
    moving = true;
    clearTimeout(resting);
    resting = setTimeout(() => {
      moving = false;
      redraw();
    }, pace.rest());
    redraw();
  }

  // [α, β] of the point of the sweep nearest to a pixel of a view, or null.
  function placeUnder(made, view, x, y) {
    let place = null;
    if (view === made.relief && made.seen) {
      const hit = relief.hit(made.seen.shape, made.seen.view.ray(x, y));
      place = hit && made.sweep.axes.map(({ at }, axis) => relief.unboxed(at, hit[axis]));
    } else if (made.area) place = view === made.curves ? [made.area.place(x)] : made.area.place(x, y);
    const k = place ? panel.pointAt(made.sweep, place) : -1;
    return k < 0 ? null : panel.placeOf(made.sweep, k);
  }

  function point(place) {
    if (String(place) === String(state.cursor)) return;
    state.cursor = place;
    redraw();
  }

  function listen(made) {
    for (const view of [made.relief, made.plane, made.curves].filter(Boolean)) {
      const act = {
        hover: (x, y) => state.held || point(placeUnder(made, view, x, y)),
        leave: () => state.held || point(null),
        click: (x, y) => {
          const place = placeUnder(made, view, x, y);
          const again = state.held && String(place) === String(state.cursor);
          state.held = place !== null && !again;
          point(place);
        },
        changed: moved,
      };
      if (view === made.relief) gestures.onRelief(view, act);
      else gestures.onFlat(view, act);
    }
  }

  // Move from point to point of the first sweep, starting at its centre.
  function step(dx, dy) {
    const { axes } = data.sweeps[0];
    const from = state.cursor ?? axes.map(({ at }) => (at[0] + at[at.length - 1]) / 2);
    const moves = state.cursor ? [dx, dy] : [0, 0];
    state.held = true;
    point(axes.map(({ at }, k) => at[scale.clamp(data.nearest(at, from[k]) + moves[k], 0, at.length - 1)]));
    requestAnimationFrame(() => {
      const words = state.said.map((said, k) => (panels.length > 1 ? `${data.sweeps[k].title}: ${said}` : said));
      document.getElementById("said").textContent = words.join("; ");
    });
  }

  const cycle = (list, now, by) => list[(list.indexOf(now) + by + list.length) % list.length];
  const changed = (change) => (...given) => {
    change(...given);
    redraw();
  };
  const act = {
    look,
    choose: changed((key) => (state.quantity = key)),
    paint: changed((map) => (state.map = map)),
    next: changed((by) => (state.quantity = cycle(data.quantities.map(({ key }) => key), state.quantity, by))),
    nextMap: changed((by) => (state.map = cycle([...data.maps.keys()], state.map, by))),
    toggle: changed((name) => (name === "log" ? toggleLog() : (state[name] = !state[name]))),
    bound: changed((end, value) => (look()[end] = value)),
    turn: (azimuth, elevation) => moved(camera.turn(azimuth, elevation)),
    zoom: (factor) => moved(camera.zoom(factor)),
    release: changed(() => Object.assign(state, { cursor: null, held: false })),
    reset: changed(restart),
    step,
    shot: () => picture.save(atRest),
    help: () => keys.help(),
  };

  // Ends at or below zero are dropped on a logarithmic scale.
  function toggleLog() {
    const now = look();
    if (!now.log && !scale.canLog(arrays(data.sweeps, state.quantity))) return;
    [now.log, now.byHand] = [!now.log, true];
    for (const end of ["low", "high"]) if (now.log && now[end] !== null && now[end] <= 0) now[end] = null;
  }

  function begin() {
    restart();
    main.append(...panels.map(({ root }) => root));
    main.className = panels.length === 1 ? "solo" : "several";
    if (!solid && data.kind === "plane") {
      main.before(panel.element("p", "note", "This browser has no WebGL 2, so only maps are shown."));
    }
    controls.begin(act);
    keys.begin(act);
    panels.forEach(listen);
    new ResizeObserver(redraw).observe(main);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    draw();
  }

  return { state, panels, act, moved, atRest, renew, begin };
})();
page.begin();
