// All parts: counts, histogram, threshold, what is wrong where the truth is known, the table.

const state = {
  group: 0,
  open: null, // id of the part that is shown
  thresholds: record.groups.map((group) => group.threshold),
  sort: { key: "verdict", down: false } // what a person has to look after comes first,
};
const currentGroup = () => record.groups[state.group];
const ORDER = new Map(record.verdicts.map((name, i) => [name, i]));
const tableRows = new Map([...byId("parts").tBodies[0].rows].map((row) => [Number(row.dataset.id), row]));
const rowsById = new Map(record.groups.flatMap((group, g) => group.rows.map((row) => [row.id, [group, row, g]])));
const rowOf = (id) => rowsById.get(id);

// As cmad.Prediction.verdict and cmad.report.page.rows.verdict do.
function verdictOf(row, threshold) {
  if (row.error !== null || row.score === null) return "not scored";
  if (threshold !== null && row.score > threshold) return "rejected";
  if (!row.inspected) return "not inspected";
  return threshold === null ? "no verdict" : "accepted";
}

function count(group, threshold) {
  const found = Object.fromEntries(record.verdicts.map((name) => [name, 0]));
  const wrong = { "false reject": [], missed: [] };
  let [good, defective] = [0, 0];
  for (const row of group.rows) {
    const verdict = verdictOf(row, threshold);
    found[verdict]++;
    const came = outcome(row, verdict);
    if (came) row.defect === "good" ? good++ : defective++;
    if (came in wrong) wrong[came].push(row);
  }
  return { verdicts: found, wrong, good, defective };
}

function showThreshold() {
  const group = currentGroup();
  const threshold = state.thresholds[state.group];
  const { verdicts, wrong, good, defective } = count(group, threshold);
  const before = count(group, group.threshold).verdicts;
  const always = threshold === null ? [] : ["rejected", "accepted"];
  const tiles = record.verdicts.filter((name) => verdicts[name] || before[name] || always.includes(name));
  byId("tiles").replaceChildren(...tiles.map((name) => tile(name, verdicts[name], group.rows.length, before[name])));
  drawHistogram(byId("histogram"), group, threshold);
  const axis = new Axis(group.axis);
  byId("threshold").value = threshold === null ? 1000 : Math.round(1000 * axis.at(threshold));
  if (document.activeElement !== byId("value")) byId("value").value = threshold === null ? "" : Number(threshold.toPrecision(6));
  byId("reset").disabled = threshold === group.threshold;
  byId("reset").hidden = group.threshold === null;
  byId("rate").textContent = rateText(group, threshold);
  byId("truth").textContent = good + defective ? `Truth known of ${good} good and ${defective} defective parts` : "";
  const lines = [];
  if (defective) lines.push(named(`Missed ${wrong.missed.length} of ${defective} defective parts`, wrong.missed));
  if (good) lines.push(named(`Rejected ${wrong["false reject"].length} of ${good} good parts`, wrong["false reject"]));
  byId("wrong").replaceChildren(...lines);
  for (const row of group.rows) {
    const cell = tableRows.get(row.id).querySelector(".v");
    const verdict = verdictOf(row, threshold);
    cell.textContent = cell.dataset.v = verdict;
    const truth = tableRows.get(row.id).querySelector("td.of-truth");
    const came = outcome(row, verdict);
    truth.textContent = row.defect === null ? "–" : row.defect;
    if (came === "missed" || came === "false reject") truth.append(" ", element("b", came === "missed" ? "missed" : "falsely rejected", { class: "v", "data-v": came }));
  }
  filterRows();
}

function tile(name, number, total, before) {
  const made = element("button", null, { type: "button", class: "tile", "data-v": name, "aria-pressed": byId("f-verdict").value === name });
  const share = total ? `${percent(number / total)} of ${total}` : "";
  const was = state.thresholds[state.group] !== currentGroup().threshold && before !== number ? `, calibrated ${before}` : "";
  made.append(element("b", number), element("span", name[0].toUpperCase() + name.slice(1)), element("small", share + was));
  made.addEventListener("click", () => {
    byId("f-verdict").value = byId("f-verdict").value === name ? "" : name;
    showThreshold();
    document.querySelector(`.tile[data-v="${name}"]`)?.focus();
  });
  return made;
}

