//! CUDA's libraries, which are loaded when they are first called (`shim.c`): a program with CUDA in it starts
//! where they are not.

#[cfg(feature = "cuda")]
mod needed;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub(in crate::engine) use self::needed::missing;
