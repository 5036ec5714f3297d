"use strict";
// The live page: what the server tells is drawn; where it tells nothing, no old verdict is shown.
const KEPT = 200, ROWS = 12, SILENT = 15000; // parts, lines of the table, ms without a sign of life
const SIGNS = { accepted: "✓", rejected: "✗", "not inspected": "?", "not scored": "!", "without verdict": "–" };
const parts = new Map(); // by model, the latest last
let shown = "", state = null, heard = 0;

const at = (id) => document.getElementById(id);
const of = (model) => parts.get(model) || [];
const digits = (value) => (value === null ? "" : Number(value).toPrecision(3));

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text; // never HTML: names come from elsewhere
  if (kind) made.className = kind;
  return made;
}

function take(message) {
  state = message;
  for (const model of message.models) if (!parts.has(model)) parts.set(model, []);
  for (const part of message.parts) {
    const kept = of(part.model);
    if (kept.length && kept[kept.length - 1].number >= part.number) continue;
    kept.push(part);
    if (kept.length > KEPT) kept.shift();
  }
  if (!message.models.includes(shown)) shown = message.models[0];
  draw();
}

function draw() {
  if (!state) return;
  const kept = of(shown), last = kept[kept.length - 1];
  // What was judged before the server began (no time) is no verdict on what lies there now.
  verdict(last && last.time !== null ? last : undefined);
  models();
  drift(state.drift[shown]);
  at("notes").textContent = state.notes.join("; ");
  trend(kept);
  course(kept, state.drift[shown]);
  shifts();
  at("last").tBodies[0].replaceChildren(...kept.slice(-ROWS).reverse().map(row));
}

function verdict(last) {
  if (Date.now() - heard > SILENT) return away();
  const word = last ? last.verdict : "no part yet";
  document.body.className = word.replaceAll(" ", "-");
  at("word").textContent = `${SIGNS[word] || ""} ${word}`.trim();
  const against = last && last.score !== null ? `, score ${digits(last.score)}` +
    (last.threshold === null ? "" : ` ${last.score <= last.threshold ? "≤" : ">"} ${digits(last.threshold)}`) : "";
  at("part").textContent = last ? `${last.name}${against}${last.error ? `: ${last.error}` : ""}` : "";
}

function away() {
  document.body.className = "away";
  at("word").textContent = "no connection";
  at("part").textContent = "";
}

function models() {
  if (state.models.length < 2) return at("models").replaceChildren();
  if (at("models").dataset.names === JSON.stringify([state.models, shown])) return;
  at("models").dataset.names = JSON.stringify([state.models, shown]);
  at("models").replaceChildren(...state.models.map((name) => {
    const made = element("button", name);
    made.setAttribute("aria-pressed", String(name === shown));
    made.onclick = () => { shown = name; draw(); };
    return made;
  }));
}

function drift(found) {
  const alarm = found && found.moved.length > 0;
  at("drift").className = alarm ? "alarm" : "";
  at("drift").textContent = !found ? "Drift: not watched" : alarm ? `Drift: ${found.moved.join("; ")}`
    : `Drift: none in ${found.parts} parts (highest stake ${digits(found.stake)} of ${Math.round(found.limit)}, ${found.stream})`;
}

function drawn(name, kind, values) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  node.setAttribute("class", kind);
  for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
  return node;
}

function course(kept, found) {
  const stakes = kept.map((part) => part.stake).filter((stake) => stake !== null);
  at("course").hidden = !found || !stakes.length;
  if (at("course").hidden) return;
  const low = -2, high = Math.log10(Math.max(10 * found.limit, ...stakes));
  const y = (stake) => 100 * (1 - (Math.max(Math.log10(stake), low) - low) / (high - low));
  const points = stakes.map((stake, i) => `${1000 * (i + 0.5) / Math.max(stakes.length, 20)},${y(stake)}`);
  at("stakes").replaceChildren(
    drawn("line", "limit", { x1: 0, x2: 1000, y1: y(found.limit), y2: y(found.limit) }),
    drawn("polyline", "run", { points: points.join(" ") }));
}

function trend(kept) {
  const scored = kept.filter((part) => part.score !== null);
  const limit = scored.length ? scored[scored.length - 1].threshold : null;
  const values = scored.map((part) => part.score).concat(limit === null ? [] : [limit]);
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) return at("trend").replaceChildren();
  const room = (high - low || Math.abs(high) || 1) * 0.1;
  low -= room; high += room;
  const y = (value) => 260 * (1 - (value - low) / (high - low));
  const x = (i) => 1000 * (i + 0.5) / Math.max(scored.length, 20);
  const made = [];
  const add = (name, kind, values) => {
    made.push(drawn(name, kind, values));
    return made[made.length - 1];
  };
  if (limit !== null) add("line", "limit", { x1: 0, x2: 1000, y1: y(limit), y2: y(limit) });
  add("polyline", "run", { points: scored.map((part, i) => `${x(i)},${y(part.score)}`).join(" ") });
  scored.forEach((part, i) => {
    const over = part.verdict !== "accepted" && part.verdict !== "without verdict";
    // A line of no length with round ends: a dot that stays round when the drawing is stretched.
    const dot = add("line", over ? "dot over" : "dot", { x1: x(i), x2: x(i), y1: y(part.score), y2: y(part.score) });
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${part.name}: ${part.verdict}, ${digits(part.score)}`;
    dot.append(title);
  });
  at("trend").replaceChildren(...made);
  at("low").textContent = `${scored.length} parts, ${digits(low)} below`;
  at("line").textContent = limit === null ? "no threshold" : `dashed: threshold ${digits(limit)}`;
  at("high").textContent = `${digits(high)} above`;
}

function shifts() {
  at("shifts").tBodies[0].replaceChildren(...state.shifts.map((shift) => {
    const counts = shift.models[shown] || {}, made = element("tr");
    const all = Object.values(counts).reduce((sum, n) => sum + n, 0);
    const cells = ["accepted", "rejected", "not inspected", "not scored"].map((name) => counts[name] || 0);
    made.append(...[shift.begun, ...cells, all].map((text) => element("td", text)));
    return made;
  }));
}

function row(part) {
  const made = element("tr", undefined, part.verdict.replaceAll(" ", "-"));
  const said = part.error ? `${part.verdict}: ${part.error}` : `${SIGNS[part.verdict] || ""} ${part.verdict}`;
  made.append(...[part.time === null ? "before" : part.time, part.name, said, digits(part.score), digits(part.p_value), part.regions]
    .map((text) => element("td", text)));
  return made;
}

function listen() {
  const source = new EventSource("/events");
  source.onmessage = (event) => { heard = Date.now(); take(JSON.parse(event.data)); };
  source.onerror = () => {
    away();
    // A server that was started anew counts its parts from 1 again.
    parts.clear();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

setInterval(() => { if (Date.now() - heard > SILENT) away(); }, 1000);
listen();
