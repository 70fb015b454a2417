"""Every key that a config has, with its unit. An experiment is a short diff of this.

    python train.py --config=configs/shapes.py --workdir=runs/a --config.train.batch=64

A stored config may lack a key that came later: it then takes the value that stands
here. So a new key has here the value that keeps what earlier runs did.
"""
import functools
import math

from ml_collections import ConfigDict, config_dict


def get_config():
  c = ConfigDict()
  c.seed = 0

  c.data = ConfigDict(dict(
      source='shapes',     # or skills, emoji, folder, webdataset, parquet, tfds,
                           # array_record
      path='',             # a folder, an address with {000..123} or *, a name of tfds
      split='train',       # of what is drawn here, and of tfds: also train[:10%]
      image='',            # column or feature with pictures; '' looks for it
      caption='',          # that of captions, as captions/text; '' looks for it;
                           # folder: the name of the folder that a picture lies in;
                           # top_folder: of the topmost one, a class of ImageFolder
      mixture=(),          # of sources: ((weight, {'source': ..., 'path': ...}), ...)
      dir='.cache/data',   # where sources are prepared and indexed
      size=32,             # pixels, or (height, width)
      channels=3,          # of the pictures: 3, colours; 1, grey
      crop='centre',       # centre, random: the square along the longer side
      flip=False,          # left and right, of every second picture
      captions='random',   # random, first: of the several that a picture may have;
                           # none: captions are not looked for, all are empty
      max_caption=10_000,  # characters; a longer one is bad
      max_pixels=50_000_000,  # of a picture as it is stored; a larger one is bad
      min_side=8,          # pixels, of a picture as it is stored; a smaller one is bad
      max_bad=0.1,         # share of bad pictures above which a run stops
      pictures=60_000,     # of shapes and skills: how many are drawn to train on
      single_share=0.15,   # of shapes: share of them that show one object
      workers=0,           # processes that read and decode; 0: threads of the trainer
      threads=2,           # that read and decode, in each of them
      font='',             # of emoji: path of NotoColorEmoji.ttf; '' looks for it
  ))

  c.tokenizer = ConfigDict(dict(
      vocab=1024,          # tokens, of which 256 are the single bytes
      length=24,           # tokens of a caption, longer ones are cut
      files=(),            # public ones instead: ((folder or tokenizer.json, length),)
      lower=False,         # those see captions lower-cased and stripped, as PixArt's
      absent=False,        # and no caption as zeros, not as the empty one, as SDXL's
  ))

  c.autoencoder = ConfigDict(dict(  # none, kl; the fields of models/autoencoder.py
      name='none'))        # none: the model sees pixels

  c.model = ConfigDict(dict(
      name='unet',
      dtype='float32',     # of matrix products; parameters stay float32
      width=64,            # channels of the first level
      channel_mult=(1, 2),  # width of each level; each halves the size
      num_res_blocks=2,    # residual blocks a level
      attention=(1, 1),    # attention blocks after each residual block of a level
      head_width=32,       # channels of an attention head
      qk_norm=False,       # normalise queries and keys
      patch=1,             # space-to-depth at the input
      positions=False,     # add a learned map of places at the input
      groups=16,           # of group normalisation
  ))
  c.condition = ConfigDict(dict(  # and the fields of that one
      name='text',         # class, none; public ones: clip, t5, sdxl, sd3
      width=128, depth=2, heads=4))

  c.init_from = ()         # parts that start from others: (('text_encoder', folder),)

  c.lora = ConfigDict(dict(  # adapters of a frozen model: docs/finetuning.md
      layers=(),           # regexes over names of layers; (): none
      rank=8,              # width of the adapters
      alpha=8.0,           # they count by alpha / rank
      rslora=False,        # by alpha / sqrt(rank)
      dora=False,          # and the norms of kernels are trained beside
      dropout=0.0,         # share of a layer's inputs that its adapter does not see
  ))

  # A choice with options is written 'name(option=value)'. docs/diffusion.md has all.
  c.diffusion = ConfigDict(dict(
      schedule='flow',     # linear, scaled_linear, cosine, flow, edm
      target='flow',       # what the network predicts: eps, x0, v, flow, edm
      input_std=0.0,       # show the network x_t / std(x_t) for data so wide; 0: x_t
      loss_weight='flow',  # of errors: a target, min_snr, soft_min_snr, p2, sigmoid
      loss_weight_cap=400.0,  # most that a squared error of x0 weighs, unless the
                           # weight is that of the target itself
      loss_over='draw',    # what the loss is a mean over: draw, time, log_snr
      vlb=0.0,             # weight of the variational bound, which trains a variance
      learned_weight=False,  # divide errors by an uncertainty learned beside
      time_sampling='logit_normal',  # uniform, logit_normal, mode, cosmap, log_normal,
                           # adaptive
      stratified=True,     # spread the times of a batch evenly over their density
      augment=0.0,         # chance of each change of pictures that a model with labels
                           # is told of: turned, scaled, stretched, moved, mirrored
      caption_dropout=0.1,  # share of captions replaced by the empty one
  ))

  c.optim = ConfigDict(dict(
      name='adamw',        # adafactor, adamw, lion, muon
      lr=1e-3,             # at its highest
      warmup=200,          # steps
      decay='cosine',      # of the rate: cosine, linear, rsqrt, constant
      decay_from=0.0,      # share of the steps after which it starts
      b1=0.9, b2=0.99,     # of Adam and Lion; under muon of what it leaves to Adam
      # Tables over parameter names, of which the first regex that matches counts:
      weight_decay=(('.*kernel', 0.01), ('.*', 0.0)),  # share lost a step and rate
      lr_scale=(('.*', 1.0),),     # factor of the rate; 0 freezes
      frozen_dtype='float32',  # in which frozen ones are stored; or bfloat16
      unit_rms=(('.*', False),),   # kernels to keep at unit magnitude, for EDM2
      clip=1.0,            # greatest norm of a gradient
      ema=('exponential',),  # averages of the weights: exponential, power; drawn from
                             # the first
  ))

  c.train = ConfigDict(dict(
      objective='denoising',  # docs/training.md has all
      steps=10_000,
      batch=64,            # pictures a step, over all devices
      accumulate=1,        # parts of a batch whose gradients are added up
      log_every=50,        # steps, as the next ones
      checkpoint_every=500,
      sample_every=1_000,  # 0: never
      eval_every=0,        # 0: never; the metrics of config.eval
      averages_every=0,    # 0: never; keep the averages, for export.py --ema
      keep=2,              # newest checkpoints
      max_skipped=20,      # steps in a row with a gradient that is not finite
  ))

  c.mesh = ConfigDict(dict(data=-1, fsdp=1, tensor=1))  # devices; -1 takes the rest

  c.sample = ConfigDict(dict(
      solver='dpmpp_2m',   # docs/solvers.md has all
      steps=30,
      timesteps='linear',  # of the solver: docs/diffusion.md has all
      guidance=3.0,        # 1 is the prompt alone
      rule='cfg',          # how it is applied: cfg, apg, zero_star
      over_time='constant',  # scale of guidance: constant, linear, cosine
      interval=(0.0, 1.0),  # of times at which there is guidance
      rescale=0.0,         # share by which its spread is taken back
      clip='static',       # of x0: none, static, dynamic
      prior='marginal',    # scale of the noise at first: marginal, noise, unit
      batch=64,            # pictures drawn at once
      prompts=('a red circle', 'a blue square'),  # drawn every sample_every steps
      num=4,               # pictures a prompt
  ))
  c.eval = ConfigDict(dict(
      metrics=('prompt_accuracy',),  # docs/evaluation.md has all
      num=128,             # pictures that the metrics share; of each kind of prompts
      kinds=('one object', 'two objects', 'unseen pairs'),  # of prompt accuracy
      split='test',        # of the true pictures, where a source has splits
      prompts='captions',  # of the true pictures; or classes, or a file's lines
      order='balanced',    # balanced, random: which prompt each picture has
      reference='',        # npz of statistics of true pictures; '' makes them
      best='',             # score of which the best average is kept in WORKDIR/best
      more=ConfigDict(),   # further evaluations: {name: {every: steps, any key of
  ))                       # these, sample: {keys of config.sample}}}
  return lock(c)


