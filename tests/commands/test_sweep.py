"""Sweeps: what a diff does, how runs are compared, and one small sweep for real."""
import csv
import importlib
import json
import re
import signal

from ml_collections import ConfigDict
import numpy as np
import pytest
from scipy import stats

from evaluation import comparison, sweeps
from helpers.commands import Commands
from helpers.tiny import tiny
from training import workdir as workdirs

SHIPPED = {  # file -> (runs, diffs)
    'target_weighting': (18, 6), 'shift_resolution': (18, 6), 'guidance_steps': (3, 9),
    'text_encoder': (12, 4)}
HEAD = '''from ml_collections import ConfigDict

METRIC, SEEDS = 'accuracy/one_object', 2


def get_config():
  return ConfigDict({!r})


'''
SMALL = '''def sweep():
  yield {}
  yield 'faster', {'optim.lr': 0.25}
'''
@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return tmp_path_factory.mktemp('sweeps')


@pytest.fixture(scope='module')
def base(root):
  c = tiny(str(root / 'data'))
  c.optim.lr = 0.1
  c.model.attention = (0,)
  c.train.update(dict(steps=2, log_every=1, checkpoint_every=2, eval_every=1,
                      sample_every=0))
  c.eval.update(dict(num=4, kinds=('one object',)))
  return c


@pytest.fixture(scope='module')
def commands(root, base):
  made = Commands(root, 'helpers.sweep_server', ('evaluate', 'sweep'))
  yield made
  made.close()


@pytest.fixture(scope='module')
def write(root, base):
  """(name, text of sweep()) -> path of a sweep file."""
  def make(name, text):
    path = root / f'{name}.py'
    path.write_text(HEAD.format(base.to_dict()) + text)
    return path
  return make


# What is compared.

CURVES = {'a': {0: {1: 0.5, 2: 0.1}, 1: {1: 0.5, 2: 0.3}, 2: {1: 0.0, 2: 0.8}},
          'b': {0: {1: 0.5, 2: 0.2}, 2: {1: 0.5, 2: 1.0}, 1: {1: 0.2, 2: 0.35}},
          'c': {1: {2: 0.9}}, 'd': {}}


def test_differences_are_those_of_a_paired_t_test():
  a, b, c, d = comparison.compare(CURVES)
  ends = np.array([0.1, 0.3, 0.8]), np.array([0.2, 0.35, 1.0])
  assert a[:2] == ('a', 3) and a.difference is None
  np.testing.assert_allclose(b[2:4], (ends[1].mean(), ends[1].std(ddof=1)))
  test = stats.ttest_rel(ends[1], ends[0])  # scipy's own pairing and interval
  interval = test.confidence_interval(0.95)
  np.testing.assert_allclose((b.difference - b.half, b.difference + b.half), interval)
  assert c == ('c', 1, 0.9, None, 1, pytest.approx(0.6), None)
  assert d == ('d', 0, None, None, 0, None, None)


def test_tables_say_the_same_to_people_and_programs():
  rows = comparison.compare(CURVES)
  lines = comparison.markdown(rows, 'accuracy/x', '%').splitlines()
  assert len(lines) == 2 + 4 and len({line.count('|') for line in lines}) == 1
  assert '51.7%' in lines[3] and '+11.7% (' in lines[3]
  assert '+60.0% (one seed)' in lines[4]
  found = list(csv.DictReader(comparison.as_csv(rows, 'accuracy/x').splitlines()))
  assert [x['variant'] for x in found] == ['a', 'b', 'c', 'd']
  assert float(found[1]['difference']) == rows[1].difference


@pytest.mark.parametrize('groups', [
    [(a, b) for a in 'pqr' for b in '1234'], [('p', str(i)) for i in range(12)],
    [(str(i), '') for i in range(12)]])
def test_twelve_lines_look_different(groups):
  assert len(set(comparison.looks(groups))) == 12


# What a sweep is.

