"""Two processes, with the code of two checkouts, that answer in turns, so that both have the same machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
Ask = Callable[..., Answer]


def start(stack: ExitStack, checkout: Path, module: str) -> Ask:
    """Start a process with the code of a checkout, which runs ``module --answer``; return what asks it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(checkout / "src"), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-m", module, "--answer"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    process: subprocess.Popen[str] = stack.enter_context(subprocess.Popen(command, **pipes))
    assert process.stdin and process.stdout
    stack.callback(process.stdin.close)

    def ask(**request: Any) -> Answer:
        assert process.stdin and process.stdout
        print(json.dumps(request), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    return ask


def answer(functions: Mapping[str, Callable[..., Answer]]) -> None:
    """Answer requests: a line each on stdin, with the name of a function as ``do``."""
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(functions[request.pop("do")](**request)), flush=True)
