//! The kernels: their names, what a block of each does, and the shared memory that it takes.

/// Channels that a convolution takes at once; fewer are filled up with zeros.
pub(super) const CHANNELS: usize = 64;

/// A kernel for convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) kernel: &'static str,
    /// Pixels and outputs of a block.
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) threads: usize,
    /// Steps that are in memory at once.
    stages: usize,
}

impl Tile {
    /// Bytes of shared memory; the kernels for Hopper align it to a kilobyte themselves.
    pub(super) fn memory(&self) -> usize {
        self.stages * (self.rows + self.columns) * 2 * CHANNELS + 1024
    }

    /// Whether it runs where a block may have so many bytes: the kernel declares 8 for each row, up to the
    /// next kilobyte, beside those that it is launched with.
    fn fits(&self, shared: usize) -> bool {
        self.memory() + (8 * self.rows).next_multiple_of(1024) <= shared
    }
}

const fn tile(kernel: &'static str, [rows, columns, threads, stages]: [usize; 4]) -> Tile {
    Tile {
        kernel,
        rows,
        columns,
        threads,
        stages,
    }
}

/// For fewer than 64 outputs.
pub(super) const NARROW: Tile = tile("conv_128x16", [128, 16, 128, 3]);
/// The small and the large, by whether the GPU is Hopper's; blocks of 160 outputs, which divides the widths
/// of Stable Diffusion.
const WIDE: [[Tile; 2]; 2] = [
    [
        tile("conv_64x160", [64, 160, 128, 3]),
        tile("conv_128x160", [128, 160, 128, 3]),
    ],
    [
        tile("hopper_128x160", [128, 160, 256, 5]),
        tile("hopper_256x160", [256, 160, 256, 4]),
    ],
];
/// The same with blocks of 128 outputs, for the autoencoder's widths.
const BINARY: [[Tile; 2]; 2] = [
    [tile("conv_128x128", [128, 128, 128, 3]); 2],
    [
        tile("hopper_128x128", [128, 128, 256, 5]),
        tile("hopper_256x128", [256, 128, 256, 4]),
    ],
];

/// The small and the large tile for so many outputs, 64 or more; the small one twice where a block may not
/// have as many bytes of shared memory as the large one takes.
pub(super) fn tiles(hopper: bool, shared: usize, outputs: usize) -> [Tile; 2] {
    let binary = !outputs.is_multiple_of(160) && outputs.is_multiple_of(128);
    let tiles = if binary { &BINARY } else { &WIDE };
    let [small, large] = tiles[usize::from(hopper)];
    [small, if large.fits(shared) { large } else { small }]
}

/// A kernel for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flash {
    pub(super) kernel: &'static str,
    /// Width of a head.
    width: usize,
    /// Keys of a step.
    keys: usize,
    /// Queries of a block.
    pub(super) queries: usize,
    pub(super) threads: usize,
    hopper: bool,
}

impl Flash {
    /// Bytes of shared memory: the queries, and two steps of keys and of values.
    pub(super) fn memory(&self) -> usize {
        let rows = self.queries + 4 * self.keys;
        if self.hopper {
            return self.width.div_ceil(64) * rows * 128 + 1024;
        }
        let padded = self.width.next_multiple_of(16);
        rows * 2 * if padded / 8 % 2 == 1 { padded } else { padded + 8 }
    }

    /// Whether a GPU has it, by whether it is Hopper's and by the bytes that a block may have there.
    fn runs(&self, hopper: bool, shared: usize) -> bool {
        (hopper || !self.hopper) && self.memory() <= shared
    }
}

const fn flash(kernel: &'static str, [width, keys, queries, threads]: [usize; 4], hopper: bool) -> Flash {
    Flash {
        kernel,
        width,
        keys,
        queries,
        threads,
        hopper,
    }
}

/// Of those of a width the first that runs is taken.
const ATTENTION: [Flash; 7] = [
    flash("hopper_attention_40x128x128", [40, 128, 128, 256], true),
    flash("hopper_attention_80x64x128", [80, 64, 128, 256], true),
    flash("attention_40x128", [40, 64, 128, 128], false),
    flash("attention_64x128", [64, 64, 128, 128], false),
    flash("attention_80x128", [80, 64, 128, 128], false),
    flash("attention_160x64", [160, 64, 64, 128], false),
    flash("attention_160x32x64", [160, 32, 64, 128], false),
];

