// A line of the latest round-trip times, newest at the right; null is a missing answer.

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 240;
const HEIGHT = 64;
const MARGIN = 4;
const SLOTS = 60;

export class Sparkline {
  #svg;
  #samples = [];

  constructor(svg) {
    this.#svg = svg;
    this.#draw();
  }

  get samples() {
    return this.#samples;
  }

  clear() {
    this.#samples = [];
    this.#draw();
  }

  add(sample) {
    this.#samples = [...this.#samples, sample].slice(-SLOTS);
    this.#draw();
  }

  // {fastest, median, slowest} of the answered ones, or null
  summary() {
    const sorted = this.#samples.filter((sample) => sample !== null).sort((a, b) => a - b);
    if (!sorted.length) return null;
    return { fastest: sorted[0], median: sorted[Math.floor(sorted.length / 2)], slowest: sorted.at(-1) };
  }

  #draw() {
    const floor = HEIGHT - MARGIN;
    const top = Math.max(...this.#samples.filter((sample) => sample !== null), 1) * 1.1;
    const x = (index) => WIDTH - MARGIN - (this.#samples.length - 1 - index) * (WIDTH - 2 * MARGIN) / (SLOTS - 1);
    const y = (sample) => floor - (sample / top) * (floor - MARGIN);
    const parts = [shape('line', 'base', { x1: 0, y1: floor, x2: WIDTH, y2: floor })];
    for (const run of runs(this.#samples)) {
      const points = run.map(([index, sample]) => `${x(index).toFixed(1)} ${y(sample).toFixed(1)}`);
      const line = `M${points.join('L')}`;
      const [first, last] = [x(run[0][0]), x(run.at(-1)[0])];
      parts.push(shape('path', 'area', { d: `${line}L${last} ${floor}L${first} ${floor}Z` }));
      parts.push(shape('path', 'line', { d: points.length > 1 ? line : `${line}h0` }));
    }
    this.#samples.forEach((sample, index) => {
      if (sample === null) parts.push(shape('path', 'lost', { d: `M${x(index)} ${floor}v-8` }));
    });
    const newest = this.#samples.at(-1);
    if (typeof newest === 'number') {
      // A line of length 0 with round ends is a dot that keeps its shape in a stretched SVG.
      parts.push(shape('path', 'dot', { d: `M${WIDTH - MARGIN} ${y(newest).toFixed(1)}h0` }));
    }
    this.#svg.replaceChildren(...parts);
  }
}

function shape(name, style, attributes) {
  const element = document.createElementNS(SVG, name);
  element.setAttribute('class', style);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// the unbroken runs of answered samples, as [index, sample]
function runs(samples) {
  const found = [];
  let run = [];
  samples.forEach((sample, index) => {
    if (sample !== null) run.push([index, sample]);
    if (run.length && (sample === null || index === samples.length - 1)) {
      found.push(run);
      run = [];
    }
  });
  return found;
}
