// One part, opened: its verdict, its pictures, its cloud and its regions.

const look = { opacity: 0.9, base: "rgb", outlines: true, mask: true, whole: false, focus: null, hover: null };
let opened = null; // the part that is shown, with what was decoded of it
let cloud = null;

const outcome = (row, verdict) => {
  if (row.defect === null || verdict === "not scored" || verdict === "no verdict") return "";
  const good = row.defect === "good";
  if (good) return verdict === "accepted" ? "right" : "false reject";
  return verdict === "accepted" ? "missed" : "found";
};

async function openPart(id) {
  const [group, row] = rowOf(id);
  opened = null;
  look.focus = look.hover = null;
  tell(group, row);
  const part = await decode(id).catch((error) => ({ failed: error }));
  if (state.open !== id) return; // another was opened meanwhile
  if (part.failed) {
    byId("part-notes").append(element("li", `This browser cannot unpack the part (${part.failed.message}).`));
    return;
  }
  opened = part;
  if (part.map) {
    part.coloured = colouredMap(part, group.scale);
    if (group.scale.mark !== null) part.regionLine = outlineOf((i) => part.codes[i] > 127, part.map.size);
  }
  if (part.truth) part.truthLine = outlineOf((i) => part.bits[i] > 0, part.truth.size);
  const absent = (name, there, what) => {
    const frame = byId(name).parentElement;
    for (const old of frame.querySelectorAll(".absent")) old.remove();
    if (!there) frame.append(element("div", what, { class: "absent" }));
  };
  absent("view-map", part.map, "There is no map of this part.");
  absent("view-cloud", part.points, "There are no points of this part.");
  absent("view-rgb", part.images.rgb, "There is no image of this part.");
  absent("view-depth", part.images.depth, "There are no points of this part.");
  // A part can be rejected for a place that has nothing to do with its defect.
  const beside = part.truth && part.regionLine && part.regions.length && !part.codes.some((code, i) => code > 127 && truthAt(part, i));
  const found = byId("found");
  if (beside && found.dataset.came === "found") {
    found.textContent = `Truth: ${row.defect} – rejected, but no region lies on it`;
    found.dataset.v = "missed";
  }
  byId("l-mask").hidden = !part.truth || !part.bits.some((bit) => bit);
  byId("part-notes").replaceChildren(...[...part.warnings, ...part.missing].map((text) => element("li", text)));
  listRegions(group, part);
  fitFrames(part);
  showCloud(part);
  redraw();
}

// Whether a pixel of the map lies on the true defect.
function truthAt(part, i) {
  const [height, width] = part.map.size;
  const row = Math.floor((Math.floor(i / width) * part.truth.size[0]) / height);
  const column = Math.floor(((i % width) * part.truth.size[1]) / width);
  return part.bits[row * part.truth.size[1] + column] > 0;
}

// Verdict first: it is said before anything is decoded, and again where the threshold moves.
function tell(group, row) {
  const threshold = state.thresholds[state.group];
  const verdict = verdictOf(row, threshold);
  const headline = byId("headline");
  headline.textContent = verdict;
  headline.dataset.v = verdict;
  byId("part-name").textContent = row.name;
  const said = [];
  if (row.error !== null) said.push(row.error);
  if (row.score !== null) {
    const [score, limit] = apart(row.score, threshold);
    said.push(threshold === null ? `score ${score}` : `score ${score} ${row.score > threshold ? ">" : "≤"} threshold ${limit}`);
  }
  if (threshold !== group.threshold && group.threshold !== null) said.push(`calibrated: ${shown(group.threshold, 4)}`);
  if (row.p !== null) said.push(`p-value ${shown(row.p, 2)}`);
  if (row.regions !== null) said.push(`${row.regions || "no"} region${row.regions === 1 ? "" : "s"}`);
  if (row.area !== null && row.regions) said.push(`${shown(row.area)} mm²`);
  byId("facts").textContent = said.join("  ·  ");
  const found = byId("found");
  const came = outcome(row, verdict);
  found.dataset.v = { right: "accepted", found: "accepted", missed: "missed", "false reject": "false reject" }[came] || "";
  found.dataset.came = came;
  const truth = row.defect === "good" ? "a good part" : row.defect;
  const words = { right: "rightly accepted", found: "found", missed: "missed", "false reject": "rejected though good" };
  found.textContent = row.defect === null ? "" : `Truth: ${truth}${came ? ` – ${words[came]}` : ""}`;
  walk();
}

