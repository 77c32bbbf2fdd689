"""Runs attnflow with random command lines: each must succeed, or be refused in a sentence.

    python benchmarks/fuzz.py --seconds 600 --seed 1

Options come from the commands themselves, so that new ones are drawn too; their values are
ordinary or absurd, their files whole, damaged or none. Most command lines run in one process, some
in one each. A fault is a traceback, a signal's death, 60 seconds of processor time or without
progress, part of a file left behind, JSON that is none, a refusal that is no sentence, or a control
character in what is shown. Ends with their numbers, and with 1 where there is any.
"""

import argparse
import contextlib
import json
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

LIMIT = 60.0
"""Seconds of processor time that a command line may take, or seconds without any."""
APART = 0.02
"""Share of command lines that run in a process of their own."""
KINDS = ("traceback", "hang", "half-written file", "not JSON", "no sentence", "control character")
TEMPORARY = re.compile(r"^\..*-[a-z0-9_]{8}(\.\w+)?$")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

ABSURD = (
    *"1e30 -1e30 1e309 1e-320 -1 0 -0.0 nan inf -inf , 1,,2 1/0 1e5/3 0x10 1_0 4294967296".split(),
    *"9223372036854775808 %s {0} <script> $(id) None true -- - @ soft@ [bold]x[/bold]".split(),
    *("1" + "0" * 400, "-" + "9" * 5000, "a" * 5000, "", "  ", "a\nb", "\\", "caf\u00e9", "\u00b2"),
    *("\uff11", "\u0bb5\u0ba3", "\udcff", "\u202e", "\x1b[31mred\x1b[0m"),
)
ABSURD_ONES = frozenset(ABSURD)
WRONG = 0.9
"""Share of command lines with an absurd value."""
OUTPUTS = (
    *"a.json a.csv A.CSV a.svg a.png a.pdf a.html a.tex a.py a.md lr[0.1]/a.json *?.csv".split(),
    *"out missing/deep/a.csv folder folder.json link.json broken.csv loop.json stream".split(),
    *"stream.json stream.csv /dev/null /dev/full a.json/below . .. ~nobody/x -o.json".split(),
    *("back\\slash", "new\nline.json", "\x1b[1m.csv", "\udcff.json", "\u00e9.html", "x" * 300, ""),
)
INPUTS = (
    *"mark.toml deep.toml digits.toml empty bytes.toml deep.json silent /dev/zero folder".split(),
    *"/dev/null loop.json missing comparison/curves.nc posts coco run captions lr[0]".split(),
    *("truncated.nc", "bytes.nc", "a\nb", "\\", "", "\udcff"),
)
CODE = {
    "focal": "import sympy as sp, attnflow as af\nfrom attnflow.symbols import C, alpha, mu\n"
    "NAME = af.Paradigm('focal', sp.log(1 + (C - 1) * sp.exp(-alpha * mu)) ** 2)\n",
    "exits": "import sys\nsys.exit(7)\n",
    "base": "raise BaseException('gone')\n",
    "interrupts": "raise KeyboardInterrupt\n",
    "syntax": "def (:\n",
    "other": "NAME = 5\n",
    "deep": "def f(): return f()\nNAME = f()\n",
    "loud": "import attnflow as af\nNAME = af.Paradigm('\\x1b[1m\\ud800', 'mu')\n",
    "hinge": "import sympy as sp, attnflow as af\nfrom attnflow.symbols import alpha, mu\n"
    "NAME = af.Paradigm('hinge', sp.Max(0, 1 - alpha * mu))\n",
    "tags": "import sympy as sp, attnflow as af\nfrom attnflow.symbols import C, alpha, mu\n"
    "NAME = af.Paradigm('<!--<script>|\\\\input{x}', sp.log(1 + (C - 1) * sp.exp(-alpha * mu)))\n",
}
"""Python files of users: name -> text."""

