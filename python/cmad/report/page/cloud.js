// A point cloud that can be turned and zoomed: WebGL, or a plain canvas where there is none.
// Points are centred and within some 1 of the origin; seen without perspective, so that lengths compare.

const VERTEX = `
attribute vec3 place; attribute vec3 colour;
uniform mat3 turn; uniform vec2 shift, stretch; uniform float size;
varying vec3 seen;
void main() {
  vec3 p = turn * place;
  gl_Position = vec4((p.xy + shift) * stretch, 0.25 * p.z, 1.0);
  gl_PointSize = size;
  seen = colour;
}`;
const FRAGMENT = `
precision mediump float; varying vec3 seen;
void main() { gl_FragColor = vec4(seen, 1.0); }`;
const START = { yaw: 0.35, tilt: -0.6, zoom: 1, x: 0, y: 0 };

class Cloud {
  constructor(canvas) {
    this.canvas = canvas;
    this.view = { ...START };
    this.count = 0;
    this.gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
    if (this.gl) this.prepare();
    else this.flat = canvas.getContext("2d");
    this.listen();
  }

  prepare() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "place");
    gl.bindAttribLocation(program, 1, "colour");
    gl.linkProgram(program);
    gl.useProgram(program);
    this.buffers = [gl.createBuffer(), gl.createBuffer()];
    this.at = Object.fromEntries(["turn", "shift", "stretch", "size"].map((n) => [n, gl.getUniformLocation(program, n)]));
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0.047, 0.055, 0.07, 1);
  }

  // places: Float32Array of x, y, z, turned so that y is up and z towards the viewer; pitch: between neighbours.
  show(places, colours, pitch) {
    Object.assign(this, { places, colours, pitch, count: places.length / 3 });
    this.upload(0, places, 3, this.gl && this.gl.FLOAT, false);
    this.paint(colours);
  }

  paint(colours) {
    this.colours = colours;
    this.upload(1, colours, 3, this.gl && this.gl.UNSIGNED_BYTE, true);
    this.draw();
  }

  upload(index, data, size, kind, normalised) {
    const gl = this.gl;
    if (!gl) return;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[index]);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(index);
    gl.vertexAttribPointer(index, size, kind, normalised, 0, 0);
  }

  reset(view = {}) {
    this.view = { ...START, ...view };
    this.draw();
  }

  // Rows of the rotation: first about the vertical, then about the horizontal.
  rotation() {
    const { yaw, tilt } = this.view;
    const [cy, sy, ct, st] = [Math.cos(yaw), Math.sin(yaw), Math.cos(tilt), Math.sin(tilt)];
    return [[cy, 0, sy], [st * sy, ct, -st * cy], [-ct * sy, st, ct * cy]];
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.now();
    });
  }

  now() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth * ratio, this.canvas.clientHeight * ratio].map(Math.round);
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const scale = (this.view.zoom * Math.min(width, height)) / 2.1; // pixels per unit
    const size = Math.max(1.5, 1.35 * this.pitch * scale);
    if (this.gl) this.drawGl(width, height, scale, size);
    else this.drawFlat(width, height, scale, Math.ceil(size));
  }

  drawGl(width, height, scale, size) {
    const [gl, rows] = [this.gl, this.rotation()];
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.count) return;
    // OpenGL takes columns; nearer is smaller in depth.
    gl.uniformMatrix3fv(this.at.turn, false, [0, 1, 2].flatMap((c) => [rows[0][c], rows[1][c], -rows[2][c]]));
    gl.uniform2f(this.at.shift, this.view.x, this.view.y);
    gl.uniform2f(this.at.stretch, (2 * scale) / width, (2 * scale) / height);
    gl.uniform1f(this.at.size, size);
    gl.drawArrays(gl.POINTS, 0, this.count);
  }

  drawFlat(width, height, scale, size) {
    const image = this.flat.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer).fill(0xff120e0c);
    const depth = new Float32Array(width * height).fill(-Infinity);
    const [a, b, c] = this.rotation();
    for (let i = 0; i < this.count; i++) {
      const [x, y, z] = [this.places[3 * i], this.places[3 * i + 1], this.places[3 * i + 2]];
      const near = c[0] * x + c[1] * y + c[2] * z;
      const left = Math.round(width / 2 + (a[0] * x + a[1] * y + a[2] * z + this.view.x) * scale - size / 2);
      const top = Math.round(height / 2 - (b[0] * x + b[1] * y + b[2] * z + this.view.y) * scale - size / 2);
      const colour = 0xff000000 | (this.colours[3 * i + 2] << 16) | (this.colours[3 * i + 1] << 8) | this.colours[3 * i];
      for (let row = Math.max(top, 0); row < Math.min(top + size, height); row++) {
        for (let column = Math.max(left, 0); column < Math.min(left + size, width); column++) {
          const at = row * width + column;
          if (near <= depth[at]) continue;
          depth[at] = near;
          pixels[at] = colour;
        }
      }
    }
    this.flat.putImageData(image, 0, 0);
  }

  turn(right, up) {
    this.view.yaw += right;
    this.view.tilt = Math.min(Math.max(this.view.tilt + up, -Math.PI / 2), Math.PI / 2);
    this.draw();
  }

  move(right, up) {
    const step = 2.1 / (this.view.zoom * Math.min(this.canvas.clientWidth, this.canvas.clientHeight));
    this.view.x += right * step;
    this.view.y += up * step;
    this.draw();
  }

  zoom(by) {
    this.view.zoom = Math.min(Math.max(this.view.zoom * by, 0.2), 60);
    this.draw();
  }

  listen() {
    const canvas = this.canvas;
    const pointers = new Map();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      canvas.focus({ preventScroll: true });
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const [right, down] = [event.clientX - last[0], event.clientY - last[1]];
      const others = [...pointers].filter(([id]) => id !== event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (others.length) {
        const [x, y] = others[0][1];
        const before = Math.hypot(last[0] - x, last[1] - y) || 1;
        this.zoom(Math.hypot(event.clientX - x, event.clientY - y) / before);
      } else if (event.shiftKey || event.buttons === 2) this.move(right, -down);
      else this.turn(right / 160, down / 160);
    });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => pointers.delete(event.pointerId));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 600));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("keydown", (event) => {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const arrow = arrows[event.key];
      if (arrow && event.shiftKey) this.move(20 * arrow[0], 20 * arrow[1]);
      else if (arrow) this.turn(0.12 * arrow[0], -0.12 * arrow[1]);
      else if (event.key === "+" || event.key === "=") this.zoom(1.2);
      else if (event.key === "-") this.zoom(1 / 1.2);
      else if (event.key === "0") this.reset();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      if (this.count) this.show(this.places, this.colours, this.pitch);
    });
  }
}