// Two numbers with as many digits as tell them apart.
function apart(one, other) {
  for (let digits = 3; ; digits++) {
    const [a, b] = [one, other].map((value) => shown(value, digits));
    if (a !== b || one === other || other === null || digits > 16) return [a, b];
  }
}

function listRegions(group, part) {
  byId("region-panel").hidden = !part.regions.length && group.scale.mark === null;
  byId("region-note").textContent =
    group.scale.mark === null
      ? ""
      : part.regions.length
        ? `where the map is above ${shown(group.scale.mark)}`
        : `none: the map is nowhere above ${shown(group.scale.mark)}`;
  const rows = part.regions.map((region, i) => {
    const [top, left, bottom, right] = region.box;
    const row = element("tr", null, { tabindex: "0" });
    const centre = region.centroid ? region.centroid.map((metres) => (1e3 * metres).toFixed(1)).join(", ") : "–";
    const times = group.scale.mark ? `× ${(region.peak / group.scale.mark).toFixed(2)}` : "–";
    const cells = [i + 1, shown(region.area), region.pixels, shown(region.peak), times, region.modality || "–", `${top}, ${left} – ${bottom}, ${right}`, centre];
    cells.forEach((text, k) => row.append(element("td", text, k > 0 && k < 5 ? { class: "n" } : {})));
    const enter = (on) => () => {
      look.hover = on ? i : null;
      redraw();
    };
    for (const event of ["mouseenter", "focus"]) row.addEventListener(event, enter(true));
    for (const event of ["mouseleave", "blur"]) row.addEventListener(event, enter(false));
    row.addEventListener("click", () => focusOn(look.focus === i ? null : i));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        focusOn(look.focus === i ? null : i);
      }
    });
    return row;
  });
  byId("regions").hidden = !rows.length;
  byId("regions").tBodies[0].replaceChildren(...rows);
}

function focusOn(i) {
  look.focus = i;
  [...byId("regions").tBodies[0].rows].forEach((row, k) => row.classList.toggle("chosen", k === i));
  redraw();
  if (!opened.places) return;
  const view = { ...cloud.view, x: 0, y: 0, zoom: 1 };
  const centre = i === null ? null : opened.regions[i].centroid;
  if (centre) {
    const p = opened.toUnit(centre);
    const [a, b] = cloud.rotation();
    const dot = (row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2];
    Object.assign(view, { x: -dot(a), y: -dot(b), zoom: 3 });
  }
  cloud.reset(view);
}

// The frames of all pictures get the shape of what is shown of the part.
function fitFrames(part) {
  const [height, width] = !part.size ? [3, 4] : [windowOf(part, { ...look, focus: null }).tall, windowOf(part, { ...look, focus: null }).wide];
  for (const frame of document.querySelectorAll(".frame")) frame.style.aspectRatio = `${width} / ${Math.min(height, width)}`;
}

