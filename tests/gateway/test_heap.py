"""Memory of answers is kept for the next ones, and given back after a while."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PAGE_FAULTS = """
import asyncio, contextlib, resource
from facewright.gateway import heap

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def answers():
    before = faults()
    for _ in range(10):
        copies = [bytes(3_300_000 + number) for number in range(8)]
    return faults() - before

async def given_back():
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await heap.give_back_memory(every_s=0.01)

{before}
answers()
print(answers())
asyncio.run(given_back())
print(answers())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
@pytest.mark.parametrize("keeps", [True, False])
def test_the_kernel_clears_no_page_for_an_answer_until_memory_is_given_back(keeps: bool) -> None:
    script = _PAGE_FAULTS.format(before="heap.keep_memory()" if keeps else "")
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    of_kept, after = map(int, told.stdout.split())
    pages = 8 * 3_300_000 // 4096
    assert (of_kept < pages / 10) is keeps
    assert after > pages / 2, "nothing was given back"