def lock(c):
  """Refuses new keys, but in the modules: each has more fields than these."""
  size = c.data.size  # a number or a pair, also after a copy that fixes types
  with c.data.unlocked():
    del c.data.size
    c.data.size = config_dict.placeholder(object)
    c.data.size = size
  c.lock()
  for key in MODULE_KEYS:
    c[key].unlock()
  c.eval.more.unlock()
  return c


MODULE_KEYS = 'model', 'condition', 'autoencoder'
MODULES = tuple(f'config.{key}' for key in MODULE_KEYS)
OPEN = (*MODULES, 'config.eval.more')  # whose keys are not those of get_config
TABLES = {  # tables over names or files: a row that they may have
    'optim.weight_decay': ('.*kernel', 0.5), 'optim.lr_scale': ('.*kernel', 0.5),
    'optim.unit_rms': ('.*kernel', True), 'init_from': ('part', 'folder'),
    'tokenizer.files': ('folder', 77)}
RANGES = (  # what a number must be, and the keys of which it must be that
    ('finite and above 0', lambda x: 0 < x < math.inf, '''
        data.pictures data.threads data.max_caption data.max_pixels data.min_side
        tokenizer.length optim.lr train.steps train.batch train.accumulate
        train.log_every train.checkpoint_every train.keep train.max_skipped
        sample.steps sample.batch sample.num eval.num lora.rank lora.alpha'''),
    ('above 0', lambda x: x > 0, 'optim.clip diffusion.loss_weight_cap'),
    ('from 0 to 1', lambda x: 0 <= x <= 1, '''
        data.single_share data.max_bad diffusion.augment diffusion.caption_dropout
        sample.rescale optim.decay_from'''),
    ('from 0 to below 1', lambda x: 0 <= x < 1, 'optim.b1 optim.b2 lora.dropout'),
    ('finite and not negative', lambda x: 0 <= x < math.inf, '''
        data.workers optim.warmup train.sample_every train.eval_every
        train.averages_every diffusion.input_std diffusion.vlb'''),
    ('from -1000 to 1000', lambda x: abs(x) <= 1000, 'sample.guidance'),
    ('from 0 to 4294967295', lambda x: 0 <= x < 2**32, 'seed'),
    ('1, grey, or 3, colours', lambda x: x in (1, 3), 'data.channels'),
    ('at least 260, for the 256 bytes and the special tokens', lambda x: x >= 260,
     'tokenizer.vocab'))


