// Mouse, pen and touch gestures on the views of a panel.
const gestures = (() => {
  const CLICK = 5; // pixels; a smaller movement is a click

  // Rotate, pan and zoom a surface. `act` has hover(x, y), leave(), click(x, y) and changed(), in pixels of the view.
  function onRelief(view, act) {
    const fingers = new Map();
    let moved = 0;
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return { far: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    };
    view.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
      moved = 0;
      try {
        view.setPointerCapture(event.pointerId);
      } catch {
        // the pointer no longer exists
      }
    });
    view.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return void act.hover(event.offsetX, event.offsetY);
      const before = fingers.size === 2 ? spread() : null;
      const [dx, dy] = [event.offsetX - last.x, event.offsetY - last.y];
      [last.x, last.y] = [event.offsetX, event.offsetY];
      moved += Math.hypot(dx, dy);
      if (moved < CLICK) return;
      if (before) {
        const now = spread();
        camera.zoom(now.far / before.far);
        camera.turn(0, (now.y - before.y) * 0.3);
      } else if (event.shiftKey || event.buttons > 1) camera.pan(dx / view.clientWidth, dy / view.clientHeight);
      else camera.turn(-dx * 0.4, event.pointerType === "touch" ? 0 : dy * 0.3);
      act.changed();
    });
    view.addEventListener("pointerup", (event) => {
      if (fingers.delete(event.pointerId) && moved < CLICK) act.click(event.offsetX, event.offsetY);
    });
    view.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
    view.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && act.leave());
    view.addEventListener("contextmenu", (event) => event.preventDefault());
    view.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        camera.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
        act.changed();
      },
      { passive: false },
    );
  }

  function onFlat(view, act) {
    view.addEventListener("pointermove", (event) => act.hover(event.offsetX, event.offsetY));
    view.addEventListener("pointerdown", (event) => act.click(event.offsetX, event.offsetY));
    view.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && act.leave());
  }

  return { onRelief, onFlat };
})();
