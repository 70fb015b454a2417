"""A run, a sweep or an evaluation as one page of HTML: report.write(WORKDIR)."""
from evaluation.report.page import write

__all__ = ['write']
