// Common functions for drawing on 2D canvases: sizes in CSS pixels, theme colours, text, colour maps.
const pen = (() => {
  const FAMILY = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif';
  const NAMES = ["page", "card", "ink", "muted", "rule", "grid", "pane", "accent", "nan", "failed", "loss", "accuracy"];
  let theme = null;
  let enlarged = 0; // device pixels per CSS pixel for a picture, 0 for the screen

  // Reread the theme colours when the system has switched between dark and light.
  function restyle() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    if (theme?.dark === dark) return;
    const style = getComputedStyle(document.documentElement);
    theme = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    theme.dark = dark;
  }

  const isDark = () => theme.dark;
  const colour = (name) => theme[name];
  const ratio = () => enlarged || Math.min(2, window.devicePixelRatio || 1);
  const enlarge = (value) => (enlarged = value);

  // Resize a canvas to its size on the page and clear it; returns { ctx, w, h } in CSS pixels.
  function fit(canvas) {
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    const [wide, high] = [w, h].map((side) => Math.max(1, Math.round(side * ratio())));
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const ctx = canvas.getContext("2d");
    ctx.setTransform(wide / w || 1, 0, 0, high / h || 1, 0, 0);
    ctx.clearRect(0, 0, w, h);
    return { ctx, w, h };
  }

  function text(ctx, words, x, y, options = {}) {
    const { align = "center", base = "middle", size = 11.5, weight = 400, ink = theme.muted, halo, angle = 0 } = options;
    ctx.save();
    ctx.font = `${weight} ${size}px ${FAMILY}`;
    [ctx.textAlign, ctx.textBaseline] = [align, base];
    ctx.translate(x, y);
    ctx.rotate(angle);
    if (halo) {
      [ctx.strokeStyle, ctx.lineWidth, ctx.lineJoin] = [halo, 3.5, "round"];
      ctx.strokeText(words, 0, 0);
    }
    ctx.fillStyle = ink;
    ctx.fillText(words, 0, 0);
    ctx.restore();
  }

  function width(ctx, words, size = 11.5) {
    ctx.font = `400 ${size}px ${FAMILY}`;
    return ctx.measureText(words).width;
  }

  function line(ctx, points, ink, thick = 1) {
    ctx.beginPath();
    points.forEach(([x, y], k) => (k ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
    [ctx.strokeStyle, ctx.lineWidth] = [ink, thick];
    ctx.stroke();
  }

  // A ring that is visible on every colour.
  function ring(ctx, x, y, radius, inner = "#ffffff", outer = "rgb(0 0 0 / 65%)") {
    for (const [thick, ink] of [[4, outer], [2, inner]]) {
      ctx.beginPath();
      ctx.arc(x, y, radius, 0, 2 * Math.PI);
      [ctx.strokeStyle, ctx.lineWidth] = [ink, thick];
      ctx.stroke();
    }
  }

  // The round numbers on an axis from lo to hi, both included.
  function ticks(lo, hi, count) {
    const air = 1e-9 * (hi - lo);
    return scale.roundLevels(lo - air, hi + air, count, false);
  }

  // A colour map for a quantity; reversed for an accuracy, so that good networks are dark in both.
  function ramp(name, reversed) {
    const stored = data.maps.get(name);
    const rgb = new Uint8Array(stored.length);
    for (let k = 0; k < 256; k++) {
      const from = 3 * (reversed ? 255 - k : k);
      for (let c = 0; c < 3; c++) rgb[3 * k + c] = stored[from + c];
    }
    const index = (unit) => 3 * Math.round(255 * unit);
    return {
      key: `${name} ${reversed}`,
      rgb,
      at: (unit) => `rgb(${rgb.slice(index(unit), index(unit) + 3).join(" ")})`,
      dark: (unit) => {
        const [r, g, b] = rgb.slice(index(unit), index(unit) + 3);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b < 110;
      },
    };
  }

  return { restyle, isDark, colour, ratio, enlarge, fit, text, width, line, ring, ticks, ramp };
})();
