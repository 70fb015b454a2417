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
from data.problems import Bad

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


def look(pictures, i: int) -> dict:
  """What there is to know of record i; 'bad' where it is not to be used."""
  c, found = pictures.c, {'record': i}
  try:
    source, k = pictures.place(i)
    record = source[k]
    picture = images.opened(record['image'])
    found |= {'format': picture.format, 'mode': picture.mode}
    found['texts'] = captions.usable(record['captions'], c.max_caption)
    sizes = images.decode(record['image'], pictures.size, most=c.max_pixels,
                          least=c.min_side).sizes
    found['size'] = int(sizes[1]), int(sizes[0])  # width, height
  except Bad as e:
    found['bad'] = e
  return found


def row(name: str, values, form='{:,.0f}') -> str:
  """A line with the least, some quantiles and the greatest of some numbers."""
  marks = np.quantile(values, [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1])
  return f'{name:<22}' + ''.join(f'{form.format(x):>9}' for x in marks)


def shares(counts) -> str:
  total = sum(counts.values())
  return ', '.join(f'{name} {n / total:.1%}' for name, n in counts.most_common())


def bars(values, edges) -> list[str]:
  """A histogram in text, a line a bin."""
  counts = np.histogram(values, edges)[0]
  names = [f'under {edges[1]:g}'] + [
      f'{a:g} to {b:g}' for a, b in zip(edges[1:-2], edges[2:-1])] + [
      f'{edges[-2]:g} and more']
  return [f'  {name:<14}{n / len(values):>7.1%} ' + '#' * round(BARS * n / max(counts))
          for name, n in zip(names, counts)]


def of_pictures(good, size: tuple[int, int], given) -> list[str]:
  """Sizes and formats. size: height and width of the crops, config.data.size `given`.
  """
  w, h = np.array([x['size'] for x in good]).T
  return [
      '', f'{"":<22}' + ''.join(f'{x:>9}' for x in (
          'least', '1%', '25%', 'median', '75%', '99%', 'most')),
      row('width, pixels', w), row('height', h), row('shorter side', np.minimum(w, h)),
      row('width / height', w / h, '{:.2f}'),
      f'formats: {shares(collections.Counter(x["format"] for x in good))}; '
      f'modes: {shares(collections.Counter(x["mode"] for x in good))}',
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
    made = (tokenizers.public(tokens.files) if tokens.files else
            tokenizers.train(texts, tokens.vocab))
    cut = [tokenizers.encode(made, text, tokens.length)[1] for text in texts]
    origin = 'config.tokenizer.files' if tokens.files else 'trained on these'
    lines += [row('tokens', [tokenizers.size(made, text) for text in texts]),
              f'(of a vocabulary of {made.get_vocab_size():,}, {origin}); longer than '
              f'config.tokenizer.length, {tokens.length}, so cut: '
              f'{np.mean(np.array(cut) > 0):.1%}']
  commonest, n = collections.Counter(texts).most_common(1)[0]
  return lines + [f'different captions: {len(set(texts)):,} of {len(texts):,}; the '
                  f'most frequent, {n:,} times: {commonest[:60]!r}']


def of_problems(pictures, bad) -> list[str]:
  """Examples of every problem, by where they lie."""
  lines, by_reason = [], collections.defaultdict(list)
  for x in bad:
    by_reason[x['bad'].reason].append(x)
  for reason, found in sorted(by_reason.items(), key=lambda item: -len(item[1])):
    lines.append(f'  {reason}: {len(found):,}')
    for x in found[:EXAMPLES]:
      detail = str(x['bad']).removeprefix(reason).lstrip(': ')[:80]
      where = pictures.where(x['record'])
      lines.append(f'    {where}' + f'  ({detail})' * bool(detail))
  return lines


@user_errors()
def main(flag):
  c = options.needed_config(flag, 'configs/folder.py').data
  files.check_new_file(flag.out, 'out', '.png')
  sources.prepare(c)
  pictures = sources.Pictures(c)
  step = -(-len(pictures) // flag.num) if flag.num else 1
  chosen, seen = range(0, len(pictures), step), []
  progress = Progress(len(chosen), 'records')
  with concurrent.futures.ThreadPoolExecutor(c.threads) as pool:
    for found in pool.map(lambda i: look(pictures, i), chosen):
      seen.append(found)
      progress(len(seen))
  good = [x for x in seen if 'bad' not in x]
  tally = problems.Tally()
  tally.add([x['bad'].code if 'bad' in x else 0 for x in seen])
  of = 'a mixture' if c.mixture else f'{c.source} {c.path}'.strip()
  lines = [f'{of}: {len(pictures):,} records']
  if left_out := problems.listed(pictures.problems()):
    lines.append(f'left out of them: {left_out}')
  if step > 1:
    lines.append(f'looked at every {step:,}th')
  lines += [tally.line(), *of_problems(pictures, [x for x in seen if 'bad' in x])]
  if good:
    lines += of_pictures(good, pictures.size, c.size)
    lines += of_captions(good, flag.config.get('tokenizer'))
    n = min(flag.pictures, len(good))
    shown = [good[k * len(good) // n] for k in range(n)]
    picture = sheet.contact(pictures, shown, lines[0])
    images.write_png(flag.out, picture, {})
    lines += ['', flag.out]
  print('\n'.join(lines))


if __name__ == '__main__':
  command.run(main, define_flags, end=os._exit)
