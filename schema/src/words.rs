//! Enums that are words: one declaration gives the variants, the list of them, and the one word by which a
//! table, a command and a stored parameter name each.

/// Declares an enum whose variants are words.
///
/// ```
/// use dream_schema::words;
///
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
#[macro_export]
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
            pub const fn name(self) -> &'static str {
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
