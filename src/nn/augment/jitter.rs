//! Random brightness, contrast, saturation and hue: torchvision's `ColorJitter` on Pillow images, byte for
//! byte.

use serde::{Deserialize, Serialize};

use crate::rng::Stream;

/// How far colours are varied; 0 leaves a property as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitter {
    /// The brightness is multiplied by a number uniform in 1 - this .. 1 + this.
    pub brightness: f64,
    /// The contrast, likewise.
    pub contrast: f64,
    /// The saturation, likewise.
    pub saturation: f64,
    /// The hue is turned by a share of the circle uniform in -this .. this; 0.5 at most.
    pub hue: f64,
}

/// A property of a picture that can be varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    Brightness,
    Contrast,
    Saturation,
    Hue,
}

impl ColorJitter {
    /// Says what is wrong with the numbers, if anything is.
    pub fn fault(&self) -> Option<&'static str> {
        let factors = [self.brightness, self.contrast, self.saturation];
        if factors.iter().any(|f| !(0.0..=10.0).contains(f)) {
            Some("brightness, contrast and saturation must be 0 to 10, such as 0.4")
        } else if !(0.0..=0.5).contains(&self.hue) {
            Some("hue must be between 0 and 0.5")
        } else {
            None
        }
    }

    /// Varies an RGB picture `[h, w, 3]` in place: the properties in a random order, each by a random factor.
    pub fn vary(&self, rgb: &mut [u8], stream: &mut Stream) {
        let mut order = [
            (Property::Brightness, self.brightness),
            (Property::Contrast, self.contrast),
            (Property::Saturation, self.saturation),
            (Property::Hue, self.hue),
        ];
        stream.shuffle(&mut order);
        for (property, range) in order {
            let (low, high) = match property {
                Property::Hue => (-range, range),
                _ => ((1.0 - range).max(0.0), 1.0 + range),
            };
            // Drawn even if it is not used, so that one property does not shift the draws of the others.
            let factor = low + (high - low) * f64::from(stream.uniform());
            if range > 0.0 {
                property.adjust(rgb, factor);
            }
        }
    }
}

impl Property {
    pub(super) fn adjust(self, rgb: &mut [u8], factor: f64) {
        let (pixels, _) = rgb.as_chunks_mut::<3>();
        match self {
            Property::Brightness => pixels
                .iter_mut()
                .flatten()
                .for_each(|v| *v = blend(0, *v, factor as f32)),
            Property::Contrast => {
                let sum: u64 = pixels.iter().map(|p| u64::from(luma(p))).sum();
                let mean = (sum as f64 / pixels.len().max(1) as f64 + 0.5) as u8;
                pixels
                    .iter_mut()
                    .flatten()
                    .for_each(|v| *v = blend(mean, *v, factor as f32));
            }
            Property::Saturation => pixels.iter_mut().for_each(|pixel| {
                let grey = luma(pixel);
                pixel.iter_mut().for_each(|v| *v = blend(grey, *v, factor as f32));
            }),
            Property::Hue => {
                // As bytes do, the turn wraps.
                let turn = (factor * 255.0) as i32 as u8;
                pixels.iter_mut().for_each(|pixel| {
                    let [h, s, v] = hsv(*pixel);
                    *pixel = rgb_of([h.wrapping_add(turn), s, v]);
                });
            }
        }
    }
}

/// ITU-R BT.601 luma in 16-bit fixed point, as Pillow's `convert("L")`.
fn luma([r, g, b]: &[u8; 3]) -> u8 {
    ((19595 * u32::from(*r) + 38470 * u32::from(*g) + 7471 * u32::from(*b) + 0x8000) >> 16) as u8
}

/// `from + factor (to - from)`, cut to a byte, as Pillow's `blend`.
pub(super) fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // A conversion to a byte saturates and drops the fraction.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// Hue, saturation and value as bytes, as Pillow's `convert("HSV")`.
fn hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let distance = |v: u8| f32::from(most - v) / range;
    let (to_r, to_g, to_b) = (
        f64::from(distance(r)),
        f64::from(distance(g)),
        f64::from(distance(b)),
    );
    let sixths = if r == most {
        to_b - to_g
    } else if g == most {
        2.0 + to_r - to_b
    } else {
        4.0 + to_g - to_r
    } as f32;
    let hue = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
    let byte = |share: f32| (f64::from(share) * 255.0) as u8;
    [byte(hue), byte(saturation), most]
}

/// The inverse of [`hsv`], as Pillow's `convert("RGB")`.
fn rgb_of([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let turn = f64::from(h) * 6.0 / 255.0;
    let sixth = turn.floor();
    let rest = f64::from((turn - sixth) as f32);
    let saturation = f64::from(f32::from(s) / 255.0);
    let byte = |share: f64| (f64::from(v) * share).round() as u8;
    let (p, q, t) = (
        byte(1.0 - saturation),
        byte(1.0 - saturation * rest),
        byte(1.0 - saturation * (1.0 - rest)),
    );
    match sixth as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(name: &str) -> Property {
        match name {
            "brightness" => Property::Brightness,
            "contrast" => Property::Contrast,
            "saturation" => Property::Saturation,
            "hue" => Property::Hue,
            other => panic!("{other}"),
        }
    }

    fn bytes(value: &serde_json::Value) -> Vec<u8> {
        let values = value.as_array().unwrap().iter();
        values.map(|v| v.as_u64().unwrap() as u8).collect()
    }

    /// tests/fixtures/nn/make.py: Pillow's ImageEnhance and HSV, as torchvision's functional_pil uses them.
    #[test]
    fn adjusts_as_pillow_does() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/nn/jitter.json")).unwrap();
        let picture = bytes(&fixture["rgb"]);
        let cases = fixture["cases"].as_array().unwrap();
        assert!(cases.len() >= 12);
        for case in cases {
            let mut found = picture.clone();
            let (name, factor) = (
                case["property"].as_str().unwrap(),
                case["factor"].as_f64().unwrap(),
            );
            property(name).adjust(&mut found, factor);
            let expected = bytes(&case["rgb"]);
            let far = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| a.abs_diff(*b))
                .max()
                .unwrap();
            assert_eq!(far, 0, "{name} {factor}");
        }
    }

    #[test]
    fn hues_that_bytes_can_hold_go_there_and_back() {
        for rgb in [[255, 0, 0], [0, 255, 0], [0, 0, 255], [17, 17, 17], [0, 0, 0]] {
            assert_eq!(rgb_of(hsv(rgb)), rgb);
        }
    }

    #[test]
    fn draws_are_in_their_ranges_and_zero_changes_nothing() {
        let picture: Vec<u8> = (0..48).map(|i| (i * 5) as u8).collect();
        let vary = |jitter: &ColorJitter, class: u32| {
            let mut found = picture.clone();
            jitter.vary(&mut found, &mut Stream::new(1, "test", class, 0));
            found
        };
        assert_eq!(vary(&ColorJitter::default(), 0), picture);
        let all = ColorJitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
        };
        assert_eq!(vary(&all, 3), vary(&all, 3));
        assert_ne!(vary(&all, 3), vary(&all, 4));
        assert_eq!(all.fault(), None);
        assert!(
            ColorJitter {
                hue: 0.6,
                ..all.clone()
            }
            .fault()
            .is_some()
        );
        assert!(
            ColorJitter {
                contrast: -0.1,
                ..all
            }
            .fault()
            .is_some()
        );
    }
}
