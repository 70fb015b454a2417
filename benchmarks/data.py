r"""Times the loader against others, on one core; what it costs in memory and to start.

pip install torch webdataset        # for --what=decode alone
python benchmarks/data.py --what=decode,shapes,memory,million --rounds=5

decode: 512-pixel JPEGs to batches of 256 pixels with tokens, in turn by this loader,
  by PyTorch's DataLoader with Pillow and by the webdataset library, of the same files.
shapes: the shapes world at 32 pixels to batches with tokens.
memory: resident memory over 200,000 records.
million: start with a folder of a million pictures, its index cached.

Rates are pictures a second of processor time, of all threads, so other work on the
machine disturbs them less; everything runs in this process. Rounds alternate, and
ratios are medians over them.
"""
import functools
import io
import json
import os
import shutil
import statistics
import sys
import tarfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags
from ml_collections import ConfigDict
import numpy as np
from PIL import Image

from configs import base
from console import command, files
from console.errors import UserError
from data import images, loader, shards, sources, tokenizers

WORK = os.path.join('.cache', 'benchmarks', 'data')
BATCH, LENGTH, JPEGS = 64, 32, 1024
PARTS = 'decode', 'shapes', 'memory', 'million'


def define_flags():
  flags.DEFINE_list('what', list(PARTS), f'Parts to measure, of {list(PARTS)}.')
  flags.DEFINE_integer('rounds', 5, 'Number of rounds of turns.', lower_bound=1)


def settled_time() -> float:
  """Processor time, once all threads that read ahead have come to rest."""
  while True:
    before = time.process_time()
    time.sleep(0.1)
    if time.process_time() - before < 0.005:
      return time.process_time()


def rates(makers: dict, batches: int, rounds: int) -> dict[str, list[float]]:
  """Pictures a second of processor time, of each of {name: () -> iterator}, by rounds.

  Starting an iterator and its first two batches are not counted.
  """
  running = {name: make() for name, make in makers.items()}
  for iterator in running.values():
    next(iterator), next(iterator)
  found = {name: [] for name in makers}
  for _ in range(rounds):
    for name, iterator in running.items():
      start = settled_time()
      for _ in range(batches):
        next(iterator)
      found[name].append(BATCH * batches / (settled_time() - start))
  return found


def table(found: dict[str, list[float]], first: str):
  """A line each, with the ratio of `first` to it, round by round."""
  for name, values in found.items():
    ratio = [a / b for a, b in zip(found[first], values)]
    print(f'  {name:<48}{statistics.median(values):>9.0f} images/s'
          f'{statistics.median(ratio):>8.2f} ({min(ratio):.2f} to {max(ratio):.2f})')


