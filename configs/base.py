"""Every key that a config has, with its unit. An experiment is a short diff of this.

    python train.py --config=configs/shapes.py --workdir=runs/a --config.train.batch=64

A stored config may lack a key that came later: it then takes the value that stands
here. So a new key has here the value that keeps what earlier runs did.
"""
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
      added=(),            # tokens to learn: ((name, words that it starts as, how many
                           # vectors),), as ('<toy>', 'a toy', 1)
  ))

  c.autoencoder = ConfigDict(dict(  # none, kl, tiny; fields of models/autoencoders/
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
      control='none',      # what a ControlNet is led by: none, edges, grey, coarse
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
      ema_dtype='float32',     # averages; bfloat16 is rounded at random
      moment_dtype='float32',  # first moments, likewise
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
      gather_once=True,    # then over fsdp, too, weights are gathered and gradients
                           # reduced once a step: each device holds all of them; False:
                           # in every part, for less memory
      log_every=50,        # steps, as the next ones
      checkpoint_every=500,
      sample_every=1_000,  # 0: never
      eval_every=0,        # 0: never; the metrics of config.eval
      averages_every=0,    # 0: never; keep the averages, for export.py --ema
      keep=2,              # newest checkpoints
      trackers=('tensorboard',),  # wandb, trackio, mlflow: docs/training.md
      profile=(),          # (first, last) step to trace for XProf; (): none
      max_skipped=20,      # bad steps in a row, of which the gradient is not finite or
                           # the loss spikes, before the run goes back to a checkpoint
      spike=0.0,           # robust deviations above the median of the latest losses at
                           # which a loss spikes, such as 10; 0: never
      max_rollbacks=3,     # times that a run goes back and on without that data
  ))

  c.mesh = ConfigDict(dict(data=-1, fsdp=1, tensor=1))  # devices; -1 takes the rest

  c.sample = ConfigDict(dict(
      solver='dpmpp_2m',   # docs/solvers.md has all
      steps=30,
      timesteps='linear',  # of the solver: docs/diffusion.md has all
      guidance=3.0,        # 1 is the prompt alone
      rule='cfg',          # how it is applied: cfg, apg, zero_star
      over_time='constant',  # scale of guidance: constant, linear, cosine
      picture_guidance=1.0,  # of models that change a picture: by that picture
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
