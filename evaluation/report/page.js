'use strict';
// Draws the charts and the slider of samples from the JSON of the page. All text goes
// in as text, never as HTML.
const data = JSON.parse(document.getElementById('data').textContent);
const axis = document.getElementById('axis'), smooth = document.getElementById('smooth');
const PAD = {left: 52, right: 10, top: 8, bottom: 22}, HEIGHT = 220;
const DASHES = ['', '5 3', '2 3', '8 3 2 3'];

function element(parent, name, attributes = {}, text = '') {
  const svg = ['svg', 'path', 'line', 'text', 'circle', 'g'].includes(name);
  const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', name)
                   : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

const colour = (one) => `var(--c${one.colour % 8})`;
const dash = (one) => DASHES[(one.dash + Math.floor(one.colour / 8)) % DASHES.length];

function format(v) {
  if (v === 0 || !Number.isFinite(v)) return String(v);
  const size = Math.abs(v);
  if (size >= 1e6 || size < 1e-3)
    return Number(v.toPrecision(3)).toExponential().replace('e+', 'e');
  return String(Number(v.toPrecision(size >= 1000 ? 6 : 4)));
}

function clock(s) {
  const two = (n) => String(Math.floor(n)).padStart(2, '0');
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(s % 3600 / 60)}:${two(s % 60)}`
                   : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

// The values of a column, and of another one (step, seconds) at the same lines.
function column(run, key, of = null) {
  const columns = data.runs[run].columns, {v, at} = columns[key];
  if (of === null) return v;
  const other = columns[of];
  if (!other) return null;
  if (!other.at) return at ? at.map((i) => other.v[i]) : other.v;
  const found = new Map(other.at.map((i, k) => [i, other.v[k]]));
  return (at || v.map((_, i) => i)).map((i) => found.get(i) ?? NaN);
}

// {x, y, low, high} of a series, against the step, the time, or an x of its own.
function values(one) {
  if (one.x) return one;
  const x = column(one.run, one.key, axis.value) || column(one.run, one.key, 'step');
  const bands = one.low ? {low: column(one.run, one.low), high: column(one.run, one.high)}
                        : {};
  const same = !one.low || bands.low.length === x.length && bands.high.length === x.length;
  return {x, y: column(one.run, one.key), ...(same ? bands : {})};
}

// An exponential mean, corrected for its start.
function smoothed(y, share) {
  if (!share) return y;
  let sum = 0, weight = 0;
  return y.map((v) => {
    sum = share * sum + (1 - share) * v;
    weight = share * weight + 1 - share;
    return sum / weight;
  });
}

function ticks(low, high, log) {
  if (log) {
    const marks = [], from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
    const every = Math.max(1, Math.ceil((to - from) / 6));
    for (let p = from; p <= to; p += every)
      for (const m of to - from <= 2 ? [1, 2, 5] : [1]) marks.push(m * 10 ** p);
    const inside = marks.filter((v) => v >= low && v <= high);
    if (inside.length > 1) return inside;
  }
  const raw = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw), marks = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step)
    marks.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return marks;
}

function range(numbers) {
  let low = Infinity, high = -Infinity;
  for (const v of numbers)
    if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
  return low > high ? [0, 1] : [low, high];
}

// A line through points; of many on one pixel the first, least, greatest and last.
function outline(xs, ys) {
  const parts = [];
  let at = null, group = [];
  const flush = () => {
    if (!group.length) return;
    const pick = group.length < 5 ? group : [...new Set([
      group[0], group.reduce((a, b) => ys[a] < ys[b] ? a : b),
      group.reduce((a, b) => ys[a] > ys[b] ? a : b), group.at(-1)])].sort((a, b) => a - b);
    for (const i of pick)
      parts.push(`${parts.length ? 'L' : 'M'}${xs[i].toFixed(1)} ${ys[i].toFixed(1)}`);
    group = [];
  };
  xs.forEach((x, i) => {
    if (!Number.isFinite(x) || !Number.isFinite(ys[i])) return;
    if (Math.round(x) !== at) { flush(); at = Math.round(x); }
    group.push(i);
  });
  flush();
  return parts.join('');
}

function draw(figure, chart, state) {
  figure.querySelector('svg')?.remove();
  const width = Math.max(figure.clientWidth - 28, 120), log = state.log;
  const svg = element(figure, 'svg', {viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img'});
  figure.querySelector('.legend').before(svg);
  const all = chart.series.map((one) => ({one, ...values(one)}));
  const time = axis.value === 'seconds' && !chart.series[0].x;
  const fits = (v) => Number.isFinite(v) && (!log || v > 0);
  const [x0, x1] = range(all.flatMap((s) => s.x));
  let [low, high] = range(all.flatMap((s) => [...s.y, ...(s.low || []), ...(s.high || [])]
    .filter(fits)));
  if (low === high) { low -= Math.abs(low) / 10 || 1; high += Math.abs(high) / 10 || 1; }
  if (log && low <= 0) low = high / 10;
  const scale = log ? Math.log : (v) => v;
  const inner = {w: width - PAD.left - PAD.right, h: HEIGHT - PAD.top - PAD.bottom};
  const X = (v) => PAD.left + inner.w * (x1 > x0 ? (v - x0) / (x1 - x0) : 0.5);
  const Y = (v) => fits(v) ? PAD.top + inner.h * (1 - (scale(v) - scale(low))
    / (scale(high) - scale(low))) : NaN;
  for (const v of ticks(low, high, log)) {
    element(svg, 'line', {class: 'axis', x1: PAD.left, x2: width - PAD.right, y1: Y(v),
                          y2: Y(v)});
    element(svg, 'text', {x: PAD.left - 6, y: Y(v) + 4, 'text-anchor': 'end'}, format(v));
  }
  for (const v of x1 > x0 ? ticks(x0, x1, false) : [x0])
    element(svg, 'text', {x: Math.min(X(v), width - 16), y: HEIGHT - 6,
                          'text-anchor': 'middle'}, time ? clock(v) : format(v));
  const share = chart.series[0].x ? 0 : Number(smooth.value);
  for (const s of all) {
    const xs = s.x.map(X), raw = s.y.map(Y), mean = smoothed(s.y, share).map(Y);
    s.xs = xs;
    if (s.low) {
      const edge = [...s.high.map(Y), ...s.low.map(Y).reverse()];
      const path = [...xs, ...[...xs].reverse()].map((x, i) => `${i ? 'L' : 'M'}${x} ${edge[i]}`);
      element(svg, 'path', {class: 'band', d: path.join('') + 'Z', style:
        `fill: ${colour(s.one)}`});
    }
    const style = `stroke: ${colour(s.one)}; stroke-dasharray: ${dash(s.one) || 'none'}`;
    if (share) element(svg, 'path', {class: 'raw', d: outline(xs, raw), style});
    element(svg, 'path', {d: outline(xs, mean), style});
    if (xs.length < 40)
      xs.forEach((x, i) => Number.isFinite(mean[i]) && element(svg, 'circle',
        {cx: x, cy: mean[i], r: 2.4, style: `fill: ${colour(s.one)}`}));
  }
  hover(figure, svg, all, width, time);
}

// The values under the pointer, in a box beside it.
function hover(figure, svg, all, width, time) {
  const tip = figure.querySelector('.tip');
  const line = element(svg, 'line', {class: 'cursor', y1: PAD.top, y2: HEIGHT - PAD.bottom,
                                     visibility: 'hidden'});
  svg.onpointerleave = () => {
    tip.hidden = true; line.setAttribute('visibility', 'hidden');
  };
  svg.onpointermove = (event) => {
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) * width / box.width;
    let best = null;
    const near = (xs) => xs.reduce((a, x, i) =>
      a < 0 || Math.abs(x - at) < Math.abs(xs[a] - at) ? i : a, -1);
    const found = all.map((s) => ({s, i: near(s.xs)})).filter(({i}) => i >= 0);
    for (const {s, i} of found)
      if (best === null || Math.abs(s.xs[i] - at) < Math.abs(best.px - at))
        best = {px: s.xs[i], v: s.x[i]};
    if (!best) return;
    line.setAttribute('x1', best.px); line.setAttribute('x2', best.px);
    line.setAttribute('visibility', 'visible');
    tip.replaceChildren(); tip.hidden = false;
    element(tip, 'div', {}, time ? clock(best.v) : format(best.v));
    for (const {s, i} of found.slice(0, 14)) {
      const row = element(tip, 'div');
      element(row, 'i', {style: `border-color: ${colour(s.one)}`});
      const band = s.low ? ` (${format(s.low[i])} to ${format(s.high[i])})` : '';
      row.append(`${format(s.y[i])}${band}  ${s.one.label}`);
    }
    const left = best.px / width * box.width + svg.offsetLeft;
    const x = left > box.width / 2 ? left - tip.offsetWidth - 14 : left + 14;
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${figure.querySelector('.legend').offsetTop - HEIGHT + 4}px`;
  };
}

