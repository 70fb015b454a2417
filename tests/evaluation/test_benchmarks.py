"""Folders that other people's code judges, and what it writes, in their own formats.

The few lines of each file are like the published ones, which the modules cite; how a
folder is read here is how the benchmark's own code does, written down again.
"""
import csv
import json
import math
import pathlib
import types
import zlib

import numpy as np
from PIL import Image
import pytest

from data import tokenizers
from evaluation.benchmarks import BENCHMARKS, drawing
from helpers.tiny import tiny
from inference import generation

GENEVAL = [
    {'tag': 'single_object', 'include': [{'class': 'bench', 'count': 1}],
     'prompt': 'a photo of a bench'},
    {'tag': 'counting', 'include': [{'class': 'oven', 'count': 2}],
     'exclude': [{'class': 'oven', 'count': 3}], 'prompt': 'a photo of two ovens'}]
GENEVAL2 = [
    {'prompt': 'two metal toys', 'atom_count': 3, 'vqa_list': [
        ['How many toys are in the image?', 'two'], ['Are the toys metal?', 'Yes'],
        ['Are there any toys in the image?', 'Yes']],
     'skills': ['count', 'attribute', 'object']},
    {'prompt': 'a pig – 猪', 'atom_count': 4, 'vqa_list': [
        ['How many pigs are in the image?', 'one'],
        ['Are there any pigs in the image?', 'Yes']], 'skills': ['count', 'object']}]
PARTI = ('Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\tBiology\n'
         '"G I G G L E" painted\tIllustrations\tWriting & Symbols\t\n')
ONEIG = ('category,id,prompt_en,type,prompt_length,class\n'
         'Anime_Stylization,000,"1girl, solo, anime","T, P",middle,\n'
         'Knowledge_Reasoning,001,Draw water\'s three states,NP,short,chemistry\n')
LENGTH = 64
LINES = 'a green bench and a blue bowl\nThe red hat was on top of the rack.\tseen\n'


def lines(items) -> str:
  return ''.join(json.dumps(item) + '\n' for item in items)


@pytest.fixture
def files(tmp_path):
  """A file of prompts of each benchmark, of two prompts."""
  texts = {'geneval': lines(GENEVAL), 'geneval2': lines(GENEVAL2),
           'parti_prompts': PARTI, 'oneig': ONEIG, 't2i_compbench': LINES}
  for name, text in texts.items():
    (tmp_path / name).write_text(text, encoding='utf-8')
  (tmp_path / 'dpg_bench').mkdir()
  for name, text in (('0', 'A truck.'), ('whoops7', 'A man, upside down.\n')):
    (tmp_path / 'dpg_bench' / f'{name}.txt').write_text(text)
  return tmp_path


class Painter:
  """Stands for a model: a picture's colour is its prompt's tokens and its number."""

  def __init__(self, monkeypatch, tokenizer, size=(8, 8)):
    c = tiny('unused')
    c.sample.batch, c.tokenizer.length = 3, LENGTH
    self.model = types.SimpleNamespace(
        config=c, tokenizer=tokenizer, source='step 3',
        params={'a': {'kernel': np.arange(6.0).reshape(2, 3)}, 'b': np.float32(2)})
    self.size, self.drawn, self.stop = size, 0, None
    monkeypatch.setattr(generation, 'sample_request', self.sample)

  def sample(self, model, request, index, *, seed, size):
    if self.stop is not None and self.drawn >= self.stop:
      raise KeyboardInterrupt
    assert len(index) <= model.config.sample.batch
    self.drawn += len(index)
    colours = [colour(tokens[1], i)
               for tokens, i in zip(request.tokens, index, strict=True)]
    return np.broadcast_to(np.array(colours, np.uint8)[:, None, None],
                           (len(index), *size, 3))

  def expected(self, prompt: str, num: int):
    """The colours of pictures of a prompt."""
    tokens, cut = tokenizers.encode(self.model.tokenizer, prompt, LENGTH)
    assert not cut
    return [colour(tokens, i) for i in range(num)]

  def draw(self, files, name: str, num=None, **how):
    """(folder of pictures, items) of a benchmark."""
    row = BENCHMARKS[name]
    num, out = num or row.num, str(files / f'out_{name}')
    items = row.items(str(files / name), num, 'mine')
    how = dict(num=num, seed=0, negative='', size=self.size) | how
    drawing.check(row, items, num, how['size'])
    drawing.begin(out, drawing.settings_of(name, self.model, items, **how))
    folder = drawing.draw(row, items, self.model, out, **how)
    return pathlib.Path(folder), items


