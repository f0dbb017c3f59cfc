"""A hub on the loopback: repositories of made-up files.

It answers what huggingface_hub reads of the real one: `revision` and `tree`
of its API, and `resolve` of files, by headers first.
"""

import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

import huggingface_hub.constants

_API = re.compile(
  r'/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)'
  r'(/(?P<what>revision|tree)/(?P<revision>[^/]+))?'
)
_FILE = re.compile(
  r'/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)'
  r'/(?P<path>.+)'
)


class Hub:
  """Repositories, and what was asked of them.

  Attributes:
    asked: paths of requests, in their order.
  """

  def __init__(self):
    self._repos = {}
    self.asked = []

  def put(self, kind, repo, files, *branches):
    """A commit of 'models' or 'datasets', which its branches are now."""
    text = json.dumps([repo, sorted(files), [f.hex() for f in files.values()]])
    commit = hashlib.sha1(text.encode()).hexdigest()
    revisions = self._repos.setdefault((kind, repo), {})
    for name in (commit, *(branches or ('main',))):
      revisions[name] = commit, files
    return commit

  def answer(self, path):
    """Status, headers and content."""
    self.asked.append(path)
    plain = urllib.parse.urlsplit(path).path
    found = _API.fullmatch(plain) or _FILE.fullmatch(plain)
    if not found:
      return 404, {}, b''
    kind = (found['kind'] or 'models').rstrip('/')
    revisions = self._repos.get((kind, found['repo']))
    if revisions is None:
      return 404, {'X-Error-Code': 'RepoNotFound'}, b'{}'
    revision = urllib.parse.unquote(found['revision'] or 'main')
    if revision not in revisions:
      return 404, {'X-Error-Code': 'RevisionNotFound'}, b'{}'
    commit, files = revisions[revision]
    if 'path' in found.groupdict():
      content = files[urllib.parse.unquote(found['path'])]
      headers = {'X-Repo-Commit': commit, 'ETag': f'"{_oid(content)}"'}
      return 200, headers, content
    if found['what'] == 'tree':
      said = [
        dict(type='file', path=p, size=len(c), oid=_oid(c))
        for p, c in files.items()
      ]
    else:
      siblings = [dict(rfilename=p) for p in files]
      said = dict(id=found['repo'], sha=commit, siblings=siblings)
    return 200, {'Content-Type': 'application/json'}, json.dumps(said).encode()


def _oid(content):
  return hashlib.sha1(content).hexdigest()


@contextlib.contextmanager
def served():
  """(hub, address) while it answers."""
  hub = Hub()

  class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
      status, headers, content = hub.answer(self.path)
      self.send_response(status)
      for name, value in headers.items():
        self.send_header(name, value)
      self.send_header('Content-Length', str(len(content)))
      self.end_headers()
      if self.command == 'GET':
        self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *arguments):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  server.daemon_threads = True
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield hub, f'http://127.0.0.1:{server.server_port}'
  finally:
    server.shutdown()
    server.server_close()


def use(monkeypatch, address, cache):
  """Has the library ask it: its variables were read when it was imported."""
  constants = huggingface_hub.constants
  monkeypatch.setattr(constants, 'ENDPOINT', address)
  template = address + '/{repo_id}/resolve/{revision}/{filename}'
  monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(cache))
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
  monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
  monkeypatch.setattr(constants, 'HF_HUB_DISABLE_TELEMETRY', True)
