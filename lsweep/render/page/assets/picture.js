// The panels as one PNG.
const picture = (() => {
  const RATIO = 2; // minimum device pixels per CSS pixel

  // Draw all panels into a canvas. `redraw` redraws every panel at the resolution of the picture.
  function compose(redraw) {
    pen.enlarge(Math.max(RATIO, window.devicePixelRatio || 1));
    redraw();
    const made = document.createElement("canvas");
    try {
      const area = document.getElementById("panels").getBoundingClientRect();
      const strip = document.querySelector(".ramp").getBoundingClientRect();
      const [margin, top] = [16, strip.height + 30];
      const ratio = pen.ratio();
      [made.width, made.height] = [Math.ceil(area.width * ratio), Math.ceil((area.height + top) * ratio)];
      const ctx = made.getContext("2d");
      ctx.scale(ratio, ratio);
      ctx.fillStyle = pen.colour("page");
      ctx.fillRect(0, 0, area.width, area.height + top);
      ctx.drawImage(document.getElementById("ramp"), (area.width - strip.width) / 2, 30, strip.width, strip.height);
      const [quantity] = document.getElementById("quantity").selectedOptions;
      const bold = { align: "left", size: 14, weight: 600, ink: pen.colour("ink") };
      pen.text(ctx, quantity.textContent, margin, 15, bold);
      for (const root of document.querySelectorAll(".panel")) section(ctx, root, area.left, area.top - top);
    } finally {
      pen.enlarge(0);
      redraw();
    }
    return made;
  }

  function section(ctx, root, left, top) {
    const at = (node) => {
      const { x, y, width, height } = node.getBoundingClientRect();
      return [x - left, y - top, width, height];
    };
    ctx.fillStyle = pen.colour("card");
    ctx.beginPath();
    ctx.roundRect(...at(root), 12);
    ctx.fill();
    for (const [query, size, weight, ink] of [["h2", 16, 650, "ink"], [".notes", 12.5, 400, "muted"]]) {
      const node = root.querySelector(query);
      const [x, y, , height] = at(node);
      pen.text(ctx, node.textContent, x, y + height / 2, { align: "left", size, weight, ink: pen.colour(ink) });
    }
    for (const view of root.querySelectorAll("canvas:not([hidden])")) ctx.drawImage(view, ...at(view));
    for (const line of root.querySelectorAll(".readout div")) {
      const [x, y, , height] = at(line);
      const words = [...line.querySelectorAll("dt:not(.hidden), dd")].map((one) => one.textContent).join(" ");
      pen.text(ctx, words, x, y + height / 2, { align: "left", size: 13, ink: pen.colour("ink") });
    }
  }

  function save(redraw) {
    const name = `${document.title.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80) || "sweep"}.png`;
    compose(redraw).toBlob((blob) => {
      const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }, "image/png");
  }

  return { compose, save };
})();
