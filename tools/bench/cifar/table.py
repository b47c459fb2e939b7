"""A CSV of resnet20.sh or cifar100.sh as a table in Markdown: FPR95 / AUROC of every method, set and group.

python table.py OUT/resnet20-id-openood.csv [--sort near]
"""

import argparse
import csv
import pathlib


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("csv", type=pathlib.Path)
    p.add_argument("--sort", metavar="COLUMN", help="sorts by the AUROC of a set or group, the best first")
    a = p.parse_args()
    with a.csv.open() as file:
        rows = list(csv.DictReader(file))
    methods, columns = {}, []
    for row in rows:
        of = row["OOD set"]
        if of not in columns:
            columns.append(of)
        methods.setdefault((row["network"], row["score"]), {})[of] = (row["FPR95"], row["AUROC"])
    ordered = sorted(methods.items())
    if a.sort:
        ordered.sort(key=lambda method: -float(method[1][a.sort][1].split()[0]))
    several = len({network for network, _ in methods}) > 1
    print("| " + " | ".join(["network, score" if several else "score", *columns]) + " |")
    print("|-" * (len(columns) + 1) + "|")
    for (network, score), cells in ordered:
        name = f"{network}, {score}" if several else score
        print("| " + " | ".join([name, *(" / ".join(cells[column]) for column in columns)]) + " |")


if __name__ == "__main__":
    main()
