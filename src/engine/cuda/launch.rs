//! What a kernel is launched with.

/// A kernel, and how many threads run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) kernel: &'static str,
    /// Blocks, and threads of a block.
    pub(super) grid: [usize; 3],
    pub(super) block: [usize; 3],
    /// Bytes of shared memory that a block has beside what the kernel declares.
    pub(super) memory: usize,
}

/// Declares a struct of a kernel's: 8-byte fields first, so that there are no gaps.
macro_rules! arguments {
    ($(#[doc = $doc:literal])* struct $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[doc = $doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name { $(pub(super) $field: $type,)* }
        // SAFETY: plain numbers, laid out as the kernel's.
        #[cfg(feature = "cuda")]
        unsafe impl candle_core::cuda::cudarc::driver::DeviceRepr for $name {}
        #[cfg(test)]
        impl $name {
            fn bytes(&self) -> Vec<u8> {
                let mut bytes = [$(&self.$field.to_ne_bytes()[..],)*].concat();
                bytes.resize(size_of::<Self>(), 0);
                bytes
            }
        }
    };
}

arguments! {
    /// `Conv` of half/common.cuh.
    struct ConvArgs {
        x: u64,
        w: u64,
        y: u64,
        parts: u64,
        bias: u64,
        extra: u64,
        residual: u64,
        rows: i32,
        outputs: i32,
        channels: i32,
        height: i32,
        width: i32,
        out_height: i32,
        out_width: i32,
        kernel: i32,
        stride: i32,
        before: i32,
        twice: i32,
        splits: i32,
    }
}

arguments! {
    /// `Attention` of half/common.cuh.
    struct AttentionArgs {
        q: u64,
        k: u64,
        v: u64,
        out: u64,
        tokens: i32,
        others: i32,
        q_stride: i32,
        kv_stride: i32,
        channels: i32,
        scale: f32,
    }
}

arguments! {
    /// `GroupNorm` of half/kernels.cu.
    struct GroupArgs {
        x: u64,
        y: u64,
        parts: u64,
        weight: u64,
        bias: u64,
        pixels: i32,
        channels: i32,
        groups: i32,
        chunks: i32,
        chunk_pixels: i32,
        epsilon: f32,
        silu: i32,
    }
}

arguments! {
    /// `Search` of sampling/kernels.cu.
    struct SearchArgs {
        moved: u64,
        squares: u64,
        gram: u64,
        own: u64,
        boundary: u64,
        ranks: u64,
        kept: u64,
        features: i32,
        k: i32,
        noise: i32,
        anchors: i32,
        keep: i32,
        nearest: i32,
        mixed: i32,
    }
}

/// Declares [`Arg`], with a way from each type of argument.
macro_rules! arg {
    ($($variant:ident($type:ty),)*) => {
        /// An argument of a kernel; an address is a `u64`.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Arg { $($variant($type),)* }
        $(impl From<$type> for Arg {
            fn from(value: $type) -> Self { Self::$variant(value) }
        })*
    };
}

arg! {
    Address(u64),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Conv(ConvArgs),
    Attention(AttentionArgs),
    Group(GroupArgs),
    Search(SearchArgs),
}

#[cfg(test)]
impl Arg {
    /// The bytes that the kernel finds.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Address(x) => x.to_ne_bytes().to_vec(),
            Self::Int(x) => x.to_ne_bytes().to_vec(),
            Self::Long(x) => x.to_ne_bytes().to_vec(),
            Self::Float(x) => x.to_ne_bytes().to_vec(),
            Self::Double(x) => x.to_ne_bytes().to_vec(),
            Self::Conv(x) => x.bytes(),
            Self::Attention(x) => x.bytes(),
            Self::Group(x) => x.bytes(),
            Self::Search(x) => x.bytes(),
        }
    }
}
