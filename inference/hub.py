"""Public pipelines by their names on the Hugging Face hub, through its own cache."""
import os
import re

CONFIGS = ('*.json', '*/*.json', '*/*.txt', '*/*.model')
NAME = r'[\w-][\w.-]*/[\w.-]+'


def is_name(place: str | None) -> bool:
  """Whether a place is 'owner/name', and no file or folder here."""
  return bool(place) and not os.path.exists(place) and bool(re.fullmatch(NAME, place))


def folder_of(place: str, variant: str | None = None, parts=None) -> str:
  """The folder of a pipeline: the place itself, or where the hub's cache has it.

  What is missing is downloaded: JSON files, tokenizers and safetensors, of each part
  those of the variant, or where it has none those without. HF_HUB_OFFLINE=1 downloads
  nothing. parts: folders whose weights are needed, '' for the place itself; None for
  all parts.

  Raises ValueError for a name that the hub does not know, or without huggingface_hub.
  """
  if not is_name(place):
    return place
  try:
    import huggingface_hub
    from huggingface_hub import constants
  except ImportError as e:
    raise ValueError(f'{place} is no folder here; to take it from the Hugging Face '
                     'hub: pip install huggingface_hub') from e
  try:
    if constants.HF_HUB_OFFLINE:
      return huggingface_hub.snapshot_download(place, local_files_only=True)
    files = huggingface_hub.list_repo_files(place)
    return huggingface_hub.snapshot_download(
        place, allow_patterns=[*CONFIGS, *weight_files(files, variant, parts)])
  except Exception as e:  # of many classes, of it and of what it loads with
    first = str(e).strip().split('\n')[0]
    raise ValueError(f'{place} is no folder here, and the Hugging Face hub gives none: '
                     f'{type(e).__name__}: {first}') from e


def weight_files(files, variant: str | None, wanted=None) -> list[str]:
  """Of the files of a repository, the weights of each part that are to be read; wanted:
  of these folders, None for all."""
  parts = {}
  for name in files:
    folder, _, file = name.rpartition('/')
    taken = folder if wanted is None else folder in wanted
    if taken and folder.count('/') == 0 and file.endswith('.safetensors'):
      stem = re.sub(r'-\d+-of-\d+$', '', file.removesuffix('.safetensors'))
      parts.setdefault(folder, {}).setdefault(stem.partition('.')[2], []).append(name)
  return [name for of in parts.values()
          for name in of.get(variant or '') or of.get('') or sum(of.values(), [])]
