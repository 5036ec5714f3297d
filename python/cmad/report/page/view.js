// The flat pictures of a part: image, depth, map over either, outlines and boxes.

const LINES = { region: "#ffffff", truth: "#00ffd5", box: "#ffffff" };

// Edges between marked and unmarked cells, as a path in cells.
function outlineOf(marked, [height, width]) {
  const path = new Path2D();
  const at = (row, column) => row >= 0 && column >= 0 && row < height && column < width && marked(row * width + column);
  for (let row = 0; row <= height; row++) {
    for (let column = 0; column <= width; column++) {
      const here = at(row, column);
      if (here !== at(row - 1, column)) {
        path.moveTo(column, row);
        path.lineTo(column + 1, row);
      }
      if (here !== at(row, column - 1)) {
        path.moveTo(column, row);
        path.lineTo(column, row + 1);
      }
    }
  }
  return path;
}

// A part's map in colours, transparent where it is low, as a canvas of the map's size.
function colouredMap(part, scale) {
  const [height, width] = part.map.size;
  const made = Object.assign(document.createElement("canvas"), { width, height });
  const context = made.getContext("2d");
  const image = context.createImageData(width, height);
  const table = new Uint32Array(palette(part.map.unit, scale).buffer);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[part.codes[i]];
  context.putImageData(image, 0, 0);
  return made;
}

// The value of the map at a pixel of the input, as text; empty outside.
function valueAt(part, row, column) {
  const [height, width] = part.map.size;
  const r = Math.floor((row * height) / part.size[0]);
  const c = Math.floor((column * width) / part.size[1]);
  if (r < 0 || c < 0 || r >= height || c >= width) return "";
  const code = part.codes[r * width + c];
  return `${code === 255 ? "≥ " : ""}${shown((code / 128) * part.map.unit)} at row ${Math.floor(row)}, column ${Math.floor(column)}`;
}

// What of the frame is shown: a box (top, left, bottom, right), made as wide as a 4 : 3 picture.
function windowOf(part, look) {
  const [height, width] = part.size;
  let [top, left, bottom, right] = look.whole ? [0, 0, height, width] : part.part;
  if (look.focus !== null) {
    const box = part.regions[look.focus].box;
    const margin = 0.8 * Math.max(box[2] - box[0], box[3] - box[1]) + 6;
    [top, left, bottom, right] = [box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin];
  }
  const [rows, columns] = [bottom - top, right - left];
  const tall = Math.max(rows, (columns * 3) / 4);
  const wide = Math.max(columns, (rows * 4) / 3);
  return { top: (top + bottom - tall) / 2, left: (left + right - wide) / 2, tall, wide };
}

// Draws one panel; base is "rgb", "depth" or "none".
function drawFrame(canvas, part, look, { base, map }) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (!width || !height) return;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#0c0e12";
  context.fillRect(0, 0, width, height);
  if (!part.size) return;
  const seen = windowOf(part, look);
  const scale = Math.min(width / seen.wide, height / seen.tall);
  const [rows, columns] = part.size;
  const place = () => {
    context.setTransform(scale, 0, 0, scale, width / 2 - (seen.left + seen.wide / 2) * scale, height / 2 - (seen.top + seen.tall / 2) * scale);
  };
  place();
  const image = part.images[base];
  context.imageSmoothingEnabled = scale < 6;
  if (image) context.drawImage(image, 0, 0, columns, rows);
  if (map && part.coloured) {
    context.globalAlpha = look.opacity;
    context.imageSmoothingEnabled = false;
    context.drawImage(part.coloured, 0, 0, columns, rows);
    context.globalAlpha = 1;
  }
  const stroke = (path, size, colour, wide) => {
    const cell = columns / size[1];
    context.save();
    context.scale(cell, rows / size[0]);
    context.lineCap = "square";
    // Dark below light, so that a line shows on any picture.
    for (const [style, thick] of [["rgb(0 0 0 / .55)", wide + 1.6], [colour, wide]]) {
      context.strokeStyle = style;
      context.lineWidth = (thick * ratio) / scale / cell;
      context.stroke(path);
    }
    context.restore();
  };
  if (look.mask && part.truthLine) stroke(part.truthLine, part.truth.size, LINES.truth, 1.6);
  if (!look.outlines) return;
  if (part.regionLine) stroke(part.regionLine, part.map.size, LINES.region, 1.4);
  part.regions.forEach((region, i) => drawBox(context, region.box, i, look, ratio / scale));
}

function drawBox(context, [top, left, bottom, right], i, look, pixel) {
  const strong = look.hover === i || look.focus === i;
  context.lineWidth = (strong ? 2.5 : 1) * pixel;
  context.strokeStyle = LINES.box;
  context.setLineDash(strong ? [] : [5 * pixel, 4 * pixel]);
  const gap = 3 * pixel;
  context.strokeRect(left - gap, top - gap, right - left + 2 * gap, bottom - top + 2 * gap);
  context.setLineDash([]);
  context.font = `600 ${13 * pixel}px system-ui, sans-serif`;
  const text = String(i + 1);
  const wide = context.measureText(text).width + 8 * pixel;
  context.fillStyle = "rgb(0 0 0 / .72)";
  context.fillRect(left - gap, top - gap - 17 * pixel, wide, 17 * pixel);
  context.fillStyle = "#fff";
  context.fillText(text, left - gap + 4 * pixel, top - gap - 4.5 * pixel);
}
