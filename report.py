r"""Writes the report of a run, a sweep or an evaluation: one page of HTML.

python report.py runs/shapes
python report.py runs/a runs/b --out=both.html

Each word is a workdir, of a run or of a sweep, its folder evaluations/ or a NAME.json
of that. Several runs stand side by side. The page goes to report.html in the only one,
or to --out=NAME.html; it needs no network and nothing beside it. docs/report.md.
"""
from absl import flags

from console import command, files
from console.errors import UserError, user_errors
from evaluation import report


def define_flags():
  flags.DEFINE_string('out', None, 'NAME.html: where the page goes; by default '
                      'report.html in the only folder.')


def main(flag, places):
  if not places:
    raise UserError('a folder is needed: python report.py WORKDIR.')
  if len(places) > 1 and not flag.out:
    raise UserError('--out=NAME.html is needed for several runs.')
  with user_errors():
    if flag.out:
      files.check_new_file(flag.out, 'out', '.html')
    print(report.write(*places, path=flag.out))


if __name__ == '__main__':
  command.run(main, define_flags, words=True)
