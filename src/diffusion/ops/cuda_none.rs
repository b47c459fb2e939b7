//! Stands in for `cuda` where the program is built without it.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

pub(super) const CHANNELS: usize = 64;

pub(crate) enum Gpu {}

#[derive(Clone, Copy)]
#[allow(dead_code)]
pub(super) struct Window {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) before: usize,
    pub(super) twice: bool,
    pub(super) to: [usize; 2],
}

#[allow(dead_code)]
pub(super) struct Side<'a>(pub(super) &'a Tensor, pub(super) usize);

pub(crate) fn gpu(_: &Device) -> Result<Arc<Gpu>> {
    candle_core::bail!("this program was built without CUDA")
}

pub(crate) enum Recording {}

impl Recording {
    pub(crate) fn run(&self) -> Result<()> {
        match *self {}
    }
}

pub(crate) fn record(_: &Device, _: impl FnOnce() -> Result<()>) -> Result<Recording> {
    candle_core::bail!("this program was built without CUDA")
}

pub(crate) fn remembering<T>(_: &Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
    work()
}

impl Gpu {
    pub(super) fn conv(
        &self,
        _: &Tensor,
        _: [&Tensor; 2],
        _: Window,
        _: Option<&Tensor>,
        _: Option<&Tensor>,
    ) -> Result<Tensor> {
        match *self {}
    }
    pub(super) fn linear(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: Option<&Tensor>,
        _: Option<&Tensor>,
    ) -> Result<Tensor> {
        match *self {}
    }
    pub(super) fn attends(&self, _: usize) -> bool {
        match *self {}
    }
    pub(super) fn attention(&self, _: Side, _: Side, _: Side, _: usize, _: usize) -> Result<Tensor> {
        match *self {}
    }
    pub(super) fn group_norm(
        &self,
        _: &Tensor,
        _: [&Tensor; 2],
        _: usize,
        _: f64,
        _: bool,
    ) -> Result<Tensor> {
        match *self {}
    }
    pub(super) fn layer_norm(&self, _: &Tensor, _: [&Tensor; 2], _: f64) -> Result<Tensor> {
        match *self {}
    }
    pub(super) fn geglu(&self, _: &Tensor) -> Result<Tensor> {
        match *self {}
    }
}