/// The kernel for heads of this width.
pub(super) fn attention(hopper: bool, shared: usize, width: usize) -> Option<Flash> {
    let mut known = ATTENTION.into_iter();
    known.find(|flash| flash.width == width && flash.runs(hopper, shared))
}

/// Threads of a block of a group norm over so many channels, whole warps, and the pixels that they take at
/// once; none where there are too many channels, or vectors of 8 that are not whole.
pub(super) fn group_norm(channels: usize) -> Option<(usize, usize)> {
    let columns = channels / 8;
    if columns == 0 || !channels.is_multiple_of(8) {
        return None;
    }
    let about = (512 / columns).max(1);
    let whole = (about..=1024 / columns).find(|rows| (columns * rows).is_multiple_of(32));
    let threads = (columns * whole.unwrap_or(about)).next_multiple_of(32);
    (threads <= 1024).then_some((threads, threads / columns))
}

/// Whether the kernel for layer norms takes so many channels.
pub(super) fn layer_norm(channels: usize) -> bool {
    channels.is_multiple_of(8) && channels <= 1280
}

/// All kernels that run where a block may have so many bytes of shared memory, and the most that each is
/// launched with.
#[cfg(any(feature = "cuda", test))]
pub(super) fn all(hopper: bool, shared: usize) -> Vec<(&'static str, usize)> {
    let tiles = [WIDE, BINARY].map(|tiles| tiles[usize::from(hopper)]);
    let convolutions = tiles.iter().flatten().chain([&NARROW]);
    let convolutions = convolutions.filter(|tile| tile.fits(shared));
    let attentions = ATTENTION.iter().filter(|flash| flash.runs(hopper, shared));
    let norms = [
        ("group_sums", 64 << 10),
        ("group_apply", 68 << 10),
        ("layer_norm", 0),
    ];
    convolutions
        .map(|tile| (tile.kernel, tile.memory()))
        .chain(attentions.map(|flash| (flash.kernel, flash.memory())))
        .chain(norms)
        .chain([("conv_sum", 0), ("geglu", 0)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a block may have on compute capability 8.6, 8.9 and 12, on 8.0, and on 9.0 with its own kernels.
    const GPUS: [(bool, usize); 3] = [(false, 101_376), (false, 166_912), (true, 232_448)];

    #[test]
    fn kernels_are_the_largest_that_fit() {
        let chosen = GPUS.map(|(hopper, shared)| {
            let [wide, binary] = [320, 128].map(|outputs| tiles(hopper, shared, outputs));
            let names = [wide[0], wide[1], binary[0], binary[1]].map(|tile| tile.kernel);
            (names, attention(hopper, shared, 160).map(|flash| flash.kernel))
        });
        let [wide, binary] = [["conv_64x160", "conv_128x160"], ["conv_128x128"; 2]];
        let little = [wide[0], wide[0], binary[0], binary[1]];
        assert_eq!(chosen[0], (little, Some("attention_160x32x64")));
        let usual = [wide[0], wide[1], binary[0], binary[1]];
        assert_eq!(chosen[1], (usual, Some("attention_160x64")));
        let hopper = [
            "hopper_128x160",
            "hopper_256x160",
            "hopper_128x128",
            "hopper_256x128",
        ];
        assert_eq!(chosen[2], (hopper, Some("attention_160x64")));
    }

    /// Where a kernel is asked for more than there is, no other is loaded either.
    #[test]
    fn every_gpu_loads_what_it_is_asked_to_run() {
        for (hopper, shared) in GPUS {
            let loaded = all(hopper, shared);
            assert!(loaded.iter().all(|(_, memory)| *memory <= shared), "{loaded:?}");
            let tiles = [64, 128, 320].map(|outputs| tiles(hopper, shared, outputs));
            let tiles = tiles.iter().flatten().map(|tile| (tile.kernel, tile.memory()));
            let widths = [40, 64, 80, 160].map(|width| attention(hopper, shared, width).unwrap());
            let flashes = widths.iter().map(|flash| (flash.kernel, flash.memory()));
            for kernel in tiles.chain(flashes).chain([(NARROW.kernel, NARROW.memory())]) {
                assert!(loaded.contains(&kernel), "{kernel:?} of {loaded:?}");
            }
        }
    }
}
