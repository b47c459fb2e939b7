//! Enums that are words: one declaration gives the variants, the list of them, and the one word by which a
//! table, a command and a stored parameter name each; and words that are like another.

/// Declares an enum whose variants are words.
///
/// ```ignore
/// words! {
///     /// How an image of another size is fitted.
///     pub enum Fit {
///         /// Scale until it covers the target, then cut the middle out.
///         Crop = "crop",
///         /// Scale both sides, whatever the proportions.
///         Stretch = "stretch",
///     }
/// }
/// ```
///
/// `Fit::ALL` lists the variants in their order, `name` and `from_name` turn them into words and back,
/// `Display` writes the word, and serde reads and writes it.
macro_rules! words {
    (
        $(#[$about:meta])*
        $visibility:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $visibility enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// Returns its word.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// Returns the one of that word.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
pub(crate) use words;

/// Returns the names that are like `name`, the nearest first: few edits away, or one a part of the other.
pub(crate) fn near_names(name: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let limit = (name.chars().count() / 3).max(2);
    let distance = |other: &str| match strsim::levenshtein(name, other) {
        edits if edits <= limit => Some(edits),
        _ if name.len() >= 3 && other.contains(name) => Some(limit + 1),
        _ if other.len() >= 3 && name.contains(other) => Some(limit + 1),
        _ => None,
    };
    let mut near: Vec<_> = names
        .filter_map(|other| Some((distance(&other)?, other)))
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    words! {
        /// Two sides.
        pub enum Side {
            /// The left one.
            Left = "on-the-left",
            /// The right one.
            Right = "right",
        }
    }

    #[test]
    fn a_word_stands_for_each() {
        assert_eq!(Side::ALL.map(Side::name), ["on-the-left", "right"]);
        for side in Side::ALL {
            assert_eq!(Side::from_name(side.name()), Some(side));
            let json = serde_json::to_string(&side).unwrap();
            assert_eq!(json, format!("\"{side}\""));
            assert_eq!(serde_json::from_str::<Side>(&json).unwrap(), side);
        }
        assert_eq!(Side::from_name("Left"), None);
        assert!(serde_json::from_str::<Side>("\"Left\"").is_err());
    }
}
