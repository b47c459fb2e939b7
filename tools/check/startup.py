"""Measures how long every command takes to start: its help, and `--version`.

    python tools/check/startup.py path/to/dream [--most 20]

Each is run 20 times; the fastest counts, because other programs run meanwhile. Fails if one is above the most
that is allowed, in milliseconds.
"""

import argparse
import os
import subprocess
import sys
import time


def run(words):
    return subprocess.run(words, capture_output=True, text=True)


def below(program, command):
    """The commands that the help of `command` lists."""
    lines = run([program, *command, "--help"]).stdout.splitlines()
    if "Commands:" not in lines:
        return []
    names = []
    for line in lines[lines.index("Commands:") + 1 :]:
        if not line:
            break
        if line.startswith("  ") and not line.startswith("   "):
            names.append(line.split()[0])
    return [command + [name] for name in names if name != "help"]


def fastest(words, times=20):
    best = float("inf")
    for _ in range(times):
        begun = time.perf_counter()
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        best = min(best, time.perf_counter() - begun)
    return best * 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--most", type=float, default=20)
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    waiting, commands = [[]], []
    while waiting:
        command = waiting.pop()
        commands.append(command)
        waiting.extend(below(program, command))
    slow = 0
    measured = [(fastest([program, *c, "--help"]), " ".join(["dream", *c, "--help"])) for c in commands]
    measured.append((fastest([program, "--version"]), "dream --version"))
    for milliseconds, words in sorted(measured, reverse=True):
        slow += milliseconds > args.most
        print(f"{milliseconds:7.1f} ms  {words}")
    if slow:
        sys.exit(f"{slow} take more than {args.most} ms")


if __name__ == "__main__":
    main()
