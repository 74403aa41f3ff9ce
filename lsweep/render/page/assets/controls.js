// The controls above the panels. They show the state of the page and change it.
const controls = (() => {
  const STEPS = 1000;
  const SWITCHES = ["cells", "evaluated", "path", "own", "spin"]; // named like the entries of the state
  const get = (id) => document.getElementById(id);
  let span = [0, 1]; // range of the sliders
  let log = false;

  const line = (value) => (log ? Math.log10(value) : value);
  const position = (value) => Math.round(((line(value) - line(span[0])) / (line(span[1]) - line(span[0]))) * STEPS);
  function valueAt(position) {
    const at = line(span[0]) + (position / STEPS) * (line(span[1]) - line(span[0]));
    return log ? 10 ** at : at;
  }

  function options(select, entries) {
    const option = ([value, textContent]) => Object.assign(document.createElement("option"), { value, textContent });
    select.replaceChildren(...entries.map(option));
  }

  const press = (id, on) => get(id).setAttribute("aria-pressed", String(on));
  const short = (value) => String(Number(value.toPrecision(4)));

  // `act`: the actions of the page, see page.js.
  function begin(act) {
    options(get("map"), [...data.maps.keys()].map((name) => [name, name]));
    get("quantity").addEventListener("change", (event) => act.choose(event.target.value));
    get("map").addEventListener("change", (event) => act.paint(event.target.value));
    for (const id of ["log", ...SWITCHES]) get(id).addEventListener("click", () => act.toggle(id));
    for (const id of ["reset", "shot", "help"]) get(id).addEventListener("click", () => act[id]());
    get("lowest").addEventListener("input", (event) => slide(act, "low", Number(event.target.value)));
    get("highest").addEventListener("input", (event) => slide(act, "high", Number(event.target.value)));
    for (const end of ["low", "high"]) get(end).addEventListener("change", (event) => type(act, end, event.target));
    renew();
    get("path").hidden = !data.sweeps.some(({ paths }) => paths.length);
    get("spin").hidden = data.kind === "line";
    get("own").hidden = data.sweeps.length < 2;
    get("cells").hidden = get("map").parentElement.hidden = data.kind === "line";
  }

  // Update the controls that depend on the progress of a sweep.
  function renew() {
    const entries = data.quantities.map(({ key, name }) => [key, name]);
    const select = get("quantity");
    // Replacing the options would close an open list.
    if (String(entries.map(([key]) => key)) !== String([...select.options].map(({ value }) => value))) options(select, entries);
    get("evaluated").hidden = data.kind === "line" || !data.sweeps.some(({ status }) => status.includes(3));
  }

  // An end moved to the stop of its slider follows the values again.
  function slide(act, end, at) {
    const other = Number(get(end === "low" ? "highest" : "lowest").value);
    const kept = end === "low" ? Math.min(at, other - 10) : Math.max(at, other + 10);
    act.bound(end, kept <= 0 || kept >= STEPS ? null : Number(valueAt(kept).toPrecision(4)));
  }

  function type(act, end, input) {
    const words = input.value.trim().replace("−", "-").replace(",", ".");
    const value = words === "" ? null : Number(words);
    const other = act.look()[end === "low" ? "high" : "low"];
    const wrong =
      value !== null && (!Number.isFinite(value) || (log && value <= 0) ||
        (other !== null && (end === "low" ? value >= other : value <= other)));
    input.setAttribute("aria-invalid", String(wrong));
    if (!wrong) act.bound(end, value);
  }

  // Move an end by a number of slider steps.
  function nudge(act, end, steps) {
    slide(act, end, Number(get(end === "low" ? "lowest" : "highest").value) + steps);
  }

  // Show the state: `all` is the scale of all sweeps, `reach` the range of the sliders.
  function show(state, look, all, reach, logPossible, marked, colours) {
    [span, log] = [reach, look.log];
    get("quantity").value = state.quantity;
    get("map").value = state.map;
    for (const id of SWITCHES) press(id, state[id]);
    press("log", look.log);
    get("log").disabled = !logPossible;
    get("log").title = logPossible ? "Logarithmic scale (l)" : "A logarithmic scale needs positive values";
    for (const [id, end, bound] of [["lowest", "low", all.vmin], ["highest", "high", all.vmax]]) {
      get(id).value = position(bound);
      get(id).setAttribute("aria-valuetext", scale.write(bound, all.percent));
      if (document.activeElement !== get(end)) {
        get(end).value = short(bound);
        get(end).setAttribute("aria-invalid", "false");
      }
    }
    bar.draw(get("ramp"), all, reach, colours, marked);
  }

  return { begin, renew, show, nudge };
})();