function showCloud(part) {
  if (!part.points) {
    if (cloud) cloud.show(new Float32Array(0), new Uint8Array(0), 1);
    return;
  }
  cloud = cloud || new Cloud(byId("view-cloud"));
  const [height, width] = part.cloud.size;
  const [step, count] = [part.cloud.step, height * width];
  const chosen = [];
  const near = []; // on the part, where the map is above 0: it is turned about their middle
  for (let i = 0; i < count; i++) {
    if (part.points[i] === NOWHERE) continue;
    const pixel = [Math.floor(i / width) * step, (i % width) * step];
    if (part.map && codeAt(part, pixel) > 0) near.push(chosen.length);
    chosen.push(i);
  }
  const about = near.length > 50 ? near : chosen.map((_, k) => k);
  const middle = [0, 1, 2].map((axis) => {
    const values = about.map((k) => part.points[axis * count + chosen[k]]).sort((a, b) => a - b);
    return (values[Math.floor(0.01 * values.length)] + values[Math.floor(0.99 * (values.length - 1))]) / 2;
  });
  const reach = about.map((k) => Math.hypot(...middle.map((m, axis) => part.points[axis * count + chosen[k]] - m)));
  const radius = reach.sort((a, b) => a - b)[Math.floor(0.99 * (reach.length - 1))] * 1.05 || 1;
  const signs = [1, -1, -1]; // the camera's y is down and its z away
  const places = new Float32Array(3 * chosen.length);
  part.pixels = new Uint32Array(chosen.length);
  chosen.forEach((i, k) => {
    for (let axis = 0; axis < 3; axis++) places[3 * k + axis] = (signs[axis] * (part.points[axis * count + i] - middle[axis])) / radius;
    part.pixels[k] = i;
  });
  part.toUnit = (metres) => metres.map((m, axis) => (signs[axis] * ((m - part.cloud.origin[axis]) / part.cloud.unit - middle[axis])) / radius);
  part.places = places;
  part.looks = null;
  cloud.show(places, cloudColours(part), pitchOf(part, count, width) / radius);
  cloud.reset();
}

// Distance between points of neighbouring columns, the median of some.
function pitchOf(part, count, width) {
  const steps = [];
  for (let i = 1; i < count; i += 7) {
    if (i % width && part.points[i] !== NOWHERE && part.points[i - 1] !== NOWHERE) steps.push(Math.abs(part.points[i] - part.points[i - 1]));
  }
  return steps.sort((a, b) => a - b)[steps.length >> 1] || 1;
}

function codeAt(part, [row, column]) {
  const [height, width] = part.map.size;
  return part.codes[Math.floor((row * height) / part.size[0]) * width + Math.floor((column * width) / part.size[1])];
}

// The base's colours with the map's laid over them, as in the flat pictures.
function cloudColours(part) {
  const [, width] = part.cloud.size;
  const base = basePixels(part, look.base);
  const table = part.map ? palette(part.map.unit, currentGroup().scale) : null;
  const colours = new Uint8Array(3 * part.pixels.length);
  part.pixels.forEach((i, k) => {
    const [row, column] = [Math.floor(i / width) * part.cloud.step, (i % width) * part.cloud.step];
    const at = base ? 4 * (Math.floor((row * base.height) / part.size[0]) * base.width + Math.floor((column * base.width) / part.size[1])) : 0;
    const code = table ? codeAt(part, [row, column]) : 0;
    const opacity = table ? (look.opacity * table[4 * code + 3]) / 255 : 0;
    for (let c = 0; c < 3; c++) {
      const under = base ? base.data[at + c] : 45;
      colours[3 * k + c] = under + opacity * ((table ? table[4 * code + c] : 0) - under);
    }
  });
  return colours;
}

function basePixels(part, name) {
  const image = part.images[name];
  if (!image) return null;
  part.looks = part.looks || {};
  if (!part.looks[name]) {
    const drawn = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
    const context = drawn.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    part.looks[name] = context.getImageData(0, 0, drawn.width, drawn.height);
  }
  return part.looks[name];
}

function redraw() {
  if (!opened) return;
  drawFrame(byId("view-map"), opened, look, { base: look.base, map: true });
  drawFrame(byId("view-rgb"), opened, look, { base: "rgb", map: false });
  drawFrame(byId("view-depth"), opened, look, { base: "depth", map: false });
}

function recolour() {
  if (!opened) return;
  redraw();
  if (opened.places) cloud.paint(cloudColours(opened));
}
