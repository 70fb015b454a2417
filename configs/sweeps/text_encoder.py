r"""Should the text encoder learn beside the picture model?

python sweep.py --config=configs/sweeps/text_encoder.py --workdir=runs/encoder

GLIDE (arXiv:2112.10741) trains it jointly, Imagen (arXiv:2205.11487) freezes one that
was trained on text. Frozen as it started, it is a random projection of the caption; the
last diff freezes that of weights/shapes, trained beside another network, with its
tokenizer.
12 runs of 600 steps: well over half an hour on two cores.
"""
from configs import demo

METRIC, SEEDS = 'accuracy/one_object', 3


def get_config():
  c = demo.get_config()
  c.train.update(dict(steps=600, eval_every=200, checkpoint_every=600, keep=1,
                      sample_every=0))
  c.sample.update(dict(steps=20, batch=76))
  return c


def sweep():
  for name, factor in (('joint', 1.0), ('a tenth of the rate', 0.1), ('frozen', 0.0)):
    yield name, {'optim.lr_scale': (('text_encoder/.*', factor), ('.*', 1.0))}
  yield 'frozen, trained before', {
      'optim.lr_scale': (('text_encoder/.*', 0.0), ('.*', 1.0)),
      'init_from': (('text_encoder', 'weights/shapes'),)}
