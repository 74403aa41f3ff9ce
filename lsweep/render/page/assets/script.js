// Interface of the page for the console, tests and benchmarks: `window.lsweep`.
window.lsweep = (() => {
  // Window coordinates of the point at column i, row j in a panel's "relief", "plane" or "curves".
  function place(panelIndex, name, i, j = 0) {
    const made = page.panels[panelIndex];
    const bounds = made[name].getBoundingClientRect();
    const k = j * made.sweep.nx + i;
    const at = panel.placeOf(made.sweep, k);
    let x, y;
    if (name === "relief") [x, y] = made.seen.view.project(raised(made, k));
    else if (name === "plane") [x, y] = made.area.pixel(at);
    else [x, y] = [made.area.across(at[0]), made.area.y + made.area.h / 2];
    return [bounds.left + x, bounds.top + y];
  }

  function raised(made, k) {
    const [u, v, unit] = panel.inBox(made.sweep, k, made.seen.units[k]);
    return [u, v, (unit - 0.5) * camera.HEIGHT];
  }

  // Whether the surface hides its own point at column i, row j.
  function hidden(panelIndex, i, j) {
    const made = page.panels[panelIndex];
    return box.isHidden(made.seen.view, made.seen.shape, raised(made, j * made.sweep.nx + i));
  }

  function state() {
    const { quantity, map, cells, own, spin, evaluated, path: shown, cursor, held } = page.state;
    const scales = page.panels.map(({ scale: s }) => ({ log: s.log, low: s.vmin, high: s.vmax, levels: s.levels }));
    return { quantity, map, cells, own, spin, evaluated, path: shown, cursor, held, scales, camera: { ...camera.state } };
  }

  // The readouts, panel by panel: term → words.
  function readouts() {
    return page.panels.map(({ readout }) =>
      Object.fromEntries([...readout.querySelectorAll("div")].map((line) => [
        line.querySelector("dt")?.textContent ?? "hint",
        (line.querySelector("dd") ?? line).textContent,
      ])),
    );
  }

  // Rotate the surfaces by 360° in the given number of frames; returns the milliseconds between frames.
  async function turn(frames) {
    const between = [];
    let last = await new Promise(requestAnimationFrame);
    for (let k = 0; k < frames; k++) {
      camera.turn(360 / frames, 0);
      page.moved();
      const now = await new Promise(requestAnimationFrame);
      between.push(now - last);
      last = now;
    }
    return { between, ...pace.look(true) };
  }

  const pictured = () => picture.compose(page.atRest).toDataURL("image/png");

  const { roundLevels, sharedLevels, write } = scale;
  return { place, hidden, state, readouts, turn, picture: pictured, roundLevels, sharedLevels, write };
})();
