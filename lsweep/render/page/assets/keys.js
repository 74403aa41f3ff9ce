// Keyboard shortcuts, and the dialog that documents them.
const keys = (() => {
  const TURN = 6; // degrees
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const HELP = [
    ["← → ↑ ↓", "rotate the surface; on a map or line plot, move from point to point"],
    ["Shift + ← → ↑ ↓", "move from point to point in all views"],
    ["+ −", "zoom"],
    ["q, Shift + q", "next, previous quantity"],
    ["l", "logarithmic or linear scale"],
    ["[ ]", "lower, raise the upper end of the scale (clip)"],
    ["{ }", "lower, raise the lower end of the scale"],
    ["m", "next colour map"],
    ["c", "draw every point as a cell, without interpolation"],
    ["e", "mark evaluated points with dots (refined sweeps)"],
    ["p", "show the training path, if the file has one"],
    ["o", "use a separate scale for each sweep"],
    ["Space", "rotate slowly"],
    ["s", "save a picture (PNG)"],
    ["r", "reset the view and all options"],
    ["Esc", "deselect the point"],
    ["?", "show this list"],
    ["Drag", "rotate; with Shift or the right button, pan; with two fingers, zoom and tilt"],
    ["Wheel", "zoom"],
    ["Click, tap", "select a point; again to deselect it"],
  ];

  function help() {
    const table = document.createElement("table");
    for (const [key, words] of HELP) {
      const row = table.insertRow();
      row.append(panel.element("th", "", key), panel.element("td", "", words));
    }
    document.getElementById("keys-list").replaceChildren(table);
    document.getElementById("keys").showModal();
  }

  function arrow(act, event) {
    const [dx, dy] = ARROWS[event.key];
    const flat = document.activeElement?.matches("canvas.plane, canvas.curves") || data.kind === "line";
    if (event.shiftKey || flat) act.step(dx, dy);
    else act.turn(dx * TURN, dy * TURN);
  }

  function begin(act) {
    const simple = {
      l: () => act.toggle("log"),
      c: () => act.toggle("cells"),
      e: () => act.toggle("evaluated"),
      p: () => act.toggle("path"),
      o: () => act.toggle("own"),
      " ": () => act.toggle("spin"),
      q: () => act.next(1),
      Q: () => act.next(-1),
      m: () => act.nextMap(1),
      M: () => act.nextMap(-1),
      "+": () => act.zoom(1.15),
      "=": () => act.zoom(1.15),
      "-": () => act.zoom(1 / 1.15),
      "[": () => controls.nudge(act, "high", -25),
      "]": () => controls.nudge(act, "high", 25),
      "{": () => controls.nudge(act, "low", -25),
      "}": () => controls.nudge(act, "low", 25),
      s: act.shot,
      r: act.reset,
      "?": help,
      Escape: act.release,
    };
    document.addEventListener("keydown", (event) => {
      const busy = event.target.matches?.("input, select") || document.getElementById("keys").open;
      if (busy || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === " " && event.target.matches?.("button")) return; // the space bar presses the button
      const run = event.key in ARROWS ? () => arrow(act, event) : simple[event.key];
      if (!run) return;
      event.preventDefault();
      run();
    });
  }

  return { begin, help };
})();
