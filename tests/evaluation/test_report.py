"""The report says what the files say, and nothing in them gets out of its place."""
import base64
import html.parser
import io
import json
import os
import random
import re

import numpy as np
from PIL import Image
import pytest

from data import tokenizers
from evaluation import report
from evaluation.report import charts, markup
from helpers import browser
from helpers.tiny import tiny
from training import workdir as workdirs

HOSTILE = ('</script><script>alert(1)</script>', '"><img src=x onerror=alert(1)>',
           "'; alert(1)//", '<!--', ']]>', '\u2028</title>', '&lt;b&gt;', '<b>')
EMPTY_TAGS = {'meta', 'img', 'input'}


def png(colour, size=(20, 12)) -> bytes:
  data = io.BytesIO()
  Image.new('RGB', size, colour).save(data, 'PNG')
  return data.getvalue()


def made(folder, seed: int, text='a red circle', count=30, **keys):
  """A workdir as train.py leaves one, with `text` wherever there may be text."""
  rng = random.Random(seed)
  c = tiny(str(folder / 'data'))
  c.sample.prompts, c.data.path = (text, 'a blue square'), text
  c.train.update(keys)
  for name in ('samples', 'evaluations'):
    (folder / name).mkdir(parents=True)
  workdirs.save_config(str(folder), c)
  tokenizer = tokenizers.train([text, 'a blue square'], 300)
  (folder / 'tokenizer.json').write_text(tokenizer.to_str())
  lines = [{'step': 2 * i + 2, 'loss': rng.lognormvariate(0, 3), 'seconds': 1.5 * i,
            'loss_t0': rng.random(), 'grad_norm': rng.random(), 'lr': 1e-3,
            'skipped': 0, 'images_per_s': 99.0 + i, 'wait_data_s': rng.random(),
            'bad': i % 2, 'bad/not a picture': i % 2} for i in range(count)]
  lines[-1] |= {'accuracy/one_object': 0.5, 'accuracy/one_object_low': 0.4,
                'accuracy/one_object_high': 0.6, f'{text}': 1.0}
  with open(folder / 'metrics.jsonl', 'w', encoding='utf-8') as f:
    f.writelines(json.dumps(line | {'note': text, 'nothing': None}) + '\n'
                 for line in lines)
    f.write('{"step": 9')  # being written
  for step in (2, 10, 8):
    (folder / 'samples' / f'{step}.png').write_bytes(png((step, 0, 0)))
  (folder / 'samples' / '4.png').write_bytes(b'<svg onload="alert(1)">')
  score = {'value': 0.7, 'low': 0.6, 'high': 0.8, 'n': 64, 'source': text}
  (folder / 'evaluations' / 'one.json').write_text(json.dumps(
      {'scores': {text: score}, 'sample': {'solver': text, 'steps': 7}}))
  (folder / 'evaluations' / 'two.json').write_text('[1')
  (folder / 'machine.json').write_text(json.dumps(
      [{'step': 0, 'devices': text, 'command': text, 'packages': {'jax': text}}]))
  thumbnail = base64.b64encode(png('green')).decode()
  (folder / 'data.json').write_text(json.dumps({
      'pictures': 1234, 'left_out': {text: 3}, 'good': [
          {'caption': text, 'tokens': 17, 'picture': thumbnail},
          {'caption': text, 'tokens': 3, 'picture': '"><script>'}],
      'bad': [{'reason': 'not a picture', 'where': text, 'detail': text}]}))
  return lines


class Elements(html.parser.HTMLParser):
  """Collects elements; raises where one is not closed in its place."""

  def __init__(self, text):
    super().__init__()
    self.found, self.open, self.text = [], [], []
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.found.append((tag, dict(attrs)))
    if tag not in EMPTY_TAGS:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)


def written(*places, **options) -> str:
  with open(report.write(*map(str, places), **options), encoding='utf-8') as f:
    return f.read()


def column(data: dict, run: int, name: str, count: int) -> list:
  """The values of a column by line; None where a line has none."""
  values = data['runs'][run]['columns'][name]
  found = [None] * count
  for i, v in zip(values['at'] or range(count), values['v']):
    found[i] = v
  return found