SMALL = {
    "--train": ("20", "16"),
    "--heldout": ("10",),
    "--test": ("10",),
    "--epochs": ("1", "2"),
    "--batch": ("4", "8"),
}
"""Options of ordinary training, which otherwise takes minutes."""
ORDINARY = {
    "-m": ("2", "5", "100", "1e6"),
    "-C": ("2", "3", "1000"),
    "K": ("1", "2"),
    "T": ("1", "700", "1e5", "1e12"),
    "T1,T2,...": ("1", "0,1,10", "1e-6,1e15"),
    "N": ("1", "2", "3", "8"),
    "P": ("0", "0.5", "0.9"),
    "TOL": ("1e-6", "1e-10"),
    "ALPHA": ("0.3", "0.9", "0.99"),
    "MU": ("0", "-2", "20"),
    "NU": ("0", "-2", "20"),
    "A@END,B": ("soft@t=200,hard", "soft@alpha=0.6,hard", "lvml,soft", "soft@theory,hard"),
    "A@theory,B": ("soft@theory,hard", "lvml@theory,soft", "soft@t=3,hard"),
    "SCHEDULE": ("soft", "soft@epoch=1,hard", "hybrid", "lvml", "hard-sampled"),
    "I": ("0", "1"),
    "S,...": ("0", "0,1", "0,0"),
    "S": ("0", "7"),
    "R,...": ("0.1", "0.1,0.2", "1e-9"),
    "--paradigm": ("soft", "hard", "lvml", "power-1/2", "soft,hard", "all"),
    "--task": ("orthogonal", "digits", "hatexplain", "coco", "cifar10"),
    "--networks": ("linear", "mlp", "convolutional", "text-transformer"),
    "--solver": ("dopri8", "tsit5", "kvaerno5", "scipy"),
    "--grid": ("linear", "log"),
    "--background": ("shared", "distinct"),
    "--freeze": ("focus", "classifier"),
    "--quantity": ("alpha", "mu", "loss"),
    "--format": ("latex", "markdown", "python", "json", "html", "svg", "pdf,png"),
    "--figure": ("mu", "overview", "phase"),
    "--step": ("flow", "first-integral", "time"),
    "--encoder": ("conv", "vgg19"),
    "--set": ("train", "val", "test", "heldout"),
    "--descent": ("0.1", "1"),
    "--points": ("1", "2", "7", "50"),
    "name": ("hatexplain", "coco"),
    "NAME": ("ode-20", "sdc-cifar10", "captions"),
    "--scale": ("0.001", "0", "1e-3"),
}
"""Option, or what its value is called -> values that mean something."""
READS = ("FILE", "STORE", "PLACE", "PATH", "CURVES.NC")
NEVER = {"data fetch": ("cifar10", "cifar100", "hatexplain")}
"""Values that would load from the network."""

SEEDS = (
    "solve -p soft --times 1,10 --out a.json",
    "compare -p soft -m 2 -C 2 --points 3 --horizon 9 --out comparison",
    "train --task orthogonal -m 3 -C 3 --train 12 --epochs 5 --out run",
    "data generate hatexplain --data posts --posts 60",
    "data generate coco --data coco --train 6 --val 3 --side 32",
    "train --task coco --data coco --encoder-width 4 --encoder-blocks 2 --image-size 32 --hidden 8"
    " --attention 4 --embedding 4 --epochs 1 --batch 3 --min-count 1 --out captions",
    "evaluate run --json",
    "fit run --out fit.svg",
    "report run --out page",
    "plot comparison/curves.nc --out figures --format svg",
    "explore -p soft --out explorer.html",
)
"""What makes files that other command lines read."""


@dataclass(frozen=True)
class Outcome:
    """How a command line ended: exit code, None where it hung; output; an exception's text."""

    code: int | None
    out: str = ""
    err: str = ""
    raised: str = ""


def commands() -> dict[str, list[Any]]:
    """Every command with its parameters."""
    import typer

    from attnflow.cli.app import app

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*path, name))
        if not hasattr(command, "commands"):
            yield " ".join(path), list(command.params)

    return dict(walk(typer.main.get_command(app), ()))


