//! Networks by the names that the literature has for them.

use super::Training;
use crate::nn::{Form, Stem};
use crate::words::words;

words! {
    /// A network, as wide as in the literature.
    pub enum Backbone {
        /// OpenOOD's `ResNet18_32x32`: a 3x3 stem of stride 1 and no max-pool.
        ResNet18Small = "resnet18-32x32",
        /// The same of 34 layers: DREAM-OOD's.
        ResNet34Small = "resnet34-32x32",
        /// torchvision's `resnet18`, for pictures of 224x224.
        ResNet18 = "resnet18",
        /// torchvision's `resnet34`.
        ResNet34 = "resnet34",
        /// torchvision's `resnet50`.
        ResNet50 = "resnet50",
        /// torchvision's `resnet101`.
        ResNet101 = "resnet101",
        /// WideResNet-40-2, for pictures of 32x32.
        Wide = "wrn-40-2",
    }
}

impl Backbone {
    /// Makes it the network of a training.
    pub fn put_into(self, training: &mut Training) {
        let (depth, width, form, stem) = match self {
            Self::ResNet18Small => (18, 64, Form::Residual, Stem::Cifar),
            Self::ResNet34Small => (34, 64, Form::Residual, Stem::Cifar),
            Self::ResNet18 => (18, 64, Form::Residual, Stem::ImageNet),
            Self::ResNet34 => (34, 64, Form::Residual, Stem::ImageNet),
            Self::ResNet50 => (50, 64, Form::Residual, Stem::ImageNet),
            Self::ResNet101 => (101, 64, Form::Residual, Stem::ImageNet),
            Self::Wide => (40, 32, Form::Wide, Stem::Cifar),
        };
        (training.depth, training.width) = (depth, width);
        (training.form, training.stem) = (form, stem);
    }
}
