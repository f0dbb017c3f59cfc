"""How a launcher stops the processes that it started."""

import dataclasses
import signal
import subprocess
import threading
from typing import Any


@dataclasses.dataclass(eq=False)
class Stop:
  """Asks units to stop: `ask` once to save first, twice to end at once."""

  is_asked: bool = False
  _alive: set[Any] = dataclasses.field(default_factory=set)
  _lock: Any = dataclasses.field(default_factory=threading.RLock)

  def ask(self) -> None:
    number = signal.SIGKILL if self.is_asked else signal.SIGTERM
    self.is_asked = True
    with self._lock:
      for process in self._alive:
        process.send_signal(number)

  def start(self, *arguments: Any, **options: Any) -> subprocess.Popen | None:
    """A process that `ask` will reach; None if it was asked already."""
    with self._lock:
      if self.is_asked:
        return None
      process = subprocess.Popen(*arguments, **options)
      self._alive.add(process)
      return process

  def reach(self, process: Any) -> None:
    """`ask` will reach this, too: anything with `send_signal`."""
    with self._lock:
      self._alive.add(process)

  def wait(self, process: subprocess.Popen) -> int:
    """The exit code of the process."""
    code = process.wait()
    with self._lock:
      self._alive.discard(process)
    return code
