"""The documentation site: built strictly, with what its pages link to."""
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse

import pytest

from configs import base

ROOT = pathlib.Path(base.__file__).parent.parent


@pytest.mark.long
def test_the_site_has_every_page_and_no_broken_link(tmp_path):
  pytest.importorskip('mkdocs', reason='requirements-docs.txt is not installed')
  subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--quiet', '--site-dir',
                  str(tmp_path)], cwd=ROOT, check=True,
                 env=os.environ | {'NO_MKDOCS_2_WARNING': '1'})
  pages = {path.stem for path in (ROOT / 'docs').glob('*.md')}
  assert pages <= {path.stem for path in tmp_path.glob('*.html')}
  assert 'diffusion.solvers.multistep.dpmpp_2m' in (
      tmp_path / 'api' / 'diffusion.html').read_text()
  checked = 0
  for page in tmp_path.rglob('*.html'):
    if page.name == '404.html':  # whose links are of a server's root
      continue
    for link in re.findall(r'(?:href|src)="([^"#]+)', page.read_text()):
      if not urllib.parse.urlparse(link).scheme and not link.startswith('//'):
        path = urllib.parse.unquote(link.partition('?')[0])
        assert (page.parent / path).exists(), f'{page.name}: {link}'
        checked += 1
  assert checked > 500