@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_sweeps_can_be_built(name):
  module = importlib.import_module(f'configs.sweeps.{name}')
  diffs, metric, seeds = sweeps.read_file(module.__file__)
  c = module.get_config()
  c.model.update(dict(channel_mult=(1,), attention=(0,)))  # no diff is about these
  runs = sweeps.plan(c, diffs, seeds, 'x')
  assert (len(runs), len(diffs)) == SHIPPED[name]
  assert len({run.folder for run in runs}) == len(runs)
  assert metric == 'accuracy/one_object' and c.train.eval_every
  tried, seen = [], set()  # each value of each key once
  for diff in diffs:
    if new := set(map(repr, diff.keys.items())) - seen:
      tried.append(runs[0]._replace(config=c, diffs=[diff]))
      seen |= new
  sweeps.check_runs(tried)


def test_runs_are_numbered_seed_by_seed_and_differ_only_by_their_diff(base):
  diffs = [sweeps.Diff('a', {}), sweeps.Diff('b', {'optim.lr': 1, 'train.batch': 4})]
  runs = sweeps.plan(base, diffs, 3, 'x')
  assert [(r.config.seed, r.diffs[0].name) for r in runs] == [
      (seed, name) for seed in range(3) for name in 'ab']
  plain = [workdirs.json_of_config(r.config) for r in runs]
  assert workdirs.differences(plain[0], plain[1]) == ['optim.lr', 'train.batch']
  assert workdirs.differences(plain[1], plain[5]) == ['seed']
  assert base.optim.lr == 0.1  # as it was


def test_a_dict_replaces_a_whole_part(base):
  fields = dict(name='dit', width=32, depth=1, heads=2, patch=4)
  c = sweeps.changed(base, sweeps.Diff('dit', {'model': fields}))
  assert c.model.to_dict() == fields
  c = sweeps.changed(base, sweeps.Diff('new', {'model.skip_scale': 0.7}))
  assert c.model.skip_scale == 0.7 and c.model.width == base.model.width
  assert isinstance(c.model, ConfigDict)


# How they are run: but in one test, by a trainer that only writes what train.py does.

@pytest.fixture(scope='module')
def small(root, write, commands):
  """(command, workdir) of a sweep of four runs, of which 3 was done first, alone."""
  command = ('sweep.py', f'--config={write("small", SMALL)}', f'--workdir={root}/small')
  code, out, err = commands.run(*command, '--index=3')
  assert code == 0, err
  table = (root / 'small/table.md').read_text()
  assert [line.count('| 1 |') for line in table.splitlines()[2:]] == [0, 1]
  code, out, err = commands.run(*command)
  assert code == 128 + signal.SIGKILL and 'run 1 of' in out and 'run 2 of' not in out
  code, out, err = commands.run(*command)  # goes on where it was killed
  assert code == 0 and re.findall(r'run (\d) of 0 to 3', out) == ['1', '2'], err
  assert out.endswith((root / 'small/table.md').read_text())
  return command, root / 'small'


def test_a_sweep_ends_in_a_table_a_plot_and_the_diffs(small):
  _, folder = small
  record = json.loads((folder / 'diffs.json').read_text())
  assert [d['keys'] for d in record['diffs']] == [{}, {'optim.lr': 0.25}]
  runs = [p.name for p in sorted(folder.iterdir()) if p.is_dir()]
  assert runs == [r['folder'] for r in record['runs']] == [
      '000-base-seed0', '001-faster-seed0', '002-base-seed1', '003-faster-seed1']
  rows = list(csv.DictReader((folder / 'table.csv').read_text().splitlines()))
  assert [r['variant'] for r in rows] == ['base', 'faster']
  assert [float(r['mean']) for r in rows] == [0.2 + 1 / 16, 0.5 + 1 / 16]
  assert [float(rows[1][k]) for k in ('difference', 'half')] == pytest.approx([0.3, 0])
  assert (folder / 'plot.png').read_bytes()[:4] == b'\x89PNG'


