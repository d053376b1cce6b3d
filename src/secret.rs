//! Secrets as types: they cannot be confused with one another, and none can be printed.

/// Defines a text secret: redacted in `Debug`, no `Display`, no equality, no `Serialize` of its own,
/// wiped when dropped.
macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, zeroize::ZeroizeOnDrop)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself, for the one place that must send it.
            #[must_use]
            pub fn secret(&self) -> &str {
                &self.0
            }
        }

        impl $crate::secret::SecretText for $name {
            fn of(text: String) -> Self {
                Self(text)
            }

            fn text(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }
    };
}

pub(crate) use secret_text;

/// What [`secret_text`] defines.
pub(crate) trait SecretText: Sized {
    fn of(text: String) -> Self;
    fn text(&self) -> &str;
}

/// For the fields of what is sealed, `#[serde(with = "in_sealed")]`: nowhere else may a secret be
/// serialized, so no `derive` puts one into an answer or a log.
pub(crate) mod in_sealed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::SecretText;

    /// A secret, or perhaps one.
    pub(crate) trait Field: Sized {
        type Form<'a>: Serialize
        where
            Self: 'a;
        type Owned: for<'de> Deserialize<'de>;
        fn form(&self) -> Self::Form<'_>;
        fn from_form(form: Self::Owned) -> Self;
    }

    impl<T: SecretText> Field for T {
        type Form<'a>
            = &'a str
        where
            Self: 'a;
        type Owned = String;

        fn form(&self) -> &str {
            self.text()
        }

        fn from_form(form: String) -> Self {
            Self::of(form)
        }
    }

    impl<T: SecretText> Field for Option<T> {
        type Form<'a>
            = Option<&'a str>
        where
            Self: 'a;
        type Owned = Option<String>;

        fn form(&self) -> Option<&str> {
            self.as_ref().map(SecretText::text)
        }

        fn from_form(form: Option<String>) -> Self {
            form.map(T::of)
        }
    }

    pub(crate) fn serialize<T: Field, S: Serializer>(secret: &T, to: S) -> Result<S::Ok, S::Error> {
        secret.form().serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Field, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::Owned::deserialize(from).map(T::from_form)
    }
}

/// 32 random bytes as 43 characters of base64url without padding: unguessable, and safe in a URL.
pub(crate) fn random_text() -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    Base64UrlUnpadded::encode_string(&crate::digest::random_bytes::<32>())
}