def check(c):
  """Raises ValueError that names the first key whose value makes no sense."""
  check_keys(c, get_config(), 'config')
  def value(key):
    return functools.reduce(lambda part, name: part[name], key.split('.'), c)
  for must, holds, keys in RANGES:
    for key in keys.split():
      if not holds(value(key)):
        raise ValueError(f'config.{key} is {value(key)}; it must be {must}.')
  for key in ('optim.ema', 'sample.prompts', 'eval.kinds', 'eval.metrics'):
    if not value(key):
      raise ValueError(f'config.{key} is empty; it needs at least one entry.')
  for key, form in TABLES.items():
    for row in value(key):
      if not (isinstance(row, tuple) and len(row) == 2 and all(map(alike, row, form))):
        raise ValueError(f'config.{key} has {row!r}; its rows are like {form}.')
      if isinstance(row[1], float) and not 0 <= row[1] < math.inf:
        raise ValueError(f'config.{key} has {row!r}; its numbers are 0 or more.')
  usual = get_config().lora
  for key in usual:
    if not c.lora.layers and c.lora[key] != usual[key]:
      raise ValueError(f'config.lora.{key} is {c.lora[key]!r}, but config.lora.layers '
                       'names no layers to adapt.')
  if c.optim.frozen_dtype not in ('float32', 'bfloat16'):
    raise ValueError(f'config.optim.frozen_dtype is {c.optim.frozen_dtype!r}, not '
                     "'float32' or 'bfloat16'.")
  for name in c.eval.more:
    check(with_evaluation(c, name))
  height_width(c.data.size)
  total = sum(length for _, length in c.tokenizer.files)
  if total not in (0, c.tokenizer.length):
    raise ValueError(f'config.tokenizer.length is {c.tokenizer.length}; the lengths of '
                     f'config.tokenizer.files add up to {total}.')
  if c.train.checkpoint_every % c.train.log_every:
    raise ValueError(
        f'config.train.checkpoint_every is {c.train.checkpoint_every}; it must be a '
        f'multiple of config.train.log_every, {c.train.log_every}, so that a resumed '
        'run logs what the first one did.')