def test_what_is_done_is_not_done_again(small, commands):
  command, folder = small
  (folder / 'plot.png').unlink()
  code, out, _ = commands.run(*command)
  assert code == 0 and out.startswith('| ') and (folder / 'plot.png').exists()
  assert [(p / 'started').read_text() for p in sorted(folder.glob('0*'))] == [
      '.', '..', '.', '.']
  code, out, _ = commands.run(*command, '--seeds=3', '--list')
  assert code == 0 and out.splitlines()[3:5] == [
      '   3  003-faster-seed1', '   4  004-base-seed2']


def test_ways_of_drawing_share_a_training_and_are_scored_at_each_step(
    root, write, commands):
  path = write('real', "def sweep():\n  yield {}\n  yield {'sample.guidance': 1.5}\n")
  code, out, err = commands.run(
      'sweep.py', f'--config={path}', f'--workdir={root}/real', '--seeds=1')
  assert code == 0 and out.count('from the start') == 1, err
  scores = {step: json.loads((root / f'real/000-base-seed0/scores/{step}.json')
                             .read_text()) for step in (1, 2)}
  key = 'accuracy/one_object'
  assert scores[2]['base'][key] not in (
      scores[1]['base'][key], scores[2]['guidance=1.5'][key])
  code, out, err = commands.run('evaluate.py', f'--workdir={root}/real/000-base-seed0',
                                '--guidance=1.5', '--num=4')
  assert code == 0, err
  with open(out.splitlines()[-1]) as f:
    assert json.load(f)['scores'][key]['value'] == scores[2]['guidance=1.5'][key]


BAD = {  # text of sweep(), flags, what is said
    'no sweep': ('', '', 'has no function sweep()'),
    'no diff': ('def sweep():\n  yield from ()', '', 'yields no diff'),
    'not a dict': ('def sweep():\n  yield 3', '', 'sweep() yields 3'),
    'twice': ('def sweep():\n  yield {"optim.lr": 1.0}\n  yield {"optim.lr": 1.0}', '',
              "'lr=1.0' twice"),
    'unknown key': ('def sweep():\n  yield {}\n  yield {"optim.lrr": 1.0}', '',
                    "'lrr=1.0': config.optim has a key 'lrr'"),
    'unknown part': ('def sweep():\n  yield {"optimm.lr": 1.0}', '', "'optimm.lr'"),
    'type': ('def sweep():\n  yield {"train.batch": "many"}', '', "'train.batch'"),
    'value': ('def sweep():\n  yield {}\n  yield {"diffusion.target": "x"}', '',
              "'target=x': config.diffusion.target is 'x', not one of"),
    'seed': ('def sweep():\n  yield {"seed": 3}', '', "sets 'seed'"),
    'metric': ('METRIC = "accuracy/hats"\n' + SMALL, '', "METRIC is 'accuracy/hats'"),
    'metric of training': ('METRIC = "loss"\n' + SMALL +
                           '  yield {"sample.steps": 2}', '', "METRIC is 'loss'"),
    'never measured': (SMALL, '--config.train.eval_every=0', 'eval_every is 0'),
    'key that a diff sets': (SMALL, '--config.optim.lr=2.0',
                             "but the diff 'faster' sets"),
    'index': (SMALL, '--index=4', 'not one of the 4 runs, 0 to 3'),
    'index of more seeds': (SMALL, '--index=6 --seeds=3', 'the 6 runs, 0 to 5'),
    'no workdir': (SMALL, '--workdir=', '--workdir=FOLDER'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_mistake_is_one_line_before_anything_runs(case, write, commands, root):
  text, flags, expected = BAD[case]
  code, out, err = commands.run(
      'sweep.py', f'--config={write("bad", text)}', f'--workdir={root}/new',
      *flags.split())
  assert code == 2 and expected in err and err.count('\n') == 1, (out, err)
  assert err.startswith('sweep.py: ') and not (root / 'new').exists()


def test_a_workdir_keeps_its_sweep(small, write, commands):
  command, folder = small
  other = write('other', SMALL + "  yield {'optim.lr': 1.0}\n")
  code, _, err = commands.run('sweep.py', f'--config={other}', command[2])
  assert code == 2 and 'another diffs;' in err, err
  code, _, err = commands.run(*command, '--config.train.batch=4')
  assert code == 2 and 'another config.train.batch;' in err, err
