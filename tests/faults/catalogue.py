"""The faults that are put in on purpose: what is done, and what must hold afterwards.

The mark `fault("P3")` of a test names one of these. `docs/reliability.md` lists them all with what
the tests found.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault."""

    id: str
    injected: str
    holds: str


GROUPS: dict[str, tuple[Fault, ...]] = {
    "Processes and nodes": (
        Fault("P1", "a trial's worker is killed (SIGKILL) in the middle of a rung, once",
              "the trial goes on from its last checkpoint; every step is recorded once"),
        Fault("P2", "the same at every attempt",
              "the trial fails after its second attempt, and the sweep goes on"),
        Fault("P3", "one of two ranks of a trial is killed within a collective operation",
              "the other rank ends within the time limit; the trial is tried again or fails; its "
              "CPUs are free"),
        Fault("P4", "one of two ranks is stopped (SIGSTOP): it hangs, and does not die",
              "the watchdog ends the trial; it counts as no success"),
        Fault("P5", "the driver is killed before its first trial ends, in the middle of trials, "
              "and between the end of a trial and its record in MLflow; the command is run again",
              "no draw is made twice, no finished trial is trained again, the result is that of "
              "an undisturbed sweep"),
        Fault("P6", "the driver gets SIGTERM, or its job is stopped by `ray job stop`",
              "what ran is marked, nothing keeps running, and what is there can be ranked"),
        Fault("P7", "the raylet of a worker node is killed",
              "its trials run again elsewhere; no process is left"),
        Fault("P8", "the head of the cluster is killed (its GCS)",
              "the driver ends within two minutes with one message; the same command continues"),
        Fault("P9", "the MLflow server is killed during a sweep and started again 20 s later",
              "training does not wait for it; the record has no gap and nothing twice"),
        Fault("P10", "the MLflow server never comes back",
              "the sweep ends and says that the record is incomplete; it is shipped later"),
        Fault("P11", "the MLflow server is stopped (SIGSTOP) for a minute", "as P9"),
        Fault("P12", "two drivers on one sweep",
              "the second one refuses; the lock of a dead driver is taken over"),
        Fault("P13", "two `analyze` during a running sweep",
              "they only read, and each sees a consistent state"),
        Fault("P14", "a trial of several workers on a cluster that holds its driver but not them",
              "an error before anything starts, with the arithmetic; nothing hangs"),
        Fault("P15", "the scheduler stops a trial of several workers",
              "its processes and its placement group are gone within 30 s"),
        Fault("P16", "a client without a token on a cluster that wants one, and the reverse",
              "a clear message, and no endless retries"),
    ),
    "Resources": (
        Fault("R1", "the disk of the checkpoints is full",
              "the trial fails as `disk_full`; its last checkpoint is whole"),
        Fault("R2", "the disk of the record's database is full",
              "the spool keeps everything; it is shipped when there is room again"),
        Fault("R3", "a trial takes more memory than there is",
              "it fails as `out_of_memory` after one try with half the micro-batch, and Optuna is "
              "told so"),
        Fault("R4", "a limit of open files or of processes that is far too low", "a clear error"),
        Fault("R5", "a folder for results that cannot be written to, from the start or later",
              "refused before anything starts; later, the trial fails and the sweep goes on or "
              "ends with a message"),
        Fault("R6", "paths with spaces, with Unicode, and of 200 characters",
              "they work, or are refused before anything starts"),
        Fault("R7", "no compiler for DeepSpeed's own operations; a stale lock of such a build",
              "it works without them, or is refused clearly; no endless wait"),
        Fault("R8", "the port of a trial's rendezvous is taken", "tried again on another one"),
        Fault("R9", "the clock jumps by an hour, backwards too",
              "order follows from steps and attempts; durations are not negative"),
        Fault("R10", "a slow and lossy connection to MLflow (delays, errors, cut answers)",
              "one value per step; the wait is bounded"),
    ),
    "Data and numbers": (
        Fault("N1", "the loss is NaN from the start, or from some step on",
              "the trial fails as `nan`, Optuna is told so, and it is never ranked"),
        Fault("N2", "a scorer or an external trainer gives infinities, 1e308, text, nothing, "
              "numbers of NumPy, tensors, booleans, complex numbers",
              "finite real numbers are taken, the rest is a failure with its reason"),
        Fault("N3", "a trainer that returns without a result, or without one of the objectives",
              "one failed trial; the sweep goes on"),
        Fault("N4", "names that MLflow refuses (`acc,none`, emoji, 300 characters)",
              "they are mapped reversibly and shown as they were given"),
        Fault("N5", "a suite without items, rows without anything to learn, one item, fewer rows "
              "than a batch", "a clear error or a defined score; no NaN, no division by zero"),
        Fault("N6", "all trials fail; one is left; all score alike; none keeps the limits; "
              "duplicates", "`analyze` says so; the order of ties is stable"),
        Fault("N7", "the best scorer breaks a constraint",
              "it is not recommended, and is listed as breaking it"),
        Fault("N8", "shares of a mixture that are 0, tiny, negative, NaN or do not sum to 1; a "
              "source that is empty or smaller than its share",
              "normalised or refused; what was really drawn is recorded"),
        Fault("N9", "a trial is stopped at its first rung",
              "Optuna has it as pruned; it is never compared with full runs"),
        Fault("N10", "the same sweep twice with the same seed", "the same draws and scores"),
        Fault("N11", "a parameter of 7,000 characters, 150 parameters, 1,500 metrics at once",
              "nothing is cut without a word; batches are split"),
    ),
    "Checkpoints": (
        Fault("C1", "a checkpoint's file is cut, emptied, removed, or has one bit flipped",
              "refused by its manifest; the run goes on from the one before"),
        Fault("C2", "a kill at random moments of saving", "the old checkpoint or the new one"),
        Fault("C3", "a checkpoint of another world size, ZeRO stage, rank or base model",
              "refused with the reason, before any training"),
        Fault("C4", "ZeRO 3 with partitioned adapters and `modules_to_save`",
              "no empty tensor; the same logits after loading"),
        Fault("C5", "pickles that run code, in place of every file that we read",
              "the code never runs"),
        Fault("C6", "links, `../` and absolute names in manifests and artifacts",
              "nothing is read or written outside"),
    ),
    "Security": (
        Fault("S1", "everything is started with its defaults", "it listens on loopback only"),
        Fault("S2", "requests without a token, from another host name or origin",
              "they are refused"),
        Fault("S3", "a secret in the environment, the spec and the store's address, and a trial "
              "that fails", "the secret is in no database, artifact, log or spool"),
        Fault("S4", "the mode bits of tokens, spools, results and databases",
              "only their owner can read them"),
        Fault("S5", "names with terminal codes, HTML and formulas",
              "they are neutralised in tables, pages and CSV"),
    ),
    "Scale": (
        Fault("L1", "a store of 2,000 runs with 40 metrics and 60 parameters each",
              "`analyze` takes at most 30 s, and 3 s the second time"),
        Fault("L2", "eight writers, 200 batches each", "nothing is lost, nothing is there twice"),
        Fault("L3", "four processes open a new store at the same time", "all of them succeed"),
        Fault("L4", "1,000 short trials",
              "at most 0.2 s of bookkeeping a trial; memory by a stated slope"),
    ),
    "Malformed data files": (
        Fault("M1", "an empty file", "refused"),
        Fault("M2", "only blank lines", "refused"),
        Fault("M3", "the last line is cut off", "refused with its line"),
        Fault("M4", "a JSON array instead of lines", "refused with how to unroll it"),
        Fault("M5", "a byte order mark", "accepted"),
        Fault("M6", "UTF-16", "refused with the command that converts it"),
        Fault("M7", "bytes that are not UTF-8", "refused with line and byte"),
        Fault("M8", "a NUL byte", "refused with line and byte"),
        Fault("M9", "CRLF line ends", "accepted"),
        Fault("M10", "a lone surrogate (`\\ud800`)", "refused with its line"),
        Fault("M11", "a key twice in a row", "refused with its line"),
        Fault("M12", "a row without any text", "refused with its line"),
        Fault("M13", "null, a number or a list as text", "refused with its line"),
        Fault("M14", "an empty text", "refused with its line"),
        Fault("M15", "a line of 10 MB", "refused with its line"),
        Fault("M16", "nesting of depth 10,000", "refused with its line"),
        Fault("M17", "`NaN` and `Infinity`", "refused with their line"),
        Fault("M18", "an integer of 2^63", "as text refused, as a value beside it accepted"),
        Fault("M19", "an unknown role; no assistant turn", "refused with the line"),
        Fault("M20", "the same rows in training and evaluation", "refused with their count"),
        Fault("M21", "a gzip file named `.jsonl`", "refused with what it is"),
        Fault("M22", "a pipe, a directory or `/dev/zero` as a path", "refused at once"),
        Fault("M23", "a data file changes between trials", "the sweep refuses to mix them"),
        Fault("M24", "right-to-left text, joiners, emoji, rare scripts",
              "accepted, and the same after a round trip"),
        Fault("M25", "rows that are too long after the template", "counted and said"),
    ),
    "Malformed specs and commands": (
        Fault("M26", "tabs", "refused with the line"),
        Fault("M27", "a key twice", "refused with key and line"),
        Fault("M28", "a bomb of aliases", "refused"),
        Fault("M29", "a tag that builds a Python object", "refused; nothing runs"),
        Fault("M30", "`lr: 1e-4` and the like", "read as a number; as text refused and explained"),
        Fault("M31", "`no` and `on` as names", "they are the words they look like"),
        Fault("M32", "an unknown key", "refused with key and line, and what is near"),
        Fault("M33", "low above high; a logarithm of 0", "refused with the key"),
        Fault("M34", "choices of mixed types, or that are lists or mappings",
              "refused with the key"),
        Fault("M35", "an empty space", "refused with the key"),
        Fault("M36", "0, -1 or 1e9 trials", "refused with the key"),
        Fault("M37", "an objective twice, or with a direction that is none", "refused"),
        Fault("M38", "early stopping by what is no objective", "refused with the key"),
        Fault("M39", "more GPUs than there are", "refused with the arithmetic"),
        Fault("M40", "`auto` left in DeepSpeed's settings", "refused with the key"),
        Fault("M41", "a batch that its micro-batches do not make up",
              "refused with the arithmetic"),
        Fault("M42", "sweep ids that are paths, filters, empty, too long or look-alikes",
              "refused; nothing is read"),
        Fault("M43", "an unknown sweep id", "refused; the near ones are named"),
        Fault("M44", "a store's address with a password; `file:` as a store",
              "the password is never shown; the other is explained"),
        Fault("M45", "a YAML file of several documents", "refused with the line"),
        Fault("M46", "a YAML file that is no mapping", "refused"),
    ),
}  # fmt: skip


def faults() -> Iterator[Fault]:
    """All of them, in the order of the page."""
    for group in GROUPS.values():
        yield from group


IDS = frozenset(f.id for f in faults())
