// Lit surfaces with WebGL 2. All panels share one context, because browsers allow only a few.
const shader = (() => {
  const { HEIGHT } = camera;
  const MOST_LEVELS = 64;
  const LIGHT = [-0.5, -0.35, 0.8]; // from the left, the front and above at the first view, as in the figures
  const VERTEX = `#version 300 es
    layout(location = 0) in vec3 place;
    layout(location = 1) in vec3 normal;
    layout(location = 2) in float open;
    uniform mat4 matrix;
    out vec3 spot;
    out vec3 upright;
    out float level;
    out float free;
    void main() {
      spot = vec3(place.xy, (place.z - 0.5) * ${HEIGHT.toFixed(4)});
      upright = normal;
      level = place.z;
      free = open;
      gl_Position = matrix * vec4(spot, 1.0);
    }`;
  // Contour lines have the same width in pixels everywhere, and fade where they would merge.
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 spot;
    in vec3 upright;
    in float level;
    in float free;
    uniform sampler2D ramp;
    uniform float levels[${MOST_LEVELS}];
    uniform int count;
    uniform float thick;
    uniform vec3 light;
    uniform vec3 eye;
    out vec4 colour;
    void main() {
      vec3 n = normalize(upright) * (gl_FrontFacing ? 1.0 : -1.0);
      vec3 base = texture(ramp, vec2((level * 255.0 + 0.5) / 256.0, 0.5)).rgb;
      float lit = 0.54 + 0.52 * max(dot(n, light), 0.0);
      float gloss = 0.10 * pow(max(dot(n, normalize(light + normalize(eye - spot))), 0.0), 32.0);
      float slope = max(fwidth(level), 1e-7);
      int next = 0; // the first level that is not below, by bisection
      for (int end = count; next < end;) {
        int middle = (next + end) / 2;
        if (levels[middle] < level) next = middle + 1;
        else end = middle;
      }
      float below = next > 0 ? levels[next - 1] : -9.0;
      float above = next < count ? levels[next] : 9.0;
      float fade = 1.0 - smoothstep(0.12, 0.5, slope / (above - below));
      float away = min(level - below, above - level) / slope;
      float ink = fade * (1.0 - smoothstep(thick - 0.5, thick + 0.5, away));
      vec3 shaded = base * lit * free * (gl_FrontFacing ? 1.0 : 0.72) + gloss;
      colour = vec4(mix(shaded, shaded * 0.3, 0.6 * ink), 1.0);
    }`;

  let gl = null;
  let program = null;
  let places = null;
  let ramp = { key: "", texture: null };
  let uploaded = new Map();
  const canvas = document.createElement("canvas");

  function compiled(type, source) {
    const part = gl.createShader(type);
    gl.shaderSource(part, source);
    gl.compileShader(part);
    if (!gl.getShaderParameter(part, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new Error(gl.getShaderInfoLog(part));
    }
    return part;
  }

  function begin() {
    program = gl.createProgram();
    gl.attachShader(program, compiled(gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, compiled(gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    const names = ["matrix", "levels", "count", "thick", "light", "eye"];
    places = Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)]));
    ramp = { key: "", texture: gl.createTexture() };
    uploaded = new Map();
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0, 0, 0, 0);
  }

  // Whether WebGL 2 is available. `redraw` is called when a lost context has been restored.
  function ready(redraw) {
    gl = canvas.getContext("webgl2", { antialias: false, alpha: true });
    if (!gl) return false;
    begin();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      begin();
      redraw();
    });
    return true;
  }

  function buffers(mesh) {
    const array = gl.createVertexArray();
    const made = [gl.ARRAY_BUFFER, gl.ELEMENT_ARRAY_BUFFER].map((target, k) => {
      const buffer = gl.createBuffer();
      if (!k) gl.bindVertexArray(array);
      gl.bindBuffer(target, buffer);
      gl.bufferData(target, k ? mesh.indices : mesh.vertices, gl.STATIC_DRAW);
      return buffer;
    });
    [3, 3, 1].forEach((size, k) => {
      gl.enableVertexAttribArray(k);
      gl.vertexAttribPointer(k, size, gl.FLOAT, false, 4 * relief.FLOATS, 12 * k);
    });
    return { mesh, array, made, count: mesh.indices.length };
  }

  // The buffers of an owner's current mesh on the device. Only the previous mesh is kept too, because it may be needed
  // again when a motion begins or ends.
  function resident(owner, mesh) {
    const kept = uploaded.get(owner) ?? [];
    const there = kept.find((one) => one.mesh === mesh);
    if (there) return there;
    for (const old of kept.slice(0, -1)) {
      gl.deleteVertexArray(old.array);
      old.made.forEach((buffer) => gl.deleteBuffer(buffer));
    }
    const now = buffers(mesh);
    uploaded.set(owner, [...kept.slice(-1), now]);
    return now;
  }

  function paint(colours) {
    gl.bindTexture(gl.TEXTURE_2D, ramp.texture);
    if (ramp.key === colours.key) return;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, colours.rgb);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    ramp.key = colours.key;
  }

  // The light stays on the viewer's left; otherwise half of all views would show the surface in its own shade.
  function lit(azimuth) {
    const angle = ((azimuth - camera.START.azimuth) * Math.PI) / 180;
    const [x, y, z] = LIGHT.map((value) => value / Math.hypot(...LIGHT));
    return [x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle), z];
  }

  // Draw a mesh on a transparent background into the lower left w × h pixels of the returned canvas.
  function draw(owner, mesh, view, w, h, { colours, levels, thick }) {
    if (canvas.width < w || canvas.height < h) {
      [canvas.width, canvas.height] = [Math.max(canvas.width, w), Math.max(canvas.height, h)];
    }
    const { array, count } = resident(owner, mesh);
    gl.viewport(0, 0, w, h);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(program);
    paint(colours);
    gl.uniformMatrix4fv(places.matrix, false, view.matrix);
    if (levels.length) gl.uniform1fv(places.levels, Float32Array.from(levels.slice(0, MOST_LEVELS)));
    gl.uniform1i(places.count, Math.min(levels.length, MOST_LEVELS));
    gl.uniform1f(places.thick, thick);
    gl.uniform3fv(places.light, lit(view.azimuth));
    gl.uniform3fv(places.eye, view.eye);
    gl.bindVertexArray(array);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
    return canvas;
  }

  return { ready, draw };
})();
