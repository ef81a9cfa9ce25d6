"""Names of what stage 7 writes; in one place, so that none of them can fall on an input unseen."""

from pathlib import Path


def output_files(output_dir: Path, suffix: str) -> dict[str, Path]:
    """Return the outputs but the heads.

    Parameters
    ----------
    output_dir : Path
        Their folder.
    suffix : str
        Of the names.

    Returns
    -------
    dict of str to Path
        By what they hold.
    """
    names = {"model": f"VGG_model{suffix}.keras", "training": f"training{suffix}.json",
             "history": f"history{suffix}.csv", "training_curves": f"training_curves{suffix}.png",
             "statistics": f"VGGClassifierStats_trainvaltest{suffix}.txt",
             "statistics JSON": f"VGGClassifierStats_trainvaltest{suffix}.json",
             "predictions": f"predictions_VGG{suffix}.csv"}
    names |= {figure: f"{figure}_VGG{suffix}.png" for figure in ("scores", "roc", "reliability")}
    return {key: output_dir / name for key, name in names.items()}


def head_file(output_dir: Path, suffix: str, epoch: int) -> Path:
    """Return the head after an epoch.

    Parameters
    ----------
    output_dir : Path
        Its folder.
    suffix : str
        Of the name.
    epoch : int
        From 1.

    Returns
    -------
    Path
        It need not exist.
    """
    return output_dir / f"head_VGG{suffix}_epoch_{epoch:03d}.keras"
