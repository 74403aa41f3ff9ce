// The camera of all surfaces, which turns around the centre of a box of 1 × 1 × HEIGHT with z upwards.
const camera = (() => {
  const HEIGHT = 0.62; // as in the figures, like the first view (lsweep/render/relief.py)
  const START = { azimuth: -58, elevation: 32, zoom: 1, panX: 0, panY: 0 };
  const TAN = Math.tan((13 * Math.PI) / 180); // of half the field of view; small, for little distortion
  const state = { ...START };
  const radians = (degrees) => (degrees * Math.PI) / 180;
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const add = (a, b, factor) => a.map((value, k) => value + factor * b[k]);

  function turn(azimuth, elevation) {
    state.azimuth = ((state.azimuth + azimuth + 540) % 360) - 180;
    state.elevation = Math.max(4, Math.min(89.9, state.elevation + elevation)); // never below the floor
  }

  function zoom(factor) {
    state.zoom = Math.max(0.5, Math.min(12, state.zoom * factor));
  }

  // Pan by fractions of the canvas.
  function pan(x, y) {
    state.panX = Math.max(-1, Math.min(1, state.panX + x));
    state.panY = Math.max(-1, Math.min(1, state.panY + y));
  }

  const reset = () => Object.assign(state, START);

  function axes() {
    const [a, e] = [radians(state.azimuth), radians(state.elevation)];
    return {
      back: [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)],
      right: [-Math.sin(a), Math.cos(a), 0],
      up: [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)],
    };
  }

  // The distance at which the box with its labels just fills a canvas with this aspect ratio.
  function distance(aspect) {
    return Math.max(0.74 / TAN, 0.95 / (TAN * aspect));
  }

  // The view of a canvas of w × h pixels: the matrix for WebGL (by columns), and the maps from box to pixels and back.
  function view(w, h) {
    const { back, right, up } = axes();
    const far = distance(w / h);
    const eye = back.map((value) => value * far);
    const focal = state.zoom / TAN;
    const [sx, sy] = [focal / (w / h), focal];
    const [tx, ty] = [2 * state.panX, -2 * state.panY + 0.1];
    const [near, end] = [0.05, far + 3];
    const [p, q] = [-(end + near) / (end - near), (-2 * end * near) / (end - near)];
    // Clip coordinates: (sx·r + tx·d, sy·u + ty·d, −p·d + q, d) with d the depth in front of the camera.
    const column = (k) => [sx * right[k] - tx * back[k], sy * up[k] - ty * back[k], p * back[k], -back[k]];
    const matrix = new Float32Array([...column(0), ...column(1), ...column(2), tx * far, ty * far, -p * far + q, far]);

    function project(point) {
      const depth = far - dot(point, back);
      const x = (sx * dot(point, right)) / depth + tx;
      const y = (sy * dot(point, up)) / depth + ty;
      return [((x + 1) / 2) * w, ((1 - y) / 2) * h, depth];
    }

    function ray(x, y) {
      const across = ((2 * x) / w - 1 - tx) / sx;
      const upward = (1 - (2 * y) / h - ty) / sy;
      return { origin: eye, direction: add(add(add([0, 0, 0], back, -1), right, across), up, upward) };
    }

    return { matrix, eye, project, ray, azimuth: state.azimuth };
  }

  return { HEIGHT, START, state, turn, zoom, pan, reset, view };
})();
