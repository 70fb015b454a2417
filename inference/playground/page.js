'use strict';
// The page's side of the playground: fills the form, asks for pictures, shows them as
// they come out of the noise. All text goes in as text, never as HTML.
const $ = (id) => document.getElementById(id);
const form = $('form'), stage = $('stage'), canvas = $('canvas');
const fields = [...form.elements].filter((one) => one.name);
const PACE = 45;  // ms, at least, between two pictures on the way
const BLANK = 'data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==';
let about = null, mode = 'draw', busy = false;
let picture = null, painted = false;  // of the edit: an image, and whether it is masked
const mask = document.createElement('canvas');

function element(parent, name, text = '', attributes = {}) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function say(text, bad = false) {
  $('status').textContent = text;
  $('status').classList.toggle('bad', bad);
}

function choose(next) {
  mode = next;
  for (const tab of document.querySelectorAll('[data-mode]'))
    tab.setAttribute('aria-selected', tab.dataset.mode === mode);
  for (const part of document.querySelectorAll('[data-modes]'))
    part.hidden = !part.dataset.modes.split(' ').includes(mode);
  if (mode === 'edit') paint();
}

// What the form says, without what its mode does not need.
function asked() {
  const found = {mode};
  for (const one of fields) {
    if (one.closest('[hidden]') || one.value === '') continue;
    if (one.name === 'guidances' || one.name === 'steps_list')
      found[one.name] = one.value.split(/[\s,;]+/).filter(Boolean).map(Number);
    else found[one.name] = one.type === 'number' ? Number(one.value) : one.value;
  }
  found.prompt = form.elements.prompt.value;
  return found;
}

function address(settings) {
  return '#' + new URLSearchParams(settings).toString();
}

// Fills the form from the part of the address after #; says whether there was any.
function restore() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const one of fields)
    if (given.has(one.name)) one.value = given.get(one.name);
  const known = document.querySelector(`[data-mode="${CSS.escape(given.get('mode') || '')}"]`);
  choose(known ? given.get('mode') : 'draw');
  return given.has('prompt');
}

// Places for pictures.

function places(count, columns, small) {
  stage.replaceChildren();
  stage.style.setProperty('--columns', Math.min(columns, innerWidth < 800 ? 3 : 8));
  stage.classList.toggle('pixels', small);
  const {height, width} = form.elements;
  stage.style.setProperty('--shape', `${width.value} / ${height.value}`);
  return Array.from({length: count}, () => {
    const figure = element(stage, 'figure');
    return {image: element(figure, 'img', '', {alt: '', src: BLANK}),
            caption: element(figure, 'figcaption'), last: Promise.resolve()};
  });
}

// Shows pictures one after another, each long enough to be seen.
function show(place, source) {
  place.last = place.last.then(() => new Promise((done) => {
    place.image.src = source;
    setTimeout(done, PACE);
  }));
}

function finish(place, source, label, command) {
  show(place, source);
  place.caption.replaceChildren();
  if (label) element(place.caption, 'span', label);
  element(place.caption, 'a', 'save', {href: source, download: 'out.png'});
  element(place.caption, 'a', 'edit').onclick = () => {
    choose('edit'); open(source);
  };
  element(place.caption, 'a', 'command').onclick = () => tell(command);
}

function tell(command) {
  $('again').hidden = false;
  $('command').textContent = command;
}

// Asking.

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

