"""Who carries out jobs: threads that each look after a process, one after the other, a cluster.

Anything that is a `concurrent.futures.Executor` can, and the outcomes are the same: what is
submitted is always `onnx_act.batch.apart.run_job`.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The scheduler gives a job up when so many workers were lost over it; a model that kills its own
# process kills no worker, so that it is the machines that come and go.
_RETRIES: Final = 3


class SerialExecutor(Executor):
    """Carries out one job after the other, when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function at once; the future is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is for whoever asks for the result
            future.set_exception(error)
        return future


def own_executor(jobs: int) -> Executor:
    """So many jobs at a time on this machine, each in a process of its own."""
    return ThreadPoolExecutor(jobs, thread_name_prefix="onnx-act-job")


@contextmanager
def dask_executor(address: str, *, on_cuda: bool, patience_s: float = 10.0) -> Iterator[Executor]:
    """The workers of a Dask cluster.

    Args:
        address: of its scheduler, as `tcp://scheduler:8786`.
        on_cuda: whether only workers that were started with the resource `CUDA` will do.
        patience_s: how long to wait for the scheduler to answer, in seconds.

    Raises:
        UsageError: Dask is not installed, or nobody answers at this address.
    """
    try:
        # An extra, and without types for all of it.
        distributed: Any = import_module("distributed")
    except ImportError:
        raise UsageError(
            'Dask is not installed: pip install "onnx-act[dask]", here and on every worker'
        ) from None
    try:
        client = distributed.Client(address, timeout=patience_s, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"no Dask scheduler answers at {address}: {reason}") from None
    with client:
        yield executor_of(client, on_cuda=on_cuda)


def executor_of(client: Any, *, on_cuda: bool) -> Executor:
    """An executor of a Dask client; jobs of workers that are lost are carried out by others."""
    resources = {"resources": {"CUDA": 1}} if on_cuda else {}
    found: Executor = client.get_executor(retries=_RETRIES, pure=False, **resources)
    return found
