r"""Turns any source into ArrayRecord shards with resized pictures: the fast path.

python -m data.prepare --config=configs/webdataset.py --out=prepared/cc12m --size=256
python train.py --config=configs/webdataset.py --workdir=runs/cc12m \
    --config.data.source=array_record --config.data.path=prepared/cc12m

The same command goes on where it was stopped. With --beam it runs as an Apache Beam
pipeline, whose own flags follow a `--`: ... --beam -- --runner=DataflowRunner ...
"""
import concurrent.futures
import functools
import multiprocessing
import os
import sys

from absl import flags

from console import command, options
from console.errors import user_errors
from console.progress import Progress
from data import problems, shards, worker_process


def define_flags():
  options.define_config()
  flags.DEFINE_string('out', None, 'Folder or fsspec address of the prepared set.')
  flags.DEFINE_integer('size', None, 'Pixels that the shorter side of a picture is '
                       'brought down to; by default a picture is brought down until it '
                       'just covers config.data.size.', lower_bound=1)
  flags.DEFINE_enum('encoding', 'jpeg', list(shards.ENCODINGS), 'Encoding of the '
                    'pictures; ppm, plain pixels, is the fastest to read and suits '
                    'small pictures.')
  flags.DEFINE_integer('quality', 95, 'Quality of JPEG.', 1, 100)
  flags.DEFINE_integer('shards', 64, 'Number of files to write; of a source of many '
                       'tar or Parquet files, each becomes one.', lower_bound=1)
  flags.DEFINE_integer('processes', os.cpu_count(), 'Number of processes that work at '
                       'once.', lower_bound=1)
  flags.DEFINE_bool('beam', False, 'Whether to run as an Apache Beam pipeline, whose '
                    'own flags follow a --.')


def notes_of(jobs, workers: int):
  """Does jobs in processes of this machine; their notes, as they come."""
  if workers == 1:
    yield from map(shards.write_shard, jobs)
    return
  pool = concurrent.futures.ProcessPoolExecutor(
      workers, multiprocessing.get_context('spawn'),
      functools.partial(worker_process.die_with_parent, os.getpid()))
  try:
    waiting = [pool.submit(shards.write_shard, job) for job in jobs]
    for future in concurrent.futures.as_completed(waiting):
      yield future.result()
  finally:
    pool.shutdown(cancel_futures=True)


@user_errors()
def main(flag, beam_flags):
  c = options.needed_config(flag, 'configs/folder.py').data
  if not flag.out:
    raise ValueError('--out=FOLDER is needed: it is made if it does not exist.')
  if beam_flags and not flag.beam:
    raise ValueError(f'{beam_flags[0]} is for Beam, which --beam asks for.')
  if flag.beam:
    from data import beam  # large, and said at once where it is missing
  plan = shards.plan(c, flag.out, size=flag.size or c.size, encoding=flag.encoding,
                     quality=flag.quality, shards=flag.shards)
  if done := shards.manifest(flag.out, plan):
    print(f'{flag.out} is done: {done["records"]:,} pictures.')
    return
  jobs = shards.begin(plan, flag.out)
  if flag.beam:
    beam.run(jobs, beam_flags)
  else:
    progress, pictures = Progress(len(jobs), 'shards'), 0
    for done, note in enumerate(notes_of(jobs, min(flag.processes, len(jobs) or 1)), 1):
      pictures += note['records']
      progress(done, f', {pictures:,} pictures')
  made = shards.finish(plan, flag.out)
  left_out = problems.listed(made['problems'])
  print(f'{made["records"]:,} pictures in {len(made["shards"])} shards in {flag.out}'
        + (f'; left out: {left_out}' * bool(left_out)))


if __name__ == '__main__':
  rest = sys.argv.index('--') if '--' in sys.argv else len(sys.argv)
  beam_flags, sys.argv = sys.argv[rest + 1:], sys.argv[:rest]
  command.run(functools.partial(main, beam_flags=beam_flags), define_flags,
              end=os._exit)
