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

/// The small and the large tile for so many outputs, 64 or more.
pub(super) fn tiles(hopper: bool, outputs: usize) -> [Tile; 2] {
    let binary = !outputs.is_multiple_of(160) && outputs.is_multiple_of(128);
    let tiles = if binary { &BINARY } else { &WIDE };
    tiles[usize::from(hopper)]
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

const ATTENTION: [Flash; 6] = [
    flash("hopper_attention_40x128x128", [40, 128, 128, 256], true),
    flash("hopper_attention_80x64x128", [80, 64, 128, 256], true),
    flash("attention_40x128", [40, 64, 128, 128], false),
    flash("attention_64x128", [64, 64, 128, 128], false),
    flash("attention_80x128", [80, 64, 128, 128], false),
    flash("attention_160x64", [160, 64, 64, 128], false),
];

/// The kernel for heads of this width.
pub(super) fn attention(hopper: bool, width: usize) -> Option<Flash> {
    let mut known = ATTENTION.into_iter();
    known.find(|flash| flash.width == width && (hopper || !flash.hopper))
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

/// All kernels that a GPU needs, and the most shared memory that each is launched with.
#[cfg(feature = "cuda")]
pub(super) fn all(hopper: bool) -> Vec<(&'static str, usize)> {
    let tiles = [WIDE, BINARY].map(|tiles| tiles[usize::from(hopper)]);
    let convolutions = tiles.iter().flatten().chain([&NARROW]);
    let attentions = ATTENTION.iter().filter(|flash| hopper || !flash.hopper);
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