def test_numbers_in_the_page_are_those_of_the_run(tmp_path):
  seed = int.from_bytes(os.urandom(4))
  print('seed', seed)
  lines = made(tmp_path / 'run', seed)
  data = browser.data_of(written(tmp_path / 'run'))
  names = {name for line in lines for name in line}
  assert data['runs'][0]['columns'].keys() == names
  for name in names:
    for there, line in zip(column(data, 0, name, len(lines)), lines):
      expected = line.get(name)
      assert there == expected or abs(there - expected) <= 1e-6 * abs(expected), name
  shown = {one['key'] for chart in data['charts'].values() for one in chart['series']
           if 'key' in one}
  assert names - shown == {'step', 'seconds', 'skipped', 'accuracy/one_object_low',
                           'accuracy/one_object_high'}
  (accuracy,) = [one for chart in data['charts'].values() for one in chart['series']
                 if one.get('key') == 'accuracy/one_object']
  assert accuracy['low'] == 'accuracy/one_object_low'


def test_everything_has_a_place(tmp_path):
  made(tmp_path / 'run', 0)
  text = written(tmp_path / 'run')
  data, elements = browser.data_of(text), Elements(text)
  ids = {about['id'] for tag, about in elements.found if tag == 'section'}
  assert ids == {'summary', 'samples', 'training', 'scores', 'captions', 'problems',
                 'loss-weights', 'sampling', 'config', 'machine', 'notes'}
  (sheet,) = data['sheets']['samples']
  assert sheet['steps'] == [2, 8, 10]
  for step, picture in zip(sheet['steps'], sheet['pictures']):
    assert base64.b64decode(picture.partition(',')[2]) == png((step, 0, 0))
  said = ' '.join(elements.text)
  for part in ('samples/4.png is no picture', 'two.json could not be read', '1,234',
               'model.width', '0.6 to 0.8', '50% are cut', 'a thumbnail'):
    assert part in said, part
  charts_here = {about['data-chart'] for _, about in elements.found
                 if 'data-chart' in about}
  assert charts_here == data['charts'].keys()
  loss = [chart for chart in data['charts'].values() if 'What counts' in chart['title']]
  assert loss[0]['series'][0]['x'] == sorted(loss[0]['series'][0]['x'])


@pytest.mark.parametrize('text', HOSTILE)
def test_text_stays_text(tmp_path, text):
  folder = tmp_path / text.replace('/', '')
  made(folder, 0, text)
  page = written(folder)
  elements = Elements(page)
  scripts = [about for tag, about in elements.found if tag == 'script']
  assert scripts == [{'type': 'application/json', 'id': 'data'}, {}]
  for tag, about in elements.found:
    assert not any(name.startswith('on') for name in about), (tag, about)
    for name in ('src', 'href'):
      assert about.get(name, '#').startswith(('#', 'data:image/')), about
  assert not re.search(r'https?://(?!www\.w3\.org/2000/svg)', page)
  policy = [about['content'] for _, about in elements.found if 'content' in about]
  assert "default-src 'none'" in policy[0]
  shown = ''.join(elements.text).replace('\n', ' ')
  assert shown.count(text) >= 5 if '\u2028' not in text else True
  labels = [one['label'] for chart in browser.data_of(page)['charts'].values()
            for one in chart['series']]
  assert text in labels


def test_two_runs_side_by_side(tmp_path):
  a, b = made(tmp_path / 'a', 1), made(tmp_path / 'b', 2, count=20, batch=16)
  with pytest.raises(ValueError, match='needs a name'):
    report.write(str(tmp_path / 'a'), str(tmp_path / 'b'))
  text = written(tmp_path / 'a', tmp_path / 'b', path=str(tmp_path / 'both.html'))
  data = browser.data_of(text)
  for run, lines in enumerate((a, b)):
    np.testing.assert_allclose(column(data, run, 'loss', len(lines)),
                               [line['loss'] for line in lines], rtol=1e-6)
  loss = [one for one in data['charts']['training/0']['series'] if one['key'] == 'loss']
  assert [one['run'] for one in loss] == [0, 1]
  row = text[text.index('<code>train.batch</code>'):]
  row = row[:row.index('</tr>')]
  assert row.count('differs') == 2 and '>16<' in row and '>8<' in row


def test_a_chart_has_all_points_or_none():
  lines = [{'step': i, 'loss': 1.0 / 3} for i in range(3)] + [{'step': 3, 'fd': 2}]
  found = charts.columns(lines)
  assert found['step'] == {'v': [0, 1, 2, 3], 'at': None}
  assert found['loss'] == {'v': [0.3333333] * 3, 'at': [0, 1, 2]}
  assert found['fd'] == {'v': [2], 'at': [3]}