def natural(rng, size: int) -> Image.Image:
  """A picture with the statistics of photographs: amplitude falls as 1 / frequency."""
  f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
  f[0, 0] = np.inf
  noise = np.fft.rfft2(rng.standard_normal((3, size, size)))
  waves = np.fft.irfft2(noise / f, (size, size))
  waves = waves[:1] + 0.4 * waves  # mostly grey
  waves = 128 + 50 * (waves - waves.mean()) / waves.std()
  return Image.fromarray(waves.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def data_config(**keys) -> ConfigDict:
  c = base.get_config().data
  c.update(dict(dir=os.path.join(WORK, 'index'), threads=1) | keys)
  return c


def ours(c, tokenizer, **more):
  sources.prepare(c)
  return loader.batches(sources.Pictures(c), tokenizer, length=LENGTH, batch=BATCH,
                        seed=0, threads=c.threads, **more)


def make_jpegs() -> tuple[str, str]:
  """A folder of JPEGs with captions, and the same as tar shards."""
  folder, tars = os.path.join(WORK, 'jpegs'), os.path.join(WORK, 'tars')
  if os.path.exists(os.path.join(tars, '3.tar')):
    return folder, tars
  for path in (folder, tars):
    os.makedirs(path, exist_ok=True)
  rng = np.random.default_rng(0)
  for shard in range(4):
    with tarfile.open(os.path.join(tars, 'new'), 'w') as tar:
      for i in range(shard, JPEGS, 4):
        data = io.BytesIO()
        natural(rng, 512).save(data, 'JPEG', quality=90)
        caption = f'waves of grey and colour, number {i}'.encode()
        for ending, text in (('jpg', data.getvalue()), ('txt', caption)):
          with open(os.path.join(folder, f'{i:06}.{ending}'), 'wb') as f:
            f.write(text)
          info = tarfile.TarInfo(f'{i:06}.{ending}')
          info.size = len(text)
          tar.addfile(info, io.BytesIO(text))
    os.replace(os.path.join(tars, 'new'), os.path.join(tars, f'{shard}.tar'))
  return folder, tars


def theirs(data, draft: bool, filter):
  """Bytes -> uint8 [256 256 3], as is usual with Pillow."""
  picture = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
  if draft:
    picture.draft('RGB', (256, 256))
  return np.asarray(picture.convert('RGB').resize((256, 256), filter))


def torch_loader(folder: str, tokenizer, decode):
  """An endless DataLoader over the folder, without workers, so on this core alone."""
  import torch
  torch.set_num_threads(1)
  names = sorted(x for x in os.listdir(folder) if x.endswith('.jpg'))

  class Folder(torch.utils.data.Dataset):
    def __len__(self):
      return len(names)

    def __getitem__(self, i):
      path = os.path.join(folder, names[i])
      with open(path[:-3] + 'txt', encoding='utf-8') as f:
        tokens, _ = tokenizers.encode(tokenizer, f.read(), LENGTH)
      return torch.from_numpy(decode(path).copy()), torch.from_numpy(tokens)
  made = torch.utils.data.DataLoader(Folder(), BATCH, shuffle=True, drop_last=True)
  while True:
    yield from made


def webdataset_loader(tars: str, tokenizer, decode):
  """An endless pipeline of the webdataset library, in this process."""
  import webdataset
  def prepared(sample):
    tokens, _ = tokenizers.encode(tokenizer, sample['txt'].decode(), LENGTH)
    return decode(sample['jpg']), tokens
  made = webdataset.WebDataset(
      os.path.join(tars, '{0..3}.tar'), shardshuffle=4).shuffle(256).map(
          prepared).batched(BATCH, partial=False)
  while True:
    yield from made


def decode(rounds: int):
  try:
    import torch  # noqa: F401
    import webdataset  # noqa: F401
  except ImportError as e:
    raise UserError(f'--what=decode compares with torch and webdataset ({e}): '
                    'pip install torch webdataset') from e
  folder, tars = make_jpegs()
  c = data_config(source='folder', path=folder, size=256)
  tokenizer = tokenizers.train(sources.Pictures(c).captions(), 1024)
  prepared = prepare(c, 'jpegs256', 'jpeg', 256)
  lanczos = functools.partial(theirs, draft=False, filter=Image.Resampling.LANCZOS)
  bilinear = functools.partial(theirs, draft=False, filter=Image.Resampling.BILINEAR)
  draft = functools.partial(theirs, draft=True, filter=Image.Resampling.LANCZOS)
  found = rates({
      'this loader, folder': lambda: ours(c, tokenizer),
      'PyTorch DataLoader, Pillow, Lanczos':
          lambda: torch_loader(folder, tokenizer, lanczos),
      'PyTorch DataLoader, Pillow, bilinear':
          lambda: torch_loader(folder, tokenizer, bilinear),
      'PyTorch DataLoader, Pillow with draft()':
          lambda: torch_loader(folder, tokenizer, draft),
      'this loader, webdataset shards': lambda: ours(
          data_config(source='webdataset', path=f'{tars}/{{0..3}}.tar', size=256),
          tokenizer),
      'webdataset library, Pillow, Lanczos':
          lambda: webdataset_loader(tars, tokenizer, lanczos),
      'webdataset library, Pillow, bilinear':
          lambda: webdataset_loader(tars, tokenizer, bilinear),
      'webdataset library, Pillow with draft()':
          lambda: webdataset_loader(tars, tokenizer, draft),
      'this loader, ArrayRecord prepared at 256': lambda: ours(prepared, tokenizer),
  }, 4, rounds)
  print('512-pixel JPEGs to 256-pixel batches with tokens; the ratio is of the first:')
  table(found, 'this loader, folder')
  exact = lanczos(name := os.path.join(folder, '000000.jpg')).astype(float)
  for what, got in (('this loader', images.read(name, (256, 256))),
                    ('bilinear', bilinear(name))):
    error = np.mean((got - exact)**2)
    print(f'  {what} against full decoding and Lanczos: '
          f'{10 * np.log10(255**2 / error):.1f} dB')


def prepare(c, name: str, encoding: str, size: int) -> ConfigDict:
  """The config of c's pictures as prepared ArrayRecord."""
  out = os.path.join(WORK, name)
  plan = shards.plan(c, out, size=size, encoding=encoding, quality=95, shards=1)
  if not shards.manifest(out, plan):
    for job in shards.begin(plan, out):
      shards.write_shard(job)
    shards.finish(plan, out)
  return data_config(source='array_record', path=out, size=size)


def shapes_config() -> ConfigDict:
  return data_config(source='shapes', size=32, dir=base.get_config().data.dir)


def shapes(rounds: int):
  c = shapes_config()
  sources.prepare(c)
  tokenizer = tokenizers.train(sources.Pictures(c).captions(), 512)
  pixels = prepare(c, 'shapes32', 'ppm', 32)
  found = rates({'prepared, plain pixels': lambda: ours(pixels, tokenizer),
                 'as drawn, PNG': lambda: ours(c, tokenizer)}, 300, rounds)
  print('ArrayRecord shapes at 32 pixels to batches with tokens:')
  table(found, 'prepared, plain pixels')


def resident() -> float:
  """MiB of memory of this process."""
  with open('/proc/self/statm') as f:
    return int(f.read().split()[1]) * os.sysconf('SC_PAGESIZE') / 2**20


def memory(rounds: int):
  del rounds
  c = shapes_config()
  sources.prepare(c)
  batches = ours(c, tokenizers.train(sources.Pictures(c).captions(), 512))
  print('memory of this process over records read:')
  marks = []
  for n in range(1, 200_000 // BATCH + 1):
    next(batches)
    if n % (20_000 // BATCH) == 0:
      marks.append(resident())
      print(f'  {n * BATCH:>8,} {marks[-1]:8.1f} MiB')
  batches.close()
  print(f'  from the first mark to the highest {max(marks) / marks[0] - 1:+.1%}')


def million(rounds: int):
  del rounds
  root, n = os.path.join(WORK, 'million'), 1_000_000
  if not os.path.exists(os.path.join(root, 'metadata.jsonl')):
    shutil.rmtree(root, ignore_errors=True)
    for i in range(n):  # names of a few files, which take no room
      folder, first = os.path.join(root, f'{i // 10_000:03}'), i - i % 10_000
      path = os.path.join(folder, f'{i:07}.png')
      if i == first:
        os.makedirs(folder)
        Image.new('RGB', (32, 32)).save(path)
      else:
        os.link(os.path.join(folder, f'{first:07}.png'), path)
    rows = ''.join(json.dumps({'file_name': f'{i // 10_000:03}/{i:07}.png',
                               'text': f'caption {i}'}) + '\n' for i in range(n))
    files.write_text(os.path.join(root, 'metadata.jsonl'), rows)
  c = data_config(source='folder', path=root, size=32)
  for what in ('first, or with its index cached', 'with its index cached'):
    start = time.perf_counter()
    pictures = sources.Pictures(c)
    batches = loader.batches(pictures, tokenizers.train(['a'], 300), length=LENGTH,
                             batch=BATCH, seed=0)
    next(batches)
    print(f'a folder of {len(pictures):,} pictures, {what}: '
          f'{time.perf_counter() - start:.2f} s to the first batch, '
          f'{resident():.0f} MiB')
    batches.close()


def main(flag):
  for name in flag.what:
    if name not in PARTS:
      raise UserError(f'--what={name!r} is not one of {list(PARTS)}.')
  for name in flag.what:
    globals()[name](flag.rounds)


if __name__ == '__main__':
  command.run(main, define_flags)