function rateText(group, threshold) {
  if (threshold === null) return "Not calibrated: no verdicts. Move the threshold to try one.";
  if (!group.rates) return "The calibration scores are not known, so neither is the false-reject rate here.";
  const rate = rateAt(group.rates, threshold);
  return (
    `False rejects here: at most ${percent(rate.at_most)} of good parts on average ` +
    `(9 of 10 calibrations: ${percent(rate.low)} to ${percent(rate.high)}); ` +
    `${rate.above} of ${rate.parts} calibration parts are above.`
  );
}

function named(text, rows) {
  const line = element("p");
  line.append(rows.length ? element("b", text) : text, rows.length ? ": " : "");
  rows.slice(0, 40).forEach((row, i) => line.append(i ? ", " : "", element("a", row.name, { href: `#part=${row.id}` })));
  if (rows.length > 40) line.append(` and ${rows.length - 40} more`);
  return line;
}

function setThreshold(value) {
  state.thresholds[state.group] = value;
  showThreshold();
}

// ---- the table

const numberIn = (name) => (byId(name).value === "" ? null : byId(name).valueAsNumber);

function passes(row) {
  const verdict = verdictOf(row, state.thresholds[state.group]);
  const truth = byId("f-truth").value;
  const came = outcome(row, verdict);
  const within = (value, low, high) =>
    (low === null && high === null) || (value !== null && (low === null || value >= low) && (high === null || value <= high));
  return (
    row.name.toLowerCase().includes(byId("f-name").value.trim().toLowerCase()) &&
    (!byId("f-verdict").value || verdict === byId("f-verdict").value) &&
    (!truth || (truth === "= wrong" ? came === "missed" || came === "false reject" : row.defect === truth)) &&
    (!byId("f-modality").value || row.modality === byId("f-modality").value) &&
    within(row.score, numberIn("f-score-low"), numberIn("f-score-high")) &&
    within(row.p, numberIn("f-p-low"), numberIn("f-p-high")) &&
    within(row.area, numberIn("f-area-low"), numberIn("f-area-high"))
  );
}

function filterRows() {
  let visible = 0;
  for (const [id, tr] of tableRows) {
    const [, row, g] = rowOf(id);
    tr.hidden = g !== state.group || !passes(row);
    visible += !tr.hidden;
  }
  const total = currentGroup().rows.length;
  byId("shown").textContent = visible === total ? `${total}` : `${visible} of ${total}`;
  for (const made of document.querySelectorAll(".tile")) made.setAttribute("aria-pressed", made.dataset.v === byId("f-verdict").value);
}

function sortRows() {
  const { key, down } = state.sort;
  const of = (row) => (key === "verdict" ? ORDER.get(verdictOf(row, state.thresholds[state.group])) : row[key]);
  const order = [...rowsById.values()].map(([, row]) => row);
  if (key !== null) {
    order.sort((a, b) => {
      const [x, y] = [of(a), of(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a.id - b.id; // unknown ones last
      const said = typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
      return (down ? -said : said) || (key === "verdict" ? b.score - a.score : 0) || a.id - b.id;
    });
  }
  byId("parts").tBodies[0].append(...order.map((row) => tableRows.get(row.id)));
  for (const button of document.querySelectorAll("#parts th button")) {
    const sorted = button.dataset.key === key ? (down ? "descending" : "ascending") : "none";
    button.parentElement.setAttribute("aria-sort", sorted);
  }
}

// Ids of the parts that pass the filters, in the order of the table.
const listed = () => [...byId("parts").tBodies[0].rows].filter((row) => !row.hidden).map((row) => Number(row.dataset.id));

function fillFilters() {
  const group = currentGroup();
  const fill = (name, values) => {
    const select = byId(name);
    select.replaceChildren(element("option", "any", { value: "" }), ...values.map(([value, text]) => element("option", text, { value })));
  };
  const distinct = (key) => [...new Set(group.rows.map((row) => row[key]).filter((value) => value !== null))].sort();
  fill("f-verdict", record.verdicts.map((name) => [name, name]));
  fill("f-modality", distinct("modality").map((name) => [name, name]));
  const kinds = distinct("defect");
  fill("f-truth", [...(kinds.length ? [["= wrong", "missed or falsely rejected"]] : []), ...kinds.map((name) => [name, name])]);
  byId("l-truth").hidden = !kinds.length;
  for (const cell of document.querySelectorAll("#parts .of-truth")) cell.hidden = !kinds.length;
}
