r"""Says what is in a source before anything is trained on it, and shows it.

python -m data.inspect --config=configs/folder.py --config.data.path=~/pictures \
    --out=sheet.png

Counts, sizes, aspect ratios, lengths of captions, examples of every problem, and a
contact sheet of the pictures as training will see them, with their captions.
"""
import collections
import concurrent.futures
import os

from absl import flags
import numpy as np

from console import command, files, options
from console.errors import user_errors
from console.progress import Progress
from data import captions, images, problems, sheet, sources, tokenizers
from data.survey import detail, look

EXAMPLES = 3  # of each problem
BARS = 40     # characters of the longest
RATIOS = (0, 0.5, 0.66, 0.9, 1.1, 1.5, 2, np.inf)  # width / height


def define_flags():
  options.define_config()
  flags.DEFINE_integer('num', 10_000, 'Number of records to look at, evenly spread '
                       'over the source; 0 looks at all.', lower_bound=0)
  flags.DEFINE_integer('pictures', 30, 'Number of pictures on the contact sheet.',
                       lower_bound=1)
  flags.DEFINE_string('out', 'sheet.png', 'PNG file that becomes the contact sheet.')


def row(name: str, values, form='{:,.0f}') -> str:
  """A line with the least, some quantiles and the greatest of some numbers."""
  marks = np.quantile(values, [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1])
  return f'{name:<22}' + ''.join(f'{form.format(x):>9}' for x in marks)


def shares(names) -> str:
  counts = collections.Counter(names).most_common()
  return ', '.join(f'{name} {n / len(names):.1%}' for name, n in counts)


def bars(values, edges) -> list[str]:
  """A histogram in text, a line a bin."""
  counts = np.histogram(values, edges)[0]
  inner = [f'{a:g} to {b:g}' for a, b in zip(edges[1:-2], edges[2:-1])]
  names = [f'under {edges[1]:g}', *inner, f'{edges[-2]:g} and more']
  return [f'  {name:<14}{n / len(values):>7.1%} ' + '#' * round(BARS * n / max(counts))
          for name, n in zip(names, counts)]


def of_pictures(good, size: tuple[int, int], given) -> list[str]:
  """Sizes and formats. size: (h, w) of the crops, config.data.size `given`."""
  w, h = np.array([x['size'] for x in good]).T
  marks = 'least', '1%', '25%', 'median', '75%', '99%', 'most'
  return [
      '', f'{"":<22}' + ''.join(f'{mark:>9}' for mark in marks),
      row('width, pixels', w), row('height', h), row('shorter side', np.minimum(w, h)),
      row('width / height', w / h, '{:.2f}'),
      f'formats: {shares([x["format"] for x in good])}; '
      f'modes: {shares([x["mode"] for x in good])}',
      f'shorter than config.data.size, {given}, so enlarged: '
      f'{np.mean((h < size[0]) | (w < size[1])):.1%}',
      'width / height:', *bars(w / h, RATIOS)]


def of_captions(good, tokens) -> list[str]:
  """tokens: config.tokenizer, or None."""
  texts = [text for x in good for text in x['texts']]
  lines = ['', row('captions a picture', [len(x['texts']) for x in good]),
           row('characters a caption', [len(text) for text in texts]),
           row('words', [len(text.split()) for text in texts])]
  if tokens:
    made, origin = ((tokenizers.public(tokens.files, tokens.lower),
                     'config.tokenizer.files')
                    if tokens.files else
                    (tokenizers.train(texts, tokens.vocab), 'trained on these'))
    cut = [tokenizers.encode(made, text, tokens.length)[1] > 0 for text in texts]
    lines += [row('tokens', [tokenizers.size(made, text) for text in texts]),
              f'(of a vocabulary of {made.get_vocab_size():,}, {origin}); longer than '
              f'config.tokenizer.length, {tokens.length}, so cut: {np.mean(cut):.1%}']
  commonest, n = collections.Counter(texts).most_common(1)[0]
  return lines + [f'different captions: {len(set(texts)):,} of {len(texts):,}; the '
                  f'most frequent, {n:,} times: {commonest[:60]!r}']


def of_problems(pictures, bad) -> list[str]:
  """Examples of every problem, by where they lie."""
  lines, counts = [], collections.Counter(x['bad'].reason for x in bad)
  for reason, n in counts.most_common():
    lines.append(f'  {reason}: {n:,}')
    for x in [x for x in bad if x['bad'].reason == reason][:EXAMPLES]:
      why, where = detail(x['bad'])[:80], pictures.where(x['record'])
      lines.append(f'    {where}' + f'  ({why})' * bool(why))
  return lines


@user_errors()
def main(flag):
  c = options.needed_config(flag, 'configs/folder.py').data
  files.check_new_file(flag.out, 'out', '.png')
  sources.prepare(c)
  pictures = sources.Pictures(c)
  step = -(-len(pictures) // flag.num) if flag.num else 1
  chosen, good, bad = range(0, len(pictures), step), [], []
  progress = Progress(len(chosen), 'records')
  with concurrent.futures.ThreadPoolExecutor(c.threads) as pool:
    for n, found in enumerate(pool.map(lambda i: look(pictures, i), chosen), 1):
      (bad if 'bad' in found else good).append(found)
      progress(n)
  tally = problems.Tally()
  tally.add([0] * len(good) + [x['bad'].code for x in bad])
  of = 'a mixture' if c.mixture else f'{c.source} {c.path}'.strip()
  lines = [f'{of}: {len(pictures):,} records']
  if left_out := problems.listed(pictures.problems()):
    lines.append(f'left out of them: {left_out}')
  if step > 1:
    lines.append(f'looked at every {step:,}th')
  lines += [tally.line(), *of_problems(pictures, bad)]
  if good:
    n = min(flag.pictures, len(good))
    shown = [good[k * len(good) // n] for k in range(n)]
    with files.atomic_write(flag.out) as new:
      images.write_png(new, sheet.contact(pictures, shown, lines[0]), {})
    lines += of_pictures(good, pictures.size, c.size)
    if captions.where(c) is not None:
      lines += of_captions(good, flag.config.get('tokenizer'))
    lines += ['', flag.out]
  print('\n'.join(lines))


if __name__ == '__main__':
  command.run(main, define_flags, end=os._exit)
