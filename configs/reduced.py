"""Any config at a size for a test: the same recipe, a minute on a CPU.

`reduced(config)` is what --config=configs/papers/FILE.py:reduced gives. It knows of no
paper: it bounds the fields of the modules by MOST and draws the shapes world for data.
Schedule, target, weight, times, optimizer, tables by name, solver, grid and guidance
stay as they are.
"""
MOST = dict(  # of a field of the model, the condition or the autoencoder
    width=24, stem_channels=24, time_channels=24, num_res_blocks=1, depth=2, dual=1,
    mid_attention=2, heads=2,
    head_width=8, groups=4)
PICTURES = 256  # of the shapes world, and classes: no two captions need be the same
SET = {  # module -> fields that it has by default, and larger
    'controlled_unet': ('width', 'num_res_blocks', 'groups', 'head_width'),
    'unet': ('width', 'num_res_blocks', 'groups', 'head_width'),
    'edm2': ('width', 'num_res_blocks', 'head_width'),
    'dit': ('width', 'depth', 'heads'), 'uvit': ('width', 'depth', 'heads'),
    'mmdit': ('width', 'depth', 'heads'), 'text': ('width', 'depth', 'heads'),
    'kl': ('width', 'num_res_blocks', 'groups')}
VOCAB = 300
TWO = dict(vocab=VOCAB, widths=(16, 24), depths=(2, 2), heads=(2, 2))
ENCODERS = {  # public text encoders, which are random ones here
    'clip': dict(vocab=VOCAB, width=24, depth=2, heads=2, pad=0),
    't5': dict(vocab=VOCAB, width=24, depth=2, heads=2, head_width=8, hidden=48),
    'sdxl': TWO,
    'sd3': TWO | dict(clip_length=8, t5_vocab=VOCAB, t5_width=40, t5_depth=2,
                      t5_heads=2, t5_head_width=8, t5_hidden=48)}
LEVELS = 2  # of a U-Net or an autoencoder: the last ones, where there is attention


def shrink(part):
  """Bounds the fields of one module, in place."""
  for name in set(part) & set(MOST) | set(SET.get(part.name, ())):
    part[name] = min(part.get(name, MOST[name]), MOST[name])
  if 'channel_mult' in part:  # widths, of which each halves the size
    first, *_ = kept = part.channel_mult[-LEVELS:]
    part.channel_mult = tuple(min(2, max(1, int(m // first))) for m in kept)
  if 'attention' in part:
    part.attention = tuple(min(2, int(a)) for a in part.attention[-LEVELS:])


def reduced(config):
  """config: any one. Returns a small copy of it; public weights become random ones."""
  c = config.copy_and_resolve_references().unlock()
  shrink(c.model)
  shrink(c.condition)
  shrink(c.autoencoder)
  c.condition.update(ENCODERS.get(c.condition.name, {}))
  if 'classes' in c.condition:
    c.condition.classes = PICTURES
  if 'hint_widths' in c.model and 'channel_mult' in c.autoencoder:
    c.model.hint_widths = c.model.hint_widths[:LEVELS]  # down to its latents
  c.model.dtype = 'float32'
  c.data.update(dict(
      source='shapes', path='', split='train', image='', caption='', mixture=(),
      size=16, crop='centre', pictures=PICTURES, single_share=1.0, threads=2))
  c.init_from = c.tokenizer.files = ()
  c.tokenizer.update(dict(vocab=VOCAB, length=min(c.tokenizer.length, 24)))
  c.optim.warmup = min(c.optim.warmup, 10)
  c.train.update(dict(steps=100, batch=8, accumulate=1, log_every=10,
                      checkpoint_every=50, eval_every=0,
                      sample_every=min(c.train.sample_every, 50),
                      averages_every=min(c.train.averages_every, 10)))
  c.sample.update(dict(steps=2, batch=4, num=2,
                       prompts=('a red circle', 'a blue ring')))
  return c
