"use strict";
// From the page's text back to arrays: what cmad.report.page.packing has packed.

const record = JSON.parse(document.getElementById("record").textContent);
const byId = (id) => document.getElementById(id);
const NOWHERE = -32768;

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Rows of differences to the left neighbour, modulo 256.
async function bytesOf(text, [height, width]) {
  const values = await inflate(text);
  for (let row = 0; row < height; row++) {
    for (let i = row * width + 1; i < (row + 1) * width; i++) values[i] += values[i - 1];
  }
  return values;
}

// Likewise of 16 bits, three planes: all low bytes, then all high ones.
async function pointsOf(text, [height, width]) {
  const bytes = await inflate(text);
  const count = 3 * height * width;
  const values = new Int16Array(count);
  for (let row = 0; row < 3 * height; row++) {
    let sum = 0;
    for (let i = row * width; i < (row + 1) * width; i++) {
      sum += bytes[i] | (bytes[count + i] << 8);
      values[i] = sum;
    }
  }
  return values;
}

function loadImage(url) {
  return new Promise((done) => {
    if (!url) return done(null);
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => done(null);
    image.src = url;
  });
}

// A part's numbers and pictures, decoded when it is opened.
async function decode(id) {
  const packed = JSON.parse(byId(`part-${id}`).textContent);
  const [rgb, depth, codes, truth, points] = await Promise.all([
    loadImage(packed.rgb),
    loadImage(packed.depth),
    packed.map && bytesOf(packed.map.codes, packed.map.size),
    packed.truth && bytesOf(packed.truth.bits, packed.truth.size),
    packed.cloud && pointsOf(packed.cloud.xyz, packed.cloud.size),
  ]);
  return { ...packed, images: { rgb, depth }, codes, bits: truth, points };
}

// The share of the colour scale, 0 to 1, that a code of a map stands for.
const shareOf = (code, unit, scale) => {
  const value = code ? ((code + 0.5) / 128) * unit : 0;
  return Math.min(Math.max((value - scale.low) / (scale.high - scale.low), 0), 1);
};

function colourAt(share) {
  const at = share * (record.colours.length - 1);
  const i = Math.min(Math.floor(at), record.colours.length - 2);
  return record.colours[i].map((low, c) => low + (at - i) * (record.colours[i + 1][c] - low));
}

// 256 colours with the opacity that rises over the first half of the scale, as RGBA.
function palette(unit, scale) {
  const table = new Uint8ClampedArray(1024);
  for (let code = 0; code < 256; code++) {
    const share = shareOf(code, unit, scale);
    table.set([...colourAt(share), 255 * Math.min(2 * share, 1)], 4 * code);
  }
  return table;
}

const shown = (value, digits = 3) => {
  if (value === null || value === undefined) return "–";
  const text = value.toPrecision(digits);
  return text.includes("e") ? text : String(Number(text));
};
const percent = (share) => {
  const value = 100 * share;
  return `${value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2)} %`;
};
const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