def colour(tokens, i: int) -> tuple[int, int, int]:
  text = zlib.crc32(np.asarray(tokens, np.int32).tobytes())
  return text % 251, text // 251 % 251, 10 * int(i) + 5


@pytest.fixture
def painter(monkeypatch, tokenizer):
  return Painter(monkeypatch, tokenizer)


def flat(path, size=(8, 8)):
  """The colour of a picture that has only one."""
  image = Image.open(path)
  assert image.size == size[::-1] and image.mode == 'RGB'
  (_, found), = image.getcolors()
  return found


def tree(folder) -> set:
  return {p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()}


# Folders, as the code of each benchmark reads them.

def test_geneval(files, painter):
  """evaluate_images.py: folders of digits, metadata.jsonl, samples/ of digits.png."""
  folder, _ = painter.draw(files, 'geneval')
  assert tree(folder) == {
      f'{k:05}/{name}' for k in range(2) for name in (
          'metadata.jsonl', *(f'samples/{i:04}.png' for i in range(4)))}
  for k, line in enumerate(GENEVAL):
    assert json.loads((folder / f'{k:05}' / 'metadata.jsonl').read_text()) == line
    samples = sorted((folder / f'{k:05}' / 'samples').iterdir())
    assert [flat(path) for path in samples] == painter.expected(line['prompt'], 4)


def test_geneval2(files, painter):
  """evaluation.py: an object from prompts to paths, opened from wherever it runs."""
  folder, _ = painter.draw(files, 'geneval2')
  paths = json.loads((folder / 'image_paths.json').read_text(encoding='utf-8'))
  assert list(paths) == [line['prompt'] for line in GENEVAL2]
  assert [[flat(path)] for path in paths.values()] == [
      painter.expected(prompt, 1) for prompt in paths]


@pytest.mark.parametrize('num', [4, 1])
def test_dpg_bench(files, painter, num):
  """compute_dpg_bench.py: every file is ID.png, cut at multiples of --resolution."""
  folder, items = painter.draw(files, 'dpg_bench', num)
  assert tree(folder) == {'0.png', 'whoops7.png'}
  for item, name in zip(items, ('0', 'whoops7')):
    image, r = Image.open(folder / f'{name}.png'), 8
    boxes = [(0, 0, r, r), (r, 0, 2 * r, r), (0, r, r, 2 * r), (r, r, 2 * r, 2 * r)]
    assert image.size == ((r, r) if num == 1 else (2 * r, 2 * r))
    crops = [image.crop(box).getcolors() for box in boxes[:num]]
    assert crops == [[(r * r, c)] for c in painter.expected(item.prompt, num)]
  assert items[1].prompt == 'A man, upside down.'


def test_t2i_compbench(files, painter):
  """BLIP_vqa.py: the prompt before the first _, the number after the last."""
  folder, _ = painter.draw(files, 't2i_compbench')
  names = sorted((p.name for p in (folder / 'samples').iterdir()),
                 key=lambda x: int(x.split('_')[-1].split('.')[0]))
  prompts = ['a green bench and a blue bowl', 'The red hat was on top of the rack.']
  assert [name.split('_')[0] for name in names] == prompts[:1] * 10 + prompts[1:] * 10
  assert [int(name[-10:-4]) for name in names] == list(range(20))
  assert [flat(folder / 'samples' / name) for name in names] == [
      c for prompt in prompts for c in painter.expected(prompt, 10)]
  assert {p.name for p in folder.iterdir()} == {'samples'}


