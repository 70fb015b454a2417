"""Runs on tars and on Parquet, killed in the middle, go on as if nothing had been."""
import signal
import time

import pytest

from helpers import made
from helpers.commands import logged, train

N = 96


@pytest.fixture(scope='module')
def flags(root):
  """{source: flags} of the same pictures in two layouts."""
  made.shards(root / 'tars', N, 20)
  made.parquet(root / 'tables' / 'a.parquet', N, group=10)
  return {
      'webdataset': (f'--config.data.path={root}/tars/{{00000..00004}}.tar',),
      'parquet': (f'--config.data.path={root}/tables/*.parquet',)}


@pytest.mark.long
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('source', ['webdataset', 'parquet'])
def test_killed_at_any_moment_a_run_goes_on_bitwise(root, flags, commands, source,
                                                    workers):
  """Killed twice, with or without workers, it is as undisturbed without them."""
  more = (f'--config.data.source={source}', *flags[source], '--config.data.flip=True')
  code, _, err = commands.run(*train(root, f'{source}_whole'), *more)
  assert code == 0, err  # the second time it is there
  name = f'{source}_{workers}'
  killed = (*train(root, name), *more, f'--config.data.workers={workers}')
  for step in (10, 70):  # that is logged just before a kill
    process, path = commands.start(*killed), root / name / 'metrics.jsonl'
    while not process.ended() and not (
        path.exists() and f'"step": {step},' in path.read_text()):
      time.sleep(0.005)
    process.send(signal.SIGKILL)
    assert process.wait()[0] == -signal.SIGKILL
  code, out, err = commands.run(*killed)
  assert code == 0 and 'resumed at step' in out, err
  assert 'resumed at step 0' not in out
  assert logged(root / name) == logged(root / f'{source}_whole')