async function draw() {
  if (busy) return;
  busy = true;
  $('go').disabled = true;
  const started = performance.now(), settings = asked();
  try {
    const body = {...settings};
    if (mode === 'edit') {
      if (!picture) throw new Error('open a picture first, or press "edit" under one.');
      body.image = picture.src;
      if (painted) body.mask = mask.toDataURL('image/png');
      files(body);
    }
    say('asking');
    const response = await fetch('/draw', {method: 'POST', body: JSON.stringify(body),
      headers: {'Content-Type': 'application/json'}});
    if (!response.ok) throw new Error((await response.json()).error);
    history.replaceState(null, '', address(settings));
    $('link').textContent = $('link').href = location.href;
    await follow(response, settings);
    say(`done in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    say(error.message, true);
  }
  busy = false;
  $('go').disabled = false;
}

async function follow(response, settings) {
  const grid = mode === 'grid', each = {draw: settings.num || 1, edit: settings.num || 1,
    interpolate: settings.frames || 8, grid: 1}[mode];
  const jobs = grid ? settings.guidances.length * settings.steps_list.length : 1;
  const columns = grid ? settings.guidances.length : Math.ceil(Math.sqrt(each));
  const shown = places(jobs * each, columns, Math.max(about.height, about.width) <= 128);
  say('waiting for the first step (a program that is new takes some seconds)');
  for await (const event of lines(response)) {
    if (event.error) throw new Error(event.error);
    if (event.waiting) { say('others are drawing; waiting'); continue; }
    const first = event.job * each + (event.first || 0);
    if (event.command) {
      event.pictures.forEach((source, i) =>
        finish(shown[event.job * each + i], source, event.label, event.command));
      tell(event.command);
    } else {
      say(`step ${event.step} of ${event.steps}` + (jobs > 1 ? `, picture ${
        event.job + 1} of ${jobs}` : ''));
      event.pictures.forEach((source, i) => shown[first + i] && show(shown[first + i], source));
    }
  }
  await Promise.all(shown.map((place) => place.last));
}

// The picture to edit, and its mask.

function open(source) {
  const image = new Image();
  image.onload = () => { picture = image; clear(); };
  image.onerror = () => say('this is no picture.', true);
  image.src = source;
}

function clear() {
  painted = false;
  canvas.height = Math.round(canvas.width * about.height / about.width);
  [mask.width, mask.height] = [canvas.width, canvas.height];
  const pen = mask.getContext('2d');
  pen.fillStyle = 'black';
  pen.fillRect(0, 0, mask.width, mask.height);
  paint();
}

// The picture as it will be cropped, inverted where it is masked.
function paint() {
  const pen = canvas.getContext('2d');
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (!picture) return;
  const scale = Math.max(canvas.width / picture.naturalWidth,
                         canvas.height / picture.naturalHeight);
  const w = picture.naturalWidth * scale, h = picture.naturalHeight * scale;
  pen.imageSmoothingEnabled = scale < 1;
  pen.drawImage(picture, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
  if (!painted) return;
  pen.globalAlpha = 0.7;
  pen.globalCompositeOperation = 'difference';
  pen.drawImage(mask, 0, 0);
  pen.globalAlpha = 1;
  pen.globalCompositeOperation = 'source-over';
}

let last = null;
function brush(event) {
  if (!picture || !event.buttons) return;
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  const pen = mask.getContext('2d');
  pen.strokeStyle = 'white';
  pen.lineWidth = Number($('brush').value);
  pen.lineCap = 'round';
  pen.beginPath();
  pen.moveTo(...(last || at));
  pen.lineTo(at[0] + 0.01, at[1]);
  pen.stroke();
  [last, painted] = [at, true];
  paint();
}

// What the command line of an edit reads.
function files(body) {
  $('files').hidden = false;
  $('save_image').href = body.image;
  $('save_mask').hidden = !body.mask;
  if (body.mask) $('save_mask').href = body.mask;
}

canvas.onpointerdown = (event) => {
  last = null; canvas.setPointerCapture(event.pointerId); brush(event);
};
canvas.onpointermove = brush;
$('clear').onclick = clear;
$('file').onchange = () => {
  const [file] = $('file').files, reader = new FileReader();
  reader.onload = () => open(reader.result);
  if (file) reader.readAsDataURL(file);
};

// The beginning.

async function begin() {
  about = await (await fetch('/about')).json();
  $('model').textContent = `${about.name} (${about.source}), ${about.height} x ${about.width}`;
  for (const [name, known] of Object.entries(about.choices))
    for (const one of known) element(form.elements[name], 'option', one, {value: one});
  const u = about.usual, round = (v) => Math.round(v * 10) / 10;
  const usual = {...u, seed: 0, num: 1, to_seed: 1, frames: 8, strength: 1, fill: 'blend',
    height: about.height, width: about.width, prompt: about.prompts[0],
    guidances: [1, round((1 + u.guidance) / 2), u.guidance, round(2 * u.guidance)].join(', '),
    steps_list: [Math.ceil(u.steps / 4), Math.ceil(u.steps / 2), u.steps].join(', ')};
  for (const one of fields) {
    if (one.name in usual) one.value = usual[one.name];
    const range = about.numbers[one.name];
    if (range) [one.min, one.max] = range;
  }
  $('sizes').hidden = !about.any_size;
  for (const text of about.prompts.slice(0, 6))
    element($('examples'), 'button', text, {type: 'button'}).onclick = () => {
      form.elements.prompt.value = text;
    };
  for (const tab of document.querySelectorAll('[data-mode]'))
    tab.onclick = () => choose(tab.dataset.mode);
  $('dice').onclick = () => {
    form.elements.seed.value = Math.floor(Math.random() * 2 ** 32);
  };
  $('copy').onclick = () => navigator.clipboard.writeText($('command').textContent);
  form.onsubmit = (event) => { event.preventDefault(); draw(); };
  clear();
  if (restore() && mode !== 'edit') draw();
}

begin().catch((error) => say(error.message, true));
