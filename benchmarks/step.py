"""Images per second of an adversarial training step: this library, a plain loop, and loops around foolbox and torchattacks.

    python benchmarks/step.py                              # two CPU cores: six minutes; batch 32, 2 rounds
    python benchmarks/step.py --compile --methods PGD-AT   # and this library's compiled step beside it
    python benchmarks/step.py --network WRN-34-10 --methods PGD-AT --batch 8
    python benchmarks/step.py --device cuda                # batch 128, 20 rounds

Run it on an idle machine, where this library is installed with its test extra (`pip install --editable '.[test]'`). All train
from the same weights on the same random 3x32x32 images: ten attack steps of 2/255 inside 8/255, crafted in eval mode, then SGD
with momentum on the method's loss. They differ so:

    hardy         this library's step as `hardy train` makes it, precision and memory layout "auto"
    compiled      the same with `--compile`, once torch.compile has done its work (it needs a C++ compiler)
    plain         the loop usually written: float32, NCHW, torch.autograd.grad to the images
    foolbox       the same around foolbox's LinfPGD
    torchattacks  the same around torchattacks' PGD or TPGD, where it lies in benchmarks/.peers

A round times one step of each, and the bare matrix products after each of them; seconds are medians, after a warm-up that is
not timed. Settings of torch.backends are left as torch sets them.

    ratio      images per second over those of the fastest of the others
    GFLOP/s    operations that a step needs over its seconds (see `operations` in methods.py)
    share      of the GFLOP/s of torch.mm on large square matrices in the contestant's precision. float32 is TF32 on a GPU
               that has it: in convolutions by torch's default, and in that product.
"""

import sys
from typing import Any

import torch
from methods import CLASSES, METHODS, NETWORKS, SHAPE, WIDTHS, operations, ours, usual
from peers import PEERS
from timing import BESIDE, SIDES, Flags, Timed, bare_product, headed, in_turns, machine, positive, some_of, written

from hardy.randomness import Noise

DEFAULTS = {"cpu": {"batch": 32, "rounds": 2}, "cuda": {"batch": 128, "rounds": 20}}


def available(asked: list[str] | None) -> list[str]:
    """The peers asked for; left out, those that are installed."""
    sys.path.append(str(BESIDE))
    if asked is not None:
        return asked
    return [name for name in PEERS if name != "torchattacks" or BESIDE.is_dir()]


def measure(
    method: str, network: str, sizes: dict[str, int], peers: list[str], device: torch.device, *, compiled: bool
) -> dict[str, Any]:
    """The rows of the contestants and of bare products for one method."""
    torch.manual_seed(0)  # peers draw their starts from the global generator
    batch, width, of = sizes["batch"], sizes["width"], METHODS[method]
    noise = Noise.of_batch(batch, device=device)
    x, y = noise.derive("images").uniform(SHAPE), noise.derive("labels").integers(CLASSES, ())
    needed, timed = operations(network, width, of), []
    for name in ("hardy", *(["compiled"] if compiled else []), *peers):
        model = NETWORKS[network](width).build(CLASSES).to(device)  # from a fixed seed, the same for all
        if name in PEERS:
            run = usual(model, of, PEERS[name](model, of.loss), x, y)
        else:
            run = ours(model, of.objective, x, y, compiled=name == "compiled")
        timed.append(Timed(name, run, "bfloat16" if model.autocast else "float32", batch * needed))
    products = [bare_product(precision, sizes["matrix"], device) for precision in {one.precision for one in timed}]
    # a shared machine is not as fast all the time: the products are timed again after each contestant
    in_turns([it for one in timed for it in (one, *products)], sizes["rounds"], device)
    limit = {one.precision: one.row()["gflops"] for one in products}
    rows = [one.row() for one in timed]
    rival = min((row["seconds"] for row in rows if row["name"] in PEERS), default=None)
    for row, one in zip(rows, timed, strict=True):
        row |= {"images per second": batch / row["seconds"], "share": row["gflops"] / limit[row["precision"]]}
        row |= {"ratio": rival and rival / row["seconds"], "first loss": float(one.first)}
    about = {"method": method, "network": network, "operations of an image": needed}
    return {**about, "contestants": rows, "products": [one.row() for one in products]}


def table(found: dict[str, Any]) -> str:
    """The text for people."""
    lines = headed(found)
    for part in found["parts"]:
        lines += ["", f"{part['method']}, {part['network']}, {part['operations of an image'] / 1e9:.4g} GFLOP an image"]
        lines.append(f"{'':<14}{'precision':<10}{'images/s':>10}{'s/step':>10}{'ratio':>8}{'GFLOP/s':>11}{'share':>8}")
        for row in part["contestants"]:
            ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
            numbers = f"{row['images per second']:>10.4g}{row['seconds']:>10.4g}{ratio:>8}"
            lines.append(f"{row['name']:<14}{row['precision']:<10}{numbers}{row['gflops']:>11,.1f}{row['share']:>8.1%}")
        for row in part["products"]:
            lines.append(f"{row['name']:<14}{row['precision']:<10}{'':>28}{row['gflops']:>11,.1f}{1:>8.1%}")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Measure and print; wrong flags end the program with a sentence and exit code 2."""
    parser = Flags(__doc__)
    parser.add_argument("--methods", type=some_of(list(METHODS)), default=list(METHODS), help="commas between (all)")
    parser.add_argument("--network", choices=list(NETWORKS), default="PreActResNet-18")
    parser.add_argument("--peers", type=some_of(list(PEERS)), help="commas between (those that are installed)")
    parser.add_argument("--batch", type=positive, help="images in a step (32, on a GPU 128)")
    parser.add_argument("--width", type=positive, help="of the network (as it is called)")
    parser.add_argument("--rounds", type=positive, help="timings of each (2, on a GPU 20)")
    parser.add_argument("--matrix", type=positive, help="side of the bare product's matrices (2048, on a GPU 8192)")
    parser.add_argument("--compile", action="store_true", help="time this library's compiled step, too")
    flags = parser.read(args)
    kind = flags.device.type
    sizes = {name: getattr(flags, name) or DEFAULTS[kind][name] for name in ("batch", "rounds")}
    sizes |= {"matrix": flags.matrix or SIDES[kind], "width": flags.width or WIDTHS[flags.network]}
    found: dict[str, Any] = {"machine": machine(flags.device), "settings": {**sizes, "device": kind}}
    peers = available(flags.peers)
    found["parts"] = [
        measure(method, flags.network, sizes, peers, flags.device, compiled=flags.compile) for method in flags.methods
    ]
    print(table(found))
    written(flags.json, found)


if __name__ == "__main__":
    main()
