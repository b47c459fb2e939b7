//! What the arithmetic of several rooms is made of on the CPU: packed matrices ([`Packed`]), the inner loop
//! of every product over them ([`accumulate`]), and the switch that compiles a loop once for AVX2 and once
//! for any processor ([`vectorized`]).

mod double;
mod kernel;
mod lanes;
mod packed;
mod product;
mod wide;

pub(crate) use double::{LANES_F64, LaneF64, TileF64, accumulate_f64};
pub(crate) use kernel::{ROWS, Tile, accumulate, multiply};
pub(crate) use lanes::{LANES, Lanes};
pub(crate) use packed::Packed;
pub(crate) use product::product;

/// Numbers of one vector register, and partial sums of what is added in registers.
pub(crate) const VECTOR: usize = 8;

/// Whether the processor has AVX2 and fused multiply-add.
#[inline]
pub(crate) fn has_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether the processor has the registers of AVX-512 too, twice as wide.
#[inline]
pub(crate) fn has_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512f") && has_fma()
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Defines a function that is compiled twice and picks the better one when called. The bits are the same in
/// both as long as its body only adds, multiplies, divides and compares: nothing is contracted.
macro_rules! vectorized {
    (
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $kind),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($argument: $kind),*) $(-> $result)? {
                    body($($argument),*)
                }
                if $crate::engine::simd::has_fma() {
                    // SAFETY: the processor has AVX2 and FMA.
                    return unsafe { wide($($argument),*) };
                }
            }
            body($($argument),*)
        }
    };
}
pub(crate) use vectorized;