def with_evaluation(c, name: str):
  """A config whose `eval` and `sample` are those of config.eval.more.NAME.

  Raises ValueError for an entry that lacks `every`, or has a key or value of no sense.
  """
  at, entry = f'config.eval.more.{name}', c.eval.more[name]
  c = c.copy_and_resolve_references()
  c.eval.more, c.eval.best = ConfigDict(), ''
  if not isinstance(entry, ConfigDict) or type(entry.get('every')) is not int:
    raise ValueError(f'{at} is {entry!r}; it must have `every`, in steps.')
  if not 0 < entry.every < 2**31:
    raise ValueError(f'{at}.every is {entry.every}; it must be above 0.')
  keys = {f'eval.{k}': v for k, v in entry.items() if k not in ('every', 'sample')}
  keys |= {f'sample.{k}': v for k, v in entry.get('sample', {}).items()}
  for key, value in keys.items():
    section, name = key.split('.')
    known = [k for k in c[section] if k not in ('more', 'best')]
    if name not in known:
      raise ValueError(f'{at} has a key {name!r}; it takes every, sample and '
                       f'{sorted(known)}.')
    if not alike(value, c[section][name]):
      raise ValueError(f'{at}: {key} is {value!r}; it must be like '
                       f'{c[section][name]!r}.')
    c[section][name] = value
  return c


def alike(value, default) -> bool:
  """Whether a value has its default's type; a whole number may stand for any number."""
  return type(value) is type(default) or (
      type(default) is float and type(value) is int)


def height_width(size) -> tuple[int, int]:
  """(height, width) of config.data.size. Raises ValueError for what is none."""
  pair = (size, size) if isinstance(size, int) else size
  if not (isinstance(pair, tuple) and len(pair) == 2
          and all(type(n) is int and n > 0 for n in pair)):
    raise ValueError(f'config.data.size is {size!r}; it must be above 0: pixels, or '
                     '(height, width).')
  return pair


def completed(c):
  """A stored config with the keys that came after it: see the top of this file."""
  def fill(part, known):
    for name, value in known.items():
      if name not in part:
        part[name] = value
      elif isinstance(value, ConfigDict) and isinstance(part[name], ConfigDict):
        fill(part[name], value)
  known = get_config()
  for name in MODULE_KEYS:  # whose defaults are their own
    known[name] = ConfigDict(dict(name=known[name].name))
  c = c.copy_and_resolve_references().unlock()
  fill(c, known)
  return c


def check_keys(c, known, at: str):
  """Raises ValueError for a key too many or too few, or a value of another type."""
  if not isinstance(c, ConfigDict):
    raise ValueError(f'{at} is {c!r}; it must have the keys {sorted(known)}.')
  if at in OPEN:  # keys of modules are fields: models.build checks them
    return
  for name in sorted(set(c) ^ set(known)):
    wrong = 'has a key' if name in c else 'lacks the key'
    raise ValueError(f'{at} {wrong} {name!r}; its keys are {sorted(known)}.')
  for name, value in known.items():
    if isinstance(value, ConfigDict):
      check_keys(c[name], value, f'{at}.{name}')
    elif not alike(c[name], value) and f'{at}.{name}' != 'config.data.size':
      raise ValueError(f'{at}.{name} is {c[name]!r}; it must be like {value!r}.')