function begin(figure) {
  const chart = data.charts[figure.dataset.chart], state = {log: chart.log};
  const head = element(figure, 'header');
  element(head, 'span', {}, chart.title);
  const button = element(head, 'button', {type: 'button', 'aria-pressed': state.log}, 'log');
  if (chart.note) element(figure, 'div', {class: 'note'}, chart.note);
  const legend = element(figure, 'div', {class: 'legend'});
  for (const one of chart.series.length > 1 || chart.series[0].x ? chart.series : []) {
    const item = element(legend, 'span');
    element(item, 'i', {style: `border-color: ${colour(one)}; border-top-style: ${
      dash(one) ? 'dashed' : 'solid'}`});
    item.append(one.label);
  }
  element(figure, 'div', {class: 'tip', hidden: ''});
  const again = () => draw(figure, chart, state);
  button.onclick = () => {
    state.log = !state.log; button.setAttribute('aria-pressed', state.log); again();
  };
  again();
  return again;
}

// Pictures of several runs at the same step, or at the last one before it.
function slider(place) {
  const sheets = data.sheets[place.dataset.sheets];
  const steps = [...new Set(sheets.flatMap((s) => s.steps))].sort((a, b) => a - b);
  const bar = element(place, 'div', {class: 'bar'});
  const play = element(bar, 'button', {type: 'button', 'aria-label': 'play'}, '▶');
  const input = element(bar, 'input', {type: 'range', min: 0, max: steps.length - 1,
                                       value: steps.length - 1, 'aria-label': 'step'});
  const output = element(bar, 'output'), row = element(place, 'div', {class: 'sheets'});
  const shown = sheets.map((sheet) => {
    const figure = element(row, 'figure');
    if (sheets.length > 1) element(figure, 'figcaption', {}, sheet.name);
    return element(figure, 'img', {alt: `samples of ${sheet.name}`});
  });
  const show = () => {
    const step = steps[input.value];
    output.textContent = `step ${step.toLocaleString('en')}`;
    sheets.forEach((sheet, i) => {
      const before = sheet.steps.filter((s) => s <= step).length;
      shown[i].src = sheet.pictures[Math.max(0, before - 1)];
    });
  };
  let timer = null;
  play.onclick = () => {
    if (timer) { clearInterval(timer); timer = null; play.textContent = '▶'; return; }
    play.textContent = '❚❚';
    timer = setInterval(() => {
      input.value = (Number(input.value) + 1) % steps.length; show();
    }, 450);
  };
  input.oninput = show;
  show();
}

const charts = [...document.querySelectorAll('.chart')].map(begin);
document.querySelectorAll('.slider').forEach(slider);
const redraw = () => charts.forEach((again) => again());
axis.onchange = redraw;
smooth.oninput = redraw;
window.onresize = redraw;
if (!charts.length) document.querySelector('.controls').hidden = true;
