// The histogram of scores with the threshold, and what the calibration says of that.

const BINS = 60;

class Axis {
  constructor({ low, high, log }) {
    Object.assign(this, { low, high, log });
  }
  at(value) {
    const [low, high, v] = this.log
      ? [this.low, this.high, Math.max(value, this.low)].map(Math.log)
      : [this.low, this.high, value];
    return Math.min(Math.max((v - low) / (high - low), 0), 1);
  }
  value(at) {
    if (!this.log) return this.low + at * (this.high - this.low);
    return Math.exp(Math.log(this.low) + at * Math.log(this.high / this.low));
  }
  // Round numbers, some six of them.
  ticks() {
    if (this.log) {
      const found = [];
      for (let e = Math.floor(Math.log10(this.low)); e <= Math.log10(this.high); e++) {
        for (const m of [1, 2, 5]) {
          const tick = m * 10 ** e;
          if (tick >= this.low && tick <= this.high) found.push(tick);
        }
      }
      return found;
    }
    const rough = (this.high - this.low) / 6;
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = ten * ([1, 2, 5, 10].find((m) => m * ten >= rough) || 10);
    const found = [];
    for (let i = Math.ceil(this.low / step); i * step <= this.high; i++) found.push(i * step);
    return found;
  }
}

const svg = (name, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};

function drawHistogram(target, group, threshold) {
  const axis = new Axis(group.axis);
  const width = Math.max(target.clientWidth || 900, 200);
  const [height, foot, head] = [190, 34, 20];
  const scored = group.rows.filter((row) => row.score !== null);
  const known = scored.some((row) => row.defect !== null);
  const bins = Array.from({ length: BINS }, () => ({ good: 0, defective: 0, any: 0 }));
  for (const row of scored) {
    const bin = bins[Math.min(Math.floor(axis.at(row.score) * BINS), BINS - 1)];
    bin[row.defect === null ? "any" : row.defect === "good" ? "good" : "defective"]++;
  }
  const most = Math.max(1, ...bins.map((b) => b.good + b.defective + b.any));
  const drawn = [];
  const bottom = height - foot;
  bins.forEach((bin, i) => {
    let y = bottom;
    for (const kind of ["good", "any", "defective"]) {
      const tall = (bin[kind] / most) * (bottom - head);
      if (!tall) continue;
      y -= tall;
      drawn.push(svg("rect", { class: kind, x: (i * width) / BINS + 0.5, y, width: width / BINS - 1, height: tall }));
    }
  });
  drawn.push(svg("line", { class: "axis", x1: 0, x2: width, y1: bottom, y2: bottom }));
  for (const tick of axis.ticks()) {
    const x = axis.at(tick) * width;
    drawn.push(svg("text", { x, y: height - 2, "text-anchor": x < 20 ? "start" : x > width - 20 ? "end" : "middle" }, shown(tick)));
  }
  for (const score of group.rates ? group.rates.scores : []) {
    const x = axis.at(score) * width;
    drawn.push(svg("line", { class: "rug", x1: x, x2: x, y1: bottom + 4, y2: bottom + 13 }));
  }
  if (group.threshold !== null && group.threshold !== threshold) {
    const x = axis.at(group.threshold) * width;
    drawn.push(svg("line", { class: "calibrated", x1: x, x2: x, y1: head, y2: bottom }));
  }
  if (threshold !== null) {
    const x = axis.at(threshold) * width;
    drawn.push(svg("line", { class: "mark", x1: x, x2: x, y1: head - 2, y2: bottom + 4 }));
    const end = x > width - 220;
    drawn.push(svg("text", { class: "said", x: end ? x - 8 : x + 8, y: head + 6, "text-anchor": end ? "end" : "start" }, `rejected above ${shown(threshold, 4)}`));
  }
  const legend = [
    ...(known ? [["good", "good parts"], ["defective", "defective parts"]] : [["any", "parts"]]),
    ...(group.rates && width > 600 ? [["rug", "| calibration parts, below the axis"]] : []),
  ];
  let x = width;
  for (const [kind, text] of legend.reverse()) {
    const wide = 7 * text.length + 8;
    x -= wide;
    drawn.push(svg("text", { x, y: 10 }, text));
    if (kind !== "rug") drawn.push(svg("rect", { class: kind, x: x - 14, y: 1, width: 10, height: 10 }));
    x -= 24;
  }
  target.setAttribute("viewBox", `0 0 ${width} ${height}`);
  target.replaceChildren(...drawn);
}

// The false-reject rate at a threshold by the calibration parts, see cmad.calibrate.RejectRate.
function rateAt(rates, threshold) {
  const above = rates.scores.filter((score) => score > threshold).length;
  const tied = rates.scores.includes(threshold);
  return {
    above,
    parts: rates.scores.length,
    at_most: rates.at_most[above],
    low: (tied ? rates.tied : rates.low)[above],
    high: rates.high[above],
  };
}