def test_large_pictures_are_made_small(tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
  Image.fromarray(noise).save(tmp_path / 'a.png')
  address = markup.data_url(str(tmp_path / 'a.png'), 20_000)
  assert address.startswith('data:image/webp') and len(address) < 30_000


# Sweeps and evaluations.

def sweep(folder):
  """A sweep of two diffs and two seeds, of which the last run is not begun."""
  diffs = [{'name': 'base', 'keys': {}}, {'name': '<b>', 'keys': {'optim.lr': 0.1}}]
  runs = [{'index': 2 * s + d, 'folder': f'run{2 * s + d}', 'seed': s,
           'diffs': [diffs[d]['name']]} for s in (0, 1) for d in (0, 1)]
  folder.mkdir()
  (folder / 'diffs.json').write_text(json.dumps(
      {'metric': 'loss', 'diffs': diffs, 'runs': runs, 'config': {}}))
  return {run['folder']: made(folder / run['folder'], run['index'])
          for run in runs[:-1]}


def test_a_sweep(tmp_path):
  lines = sweep(tmp_path / 'sweep')
  text = written(tmp_path / 'sweep')
  data, elements = browser.data_of(text), Elements(text)
  base, other = data['charts']['curves/0']['series']
  assert (base['label'], other['label']) == ('base', '<b>')
  two = np.array([[line['loss'] for line in lines[name]] for name in ('run0', 'run2')])
  for key, expected in (('y', two.mean(0)), ('low', two.min(0)), ('high', two.max(0))):
    np.testing.assert_allclose(base[key], expected, rtol=1e-6)
  np.testing.assert_allclose(other['y'], [x['loss'] for x in lines['run1']], rtol=1e-6)
  assert 'run3 is not begun.' in ' '.join(elements.text)
  assert 'config.optim.lr = 0.1' in text


def test_a_sweep_reads_nothing_outside_its_folder(tmp_path):
  sweep(tmp_path / 'sweep')
  secret = made(tmp_path / 'secret', 5)
  path = tmp_path / 'sweep' / 'diffs.json'
  path.write_text(path.read_text().replace('"run0"', '"../secret"'))
  data = browser.data_of(written(tmp_path / 'sweep'))
  assert len(data['runs']) == 2
  assert column(data, 0, 'loss', 30) != [line['loss'] for line in secret]


def test_an_evaluation(tmp_path):
  made(tmp_path / 'run', 0)
  folder = tmp_path / 'run' / 'evaluations'
  for place in (folder, folder / 'one.json'):
    text = written(place, path=str(tmp_path / 'scores.html'))
    assert '0.6 to 0.8' in text and 'solver a red circle, steps 7' in text
  with pytest.raises(ValueError, match='no scores'):
    report.write(str(folder / 'two.json'))
  assert not (folder / 'report.html').exists()


@browser.needed
@pytest.mark.long
@pytest.mark.parametrize('dark', (False, True))
def test_chromium_draws_it_without_a_word(tmp_path, dark):
  runs = made(tmp_path / 'a', 1, HOSTILE[0]), made(tmp_path / 'b', 2)
  path = tmp_path / 'both.html'
  text = written(tmp_path / 'a', tmp_path / 'b', path=str(path))
  charts_there = browser.data_of(text)['charts']
  with browser.opened(f'file://{path}', tmp_path, dark) as page:
    figures = page.js('''[...document.querySelectorAll('.chart')].map((figure) =>
        [...figure.querySelectorAll('path:not(.band)')].map((x) => x.getAttribute('d')))
    ''')
    assert len(figures) == len(charts_there) > 6
    for lines, chart in zip(figures, charts_there.values()):
      assert len(lines) == len(chart['series'])
      assert all(line.startswith('M') and 'NaN' not in line for line in lines)
    # The slider ends at the last step; its first is that of samples/2.png.
    page.js('''(() => { const input = document.querySelector('.slider input');
        input.value = 0; input.oninput(); })()''')
    assert page.js("document.querySelector('output').textContent") == 'step 2'
    source = page.js("document.querySelector('.sheets img').src")
    assert base64.b64decode(source.partition(',')[2]) == png((2, 0, 0))
    # Under the pointer stand the values of the run.
    page.js('''(() => { const svg = document.querySelector('.chart svg');
        const box = svg.getBoundingClientRect();
        svg.onpointermove({clientX: box.right - 11, clientY: box.top + 9}); })()''')
    rows = page.js("[...document.querySelectorAll('.tip div')].map(x => x.textContent)")
    assert rows[0] == '60'
    for row, lines in zip(rows[1:], runs, strict=True):
      assert float(row.split()[0]) == pytest.approx(lines[-1]['loss'], rel=1e-3)
    page.js('document.getElementById("axis").value = "seconds"; redraw()')
    assert page.js("document.querySelectorAll('.chart svg').length") == len(figures)
    page.shot(tmp_path / 'page.png')
    assert not page.said
  ground = np.asarray(Image.open(tmp_path / 'page.png').convert('L'))[-1, 0]
  assert ground < 60 if dark else ground > 200
