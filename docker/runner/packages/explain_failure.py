"""What a failed `pip install` means: the line of requirements.txt, and what helps. Python 3.8 or newer."""

import re
from pathlib import Path
from typing import Iterator, Sequence, Tuple

# What pip, or a compiler that it has started, says; and what helps then.
_WRITE = "in project.yml write  packages: "
_ADVICE = [
    (r"Cannot find command 'git'|No such file or directory: 'git'", f"git is missing; {_WRITE}[git]"),
    (r"Python\.h: No such file", f"the headers of Python are missing; {_WRITE}[gcc, python3-dev]"),
    (
        r"(?:command|execute|find|compiler:?) '?(?:[\w./-]*-)?g\+\+'?|\bg\+\+: not found",
        f"a C++ compiler is missing; {_WRITE}[g++]",
    ),
    (
        r"(?:command|execute|find|compiler:?) '?(?:[\w./-]*-)?(?:gcc|cc)'?|\b(?:gcc|cc): not found"
        r"|Unknown compiler\(s\)|No such file or directory: '(?:[\w-]*-)?(?:gcc|cc)'",
        f"a C compiler is missing; {_WRITE}[gcc, libc6-dev, python3-dev]",
    ),
    (r"can't find Rust compiler|cargo: not found|'cargo'", f"Rust is missing; {_WRITE}[cargo]"),
    (r"CMake must be installed|cmake: not found", f"CMake is missing; {_WRITE}[cmake, g++, make]"),
    (r"pg_config executable not found", f"headers are missing; {_WRITE}[libpq-dev, gcc]"),
    (r"pkg-config: not found|'pkg-config'", f"pkg-config is missing; {_WRITE}[pkg-config]"),
    (r"\bmake: not found|No such file or directory: 'make'", f"make is missing; {_WRITE}[make]"),
    (
        r"fatal error: (\S+): No such file or directory",
        f"the header {{0}} is missing; {_WRITE}and the Debian package that has it: apt-file search {{0}}",
    ),
    (
        r"DO NOT MATCH THE HASHES",
        "the file is another one than its --hash says; correct the hash",
    ),
    (r"In --require-hashes mode", "one line has a --hash, so each needs one; see above"),
    (r"CERTIFICATE_VERIFY_FAILED", "the server is not trusted; write its authority's file into PIP_CERT"),
    (
        r"\b40[13] (?:Client )?Error|Authentication failed|could not read Username",
        "the server asks for a password",
    ),
    (
        r"NewConnectionError|NameResolutionError|ConnectTimeout|Could not resolve host|Connection refused",
        "a server cannot be reached; set PIP_INDEX_URL, or https_proxy",
    ),
    (r"requires a different Python|Requires-Python", "it is for another Python than that of the image"),
    (r"conflicting dependencies|ResolutionImpossible", "these versions exclude each other; see above"),
    (r"\(from versions: none\)", "no index has it for this Python and machine; is the name right?"),
    (r"Could not find a version", "the index has no such version; those that it has are above"),
]
# How pip names the package that it could not install.
_NAMES = [
    r"No matching distribution found for ([A-Za-z0-9][\w.-]*)",
    r"Failed building wheel for ([A-Za-z0-9][\w.-]*)",
    r"wheels? for some pyproject.toml based projects \(([A-Za-z0-9][\w.-]*)",
    r"Failed to build '?(?!installable)([A-Za-z0-9][\w.-]*)",
    r"Could not build wheels for ([A-Za-z0-9][\w.-]*)",
    r"^\s*([A-Za-z0-9][\w.-]*)(?:==\S+)? from .*:\s*$\n\s*Expected sha256",
    r"^╰─> (?!\[)(?:from )?(?:\S+\+)?([A-Za-z0-9][\w.-]*)",
    r"Cannot install (?:.*? and )?([A-Za-z0-9][\w.-]*)",
]
_COLLECTED = r"Collecting ([A-Za-z0-9][\w.-]*)"  # the last one, if pip names none
_LINE = re.compile(r"-r (?:\S*/)?(\S+) \(line (\d+)\)")
_REPOSITORY = re.compile(r"\+\S*/([\w.-]+?)(?:\.git)?(?:@[\w./-]+)?(?:#\S*?egg=([\w.-]+)\S*)?\s*$")


def explain(output: str, project: Path, files: Sequence[str]) -> str:
    """A line about what pip has said; `files` are those of requirements, by their paths in `project`."""
    names = [name for pattern in _NAMES for name in re.findall(pattern, output, re.MULTILINE)]
    names = [_compared(name) for name in names or re.findall(_COLLECTED, output)[-1:]]
    places = [place for place, name in lines_of(project, files) if name in names]
    if not places:  # what is named by its path
        lines = [line for line in output.splitlines() if re.match(r"ERROR|\s*Processing ", line)]
        places = [f"{file}:{line}" for file, line in _LINE.findall("\n".join(lines))]
    shown = [", ".join(list(dict.fromkeys(each))[:3]) for each in (places, names) if each]
    return f"{': '.join(shown) or 'requirements'}: could not be installed: {_advice(output)}"


def _advice(output: str) -> str:
    for pattern, advice in _ADVICE:
        match = re.search(pattern, output)
        if match:
            return advice.format(*match.groups())
    return "pip says why above"


def lines_of(project: Path, files: Sequence[str]) -> Iterator[Tuple[str, str]]:
    """FILE:LINE with the name of the package that it asks for."""
    for file in files:
        text = (project / file).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            repository = _REPOSITORY.search(line)
            match = re.match(r"\s*([A-Za-z0-9][\w.-]*)(?!\+)", line)
            if repository and "@" not in line.split("+")[0]:
                yield f"{file}:{number}", _compared(repository[2] or repository[1])
            elif match:
                yield f"{file}:{number}", _compared(match[1])


def _compared(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower().rstrip("-")
