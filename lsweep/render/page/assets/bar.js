// A colour bar with round numbers, and triangles at the values under the pointer.
const bar = (() => {
  const HIGH = 20; // height of the coloured strip

  // `chosen` is the scale of the colours, `span` the whole range of the sliders. Without colours (for several scales,
  // or for lines) the bar shows which part of the range is drawn.
  function draw(canvas, chosen, span, colours, marked) {
    const { ctx, w } = pen.fit(canvas);
    const line = chosen.log ? Math.log10 : (value) => value;
    const [lo, hi] = span.map(line);
    const x = (value) => ((line(value) - lo) / (hi - lo)) * w;
    const inside = (value) => value >= chosen.vmin && value <= chosen.vmax;
    const steps = Math.ceil(w);
    for (let k = 0; k < steps; k++) {
      const at = lo + ((k + 0.5) / steps) * (hi - lo);
      const value = chosen.log ? 10 ** at : at;
      ctx.fillStyle = colours ? colours.at(chosen.unit(value)) : pen.colour(inside(value) ? "accent" : "pane");
      ctx.fillRect(k, 1, 1.5, HIGH - 2);
    }
    ctx.strokeStyle = pen.colour("rule");
    ctx.strokeRect(0.5, 0.5, w - 1, HIGH - 1);
    for (const value of numbers(chosen, span, w)) {
      const at = scale.clamp(x(value), 12, w - 12);
      pen.line(ctx, [[x(value), HIGH], [x(value), HIGH + 4]], pen.colour("muted"));
      pen.text(ctx, scale.write(value), at, HIGH + 12);
    }
    for (const value of marked) {
      if (!Number.isNaN(value)) triangle(ctx, scale.clamp(x(scale.clamp(value, ...span)), 5, w - 5));
    }
  }

  function numbers(chosen, [lo, hi], w) {
    return scale.roundLevels(lo - Math.abs(lo) * 1e-12, hi + Math.abs(hi) * 1e-12, Math.max(3, Math.min(12, w / 60)), chosen.log);
  }

  function triangle(ctx, x) {
    ctx.beginPath();
    ctx.moveTo(x, HIGH - 7);
    ctx.lineTo(x - 5.5, HIGH + 4);
    ctx.lineTo(x + 5.5, HIGH + 4);
    ctx.closePath();
    [ctx.fillStyle, ctx.strokeStyle, ctx.lineWidth] = [pen.colour("ink"), pen.colour("card"), 1.5];
    ctx.stroke();
    ctx.fill();
  }

  return { draw };
})();
