"""Make the bundled sample from the corpus: python -m benchmarks.making.make_sample CORPUS

Writes src/napari_tinc/data: mri_mni152_crop.tif, mri_mni152_crop.tinc (preset balanced, ratio 64), NOTICE-mni152.txt.
"""

import argparse
import shutil
from pathlib import Path

import tifffile

import napari_tinc as tinc
from napari_tinc import samples

CROP = (slice(30, 158), slice(52, 180), slice(34, 162))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of mri_mni152.tif")
    parser.add_argument("--tif-only", action="store_true", help="leave the .tinc file as it is")
    arguments = parser.parse_args()
    crop = tifffile.imread(arguments.corpus / "mri_mni152.tif")[CROP]
    tifffile.imwrite(
        samples.mri_path(), crop, imagej=True, resolution=(1, 1), compression="zlib", compressionargs={"level": 9},
        metadata={"axes": "ZYX", "spacing": 1.0, "unit": "mm"}, datetime=False,
    )  # fmt: skip
    notice = arguments.corpus / "licenses" / "mni_icbm152_NOTICE.txt"
    shutil.copyfile(notice, samples.mri_path().with_name("NOTICE-mni152.txt"))
    if arguments.tif_only:
        return
    image = samples.mri()
    volume = tinc.compress(image.array, ratio=64, preset="balanced", spacing=image.spacing, units=image.units)
    volume.save(samples.mri_tinc_path())
    print(f"ratio {volume.ratio:.2f}, {volume.nbytes_compressed} bytes, {volume.provenance}")


if __name__ == "__main__":
    main()
