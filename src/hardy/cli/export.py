"""hardy export: a network in a folder to share, for RobustBench or the Hugging Face hub, read back and verified."""

from dataclasses import replace

import tyro

from hardy.cli import to_huggingface, to_robustbench
from hardy.cli.checks import new_file
from hardy.cli.console import out, percent
from hardy.cli.flags import parse, swap
from hardy.cli.known import known
from hardy.cli.shared import Options, shared
from hardy.cli.subject import check_model_wanted, subject
from hardy.describe import counted
from hardy.files import new_folder


def main(args: list[str]) -> None:
    """Run `hardy export RUN|WEIGHTS|NAME --to robustbench|huggingface --out FOLDER`."""
    default, left = swap(Options(tyro.MISSING, tyro.MISSING, tyro.MISSING), args)
    options = parse(Options, left, "hardy export", default)
    new_file(options.out, "--out", "a new folder")
    told = options.told
    it = subject(options.source, told)
    check_model_wanted(options, options.source, it)
    it = replace(it, test=it.test.to(told.device))
    about = known(options.source, options, it, options.results)
    if options.to == "robustbench":
        to_robustbench.check(options, about)
    made = shared(options, it, about)
    with new_folder(options.out) as folder:
        said = (to_robustbench if options.to == "robustbench" else to_huggingface).write(made, folder)
        names = sorted(file.name for file in folder.iterdir())
    clean = percent(made.clean.value, made.clean.low, made.clean.high)
    out.print(
        f"{it.title}: clean accuracy {clean} % on {counted(made.clean.n, 'image')}, the same logits when read back."
    )
    for sentence in said:
        out.print(sentence)
    for name in names:
        out.print(f"{options.out / name}")