class Draw:
    """Draws command lines, each from the seed and its number."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.commands = commands()
        self.count = 0

    def line(self) -> list[str]:
        """The next command line; most hold an absurd value, and are refused at once."""
        wrong = self.random.random() < WRONG
        while True:
            drawn = self._line()
            if not wrong or not ABSURD_ONES.isdisjoint(drawn):
                return drawn

    def _line(self) -> list[str]:
        self.count += 1
        rng = self.random
        command = rng.choice(list(self.commands))
        values: list[str] = []
        named: set[str] = set()
        for parameter in self.commands[command]:
            required = parameter.required or parameter.param_type_name == "argument"
            if required or rng.random() < 2.5 / len(self.commands[command]):
                values += self.given(command, parameter)
                named.add(parameter.opts[0])
        if command == "train":
            for name, few in SMALL.items():
                values += [] if name in named else [name, rng.choice(few)]
        rng.shuffle(extra := rng.choice(([], [], [], [], [], [], ["--nothing"], ["extra"], ["-h"])))
        return [*command.split(), *values, *extra]

    def given(self, command: str, parameter: Any) -> list[str]:
        """A parameter as it stands on the line."""
        rng = self.random
        option = parameter.opts[0]
        if getattr(parameter, "is_flag", False):
            return [rng.choice([*parameter.opts, *parameter.secondary_opts])]
        many = rng.choice((1, 1, 1, 2)) if getattr(parameter, "multiple", False) else 1
        values = [self.value(command, parameter) for _ in range(many)]
        if parameter.param_type_name == "argument":
            return values
        return [text for value in values for text in (option, value)]

    def value(self, command: str, parameter: Any) -> str:
        """A value, ordinary or not."""
        rng = self.random
        option, called = parameter.opts[0], str(parameter.metavar)
        if called in ("RUN", "RUN...") or (option == "--out" and command == "train"):
            return rng.choice((self.damaged("run"), self.damaged("captions"), "run", *OUTPUTS))
        if option in ("--out", "--captions") or (option == "--data" and "data " in command):
            return rng.choice(OUTPUTS)
        if called == "FILE.py:NAME":
            name = rng.choice(
                (*(f"{code}.py:NAME" for code in CODE), "focal.py", "missing.py:NAME")
            )
            return rng.choice((name, name, name, *ABSURD[:3]))
        if option == "--config" and rng.random() < 0.5:
            return self.damaged("run") + "/config.toml"
        if called in READS:
            return rng.choice((*INPUTS, rng.choice(ABSURD)))
        if rng.random() < 0.5:
            return rng.choice(ABSURD)
        if command == "train" and option in SMALL:
            return rng.choice(SMALL[option])
        for key in (option, *parameter.opts[1:], called):
            if key in ORDINARY:
                value = rng.choice(ORDINARY[key])
                return "none" if value in NEVER.get(command, ()) else value
        return rng.choice((*ABSURD, "1", "0.5"))

    def damaged(self, name: str) -> str:
        """A copy of a run with one file changed, or gone."""
        source, rng = self.folder / name, self.random
        copy = self.folder / f"copy-{self.count}"
        if not source.is_dir() or copy.exists():
            return name
        shutil.copytree(source, copy)
        files = sorted(f for f in copy.rglob("*") if f.is_file() and f.name != "lock")
        few = [f for f in files if f.suffix in (".toml", ".json", ".jsonl")]
        file = rng.choice(rng.choice((files, few or files)))
        whole = file.read_bytes()
        at = rng.randrange(max(len(whole), 1))
        text = rng.choice(
            ("{}", "null", "[]", "1" * 5000, "[" * 10_000, "\ufeff{}", "a = 1\n", "\x00")
        )
        change = rng.choice(("cut", "flip", "text", "gone", "pipe", "folder", "value", "none"))
        if change in ("gone", "pipe", "folder"):
            file.unlink()
        if change == "pipe":
            os.mkfifo(file)
        elif change == "folder":
            file.mkdir()
        elif change == "cut":
            file.write_bytes(whole[:at])
        elif change == "flip" and whole:
            file.write_bytes(
                whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
            )
        elif change == "text":
            file.write_text(text)
        elif change == "value" and b"\x00" not in whole:
            numbers = list(re.finditer(rb"\d+(\.\d+)?|\"[^\"]*\"", whole))
            if numbers:
                one = rng.choice(numbers)
                odd = rng.choice(
                    (b"1e30", b'"x"', b"-1", b"null", b"[]", b"1" * 400, b"nan", b"99")
                )
                file.write_bytes(whole[: one.start()] + odd + whole[one.end() :])
        return copy.name


def make_world(folder: Path) -> None:
    """The files that stand there from the beginning."""
    for name, text in CODE.items():
        (folder / f"{name}.py").write_text(text)
    for name in ("folder", "folder.json", "lr[0]"):
        (folder / name).mkdir()
    texts = {
        "plain": "text",
        "target.json": "{}",
        "empty": "",
        "mark.toml": "\ufeffepochs = 1\ntrain = 20\n",
        "deep.toml": "a = " + "[" * 20_000,
        "digits.toml": "epochs = " + "1" * 5000,
        "deep.json": "[" * 100_000,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "bytes.toml").write_bytes(bytes(range(256)))
    (folder / "bytes.nc").write_bytes(bytes(range(256)) * 9)
    (folder / "truncated.nc").write_bytes(b"CDF\x02\x00\x00\x00\x00")
    (folder / "link.json").symlink_to("target.json")
    (folder / "broken.csv").symlink_to("nowhere.csv")
    (folder / "loop.json").symlink_to("loop.json")
    os.mkfifo(folder / "silent")  # nobody writes into it
    for name in ("stream", "stream.json", "stream.csv"):
        os.mkfifo(folder / name)
        end = os.open(folder / name, os.O_RDWR)
        threading.Thread(target=_drain, args=(end,), daemon=True).start()


def _drain(end: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(end, 1 << 16):
            pass


class Worker:
    """A process that runs command lines one after the other; a new one where it died."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None

    def run(self, arguments: list[str], limit: float) -> Outcome:
        """A command line's outcome."""
        if self.process is None:
            self.process = self._start(["--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(arguments).encode() + b"\n")
        process.stdin.flush()
        answer = b""
        watch = Watch(process.pid, limit)
        while not answer.endswith(b"\n"):
            if not select.select([process.stdout], [], [], 0.5)[0]:
                if watch.over():
                    self.stop()
                    return Outcome(None)
                continue
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                code = process.wait()
                self.stop()
                return Outcome(code, *self._said(), raised=f"the process ended with {code}")
            answer += piece
        code, raised = json.loads(answer)
        return Outcome(code, *self._said(), raised)

    def alone(self, arguments: list[str], limit: float) -> Outcome:
        """The same in a process of its own, by the interpreter's own way out."""
        command = [sys.executable, "-m", "attnflow", *arguments]
        with (
            (self.folder.parent / "out").open("wb") as out,
            (self.folder.parent / "err").open("wb") as err,
        ):
            process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
            watch = Watch(process.pid, limit)
            while process.poll() is None:
                time.sleep(0.05)
                if watch.over():
                    process.kill()
                    process.wait()
                    return Outcome(None)
        code = process.returncode
        return Outcome(code, *self._said(), f"killed by signal {-code}" if code < 0 else "")

    def _start(self, arguments: list[str], **pipes: Any) -> "subprocess.Popen[bytes]":
        place = [str(self.folder.parent / name) for name in ("out", "err")]
        return subprocess.Popen(
            [sys.executable, __file__, *arguments, *place], cwd=self.folder, **pipes
        )

    def _said(self) -> list[str]:
        return [(self.folder.parent / n).read_text("utf-8", "replace") for n in ("out", "err")]

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            with self.process:  # closes its pipes
                self.process = None


class Watch:
    """Whether a process has used its limit of processor time, or has done nothing for as long."""

    def __init__(self, pid: int, limit: float) -> None:
        self.pid, self.limit = pid, limit
        self.began = self.last = self._used()
        self.since = time.monotonic()

    def over(self) -> bool:
        """Whether it is time to end it."""
        used, now = self._used(), time.monotonic()
        if used - self.last > 0.2:
            self.last, self.since = used, now
        return used - self.began > self.limit or now - self.since > self.limit

    def _used(self) -> float:
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def work(out: str, err: str) -> None:
    """The worker: command lines from standard input, outcomes to what was standard output."""
    from attnflow.cli import run

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        for stream, place in ((1, out), (2, err)):
            sys.stdout.flush()
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, stream)
            os.close(handle)
        sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
        raised = ""
        try:
            code: Any = run(json.loads(line))
        except BaseException:  # whatever a command lets out is a fault
            code, raised = 1, traceback.format_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        print(json.dumps([code, raised]), file=answers, flush=True)


def faults(arguments: list[str], outcome: Outcome, folder: Path) -> dict[str, str]:
    """What is wrong with an outcome: kind -> why."""
    found: dict[str, str] = {}
    if outcome.code is None:
        return {"hang": f"over {LIMIT:g} seconds"}
    if outcome.raised or "Traceback (most recent call last)" in outcome.err:
        found["traceback"] = outcome.raised or outcome.err
    elif outcome.code not in (0, 1, 2, 3, 130):
        found["traceback"] = f"exit code {outcome.code}"
    elif outcome.code in (2, 3):
        last = (outcome.err.strip().splitlines() or [""])[-1]
        most = 2000 + 8 * len(" ".join(arguments))
        if not last.startswith("attnflow: ") or len(outcome.err) > most or outcome.out:
            found["no sentence"] = outcome.err[-2000:] + outcome.out[:200]
    if hit := CONTROL.search(outcome.out + outcome.err):
        found["control character"] = repr(hit.group()) + " in " + (outcome.out + outcome.err)[:2000]
    if outcome.code == 0 and "--json" in arguments and not {"-h", "--help"} & set(arguments):
        try:
            document = json.loads(outcome.out)
            if arguments[0] in ("solve", "simulate") and "null" in json.dumps(document):
                found["not JSON"] = "null where a number should be"
        except ValueError as error:
            found["not JSON"] = f"{error}: {outcome.out[:500]}"
    if parts := [str(file) for file in folder.rglob(".*") if TEMPORARY.match(file.name)]:
        found["half-written file"] = "left: " + ", ".join(parts[:3])
    elif broken := next((f for f in folder.glob("*.*") if not whole(f)), None):
        found["half-written file"] = f"not whole: {str(broken)!r}"
        broken.unlink()
    return found


def whole(file: Path) -> bool:
    """Whether a file that a command writes is complete, by its end."""
    ends = {".svg": b"</svg>", ".html": b"</html>", ".pdf": b"%%EOF", ".png": b"IEND\xaeB`\x82"}
    if file.is_symlink() or not file.is_file() or file.name == "deep.json":
        return True
    content = file.read_bytes()
    if file.suffix in ends:
        return content.rstrip().endswith(ends[file.suffix])
    if file.suffix.lower() == ".csv":
        return content.endswith(b"\n")
    if file.suffix == ".json":
        try:
            json.loads(content)
        except ValueError:
            return False
    return True


def tidy(folder: Path) -> None:
    """Remove what a fault left, and the copies of runs."""
    for file in [*folder.rglob(".*"), *folder.glob("copy-*")]:
        if file.name.startswith("copy-") or TEMPORARY.match(file.name):
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def fuzz(
    seconds: float, seed: int, folder: Path, *, most: float = float("inf")
) -> tuple[int, Counter[str]]:
    """The number of command lines tried, and of faults by kind.

    Args:
        seconds: how long.
        seed: of the command lines.
        folder: an empty one, in which they run.
        most: how many command lines at most.
    """
    world = folder / "world"
    world.mkdir()
    make_world(world)
    draw, worker = Draw(seed, world), Worker(world)
    seeds = [line.split() for line in SEEDS]
    counts: Counter[str] = Counter()
    codes: Counter[Any] = Counter()
    tried = 0
    try:
        worker.run(["--version"], LIMIT)  # starting it is not counted
        end = time.monotonic() + seconds
        while time.monotonic() < end and tried < most:
            made = tried % 8 == 7 and bool(seeds)
            arguments = seeds.pop(0) if made else draw.line()
            apart = draw.random.random() < APART or "--distributed" in arguments
            (folder / "line").write_text(json.dumps(arguments))  # for whoever looks on
            try:
                outcome = (worker.alone if apart else worker.run)(arguments, LIMIT)
            except ValueError:  # no process can be given such arguments
                continue
            tried += 1
            codes[outcome.code] += 1
            found = faults(arguments, outcome, world)
            if made and outcome.code:
                outcome = replace(outcome, raised=outcome.raised or outcome.err)
                found["traceback"] = f"should succeed, but: {outcome.raised}"
            for kind, why in found.items():
                counts[kind] += 1
                print(f"--- {kind}: {json.dumps(arguments)}\n{why[-3000:]}", flush=True)
            tidy(world)
    finally:
        worker.stop()
    for code in (0, 1, 2, 3):
        print(f"exit code {code}: {codes[code]}")
    return tried, counts


def main(arguments: list[str] | None = None) -> int:
    """Fuzz, tell the counts, and return 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tried, counts = fuzz(asked.seconds, asked.seed, Path(folder))
    told = ", ".join(f"{counts[kind]} {kind}{'s' * (kind[:2] != 'no')}" for kind in KINDS)
    print(f"{tried} command lines: {told}")
    return 1 if counts else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:4])
    else:
        sys.exit(main())
