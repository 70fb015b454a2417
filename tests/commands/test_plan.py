"""plan.py says what the loss counts: against closed forms, and as a user reads it."""
import json

import numpy as np
from PIL import Image
import pytest

from evaluation import loss_weights
from helpers.tiny import tiny


def weights(**diffusion):
  c = tiny('unused')
  c.diffusion.update(dict(schedule='flow', time_sampling='uniform') | diffusion)
  return loss_weights.weights_by_log_snr(c.diffusion, 24)


def test_uniform_times_of_flow_are_logistic_in_log_snr():
  """t = 1 / (1 + e^(l / 2)), so that dt / dl = t (1 - t) / 2; weight 'x0' is 1."""
  middle, share, of_x0, of_eps, effective = weights(loss_weight='x0')
  t = 1 / (1 + np.exp(middle / 2))
  np.testing.assert_allclose(share, t * (1 - t) / 2, atol=3e-3)
  np.testing.assert_allclose(of_x0, 1, rtol=1e-4)
  np.testing.assert_allclose(of_eps, np.exp(-middle), rtol=1e-4)
  np.testing.assert_allclose(effective, share, rtol=1e-4)
  width = middle[1] - middle[0]
  np.testing.assert_allclose(share.sum() * width, 1, atol=0.01)


@pytest.mark.parametrize('time_sampling', ['uniform', 'logit_normal', 'mode'])
def test_a_mean_over_log_snr_has_no_share_left_in_it(time_sampling):
  """Each draw counts for what its density lacks: what counts is the weight alone."""
  middle, share, of_x0, _, effective = weights(
      loss_weight='min_snr(gamma=5.0)', loss_over='log_snr',
      time_sampling=time_sampling)
  seen = np.abs(middle) < 6
  np.testing.assert_allclose(of_x0, np.minimum(np.exp(middle), 5), rtol=1e-4)
  np.testing.assert_allclose(effective[seen], of_x0[seen], rtol=0.1)
  assert np.ptp(share[seen]) > 0.05


def test_it_prints_a_table_and_draws_a_plot(root, commands):
  code, out, err = commands.run('plan.py', f'--config={root}/tiny.py', '--loss_weights',
                                f'--out={root}/weights.png')
  assert code == 0, err
  *lines, path = out.splitlines()
  assert len(lines) == 25 and lines[0].split()[0] == 'log-SNR'
  np.testing.assert_allclose(float(lines[1].split()[0]), -11.5)
  with Image.open(path) as picture:
    assert picture.size == (840, 480)


@pytest.mark.parametrize('flags, message', [
    ('--loss_weights', '--config=FILE is needed'),
    ('--config={root}/tiny.py', 'say what'),
    ('--config={root}/tiny.py --topology=v5p:4x4x4 --loss_weights', 'say what'),
    ('--config={root}/tiny.py --topology=v9:4', "'v9:4' is no topology"),
    ('--config={root}/tiny.py --topology=v5p:4xx4', "'v5p:4xx4' is no topology"),
    ('--config={root}/tiny.py --loss_weights --out=x.jpg', 'ends in .png'),
    ('--config={root}/tiny.py --loss_weights --config.diffusion.loss_weight=x',
     "config.diffusion.loss_weight is 'x', not one of")])
def test_a_mistake_is_one_line(root, commands, flags, message):
  code, _, err = commands.run('plan.py', *flags.format(root=root).split())
  assert code == 2 and message in err and err.count('\n') == 1


def test_what_a_step_takes_is_printed_for_chips_that_are_not_here(root, commands):
  code, out, err = commands.run(
      'plan.py', f'--config={root}/tiny.py', '--topology=h100:8', '--json', '--price=2',
      '--config.mesh.fsdp=8', '--config.mesh.data=1', f'--out={root}/plan.png')
  assert code == 0, err
  text, _, path = out.rstrip().rpartition('\n')
  said = json.loads(text)
  assert said['compiler'] == 'the CPU compiler' and said['remedy'] is None
  assert said['moves'] and {move['axes'] for move in said['moves']} == {'fsdp'}
  np.testing.assert_allclose(said['run']['dollars'], 2 * said['run']['chip_hours'])
  np.testing.assert_allclose(said['total_gib'], sum(said['memory_gib'].values()))
  with Image.open(path) as picture:
    assert picture.size == (840, 480)