@pytest.mark.parametrize('num', [1, 2])
def test_parti_prompts(files, painter, num):
  """An imagefolder of the package datasets: file_name and the published columns."""
  folder, _ = painter.draw(files, 'parti_prompts', num)
  rows = [json.loads(line) for line in
          (folder / 'metadata.jsonl').read_text(encoding='utf-8').splitlines()]
  assert len(rows) == 2 * num and tree(folder) == {
      'metadata.jsonl', *(row['file_name'] for row in rows)}
  assert rows[-1] == {'file_name': '00001.png' if num == 1 else '00001-1.png',
                      'Prompt': '"G I G G L E" painted', 'Category': 'Illustrations',
                      'Challenge': 'Writing & Symbols', 'Note': ''}
  assert [flat(folder / row['file_name']) for row in rows] == [
      c for prompt in ('bond', '"G I G G L E" painted')
      for c in painter.expected(prompt, num)]


def test_oneig(files, painter):
  """utils.py: CLASS/MODEL/ID*, cut into width // 2 by height // 2, row by row."""
  painter.size = (16, 24)
  folder, items = painter.draw(files, 'oneig')
  assert tree(folder) == {'anime/mine/000.webp', 'reasoning/mine/001.webp'}
  for path, item in zip(('anime/mine/000.webp', 'reasoning/mine/001.webp'), items):
    image = Image.open(folder / path)
    assert (image.format, image.size) == ('WEBP', (48, 32))
    w, h = (side // 2 for side in image.size)
    for k, expected in enumerate(painter.expected(item.prompt, 4)):
      box = (k % 2 * w, k // 2 * h, (k % 2 + 1) * w, (k // 2 + 1) * h)
      middle = np.asarray(image.crop(box))[h // 2, w // 2]
      np.testing.assert_allclose(middle, expected, atol=12)  # webp loses some
  (files / 'oneig').write_text('category,id,prompt_cn,class\nMultilingualism,007,猪,\n')
  assert BENCHMARKS['oneig'].items(files / 'oneig', 4, 'm')[0][:2] == (
      '猪', ('multilingualism/m/007.webp',))


# Stopping and going on.

@pytest.mark.parametrize('name', BENCHMARKS)
def test_stopped_anywhere_it_goes_on_to_the_same_files(files, painter, name):
  batch = painter.model.config.sample.batch = 4 if name in ('dpg_bench', 'oneig') else 1
  whole, _ = painter.draw(files, name)
  expected = {path: (whole / path).read_bytes() for path in tree(whole)}
  total = painter.drawn
  whole.parent.rename(files / 'whole')
  for left in range(total, batch, -batch):  # a batch is drawn, and then it is killed
    painter.drawn, painter.stop = 0, batch
    with pytest.raises(KeyboardInterrupt):
      painter.draw(files, name)
    row = BENCHMARKS[name]
    items = row.items(str(files / name), row.num, 'mine')
    assert len(drawing.missing(str(whole.parent), items, row.num)) == left - batch
    assert tree(whole) <= expected.keys()
    assert {p.name for p in whole.parent.iterdir()} == {'images', 'settings.json'}
  painter.drawn, painter.stop = 0, None
  again, _ = painter.draw(files, name)
  assert painter.drawn == batch
  replaced = {k: v.replace(str(whole).encode(), b'') for k, v in expected.items()}
  found = {path: (again / path).read_bytes() for path in tree(again)}
  assert {k: v.replace(str(again).encode(), b'') for k, v in found.items()} == replaced


def test_what_is_half_written_is_no_picture(files, painter, monkeypatch):
  calls = []
  def save(image, path, kind, whole=Image.Image.save):
    calls.append(path)
    if len(calls) == 3:
      open(path, 'wb').write(b'half')
      raise OSError(28, 'No space left on device', str(path))
    whole(image, path, kind)
  monkeypatch.setattr(Image.Image, 'save', save)
  with pytest.raises(OSError):
    painter.draw(files, 'geneval')
  pictures = [p for p in (files / 'out_geneval').rglob('*.png')]
  assert len(pictures) == 2 and all(flat(path) for path in pictures)
  folder, _ = painter.draw(files, 'geneval')
  assert not (folder.parent / 'part').exists()


@pytest.mark.parametrize('change, key', [
    (dict(seed=1), 'seed 0, not 1'), (dict(negative='blue'), 'negative'),
    (dict(size=(16, 16)), r'size \[8, 8\], not \[16, 16\]'), (dict(num=5), 'num 4'),
    ('steps', 'sample.steps 3, not 4'), ('weights', 'weights step 3, .* not step 4'),
    ('params', 'weights step 3, '), ('prompts', 'prompts'), ('width', 'model ')])
def test_it_goes_on_only_as_it_was_begun(files, painter, change, key):
  painter.draw(files, 'geneval')
  c, how = painter.model.config, {}
  if change == 'steps':
    c.sample.steps = 4
  elif change == 'weights':
    painter.model.source = 'step 4'
  elif change == 'params':
    painter.model.params['b'] += 1
  elif change == 'prompts':
    (files / 'geneval').write_text(lines(GENEVAL[::-1]))
  elif change == 'width':
    c.model.width = 999
  else:
    how = change
  with pytest.raises(ValueError, match=f'was begun with .*({key})'):
    painter.draw(files, 'geneval', **how)


def test_what_changes_no_picture_may_change(files, painter):
  painter.draw(files, 'geneval')
  painter.model.config.sample.update(dict(batch=7, num=9, prompts=('a',)))
  painter.drawn = 0
  painter.draw(files, 'geneval')
  assert painter.drawn == 0


def test_a_folder_with_other_things_is_left_alone(files, painter):
  (files / 'out_geneval').mkdir()
  (files / 'out_geneval' / 'notes.txt').write_text('mine')
  with pytest.raises(ValueError, match='not empty and holds no settings.json'):
    painter.draw(files, 'geneval')
  assert {p.name for p in (files / 'out_geneval').iterdir()} == {'notes.txt'}


@pytest.mark.parametrize('name, text, message', [
    ('geneval', 'a photo of a bench\n', 'line 1, is not JSON'),
    ('geneval', lines(GENEVAL) + '[1]\n', 'line 3, is no object'),
    ('geneval', lines([{'prompt': 'a'}]), "line 1, has no 'tag'"),
    ('geneval', '', 'is empty'),
    ('geneval', lines([GENEVAL[0] | {'prompt': 'a AND b'}]), 'has an AND'),
    ('geneval2', lines([GENEVAL2[0]] * 2), 'has a prompt twice'),
    ('t2i_compbench', 'a/b\n', "'a/b_000000.png' cannot be the name of a file"),
    ('t2i_compbench', 'a_b\n', "prompt 'a_b' has a _"),
    ('t2i_compbench', 'a' * 250 + '\n', 'cannot be the name of a file'),
    ('parti_prompts', 'Prompt,Category\nx,y\n', 'has no rows of the columns'),
    ('parti_prompts', 'Prompt\tCategory\tChallenge\n', 'has no rows of the columns'),
    ('oneig', ONEIG.replace('Anime_Stylization', 'Hats'), 'lacks a category of'),
    ('oneig', ONEIG.replace('000', '../000'), 'cannot be the name of a file'),
    ('oneig', ONEIG.replace(',001', ',000').replace('Knowledge_Reasoning',
                                                    'Anime_Stylization'),
     'two prompts would have the same file')])
def test_a_file_of_prompts_that_is_none_is_refused(files, painter, name, text, message):
  (files / name).write_text(text)
  with pytest.raises(ValueError, match=message):
    painter.draw(files, name)
  assert not (files / f'out_{name}').exists()


@pytest.mark.parametrize('name, how, message', [
    ('geneval2', dict(num=4), '--num is 4; its code reads 1 '),
    ('dpg_bench', dict(num=2), '--num is 2; its code reads 1 or 4'),
    ('dpg_bench', dict(size=(8, 16)), 'are 8 x 16; its code cuts squares')])
def test_what_a_benchmark_cannot_take_is_refused(files, painter, name, how, message):
  with pytest.raises(ValueError, match=message):
    painter.draw(files, name, **how)


def test_not_utf8(files, painter):
  (files / 'geneval').write_bytes(b'\xff\xfe')
  with pytest.raises(ValueError, match='is not UTF-8 text'):
    painter.draw(files, 'geneval')
  with pytest.raises(ValueError, match='is no folder; DPG-Bench has one'):
    BENCHMARKS['dpg_bench'].items(str(files / 'geneval'), 4, '')


# Results, with scores by hand.

def scored(name: str, results, prompts=None, model=''):
  return {key: score.value for key, score in BENCHMARKS[name].scores(
      [str(path) for path in results], prompts and str(prompts), model).items()}


def test_scores_of_geneval(tmp_path):
  """summary_scores.py: means of tags, of which the overall score is the mean."""
  right = {'single_object': ([1, 1], [1, 0]), 'color_attr': ([0, 0],)}
  path = tmp_path / 'results.jsonl'
  path.write_text(lines([
      {'filename': 'x.png', 'tag': tag, 'prompt': f'{tag} {k}', 'correct': bool(one),
       'reason': '', 'metadata': json.dumps({'prompt': f'{tag} {k}'}), 'details': '{}'}
      for tag, prompts in right.items() for k, some in enumerate(prompts)
      for one in some]))
  assert scored('geneval', [path]) == {
      'overall': 0.375, 'single_object': 0.75, 'color_attr': 0, 'pictures': 0.5,
      'prompts': pytest.approx(2 / 3)}


def test_scores_of_geneval2(files):
  path = files / 'score_lists.json'
  path.write_text(json.dumps([[0.5, 1.0, 0.25], [0.09, 1]]))
  gm = [0.125 ** (1 / 3), 0.3]
  found = scored('geneval2', [path], files / 'geneval2')
  assert found == {
      key: pytest.approx(value) for key, value in {
          'gm': np.mean(gm), 'am': np.mean([1.75 / 3, 0.545]), 'am/count': 0.295,
          'am/attribute': 1, 'am/object': 0.625, 'gm/3_atoms': gm[0],
          'gm/4_atoms': gm[1]}.items()}
  with pytest.raises(ValueError, match='--prompts=geneval2_data.jsonl is needed'):
    scored('geneval2', [path])
  path.write_text(json.dumps([[0.5], [1]]))  # of --method=vqascore
  with pytest.raises(ValueError, match='has 1 numbers for prompt 1, of 3 questions'):
    scored('geneval2', [path], files / 'geneval2')
  path.write_text('[[0.5, 1, 1]]')
  with pytest.raises(ValueError, match='is of 1 prompts; .* has 2'):
    scored('geneval2', [path], files / 'geneval2')


def test_scores_of_dpg_bench(tmp_path):
  path = tmp_path / 'dpg-bench_20240101-000000_results.txt'
  path.write_text(
      'out/0.png, 1.0, 0.5, 1.0, 0.5, 0.75\nout/a, b.png, 0.0, 0.0, 0.5, 0.5, 0.25\n'
      'Model: out\nL1 category scores:\n\tentity: 62.5\n\tother: 20.0\n'
      'L2 category scores:\n\tentity - whole: 62.5\n\tother - count: 20.0\n'
      'Image path: out\nSave results to: x.txt\nDPG-Bench score: 50.0\n')
  assert scored('dpg_bench', [path]) == {
      'overall': 0.5, 'L1/entity': 0.625, 'L1/other': 0.2, 'L2/entity - whole': 0.625,
      'L2/other - count': 0.2}
  path.write_text('out/0.png, 1.0, 1.0\n')  # a run that was cut short
  assert scored('dpg_bench', [path]) == {'overall': 1}
  path.write_text('hello\n')
  with pytest.raises(ValueError, match="'hello' ends in no number"):
    scored('dpg_bench', [path])


def test_scores_of_t2i_compbench(tmp_path):
  answers = {'color/annotation_blip': ['0.7110', '0.9217'], 'numeracy/annotation_num': [
      0.5, 1.0, 0.0]}
  paths = []
  for at, some in answers.items():
    paths.append(tmp_path / at / 'vqa_result.json')
    paths[-1].parent.mkdir(parents=True)
    paths[-1].write_text(json.dumps(
        [{'question_id': k, 'answer': answer} for k, answer in enumerate(some)]))
  assert scored('t2i_compbench', paths[:1]) == {
      'annotation_blip': pytest.approx(0.81635)}
  assert scored('t2i_compbench', paths) == {
      'color/annotation_blip': pytest.approx(0.81635), 'numeracy/annotation_num': 0.5}
  paths[0].write_text('[{"question_id": 1}]')
  with pytest.raises(ValueError, match='is no list of'):
    scored('t2i_compbench', paths)


def test_scores_of_parti_prompts(tmp_path):
  path = tmp_path / 'metadata.jsonl'
  rows = [{'file_name': f'{k}.png', 'Prompt': 'x', 'Category': category, 'Note': '',
           'Challenge': 'Basic', 'PickScore': score, 'HPS': 0.5}
          for k, (category, score) in enumerate((('Arts', 20), ('Arts', 21.0),
                                                 ('People', 25.5)))]
  path.write_text(lines(rows))
  found = scored('parti_prompts', [path])
  assert found['PickScore'] == pytest.approx(66.5 / 3) == found['PickScore/Basic']
  assert (found['PickScore/Arts'], found['PickScore/People']) == (20.5, 25.5)
  assert found['HPS/Arts'] == 0.5 and len(found) == 8
  del rows[2]['HPS']
  path.write_text(lines(rows))
  with pytest.raises(ValueError, match="2.png has no number 'HPS'"):
    scored('parti_prompts', [path])
  path.write_text(lines([{k: v for k, v in row.items() if k not in ('PickScore', 'HPS')}
                         for row in rows]))
  with pytest.raises(ValueError, match='have no number of a judge'):
    scored('parti_prompts', [path])


def write_csv(path, rows):
  with open(path, 'w', newline='') as f:
    csv.writer(f).writerows(rows)


def test_scores_of_oneig(tmp_path):
  """As pandas writes frames with an index; the newest of several runs counts."""
  for time, value in (('2025-01-01_00-00-00', 0.1), ('2025-02-01_00-00-00', 0.6)):
    write_csv(tmp_path / f'alignment_score_EN_{time}.csv',
              [['', 'alignment'], ['other', 0.9], ['mine', value]])
    write_csv(tmp_path / f'alignment_prompt_score_EN_{time}.csv',
              [['', 'other', 'mine'], ['anime_000', 1, value], ['anime_001', 1, ''],
               ['human_000', 1, value + 0.2]])
  write_csv(tmp_path / 'text_score_EN_2025.csv',
            [['', 'ED', 'CR', 'WAC', 'text score'], ['mine', 12.5, 0.25, 0.5, 0.95]])
  write_csv(tmp_path / 'text_prompt_score_EN_2025.csv',
            [['', 'mine'], ['000', '[12.5, 0.25, 0.5]'], ['001', '']])
  write_csv(tmp_path / 'style_style_score_EN_2025.csv', [['', 'cubism'], ['mine', 1]])
  found = BENCHMARKS['oneig'].scores([str(tmp_path)], None, 'mine')
  assert {key: score.value for key, score in found.items()} == {
      'alignment': pytest.approx(0.7), 'alignment/anime': 0.6,
      'alignment/human': pytest.approx(0.8), 'text/ED': 12.5, 'text/CR': 0.25,
      'text/WAC': 0.5, 'text': 0.95}
  assert found['alignment'].n == 2 and found['text'].low is None
  with pytest.raises(ValueError, match=r"no model 'x', but \['mine', 'other'\]"):
    scored('oneig', [tmp_path], model='x')
  (tmp_path / 'text_score_EN_2025.csv').unlink()
  with pytest.raises(ValueError, match=r'has no text_score_EN\*.csv'):
    scored('oneig', [tmp_path], model='mine')


@pytest.mark.parametrize('name', [n for n in BENCHMARKS if n != 't2i_compbench'])
def test_one_file_of_results(name):
  with pytest.raises(ValueError, match='--results takes one file here'):
    scored(name, ['a', 'b'], 'c')


def test_geometric_means_have_no_logarithm_of_nothing(files):
  path = files / 'score_lists.json'
  path.write_text('[[0.0, 1, 1], [1, 1]]')
  found = scored('geneval2', [path], files / 'geneval2')
  assert found['gm'] == 0.5 and not math.isnan(found['am'])
