// What moves between the overview and a part, legends, keys.

function drawLegends() {
  const { scale } = currentGroup();
  const end = scale.high;
  const stops = Array.from({ length: 41 }, (_, i) => {
    const share = Math.min(Math.max(((i / 40) * end - scale.low) / (scale.high - scale.low), 0), 1);
    return `rgb(${colourAt(share).map(Math.round).join(" ")})`;
  });
  for (const legend of document.querySelectorAll(".legend")) {
    const ramp = element("span", null, { class: "ramp" });
    ramp.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    const ends = element("span", null, { class: "ends" });
    ends.append(element("span", "0"), element("span", `${shown(end)}`));
    legend.replaceChildren(ramp, ends);
    legend.title = scale.why;
    if (scale.mark === null) continue;
    const tick = element("span", null, { class: "tick" });
    const at = element("span", `threshold ${shown(scale.mark)}`, { class: "at" });
    tick.style.left = at.style.left = `${(100 * scale.mark) / end}%`;
    legend.append(tick);
    ends.append(at);
  }
}

function chooseGroup(index) {
  state.group = index;
  byId("group").value = index;
  byId("value").blur(); // a field that is typed in keeps its number
  for (const part of document.querySelectorAll("#foot section, .of-line")) part.hidden = Number(part.dataset.group) !== index;
  byId("filters").reset();
  fillFilters();
  drawLegends();
  sortRows();
  showThreshold();
}

// The address says what is shown, so that the browser's back and a copied link work.
function route() {
  const id = Number((location.hash.match(/^#part=(\d+)$/) || [])[1] ?? NaN);
  const known = rowOf(id);
  const before = state.open;
  state.open = known ? id : null;
  byId("overview").hidden = Boolean(known);
  byId("part").hidden = !known;
  if (!known) {
    document.title = `${record.title} – inspection report`;
    showThreshold();
    if (before !== null) tableRows.get(before).querySelector("a").focus();
    return;
  }
  if (known[2] !== state.group) chooseGroup(known[2]);
  document.title = `${known[1].name} – ${record.title}`;
  window.scrollTo(0, 0);
  openPart(id);
}

function neighbours() {
  const ids = listed();
  const at = ids.indexOf(state.open);
  return { at, count: ids.length, previous: ids[at - 1], next: at < 0 ? ids[0] : ids[at + 1] };
}

function walk() {
  const { at, count, previous, next } = neighbours();
  byId("position").textContent = at < 0 ? "" : `${at + 1} of ${count}`;
  for (const [name, id] of [["previous", previous], ["next", next]]) {
    byId(name).hidden = id === undefined;
    byId(name).href = `#part=${id}`;
  }
}

function step(by) {
  const links = listed().map((id) => tableRows.get(id).querySelector("a"));
  const at = links.indexOf(document.activeElement);
  const link = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1)];
  if (link) link.focus();
}

function toggle(name) {
  if (!byId(name).parentElement.hidden) byId(name).click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input:not([type=checkbox]), select");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (state.open !== null && look.focus !== null) focusOn(null);
    else if (state.open !== null) location.hash = "";
    return;
  }
  if (typing) return;
  const keys = { "?": () => byId("help").showModal() };
  if (state.open === null) {
    Object.assign(keys, { j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1), "/": () => byId("f-name").focus() });
  } else {
    const go = (id) => () => id !== undefined && (location.hash = `#part=${id}`);
    const { previous, next } = neighbours();
    Object.assign(keys, { ArrowLeft: go(previous), k: go(previous), ArrowRight: go(next), j: go(next) });
    Object.assign(keys, { o: () => toggle("outlines"), t: () => toggle("mask"), w: () => toggle("whole"), c: () => byId("view-cloud").focus() });
  }
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

byId("parts").tBodies[0].addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && !event.target.closest("a") && !getSelection().toString()) location.hash = `#part=${row.dataset.id}`;
});
for (const button of document.querySelectorAll("#parts th button")) {
  button.addEventListener("click", () => {
    const { key, down } = state.sort;
    const name = button.dataset.key;
    const first = name === "score" || name === "area" || name === "regions"; // the largest first
    state.sort = { key: name, down: key === name ? !down : first };
    sortRows();
  });
}
byId("filters").addEventListener("input", filterRows);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(filterRows));
byId("threshold").addEventListener("input", () => setThreshold(new Axis(currentGroup().axis).value(byId("threshold").value / 1000)));
byId("value").addEventListener("input", () => {
  if (Number.isFinite(byId("value").valueAsNumber)) setThreshold(byId("value").valueAsNumber);
});
byId("reset").addEventListener("click", () => setThreshold(currentGroup().threshold));
byId("group").addEventListener("change", () => chooseGroup(Number(byId("group").value)));
byId("group-label").hidden = record.groups.length < 2;
byId("keys").addEventListener("click", () => byId("help").showModal());
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
byId("opacity").addEventListener("input", () => {
  look.opacity = byId("opacity").value / 100;
  byId("opacity-value").textContent = `${byId("opacity").value} %`;
  recolour();
});
byId("base").addEventListener("change", () => {
  look.base = byId("base").value;
  recolour();
});
for (const name of ["outlines", "mask", "whole"]) {
  byId(name).addEventListener("change", () => {
    look[name] = byId(name).checked;
    if (opened && name === "whole") fitFrames(opened);
    redraw();
  });
}
byId("view-map").addEventListener("pointermove", (event) => {
  if (!opened || !opened.map) return;
  const canvas = byId("view-map");
  const seen = windowOf(opened, look);
  const scale = Math.min(canvas.clientWidth / seen.wide, canvas.clientHeight / seen.tall);
  const row = seen.top + seen.tall / 2 + (event.offsetY - canvas.clientHeight / 2) / scale;
  const column = seen.left + seen.wide / 2 + (event.offsetX - canvas.clientWidth / 2) / scale;
  byId("under").textContent = valueAt(opened, row, column);
});
byId("view-map").addEventListener("pointerleave", () => (byId("under").textContent = ""));
let resized = 0;
window.addEventListener("resize", () => {
  cancelAnimationFrame(resized);
  resized = requestAnimationFrame(() => {
    if (state.open === null) drawHistogram(byId("histogram"), currentGroup(), state.thresholds[state.group]);
    redraw();
    if (cloud) cloud.draw();
  });
});
window.addEventListener("hashchange", route);
chooseGroup(0);
// The parts stand behind this script: one that the address names may not be here yet.
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", route);
else route();
document.documentElement.dataset.ready = "";
