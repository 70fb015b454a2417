"""What a run was trained on: captions with their tokens, and what was wrong."""
import collections

import numpy as np

from evaluation.report import markup
from evaluation.report.markup import Safe, joined, table, tag


def captions(runs, notes):
  """Prompts of the samples and captions of the data, with their numbers of tokens."""
  body = []
  for run in runs:
    length = run.config.tokenizer.length
    cards = [card(x, length, run, notes) for x in records(run, 'good')]
    if len(runs) > 1:
      body.append(tag('h3', run.name))
    body.append(tag('p', about(run, length)))
    body.append(tag('ul', *[tag('li', tokens_of(n, length), ' ', prompt)
                            for prompt, n in run.prompts], class_='prompts'))
    if cards:
      body.append(tag('div', *cards, class_='cards'))
  return 'captions', 'Captions and their tokens', joined(body)


def records(run, kind: str) -> list[dict]:
  """The 'good' or 'bad' ones of data.json."""
  found = run.data.get(kind)
  return [x for x in found if isinstance(x, dict)] if isinstance(found, list) else []


def about(run, length) -> str:
  """How many pictures there are, and how long captions are, in a sentence."""
  found, text = run.data, f'A caption has {length} tokens, longer ones are cut.'
  counts = [x['tokens'] for x in records(run, 'good')
            if isinstance(x.get('tokens'), int)]
  if counts:
    text = (f'{markup.shown(found.get("pictures", ""))} pictures. {text} Of '
            f'{len(counts)} looked at, the median has {np.median(counts):g}, the '
            f'longest {max(counts)}; {np.mean(np.array(counts) > length):.0%} are cut.')
  return text


def tokens_of(n, length: int) -> Safe:
  """A badge with a number of tokens, marked where they are too many."""
  if not isinstance(n, int):
    return Safe()
  return tag('b', f'{n}', class_='tokens cut' if n > length else 'tokens',
             title=f'{n} tokens of at most {length}')


def card(x: dict, length: int, run, notes) -> Safe:
  """A picture as training sees it, its caption, and how many tokens that has."""
  picture = Safe()
  try:
    picture = tag('img', src=markup.png_address(x.get('picture')), alt='',
                  class_='pixels')
  except ValueError as e:
    notes.append(f'{run.name}: {e}')
  return tag('div', picture, tag('p', tokens_of(x.get('tokens'), length), ' ',
                                 x.get('caption', '')), class_='card')


def problems(runs, notes):
  """What was left out, what was bad in training, and examples with their places."""
  del notes
  body = []
  for run in runs:
    read, rows = collections.Counter(), []
    for line in run.lines:
      read.update({k.removeprefix('bad/'): n for k, n in line.items()
                   if k.startswith('bad/')})
    left_out = run.data.get('left_out')
    left_out = left_out if isinstance(left_out, dict) else {}
    bad = records(run, 'bad')
    reasons = dict.fromkeys([*left_out, *read, *(str(x.get('reason')) for x in bad)])
    for reason in reasons:
      places = [tag('div', tag('code', x.get('where', '')), ' ', x.get('detail', ''))
                for x in bad if str(x.get('reason')) == reason]
      rows.append((reason, left_out.get(reason, ''), read.get(reason, ''),
                   joined(places)))
    if rows:
      body += [tag('h3', run.name) if len(runs) > 1 else '', table(
          ('problem', 'left out at first', 'read in training', 'examples'), rows)]
  return 'problems', 'Problems of the data', joined(body)
