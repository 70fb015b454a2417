"""Disks that fill up or may only be read, where this user may mount them."""
import contextlib
import subprocess

import pytest


def mount(*words):
  """Runs mount; skips the test, with what it says, where it may not."""
  done = subprocess.run(['mount', *map(str, words)], capture_output=True, text=True)
  if done.returncode:
    pytest.skip(f'mount {" ".join(map(str, words))}: {done.stderr.strip()}')


@contextlib.contextmanager
def small(folder, kib: int):
  """Makes `folder` a disk of so many KiB; yields what gives it another size."""
  folder.mkdir()
  mount('-t', 'tmpfs', '-o', f'size={kib}k', 'tmpfs', folder)
  try:
    yield lambda kib: mount('-o', f'remount,size={kib}k', folder)
  finally:
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


@contextlib.contextmanager
def read_only(source, folder):
  """Shows the folder `source` at `folder` too, where nothing can be written."""
  folder.mkdir()
  mount('--bind', source, folder)
  try:
    mount('-o', 'remount,ro,bind', folder)
    yield
  finally:
    subprocess.run(['umount', '--lazy', str(folder)], check=True)
